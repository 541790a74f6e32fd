"""What reading a video leaves behind: a table of faces by time, a summary, and a picture of each face."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from fer_core.data.decode import encode_png
from fer_core.emotions import EMOTIONS, INDEX
from fer_core.errors import FerError
from fer_core.inference.tracking import TrackedFace
from fer_core.jobs.store import write_atomically
from fer_core.preprocessing import Pixels

if TYPE_CHECKING:
    import pandas as pd

    from fer_core.inference.frames import VideoInfo
    from fer_core.inference.video import FrameResult, VideoOptions

FRAMES_FILE: Final = "frames.csv"
SUMMARY_FILE: Final = "summary.json"
FACES_FOLDER: Final = "faces"

BRIEF: Final = 1.0
"""Seconds; a face seen for less is told only in number: a detector's false finds flicker, and would be hundreds. Of a
video shorter than four times that, a quarter of its length."""

BINS: Final = 240
"""Of a timeline: on a screen of 1,366 pixels each is about three wide."""

COLUMNS: Final = (
    *("time", "frame", "face", "x", "y", "width", "height", "emotion", "uncertain"),
    *(f"p_{emotion}" for emotion in EMOTIONS),
    *(f"raw_{emotion}" for emotion in EMOTIONS),
    *("score", "unreliable"),
)
"""Of ``frames.csv``: seconds, number of the frame, number of the face; box in pixels; smoothed probabilities, and what
the model said of this frame alone. A frame without a face has one row with only time and frame."""

_LAST: Final = "raw_neutral"  # of the columns that every face has


class FaceSummary(BaseModel):
    """One face over a whole video.

    Attributes:
        face: Its number in ``frames.csv``.
        first: When it is first seen, in seconds.
        last: When it is last seen, in seconds.
        seconds: How long it is in sight.
        frames: In how many of the frames that were read.
        probabilities: Mean over that time of what the model said.
        shares: Share of that time of each apparent expression, as smoothed; they add up to 1.
        uncertain: Share of that time in which the expression is uncertain.
        best: When its box is largest, in seconds: the moment of its picture.
    """

    face: int
    first: float
    last: float
    seconds: float
    frames: int
    probabilities: dict[str, float]
    shares: dict[str, float]
    uncertain: float
    best: float

    @property
    def emotion(self) -> str:
        """The expression that it shows for longest."""
        return max(self.shares, key=self.shares.__getitem__)

    @property
    def picture(self) -> str:
        """Its file, from the folder of results."""
        return f"{FACES_FOLDER}/{self.face}.png"


class VideoSummary(BaseModel):
    """``summary.json`` of a video.

    Attributes:
        video: The file's name.
        size: Width and height of the last frame in pixels, upright.
        seconds: Until where it was read.
        announced: How long the file says it is; None where it does not say.
        fps: Frames per second, as it says.
        every: 1 if every frame was read, k if every k-th.
        frames: How many were read.
        frames_with_faces: In how many of them there is a face.
        faces: Those seen for long enough (see ``BRIEF``), in the order in which they come.
        brief_faces: How many were seen only briefly.
        brief_seconds: For how long, added up.
        model: Its name.
        threshold: Top probability below which a face is uncertain.
        smoothing: Time constant in seconds.
        stopped: Whether somebody stopped the reading.
        note: Why it ended early, or what of the file could not be read; None if all went well.
    """

    video: str
    size: tuple[int, int]
    seconds: float
    announced: float | None
    fps: float | None
    every: int
    frames: int
    frames_with_faces: int
    faces: list[FaceSummary]
    brief_faces: int
    brief_seconds: float
    model: str
    threshold: float
    smoothing: float
    stopped: bool = False
    note: str | None = None

    def told(self) -> str:
        """The finding in one sentence, and why reading ended early."""
        if not self.faces:
            return f"No face is in sight for long in {clock(self.seconds)}. {self.note or ''}".strip()
        longest = max(self.faces, key=lambda face: face.seconds)
        share = 100 * longest.shares[longest.emotion]
        faces = "One face" if len(self.faces) == 1 else f"{len(self.faces)} faces"
        which = "it" if len(self.faces) == 1 else f"face {longest.face}"
        sentence = f"{faces} in {clock(self.seconds)}; {which} appears {longest.emotion} for {share:.0f} % of the time."
        return f"{sentence} {self.note or ''}".strip()

    @classmethod
    def read(cls, folder: Path) -> VideoSummary:
        """The summary in a folder of results.

        Raises:
            FerError: There is none, or it is damaged.
        """
        try:
            return cls.model_validate_json((folder / SUMMARY_FILE).read_bytes())
        except (OSError, ValidationError):
            raise FerError(f"{folder / SUMMARY_FILE}: missing or damaged. Read the video again.") from None


def read_frames_table(folder: Path) -> pd.DataFrame:
    """What a timeline needs of ``frames.csv``, in a quarter of its memory; a line torn by a crash is left out.

    Returns:
        ``time`` in seconds, ``frame``, ``face`` (missing in a frame without one), ``emotion``, ``uncertain`` and each
        ``p_<emotion>``.

    Raises:
        FerError: It is missing or damaged.
    """
    import pandas as pd

    probabilities = [f"p_{emotion}" for emotion in EMOTIONS]
    kept = ["time", "frame", "face", "emotion", "uncertain", *probabilities]
    words: Any = dict.fromkeys(("emotion", "uncertain"), "category")
    numbers: Any = dict.fromkeys((*probabilities, _LAST), "float32")
    try:
        table = pd.read_csv(folder / FRAMES_FILE, on_bad_lines="skip", usecols=[*kept, _LAST], dtype=words | numbers)
    except (OSError, ValueError):
        raise FerError(f"{folder / FRAMES_FILE}: missing or damaged. Read the video again.") from None
    whole = table["face"].isna() | table[_LAST].notna()
    table = table.loc[whole, kept].astype({"frame": "int32", "face": "Int32"})
    table["uncertain"] = table["uncertain"] == "True"
    return table


def over_time(table: pd.DataFrame, seconds: float, threshold: float, bins: int = BINS) -> pd.DataFrame:
    """Faces over time, few enough to draw: what lies within a bin of time is averaged, nothing is dropped.

    Args:
        table: From ``read_frames_table``.
        seconds: Length of the video.
        threshold: Top probability below which a bin is uncertain.
        bins: How many at most; never more than there are frames.

    Returns:
        One row for each face and bin in which it is seen: ``face``, ``bin``, ``start`` and ``end`` in seconds, the mean
        of each ``p_<emotion>``, its top class as ``emotion``, and ``uncertain``.
    """
    width = max(seconds / max(1, min(bins, table["frame"].nunique())), 1e-3)
    probabilities = [f"p_{emotion}" for emotion in EMOTIONS]
    seen = table.dropna(subset=["face"])
    # A time on the border of two bins, up to rounding, belongs to the later one.
    seen = seen.assign(bin=((seen["time"] + 1e-3) // width).astype(int))
    binned = seen.groupby(["face", "bin"])[probabilities].mean().reset_index()
    values = binned[probabilities].to_numpy(float).round(4)  # as exact as the file: 0.7 is not below 0.7
    binned["start"], binned["end"] = binned["bin"] * width, (binned["bin"] + 1) * width
    binned["emotion"] = [EMOTIONS[top] for top in values.argmax(axis=1)] if len(binned) else []
    binned["uncertain"] = values.max(axis=1, initial=0) < threshold
    return binned


@dataclass
class _Seen:
    """What is known so far of a face. Its arrays are sums over time."""

    face: int
    first: float
    last: float = 0.0
    frames: int = 0
    shares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(EMOTIONS)))
    probabilities: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(EMOTIONS)))
    uncertain: float = 0.0
    best: float = 0.0
    largest: int = 0
    crop: Pixels | None = None

    @property
    def seconds(self) -> float:
        return float(self.shares.sum())

    def add(self, tracked: TrackedFace, time: float, length: float) -> None:
        self.last = time
        self.frames += 1
        self.shares[INDEX[tracked.face.emotion]] += length
        self.probabilities += length * tracked.raw.astype(float)
        self.uncertain += length * tracked.face.uncertain
        area = tracked.face.box[2] * tracked.face.box[3]
        if area > self.largest:
            self.best, self.largest, self.crop = time, area, tracked.face.crop

    def summary(self) -> FaceSummary:
        def told(values: NDArray[np.float64]) -> dict[str, float]:
            return {e: round(float(v), 4) for e, v in zip(EMOTIONS, values / self.seconds, strict=True)}

        return FaceSummary(
            face=self.face,
            first=round(self.first, 3),
            last=round(self.last, 3),
            seconds=round(self.seconds, 3),
            frames=self.frames,
            probabilities=told(self.probabilities),
            shares=told(self.shares),
            uncertain=round(self.uncertain / self.seconds, 4),
            best=round(self.best, 3),
        )


class Recorder:
    """Writes the results of a video as they come. What it holds in memory grows with the faces, not with the frames."""

    def __init__(self, folder: Path, info: VideoInfo, options: VideoOptions, video: str, model: str) -> None:
        self._folder, self._info, self._options = folder, info, options
        self._video, self._model = video, model
        self._patience = options.patience(info)
        self._seen: dict[int, _Seen] = {}
        self._waiting: FrameResult | None = None  # until the next frame says how long it is in sight
        self._length = options.every / (info.fps or 25)  # of a frame, in seconds
        self._size = info.size
        self._brief_faces, self._brief_seconds = 0, 0.0
        self.frames = self.frames_with_faces = 0
        self.time = 0.0
        (folder / FACES_FOLDER).mkdir(parents=True, exist_ok=True)
        for old in (folder / SUMMARY_FILE, *(folder / FACES_FOLDER).glob("*.png")):
            old.unlink(missing_ok=True)
        self._file = (folder / FRAMES_FILE).open("w", encoding="utf-8", newline="")
        self._rows = csv.writer(self._file)
        self._rows.writerow(COLUMNS)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, frame: FrameResult) -> None:
        """Writes the faces of the next frame."""
        self._count_waiting(frame.time)
        self._waiting = frame
        self.frames += 1
        self.frames_with_faces += bool(frame.faces)
        self.time, self._size = frame.time, frame.size
        self._rows.writerows(_rows(frame))
        self._let_go()

    def finish(self, note: str | None = None, *, stopped: bool = False) -> VideoSummary:
        """Writes the summary and the pictures of the faces.

        Args:
            note: Why it ended early.
            stopped: Whether somebody wanted that.
        """
        self._file.flush()
        end = self.time + self._length if self.frames else 0.0
        self._count_waiting(end)
        for seen in [seen for seen in self._seen.values() if self._brief(seen, end)]:
            self._forget(seen)
        for seen in self._seen.values():
            self._keep_picture(seen)
        summary = VideoSummary(
            video=self._video,
            size=self._size,
            seconds=round(end, 3),
            announced=self._info.seconds,
            fps=self._info.fps,
            every=self._options.every,
            frames=self.frames,
            frames_with_faces=self.frames_with_faces,
            faces=[seen.summary() for seen in self._seen.values()],
            brief_faces=self._brief_faces,
            brief_seconds=round(self._brief_seconds, 3),
            model=self._model,
            threshold=self._options.threshold,
            smoothing=self._options.smoothing,
            stopped=stopped,
            note=note,
        )
        write_atomically(self._folder / SUMMARY_FILE, summary.model_dump_json(indent=2))
        return summary

    def _count_waiting(self, until: float) -> None:
        """A frame, and who is in it, counts for the time until the next one."""
        if self._waiting is None:
            return
        frame, self._waiting = self._waiting, None
        self._length = until - frame.time
        for tracked in frame.faces:
            seen = self._seen.setdefault(tracked.track, _Seen(tracked.track, frame.time))
            seen.add(tracked, frame.time, self._length)

    def _brief(self, seen: _Seen, now: float) -> bool:
        # In the first seconds nobody knows how long the video will be, but what is brief now stays so.
        return seen.seconds < min(BRIEF, now / 4)

    def _let_go(self) -> None:
        """Lets go of what is in memory of faces that do not come back."""
        for seen in [seen for seen in self._seen.values() if self.time - seen.last > self._patience]:
            if self._brief(seen, self.time):
                self._forget(seen)
            elif seen.seconds >= BRIEF:
                self._keep_picture(seen)

    def _keep_picture(self, seen: _Seen) -> None:
        if seen.crop is not None:
            (self._folder / FACES_FOLDER / f"{seen.face}.png").write_bytes(encode_png(seen.crop))
            seen.crop = None

    def _forget(self, seen: _Seen) -> None:
        del self._seen[seen.face]
        self._brief_faces += 1
        self._brief_seconds += seen.seconds


def _rows(frame: FrameResult) -> Iterator[list[object]]:
    time = round(frame.time, 3)
    if not frame.faces:
        yield [time, frame.number, *([""] * (len(COLUMNS) - 2))]
    for tracked in frame.faces:
        face = tracked.face
        smoothed = [round(float(p), 4) for p in face.probabilities]
        raw = [round(float(p), 4) for p in tracked.raw]
        last = ("" if face.score is None else round(face.score, 4), face.unreliable or "")
        yield [
            time,
            frame.number,
            tracked.track,
            *face.box,
            face.emotion,
            face.uncertain,
            *smoothed,
            *raw,
            *last,
        ]


def clock(seconds: float) -> str:
    """``0:05``, ``12:40``, ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
