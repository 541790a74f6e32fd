"""Videos -> faces followed over time, and what is kept of them, in constant memory however long the video is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from fer_core.errors import FerError, Stopped
from fer_core.inference.faces import Detector
from fer_core.inference.frames import VideoInfo, VideoLimits, look_at_video, read_frames
from fer_core.inference.images import UNCERTAIN_BELOW, FaceResult, read_faces
from fer_core.inference.predictor import Predictor
from fer_core.inference.table import face_document
from fer_core.inference.tracking import PATIENCE, SMOOTHING, FaceTracker, TrackedFace
from fer_core.inference.video_results import Recorder, VideoSummary, clock
from fer_core.jobs.progress import Progress, silent
from fer_core.workspace import printable

KIND: Final = "video"
"""Of a job that reads one."""

AHEAD: Final = 4
"""Frames that are decoded while the one before is being read."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class VideoOptions:
    """How a video is read.

    Attributes:
        every: 1 reads every frame, k every k-th.
        threshold: Top probability below which a face is marked uncertain, 0 to 1.
        smoothing: Time constant of the mean of a face's probabilities in seconds; 0 for none.
        limits: Where reading stops.

    Raises:
        FerError: A value makes no sense.
    """

    every: int = 1
    threshold: float = UNCERTAIN_BELOW
    smoothing: float = SMOOTHING
    limits: VideoLimits = field(default_factory=VideoLimits)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise FerError(f"every = {self.every}: give 1 to read every frame, or k to read every k-th.")
        if not 0 <= self.threshold <= 1:
            raise FerError(f"threshold = {self.threshold}: give a probability from 0 to 1.")

    def patience(self, info: VideoInfo) -> float:
        """Seconds that a face may be out of sight: frames that are far apart must not make a new face in each."""
        return max(PATIENCE, 2 * self.every / info.fps) if info.fps else PATIENCE


@dataclass(frozen=True)
class FrameResult:
    """The faces of a frame.

    Attributes:
        number: Of the frame, from 0, counting also those passed over.
        time: Seconds from the beginning of the video.
        faces: From left to right; boxes in pixels of the upright frame of ``size``.
        size: Width and height of the frame in pixels.
    """

    number: int
    time: float
    faces: list[TrackedFace]
    size: tuple[int, int]


def read_video(
    path: Path, predictor: Predictor, detector: Detector, options: VideoOptions | None = None
) -> Generator[FrameResult, None, None]:
    """Finds, classifies and follows the faces of a video.

    A thread decodes the next frames while one is being read. The faces of a frame are classified in one batch; to
    wait for those of further frames would gain a tenth of a millisecond a face.

    Args:
        path: The file.
        predictor: The model.
        detector: From ``faces.load_detector``.
        options: How.

    Yields:
        One result for each frame that is read, in the order of time.

    Raises:
        FerError: The file cannot be read, at once; or from some point on, after the results until there.
        ModelError: The model fails.

    Example:
        for frame in read_video(Path("clip.mp4"), predictor, load_detector("haar")):
            print(frame.time, [(face.track, face.face.emotion) for face in frame.faces])
    """
    options = options or VideoOptions()
    info = look_at_video(path, options.limits)
    tracker = FaceTracker(options.smoothing, options.threshold, options.patience(info))
    for frame in _ahead(read_frames(path, options.every, options.limits)):
        scale = frame.size[0] / frame.image.shape[1]
        found = read_faces(frame.image, predictor, detector, options.threshold)
        faces = [_enlarged(face, scale) for face in found] if scale != 1 else found
        yield FrameResult(frame.number, frame.time, tracker.update(faces, frame.time), frame.size)


def read_video_into(
    path: Path,
    folder: Path,
    predictor: Predictor,
    detector: Detector,
    options: VideoOptions | None = None,
    progress: Progress = silent,
    stopped: Callable[[], bool] = lambda: False,
) -> VideoSummary:
    """Reads a video and writes what it finds into a folder while it goes.

    ``frames.csv`` has a row per face and frame (see ``video_results.COLUMNS``), ``summary.json`` is a ``VideoSummary``,
    and ``faces/<number>.png`` is each face where it is largest, as the model saw it.

    Args:
        path: The file.
        folder: Is made if it is missing; files of an earlier reading in it are replaced.
        predictor: The model.
        detector: From ``faces.load_detector``.
        options: How.
        progress: Told of every frame. May raise ``Stopped``.
        stopped: Asked after every frame whether to end now.

    Returns:
        The summary. If reading came to its end early, its ``note`` says why, and what was read is whole.

    Raises:
        FerError: Not one frame can be read; one sentence says why.
        Stopped: ``progress`` raised it. What was read until then is kept, with its summary.
        ModelError: The model fails.
    """
    options = options or VideoOptions()
    info = look_at_video(path, options.limits)
    with (
        closing(read_video(path, predictor, detector, options)) as results,
        Recorder(folder, info, options, printable(path.name), predictor.name) as recorder,
    ):
        try:
            for frame in results:
                recorder.add(frame)
                progress("Reading the video", min(frame.number + 1, info.frames or frame.number + 1), info.frames)
                if stopped():
                    return recorder.finish(f"Stopped at {clock(frame.time)}.", stopped=True)
        except Stopped as stop:
            told = f"Stopped at {clock(recorder.time)}. The {recorder.frames:,} frames read until there are kept."
            recorder.finish(told, stopped=True)
            raise Stopped(told) from stop
        except FerError as error:
            if not recorder.frames:
                raise
            return recorder.finish(str(error))
        return recorder.finish()


def video_document(
    path: Path,
    predictor: Predictor,
    detector: Detector,
    options: VideoOptions | None = None,
    progress: Progress = silent,
    stopped: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """A video as ``predict --json`` tells it: one document that holds every frame, so not for videos of hours.

    Returns:
        ``{path, faces: [], frames: [{time, faces: [{track, box, score, emotion, ...}]}], error}``;
        after an error, or when ``stopped`` says so, the frames before it are there.
    """
    frames: list[dict[str, Any]] = []
    error = None
    try:
        total = look_at_video(path, (options or VideoOptions()).limits).frames
        for frame in read_video(path, predictor, detector, options):
            faces = [{"track": tracked.track, **face_document(tracked.face)} for tracked in frame.faces]
            frames.append({"time": round(frame.time, 3), "faces": faces})
            progress("Reading the video", frame.number + 1, max(total, frame.number + 1) if total else 0)
            if stopped():
                error = f"Stopped at {clock(frame.time)}."
                break
    except Stopped:
        raise
    except FerError as reason:
        error = str(reason)
    return {"path": printable(str(path)), "faces": [], "frames": frames, "error": error}


def _enlarged(face: FaceResult, scale: float) -> FaceResult:
    x, y, width, height = (round(value * scale) for value in face.box)
    return replace(face, box=(x, y, width, height))


def _ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, some of them made in advance by a thread: decoding lets go of Python's lock."""
    with ThreadPoolExecutor(1, thread_name_prefix="decode") as pool:
        pending = deque(pool.submit(next, items, None) for _ in range(AHEAD))
        while (item := pending.popleft().result()) is not None:
            yield item
            pending.append(pool.submit(next, items, None))
