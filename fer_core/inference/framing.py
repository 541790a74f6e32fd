"""The crop of a face that a model reads, framed like its training pictures, and whether it can be relied on."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from fer_core.inference.faces import Face
from fer_core.preprocessing import Pixels, to_native

LANDMARKS: Final = np.array([[0.304, 0.382], [0.684, 0.382], [0.488, 0.590], [0.339, 0.752], [0.656, 0.752]])
"""Where YuNet finds eyes, nose and corners of the mouth in a picture of FER2013, as shares of its side."""

BOX: Final = (0.089, 0.003, 0.814, 1.019)
"""Left, top, width and height of YuNet's box there, likewise.

Both are medians over 1,000 pictures of the train split and their mirror images; ``python -m benchmarks.framing``
prints them, and the accuracies that the limits below come from.
"""


def cut(image: Pixels, face: Face, size: tuple[int, int], channels: int) -> Pixels:
    """Cuts a face out as a model reads it; what lies outside the picture repeats its border.

    A face with landmarks is turned upright and framed as those of FER2013; of another, the box is cut with its margin.

    Args:
        image: uint8 RGB ``[h, w, 3]``, upright.
        face: From ``faces.find_faces``.
        size: Height and width wanted, in pixels.
        channels: 1 (gray) or 3 (RGB).

    Returns:
        uint8 ``[height, width, channels]``.
    """
    crop = _box(image, face) if face.landmarks is None else _aligned(image, face, size)
    return to_native(crop, size, channels)


def _box(image: Pixels, face: Face) -> Pixels:
    """The box with its margin, a view where nothing had to be added."""
    x, y, width, height = face.box
    dx, dy = round(width * face.margin), round(height * face.margin)
    left, top, right, bottom = x - dx, y - dy, x + width + dx, y + height + dy
    rows, columns = image.shape[:2]
    inside = image[max(0, top) : min(rows, bottom), max(0, left) : min(columns, right)]
    outside = (max(0, -top), max(0, bottom - rows), max(0, -left), max(0, right - columns))
    if not any(outside):
        return inside
    return cv2.copyMakeBorder(inside, *outside, borderType=cv2.BORDER_REPLICATE)


def _aligned(image: Pixels, face: Face, size: tuple[int, int]) -> Pixels:
    """The face upright, in a whole multiple of the size wanted that is as fine as the picture.

    Averaging it down later avoids the aliasing of a warp that shrinks.
    """
    turn, shift = _similarity(face)
    # Only what is needed: OpenCV warps no picture of 32,767 pixels or more, and a panorama may have them.
    left, top, right, bottom = _extent(turn, shift)
    left, top = (int(np.clip(low - 2, 0, side - 1)) for low, side in ((left, image.shape[1]), (top, image.shape[0])))
    image = image[top : max(top, math.ceil(bottom)) + 2, left : max(left, math.ceil(right)) + 2]
    finer = math.ceil(min(1 / abs(turn), max(image.shape[:2])) / min(size))
    height, width = (max(1, finer) * side for side in size)
    # OpenCV counts from the middle of the first pixel, landmarks from its corner.
    start = turn * complex(left + 0.5, top + 0.5) + shift
    matrix = np.array(
        [
            [width * turn.real, -width * turn.imag, width * start.real - 0.5],
            [height * turn.imag, height * turn.real, height * start.imag - 0.5],
        ]
    )
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _extent(turn: complex, shift: complex) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what the crop shows, in pixels of the picture."""
    corners = (np.array([0, 1, 1j, 1 + 1j]) - shift) / turn
    return corners.real.min(), corners.imag.min(), corners.real.max(), corners.imag.max()


def _similarity(face: Face) -> tuple[complex, complex]:
    """``turn`` and ``shift``: what is at z = x + iy in the picture is at turn * z + shift of the crop, 0 to 1.

    The landmarks say how far to turn it (least squares; Umeyama 1991), the box where it is and how large: landmarks
    move with the expression, and a crop that follows them is read less well.
    """
    x, y, width, height = face.extent or face.box
    landmarks = np.asarray(face.landmarks, float) @ (1, 1j)
    upright = complex(np.vdot(landmarks - landmarks.mean(), LANDMARKS @ (1, 1j)))
    turn = (upright / abs(upright) if upright else 1) * BOX[3] / height / (1 + 2 * face.margin)
    middle = complex(BOX[0] + BOX[2] / 2 + face.margin, BOX[1] + BOX[3] / 2 + face.margin) / (1 + 2 * face.margin)
    return turn, middle - turn * complex(x + width / 2, y + height / 2)


TINY: Final = 24
"""Width of a box in pixels below which a face is unreliable. It is that of a picture 30 pixels wide: shrunk to 32, the
bundled model's accuracy falls by 4 points, to 24 by 8, to 20 by 15."""

ROTATED: Final = 30.0
"""Angle of the landmarks in degrees beyond which a face is unreliable. They tell about 0.8 of the true angle; turned
by 30 degrees, accuracy falls by 2 points, by 45 degrees by 9."""

PROFILE: Final = 0.2
"""How far the nose may lie from the middle between the eyes, as a share of their distance: beyond, accuracy is 51%
(n = 144), within a tenth 67%."""

CUT_OFF: Final = 0.2
"""Share of the box that may lie outside the picture: with 30% of the picture of a face outside, about a quarter of its
box, accuracy falls by 5 points."""


def doubt(face: Face) -> str | None:
    """Why a face cannot be relied on, in a word or two; None if nothing speaks against it.

    Args:
        face: From ``faces.find_faces``; without landmarks, only its size is looked at.

    Returns:
        ``tiny``, ``cut off``, ``profile``, ``rotated`` or None.
    """
    if face.box[2] < TINY:
        return "tiny"
    if face.landmarks is None:
        return None
    if face.extent and 1 - face.box[2] * face.box[3] / (face.extent[2] * face.extent[3]) > CUT_OFF:
        return "cut off"
    if nose_offset(face) > PROFILE:
        return "profile"
    turn, _ = _similarity(face)
    if abs(math.degrees(math.atan2(turn.imag, turn.real))) > ROTATED:
        return "rotated"
    return None


def nose_offset(face: Face) -> float:
    """How far the nose lies from the middle between the eyes along their line, as a share of their distance."""
    right_eye, left_eye, nose = (np.asarray(face.landmarks, float)[:3] @ (1, 1j)).tolist()
    return abs(((nose - right_eye) / (left_eye - right_eye)).real - 0.5)
