"""Finding faces and cutting them out."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from fer_core.errors import FerError
from fer_core.inference.faces import Face, find_faces, load_detector
from fer_core.inference.framing import cut
from fer_core.preprocessing import FACE_CROP_SIDE

FACE = (177, 67, 93, 93)


def overlap(a, b):
    """Intersection over union of two boxes."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    inside = max(0, width) * max(0, height)
    return inside / (a[2] * a[3] + b[2] * b[3] - inside)


@pytest.fixture(scope="module")
def haar():
    return load_detector("haar")


@pytest.mark.parametrize("scale", [0.5, 1, 2, 8])
def test_haar_finds_the_face_at_any_size_and_nothing_else(haar, photograph, scale):
    image = cv2.resize(photograph, None, fx=scale, fy=scale)
    (face,) = find_faces(image, haar)
    assert overlap(face.box, [value * scale for value in FACE]) > 0.7
    assert face.score is None


def test_haar_finds_both_faces_from_left_to_right(haar, photograph):
    first, second = find_faces(np.hstack([photograph, photograph]), haar)
    assert first.box[0] < 512 <= second.box[0]


@pytest.mark.parametrize("shape", [(65, 65), (300, 1), (1, 3000), (2000, 40)])
def test_no_face_is_an_empty_list(haar, shape):
    assert find_faces(np.full((*shape, 3), 128, np.uint8), haar) == []


def test_boxes_lie_within_the_picture(haar, photograph):
    x, y, width, height = FACE
    tight = np.ascontiguousarray(photograph[y : y + height + 4, x : x + width + 4])
    for face in find_faces(cv2.resize(tight, (400, 400)), haar):
        left, top, w, h = face.box
        assert left >= 0
        assert top >= 0
        assert left + w <= 400
        assert top + h <= 400


@pytest.mark.parametrize("name", ["haar", "none"])
def test_a_face_crop_is_the_face_whatever_the_detector(name):
    image = np.zeros((48, FACE_CROP_SIDE, 3), np.uint8)
    (face,) = find_faces(image, load_detector(name))
    assert (face.box, face.score) == ((0, 0, FACE_CROP_SIDE, 48), None)


def test_none_takes_any_picture_as_a_face(photograph):
    (face,) = find_faces(photograph, load_detector("none"))
    assert face.box == (0, 0, 512, 512)


def test_an_unknown_detector_is_one_clear_sentence():
    with pytest.raises(FerError, match=r"'retina'.*haar, none"):
        load_detector("retina")


def test_one_detector_serves_many_threads(haar, photograph):
    pictures = [photograph, np.ascontiguousarray(photograph[:, ::-1])] * 6
    expected = [haar.detect(picture) for picture in pictures[:2]] * 6
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(haar.detect, pictures)) == expected


def test_a_crop_at_the_border_repeats_it():
    image = np.zeros((10, 10, 3), np.uint8)
    image[0, 0] = 200
    crop = cut(image, Face((0, 0, 10, 10), margin=0.2), (14, 14), 3)
    assert (crop[:3, :3] == 200).all()
    assert not crop[3:].any()
    assert (cut(image, Face((0, 0, 10, 10)), (10, 10), 3) == image).all()
