"""Where the faces are: detectors by name, and the crop of a face that a model reads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import cv2
import numpy as np

from fer_core.errors import FerError
from fer_core.preprocessing import FACE_CROP_SIDE, Pixels

Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels of the upright picture, within its borders."""


@dataclass(frozen=True)
class Face:
    """One face: its box, and the detector's score (None where it gives none)."""

    box: Box
    score: float | None


class Detector(Protocol):
    """Finds faces. May be called from several threads at once."""

    margin: float
    """What a crop adds on each side of the box, as a share of its side, to look like a training picture."""

    def detect(self, image: Pixels) -> list[Face]:
        """Faces in an upright picture, uint8 RGB ``[h, w, 3]``, from left to right."""


class WholeImage:
    """Takes every picture as one face."""

    margin = 0.0

    def detect(self, image: Pixels) -> list[Face]:
        return [_whole(image)]


class Haar:
    """OpenCV's frontal-face cascade (Viola and Jones 2001; Lienhart 2002). It is in the wheel."""

    # FER2013's pictures were cut by a cascade of this kind: they are barely wider than the box it finds.
    margin = 0.013

    LONGER_SIDE: Final = 1024
    """Larger pictures are shrunk to this for the search, in pixels."""

    SMALLEST: Final = 32
    """Side of the smallest face found, in pixels of the shrunk picture."""

    def __init__(self) -> None:
        file = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
        self._cascade = cv2.CascadeClassifier(str(file))
        # A cascade keeps buffers of the picture it looks at, so two threads must not share it.
        self._lock = threading.Lock()

    def detect(self, image: Pixels) -> list[Face]:
        height, width = image.shape[:2]
        shrink = min(1.0, self.LONGER_SIDE / max(height, width))
        if shrink < 1:
            size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        gray = cv2.equalizeHist(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        with self._lock:
            # Chosen on the sample photograph, alone and tiled, at many sizes: a finer scale step than 1.1 or
            # fewer neighbours than 7 find faces where there are none.
            found = self._cascade.detectMultiScale(
                gray, scaleFactor=1.1, minNeighbors=7, minSize=(self.SMALLEST, self.SMALLEST)
            )
        boxes = [_clip(np.asarray(box) / shrink, width, height) for box in found]
        return [Face(box, None) for box in sorted(boxes)]


DETECTORS: Final[dict[str, Callable[[], Detector]]] = {"haar": Haar, "none": WholeImage}
"""Detectors by name; ``none`` takes the whole picture as the face."""

DEFAULT_DETECTOR: Final = "haar"


def load_detector(name: str) -> Detector:
    """A detector by its name.

    Raises:
        FerError: There is none of that name.
    """
    if name not in DETECTORS:
        raise FerError(f"No face detector is named {name!r}. Choose one of {', '.join(DETECTORS)}.")
    return DETECTORS[name]()


def find_faces(image: Pixels, detector: Detector) -> list[Face]:
    """Faces of a picture; one no larger than a face crop is taken as one, whatever the detector.

    Args:
        image: uint8 RGB ``[h, w, 3]``, upright.
        detector: From ``load_detector``.

    Returns:
        Faces from left to right; none if the detector finds none.
    """
    if max(image.shape[:2]) <= FACE_CROP_SIDE:
        return [_whole(image)]
    return detector.detect(image)


def crop_face(image: Pixels, box: Box, margin: float) -> Pixels:
    """Cuts a face out, with a margin; what lies outside the picture repeats its border.

    Args:
        image: uint8 ``[h, w, 3]``.
        box: From ``find_faces``.
        margin: What to add on each side, as a share of the box's side.

    Returns:
        uint8 ``[h', w', 3]``, a view where nothing had to be added.
    """
    x, y, width, height = box
    dx, dy = round(width * margin), round(height * margin)
    left, top, right, bottom = x - dx, y - dy, x + width + dx, y + height + dy
    rows, columns = image.shape[:2]
    inside = image[max(0, top) : min(rows, bottom), max(0, left) : min(columns, right)]
    outside = (max(0, -top), max(0, bottom - rows), max(0, -left), max(0, right - columns))
    if not any(outside):
        return inside
    return cv2.copyMakeBorder(inside, *outside, borderType=cv2.BORDER_REPLICATE)


def _whole(image: Pixels) -> Face:
    height, width = image.shape[:2]
    return Face((0, 0, width, height), None)


def _clip(box: np.ndarray, width: int, height: int) -> Box:
    x, y, w, h = (round(float(value)) for value in box)
    left, top = max(0, x), max(0, y)
    return left, top, min(width, x + w) - left, min(height, y + h) - top
