"""A stream of frames, read as it comes: each frame is answered with its own faces drawn on it.

It knows neither camera nor page, so that whatever brings the frames may show the answers.
"""

from __future__ import annotations

import csv
import io
import logging
import threading
from collections import deque
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fer_core import limits
from fer_core.emotions import CODES, EMOTIONS
from fer_core.errors import FerError
from fer_core.inference.draw import draw_faces
from fer_core.inference.faces import Detector, Face, find_faces
from fer_core.inference.images import UNCERTAIN_BELOW, read_faces
from fer_core.inference.predictor import Predictor
from fer_core.inference.tracking import SMOOTHING, FaceTracker, TrackedFace
from fer_core.preprocessing import Pixels

HISTORY: Final = 60.0
"""Seconds of the main face's probabilities that are kept for its lines."""

COLUMNS: Final = (
    *("time", "face", "x", "y", "width", "height", "emotion", "uncertain"),
    *(f"p_{emotion}" for emotion in EMOTIONS),
)
"""Of a recording: seconds since its start, number of the face over time, box in pixels, smoothed probabilities."""

_STEP: Final = SMOOTHING / 2  # seconds between points of the lines: smoothed probabilities hold no more than that
_POINTS: Final = round(HISTORY / _STEP) + 1
_RATE_OVER: Final = 2.0  # seconds over which speed is looked at
_LAST_FRAMES: Final = 240  # of which speed is made: two seconds at 120 frames a second

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveSettings:
    """How frames are read.

    Attributes:
        predictor: The model; without one, frames are passed on as they are.
        detector: From ``faces.load_detector``; the same.
        smoothing: Time constant of the mean of a face's probabilities, in seconds; 0 for none.
        threshold: Top probability below which a face is marked uncertain, 0 to 1.
        every: Faces are looked for in every n-th frame, from 1; between these, boxes stay where they are.
        paused: Whether the last answer stands still.
        theme: Whose palette boxes are drawn in, ``light`` or ``dark``.
    """

    predictor: Predictor | None = None
    detector: Detector | None = None
    smoothing: float = SMOOTHING
    threshold: float = UNCERTAIN_BELOW
    every: int = 1
    paused: bool = False
    theme: str = "light"


@dataclass(frozen=True)
class LiveView:
    """What is known of a stream at one moment.

    Attributes:
        frames: How many were read since the beginning.
        faces: Of the last frame.
        picture: The last answer, uint8 RGB ``[h, w, 3]``; None before the first.
        frames_per_second: Over the last two seconds; 0 when nothing came.
        milliseconds: That a frame took, median over the same time.
        error: Why the last frame could not be read, one sentence; None if it was.
        times: float64 ``[T]``, seconds before now, none above 0, of ``probabilities``.
        probabilities: float32 ``[T, 7]`` of the largest face over the last ``HISTORY`` seconds; NaN without one.
        recording: Whether frames are being recorded.
        recorded: Rows recorded so far.
    """

    frames: int
    faces: list[TrackedFace]
    picture: Pixels | None
    frames_per_second: float
    milliseconds: float
    error: str | None
    times: NDArray[np.float64]
    probabilities: NDArray[np.float32]
    recording: bool
    recorded: int


@dataclass
class _Recording:
    """Rows as they will stand in the file."""

    began: float | None = None  # when its first frame was taken
    text: io.StringIO = field(default_factory=io.StringIO)
    rows: int = 0

    def add(self, faces: list[TrackedFace], time: float) -> None:
        if self.began is None:
            self.began = time
        rows = [_row(tracked, time - self.began) for tracked in faces]
        rows = rows[: limits.RECORDED_ROWS - self.rows]
        csv.writer(self.text, lineterminator="\n").writerows(rows)
        self.rows += len(rows)


