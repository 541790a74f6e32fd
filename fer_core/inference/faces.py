"""Where the faces are: detectors by name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.errors import FerError
from fer_core.inference import yunet
from fer_core.inference.detector_options import DetectorOptions as DetectorOptions  # given on from here
from fer_core.preprocessing import FACE_CROP_SIDE, Pixels

Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels of the upright picture, within its borders."""


@dataclass(frozen=True)
class Face:
    """One face as a detector found it.

    Attributes:
        box: Where it is.
        score: The detector's, 0 to 1; None where it gives none.
        landmarks: float32 ``[5, 2]``, x and y in pixels of the upright picture, not always within it: the person's
            right eye (the left one in the picture) and left eye, tip of the nose, right and left corner of the mouth.
            None where the detector gives none.
        margin: What a crop adds on each side, as a share of its side.
        extent: The box as the detector gave it, before it was cut at the borders of the picture; None where it is
            the box.
    """

    box: Box
    score: float | None = None
    landmarks: NDArray[np.float32] | None = field(default=None, compare=False)
    margin: float = 0.0
    extent: tuple[float, float, float, float] | None = None


class Detector(Protocol):
    """Finds faces. May be called from several threads at once."""

    def detect(self, image: Pixels) -> list[Face]:
        """Faces in an upright picture, uint8 RGB ``[h, w, 3]``, from left to right."""


class WholeImage:
    """Takes every picture as one face."""

    def __init__(self, options: DetectorOptions) -> None:
        """Nothing of the options applies."""

    def detect(self, image: Pixels) -> list[Face]:
        return [_whole(image)]


class YuNet:
    """A small network that finds five landmarks too, and faces that are turned (Wu, Peng and Yu 2023).

    Raises:
        FerError: Its file is missing or is not the one we know; it is not downloaded here (see ``yunet.fetch``).
    """

    LONGER_SIDE: Final = 1024
    """Larger pictures are shrunk to this for the search, in pixels."""

    COARSE: Final = 320
    """A picture of more than 640 pixels is searched a second time at this size, for faces that fill it."""

    LARGE: Final = 240
    """Width in pixels of the shrunk picture from which only that second search counts: the network knows no faces
    of 600 pixels and takes parts of them for faces (the sample photograph's is found right at 20 to 400)."""

    OVERLAP: Final = 0.3
    """Intersection over union above which two boxes are of one face; OpenCV's default."""

    CANDIDATES: Final = 5000
    """The best ones that are compared with each other; OpenCV's default. A face has a few dozen."""

    def __init__(self, options: DetectorOptions) -> None:
        self._options = options
        file = str(yunet.require())
        self._network = cv2.FaceDetectorYN.create(file, "", (1, 1), options.score, self.OVERLAP, self.CANDIDATES)
        # The size of the picture is set on the network, so two threads must not share it.
        self._lock = threading.Lock()

    def detect(self, image: Pixels) -> list[Face]:
        height, width = image.shape[:2]
        found = self._search(image, self.LONGER_SIDE)
        if max(height, width) > 2 * self.COARSE:
            small = found[:, 2] < self.LARGE * max(1.0, max(height, width) / self.LONGER_SIDE)
            found = np.concatenate([found[small], self._search(image, self.COARSE)])
            kept = cv2.dnn.NMSBoxes(found[:, :4].tolist(), found[:, 14].tolist(), self._options.score, self.OVERLAP)
            found = found[np.asarray(kept, int).reshape(-1)]
        faces = []
        for row in found:
            box, landmarks = _clip(row[:4], width, height), row[4:14].reshape(5, 2)
            # A face whose nose is out of sight cannot be read; in pictures a few pixels high, they are made up.
            seen = bool((landmarks[2] >= 0).all() and (landmarks[2] < (width, height)).all() and min(box[2:]) > 0)
            seen = seen and bool((landmarks[0] != landmarks[1]).any())  # eyes in one place tell no direction
            if seen and box[2] >= self._options.min_face:
                x, y, w, h = row[:4].tolist()
                faces.append(Face(box, float(row[14]), landmarks, self._options.margin, (x, y, w, h)))
        return sorted(faces, key=lambda face: face.box)

    def _search(self, image: Pixels, longer_side: int) -> NDArray[np.float32]:
        """What the network finds in the picture shrunk: ``[N, 15]``, box, landmarks and score, in its own pixels."""
        small, shrink = _shrunk(image, longer_side)
        small = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        with self._lock:
            self._network.setInputSize((small.shape[1], small.shape[0]))
            _, found = self._network.detect(small)
        if found is None:
            return np.empty((0, 15), np.float32)
        found[:, :14] /= shrink
        return found[np.isfinite(found).all(axis=1)]  # in pictures that are a pixel high, boxes are infinite


