"""The same face over time: which face of a frame is which of the frames before, and its probabilities smoothed.

Faces are followed by overlap of their boxes (as in SORT, Bewley et al. 2016, with a constant velocity in place of its
Kalman filter): at a few frames a second and more, a face overlaps with itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.emotions import EMOTIONS
from fer_core.inference.faces import Box
from fer_core.inference.images import UNCERTAIN_BELOW, FaceResult

LEAST_OVERLAP: Final = 0.2
"""Intersection over union below which two boxes are of different faces."""

PATIENCE: Final = 1.0
"""Seconds that a face may be out of sight and still count as the same one: a blink of the detector, a hand, a turn.

One that stays away for longer comes back under a new number: to know it again would be to identify people."""

SMOOTHING: Final = 0.4
"""Time constant of the mean of probabilities, in seconds: about the length of a spontaneous expression's rise."""


@dataclass(frozen=True)
class TrackedFace:
    """A face of a frame and whose it is.

    Attributes:
        track: Number of the face over time, from 1.
        face: Its emotion, doubt and probabilities are those of the smoothed answers.
        raw: float32 ``[7]``, what the model said of this frame alone.
    """

    track: int
    face: FaceResult
    raw: NDArray[np.float32]


@dataclass
class _Track:
    number: int
    box: NDArray[np.float64]
    velocity: NDArray[np.float64]  # of left and top, in pixels per second
    time: float
    probabilities: NDArray[np.float64]

    def expected(self, time: float) -> NDArray[np.float64]:
        """Its box at a time, if it goes on as it went."""
        moved = self.box.copy()
        moved[:2] += self.velocity * (time - self.time)
        return moved


class FaceTracker:
    """Follows the faces of one stream of frames. Not for use by several threads at once.

    Args:
        smoothing: Time constant of the exponential mean of a face's probabilities in seconds; 0 for none.
        threshold: Top probability below which a face is marked uncertain, 0 to 1.
        patience: Seconds that a face may be out of sight and still count as the same one.

    Example:
        tracker = FaceTracker()
        for time, image in frames:
            for tracked in tracker.update(read_faces(image, predictor, detector), time):
                print(tracked.track, tracked.face.emotion)
    """

    def __init__(
        self, smoothing: float = SMOOTHING, threshold: float = UNCERTAIN_BELOW, patience: float = PATIENCE
    ) -> None:
        self.smoothing = smoothing
        self.threshold = threshold
        self.patience = patience
        self._tracks: list[_Track] = []
        self._given = 0

    def update(self, faces: Sequence[FaceResult], time: float) -> list[TrackedFace]:
        """Says whose the faces of the next frame are.

        Args:
            faces: Of the frame.
            time: When it was taken, in seconds; never earlier than the frame before.

        Returns:
            The same faces in the same order.
        """
        self._tracks = [track for track in self._tracks if time - track.time <= self.patience]
        matched = self._match([face.box for face in faces], time)
        return [self._follow(face, matched.get(number), time) for number, face in enumerate(faces)]

    def _match(self, boxes: Sequence[Box], time: float) -> dict[int, _Track]:
        """Faces by number -> their tracks; those that overlap most find each other first."""
        if not boxes or not self._tracks:
            return {}
        overlap = overlaps(np.asarray(boxes, float), np.stack([track.expected(time) for track in self._tracks]))
        found: dict[int, _Track] = {}
        free = set(range(len(self._tracks)))
        for place in np.argsort(-overlap, axis=None, kind="stable"):
            number, track = divmod(int(place), len(self._tracks))
            if overlap[number, track] < LEAST_OVERLAP:
                break
            if number not in found and track in free:
                found[number] = self._tracks[track]
                free.remove(track)
        return found

    def _follow(self, face: FaceResult, track: _Track | None, time: float) -> TrackedFace:
        box, answer = np.asarray(face.box, float), np.asarray(face.probabilities, float)
        if track is None:
            self._given += 1
            track = _Track(self._given, box, np.zeros(2), time, answer)
            self._tracks.append(track)
        else:
            passed = time - track.time
            share = 1 - math.exp(-passed / self.smoothing) if self.smoothing > 0 else 1.0
            track.probabilities = track.probabilities + share * (answer - track.probabilities)
            if passed > 0:
                track.velocity = (track.velocity + (box[:2] - track.box[:2]) / passed) / 2
            track.box, track.time = box, time
        smoothed = track.probabilities.astype(np.float32)
        top = int(smoothed.argmax())
        told = replace(
            face,
            emotion=EMOTIONS[top],
            uncertain=bool(smoothed[top] < self.threshold),
            probabilities=smoothed,
        )
        return TrackedFace(track.number, told, face.probabilities)


def overlaps(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of boxes.

    Args:
        first: ``[N, 4]``: left, top, width, height.
        second: ``[M, 4]``, likewise.

    Returns:
        ``[N, M]``, 0 to 1.
    """
    a, b = first[:, None], second[None]
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    inside = np.clip(high - low, 0, None).prod(axis=-1)
    return inside / np.maximum(a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - inside, 1e-9)