class LiveReader:
    """Reads the frames of one stream, one after the other; everything else may be called from any thread.

    Example:
        reader = LiveReader()
        reader.change(predictor=predictor, detector=load_detector("haar"))
        for time, frame in frames:
            show(reader.read(frame, time))
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._settings = LiveSettings()
        self._tracker = FaceTracker()
        self._searched: tuple[Detector, tuple[int, ...]] | None = None  # with what, and in a frame of what shape
        self._found: list[Face] = []
        self._since_search = 0
        self._time = -np.inf
        self._frames = 0
        self._faces: list[TrackedFace] = []
        self._picture: Pixels | None = None
        self._error: str | None = None
        self._took: deque[tuple[float, float]] = deque(maxlen=_LAST_FRAMES)  # when it was finished, seconds it took
        self._lines: deque[tuple[float, NDArray[np.float32]]] = deque(maxlen=_POINTS)
        self._recording: _Recording | None = None
        self._recorded = _Recording()

    @property
    def settings(self) -> LiveSettings:
        """What holds for the next frame."""
        with self._lock:
            return self._settings

    def change(self, **settings: Any) -> None:
        """Changes fields of ``LiveSettings`` from the next frame on; the stream goes on."""
        with self._lock:
            self._settings = replace(self._settings, **settings)

    def read(self, frame: Pixels, time: float) -> Pixels:
        """Answers a frame with its faces drawn on it. Never raises: a stream whose callback does stands still.

        Args:
            frame: uint8 RGB ``[h, w, 3]``, upright; not changed.
            time: When it was taken, in seconds; counted as the frame before where it is earlier.

        Returns:
            uint8 RGB; the frame itself where it could not be read, the last answer while paused.
        """
        settings, began = self.settings, perf_counter()
        if settings.predictor is None or settings.detector is None:
            return frame
        if settings.paused and self._picture is not None:
            return self._picture
        time = max(time, self._time)
        try:
            faces = self._track(frame, time, settings, settings.predictor, settings.detector)
            boxes = [(tracked.face.box, tracked.face.emotion) for tracked in faces]
            picture, error = draw_faces(frame, boxes, settings.theme, [_plate(tracked) for tracked in faces]), None
        except Exception as failure:  # whatever a detector or model of a stranger comes up with
            faces, picture, error = [], frame, _sentence(failure)
            if error != self._error:
                _log.warning("A frame could not be read", exc_info=failure)
        with self._lock:
            self._time, self._frames = time, self._frames + 1
            self._faces, self._picture, self._error = faces, picture, error
            if not self._lines or time - self._lines[-1][0] >= _STEP:
                self._lines.append((time, _main(faces)))
            if self._recording:
                self._recording.add(faces, time)
                if self._recording.rows >= limits.RECORDED_ROWS:
                    self._recording = None
            finished = perf_counter()
            self._took.append((finished, finished - began))
        return picture

    def _track(
        self, frame: Pixels, time: float, settings: LiveSettings, predictor: Predictor, detector: Detector
    ) -> list[TrackedFace]:
        self._since_search += 1
        if self._since_search >= settings.every or self._searched != (detector, frame.shape):
            self._found = find_faces(frame, detector)
            self._searched, self._since_search = (detector, frame.shape), 0
        self._tracker.smoothing, self._tracker.threshold = settings.smoothing, settings.threshold
        return self._tracker.update(read_faces(frame, predictor, detector, settings.threshold, self._found), time)

    def view(self) -> LiveView:
        """What is known now."""
        with self._lock:
            now = perf_counter()
            took = [(at, seconds) for at, seconds in self._took if at > now - _RATE_OVER]
            lines = [(at - self._time, answer) for at, answer in self._lines if at >= self._time - HISTORY]
            passed = took[-1][0] - took[0][0] if took else 0.0
            return LiveView(
                self._frames,
                self._faces,
                self._picture,
                (len(took) - 1) / passed if passed else 0.0,
                1000 * float(np.median([seconds for _, seconds in took])) if took else 0.0,
                self._error,
                np.array([at for at, _ in lines]),
                np.array([answer for _, answer in lines], np.float32).reshape(-1, len(EMOTIONS)),
                self._recording is not None,
                self._recorded.rows,
            )

    def start_recording(self) -> None:
        """Records probabilities, never pictures, in memory from the next frame on; the recording before is dropped."""
        with self._lock:
            self._recording = self._recorded = _Recording()

    def stop_recording(self) -> None:
        """Keeps what was recorded."""
        with self._lock:
            self._recording = None

    def csv(self) -> str:
        """What was recorded: a header (``COLUMNS``), and a row for each face of each frame."""
        with self._lock:
            return ",".join(COLUMNS) + "\n" + self._recorded.text.getvalue()


def _main(faces: list[TrackedFace]) -> NDArray[np.float32]:
    """Probabilities of the largest face, the one that sits before the camera; NaN if there is none."""
    if not faces:
        return np.full(len(EMOTIONS), np.nan, np.float32)
    return max(faces, key=lambda tracked: tracked.face.box[2] * tracked.face.box[3]).face.probabilities


def _plate(tracked: TrackedFace) -> str:
    return f"{tracked.track} {CODES[tracked.face.emotion]}{'?' if tracked.face.uncertain else ''}"


def _row(tracked: TrackedFace, seconds: float) -> list[object]:
    face = tracked.face
    probabilities = [f"{probability:.4f}" for probability in face.probabilities]
    return [f"{seconds:.3f}", tracked.track, *face.box, face.emotion, face.uncertain, *probabilities]


def _sentence(failure: Exception) -> str:
    if isinstance(failure, FerError):
        return str(failure)
    return f"This frame could not be read ({type(failure).__name__}). Choose another model or another face detector."
