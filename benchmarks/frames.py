"""Frames composed of real faces: a dataset's pictures enlarged, turned and put on a smooth random ground."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.inference.faces import Detector, Face
from fer_core.inference.framing import BOX, cut, nose_offset
from fer_core.inference.predictor import Predictor
from fer_core.preprocessing import Pixels, to_native

FRAME: Final = 320
"""Side of a frame in pixels; the face's middle is in its middle."""

_GRAY: Final = 128


def compose(native: Pixels, side: int, angle: float, seed: int, shift: float = 0.0) -> Pixels:
    """A picture of a face in a frame.

    Args:
        native: uint8 ``[h, h]``.
        side: Of the picture in the frame, in pixels.
        angle: By which it is turned clockwise, in degrees.
        seed: Of the ground.
        shift: Share of the side that lies left of the frame, which then begins there.

    Returns:
        uint8 RGB ``[FRAME, FRAME or less, 3]``.
    """
    ground = np.random.default_rng(seed).integers(0, 256, (6, 6), dtype=np.uint8)
    canvas = cv2.resize(ground, (FRAME, FRAME), interpolation=cv2.INTER_CUBIC)
    matrix = cv2.getRotationMatrix2D((FRAME / 2 - 0.5, FRAME / 2 - 0.5), -angle, 1)
    left = (FRAME - side) // 2
    matrix[:, 2] += matrix[:, :2] @ (left, left)
    face = to_native(native, (side, side), 1)[:, :, 0]
    turned = cv2.warpAffine(face, matrix, (FRAME, FRAME), flags=cv2.INTER_CUBIC)
    where = cv2.warpAffine(np.full_like(face, 255), matrix, (FRAME, FRAME), flags=cv2.INTER_NEAREST)
    canvas[where > 0] = turned[where > 0]
    return cv2.cvtColor(canvas[:, left + round(shift * side) if shift else 0 :], cv2.COLOR_GRAY2RGB)


def the_face(frame: Pixels, detector: Detector, middle: float = FRAME / 2) -> Face | None:
    """The face whose box has its middle near that of the picture, if it was found."""
    near = [
        face
        for face in detector.detect(frame)
        if abs(face.box[0] + face.box[2] / 2 - middle) < 0.4 * face.box[2]
        and abs(face.box[1] + face.box[3] / 2 - FRAME / 2) < 0.4 * face.box[3]
    ]
    return max(near, key=lambda face: face.score or 0, default=None)


def box_crop(frame: Pixels, face: Face, size: tuple[int, int]) -> Pixels:
    """What the box alone gives: the square round it that frames the face as FER2013 does in the median."""
    left, top, width, height = BOX
    x, y, w, h = face.box
    side = h / height
    middle = (x + w / 2 + (0.5 - left - width / 2) * side, y + h / 2 + (0.5 - top - height / 2) * side)
    box = (round(middle[0] - side / 2), round(middle[1] - side / 2), round(side), round(side))
    return cut(frame, Face(box), size, 1)


def landmarks_of(natives: Sequence[Pixels], detector: Detector) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where one face with five landmarks is found in pictures and in their mirror images.

    Each is enlarged four times and given a gray border: a face that fills its picture is not found.

    Returns:
        Boxes ``[N, 4]`` and landmarks ``[N, 5, 2]``, as shares of the pictures' side.
    """
    boxes, landmarks = [], []
    for native in natives:
        for view in (native, np.ascontiguousarray(native[:, ::-1])):
            side = 4 * len(view)
            border = side // 2
            large = to_native(view, (side, side), 3)
            faces = detector.detect(
                cv2.copyMakeBorder(large, *4 * (border,), borderType=cv2.BORDER_CONSTANT, value=3 * (_GRAY,))
            )
            if len(faces) == 1 and faces[0].landmarks is not None:
                x, y, width, height = faces[0].extent or faces[0].box
                boxes.append(np.array([x - border, y - border, width, height]) / side)
                landmarks.append((faces[0].landmarks - border) / side)
    return np.array(boxes), np.array(landmarks)


class Readings:
    """Whether the model was right about faces, by how they were cut out; of each face all or none."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._crops: dict[str, list[Pixels]] = {"original": [], "box": [], "aligned": []}
        self._labels: list[int] = []
        self._offsets: list[float] = []
        self.asked = 0

    def add(self, native: Pixels, label: int, frame: Pixels, face: Face | None) -> None:
        self.asked += 1
        if face is None:
            return
        size = self._predictor.input_shape[:2]
        crops = (to_native(native, size, 1), box_crop(frame, face, size), cut(frame, face, size, 1))
        for found, crop in zip(self._crops.values(), crops, strict=True):
            found.append(crop)
        self._labels.append(label)
        self._offsets.append(nose_offset(face))

    @property
    def offsets(self) -> NDArray[np.float64]:
        """How far each nose lies from the middle between the eyes."""
        return np.array(self._offsets)

    def right(self) -> dict[str, NDArray[np.bool_]]:
        """Per way of cutting, whether the model was right about each face."""
        labels = np.array(self._labels)
        return {
            name: self._predictor.classify(np.stack(crops)).argmax(axis=1) == labels
            for name, crops in self._crops.items()
        }