class Haar:
    """OpenCV's frontal-face cascade (Viola and Jones 2001; Lienhart 2002). It is in the wheel."""

    # FER2013's pictures were cut by a cascade of this kind: they are barely wider than the box it finds.
    MARGIN: Final = 0.013

    LONGER_SIDE: Final = 1024
    """Larger pictures are shrunk to this for the search, in pixels."""

    SMALLEST: Final = 32
    """Side of the smallest face found, in pixels of the shrunk picture."""

    def __init__(self, options: DetectorOptions) -> None:
        file = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
        self._options = options
        self._cascade = cv2.CascadeClassifier(str(file))
        # A cascade keeps buffers of the picture it looks at, so two threads must not share it.
        self._lock = threading.Lock()

    def detect(self, image: Pixels) -> list[Face]:
        height, width = image.shape[:2]
        small, shrink = _shrunk(image, self.LONGER_SIDE)
        gray = cv2.equalizeHist(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
        smallest = max(self.SMALLEST, round(self._options.min_face * shrink))
        with self._lock:
            # Chosen on the sample photograph, alone and tiled, at many sizes: a finer scale step than 1.1 or
            # fewer neighbours than 7 find faces where there are none.
            found = self._cascade.detectMultiScale(gray, scaleFactor=1.1, minNeighbors=7, minSize=(smallest, smallest))
        boxes = [_clip(np.asarray(box) / shrink, width, height) for box in found]
        return [Face(box, margin=self.MARGIN + self._options.margin) for box in sorted(boxes)]


DETECTORS: Final[dict[str, Callable[[DetectorOptions], Detector]]] = {
    "yunet": YuNet,
    "haar": Haar,
    "none": WholeImage,
}
"""Detectors by name; ``none`` takes the whole picture as the face."""


def default_detector() -> str:
    """The detector to use where none is named: ``yunet`` where its file is there, else ``haar``. Say which."""
    return "yunet" if yunet.find() else "haar"


def load_detector(name: str, options: DetectorOptions | None = None) -> Detector:
    """A detector by its name; nothing is downloaded.

    Args:
        name: A key of ``DETECTORS``.
        options: How faces are looked for; None for the defaults.

    Raises:
        FerError: There is none of that name, or the file of ``yunet`` is missing or is not the one we know.
    """
    check_detector(name)
    return DETECTORS[name](options or DetectorOptions())


def check_detector(name: str) -> None:
    """Raises FerError where no detector has that name."""
    if name not in DETECTORS:
        raise FerError(f"No face detector is named {name!r}. Choose one of {', '.join(DETECTORS)}.")


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


def _whole(image: Pixels) -> Face:
    height, width = image.shape[:2]
    return Face((0, 0, width, height))


def _shrunk(image: Pixels, longer_side: int) -> tuple[Pixels, float]:
    """The picture, no larger than that, and its share of the original size."""
    height, width = image.shape[:2]
    shrink = min(1.0, longer_side / max(height, width))
    if shrink == 1:
        return image, shrink
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), shrink


def _clip(box: NDArray[np.floating], width: int, height: int) -> Box:
    """The part of a box that lies in the picture; its width or height is 0 or less where none does."""
    x, y, w, h = (round(float(value)) for value in box)
    left, top = max(0, x), max(0, y)
    return left, top, min(width, x + w) - left, min(height, y + h) - top
