"""Faces with landmarks are cut upright; why a face cannot be relied on."""

import cv2
import numpy as np
import pytest

from benchmarks.frames import box_crop, compose, the_face
from fer_core.data.sources import read_split
from fer_core.inference.faces import Face, load_detector
from fer_core.inference.framing import BOX, LANDMARKS, cut, doubt


def face_of(side=100.0, angle=0.0, middle=200 + 150j, margin=0.0):
    """A face framed as FER2013's in the median, in a picture turned by ``angle`` degrees."""
    turn = np.exp(1j * np.deg2rad(angle))
    landmarks = middle + turn * side * ((LANDMARKS - 0.5) @ (1, 1j))
    centre = middle + turn * side * complex(BOX[0] + BOX[2] / 2 - 0.5, BOX[1] + BOX[3] / 2 - 0.5)
    width, height = BOX[2] * side, BOX[3] * side
    extent = (centre.real - width / 2, centre.imag - height / 2, width, height)
    box = tuple(round(value) for value in extent)
    points = np.stack([landmarks.real, landmarks.imag], 1).astype(np.float32)
    return Face(box, 0.9, points, margin, extent)


def scene(side=100, angle=0.0, middle=200 + 150j):
    """A pattern without symmetry, of that side, turned about its middle, on black."""
    pattern = np.zeros((48, 48), np.uint8)
    pattern[8:20, 8:16], pattern[30:40, 20:44] = 250, 150
    matrix = cv2.getRotationMatrix2D((23.5, 23.5), -angle, side / 48)
    matrix[:, 2] += (middle.real - 24, middle.imag - 24)
    return pattern, cv2.cvtColor(cv2.warpAffine(pattern, matrix, (400, 300)), cv2.COLOR_GRAY2RGB)


@pytest.mark.parametrize("angle", [-60, -20, 0, 15, 90])
@pytest.mark.parametrize("side", [48, 100, 230])
def test_a_turned_face_is_cut_upright_and_in_place(angle, side):
    pattern, image = scene(side, angle)
    crop = cut(image, face_of(side, angle), (48, 48), 1)[:, :, 0]
    assert crop.shape == (48, 48)
    assert np.corrcoef(crop.ravel().astype(float), pattern.ravel().astype(float))[0, 1] > 0.97


def test_shrinking_averages_instead_of_picking_pixels():
    stripes = np.zeros((3000, 3000, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = cut(stripes, face_of(2000, 0, 1500 + 1500j), (48, 48), 1)
    assert np.abs(crop.astype(int) - 127).max() <= 4


def test_a_margin_shows_more_around_the_face():
    pattern, image = scene()
    crop = cut(image, face_of(margin=0.5), (96, 96), 1)[24:72, 24:72, 0]
    assert np.corrcoef(crop.ravel().astype(float), pattern.ravel().astype(float))[0, 1] > 0.97


@pytest.mark.parametrize("shape", [(40, 60000), (60000, 40)])
def test_a_panorama_has_faces_too(shape):
    """OpenCV warps no picture of 32,767 pixels or more."""
    image = np.full((*shape, 3), 90, np.uint8)
    middle = complex(shape[1] - 30, 20) if shape[1] > shape[0] else complex(20, shape[0] - 30)
    assert (cut(image, face_of(36, 10, middle), (48, 48), 3) == 90).all()


def test_what_lies_outside_the_picture_repeats_its_border():
    image = np.full((300, 400, 3), 90, np.uint8)
    assert (cut(image, face_of(middle=0j), (48, 48), 1) == 90).all()


def turned_aside(face):
    points = face.landmarks.copy()
    points[2, 0] = points[1, 0]
    return Face(face.box, face.score, points, 0.0, face.extent)


@pytest.mark.parametrize(
    ("face", "reason"),
    [
        (face_of(), None),
        (face_of(angle=20), None),
        (face_of(side=20), "tiny"),
        (Face((5, 5, 12, 12)), "tiny"),
        (Face((0, 0, 48, 48)), None),
        (face_of(angle=80), "rotated"),
        (face_of(angle=-170), "rotated"),
        (turned_aside(face_of()), "profile"),
        (Face((0, 0, 50, 100), 0.9, face_of().landmarks, 0.0, (-50, 0, 100, 100)), "cut off"),
    ],
)
def test_why_a_face_cannot_be_relied_on(face, reason):
    assert doubt(face) == reason


@pytest.mark.parametrize("angle", [-20, 20])
def test_real_faces_that_are_turned_are_cut_closer_to_upright_than_by_their_box(yunet_file, real_data, angle):
    natives = read_split(str(real_data / "fer2013.zip"), "train", (48, 48), 1).images[::1000, :, :, 0]
    detector, gained = load_detector("yunet"), []
    for number, native in enumerate(natives):
        frame = compose(native, 144, angle, number)
        if face := the_face(frame, detector):
            crops = cut(frame, face, (48, 48), 1), box_crop(frame, face, (48, 48))
            aligned, box = (np.corrcoef(native.ravel(), crop.ravel())[0, 1] for crop in crops)
            gained.append(aligned - box)
    assert len(gained) > 0.7 * len(natives)
    assert np.median(gained) > 0.02
