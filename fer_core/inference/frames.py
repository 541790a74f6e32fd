"""Videos -> upright frames with their time stamps, one at a time.

Decoded by PyAV, not by OpenCV's ``VideoCapture``. Both were tried on H.264, VP9, MPEG-4 and MJPEG with constant and
variable frame rate: time stamps and rotation agree, and OpenCV is the faster by 1 ms a frame, a tenth of what finding
the faces takes. But OpenCV says nothing of why it stopped: a damaged file, a missing decoder, a file without pictures
and the end all look alike; and it cannot be kept from opening what a hostile playlist names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fer_core.errors import FerError, from_os_error
from fer_core.limits import VIDEO_FRAMES, VIDEO_HOURS
from fer_core.preprocessing import MAX_PIXELS, Pixels
from fer_core.workspace import printable

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

SUFFIXES: Final = frozenset(
    {".mp4", ".m4v", ".mov", ".3gp", ".avi", ".mkv", ".webm", ".mjpeg", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".ogv"}
)
"""What counts as a video by its name."""

LONGER_SIDE: Final = 1920
"""Larger frames are shrunk to this before faces are looked for, in pixels: detectors look at 1,024 or fewer anyway,
and a face that they find there still has more pixels than the model reads."""

_FORMATS: Final = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,mjpeg,jpeg_pipe,asf,flv,ogg,ivf,h264,hevc,m4v"
)
"""FFmpeg's names of what is opened. Not in it on purpose: playlists (hls, dash, concat), which name further files."""

_CUT_SHORT: Final = 0.9
"""A video that ends before this share of the time it announces was cut off: its sound alone rarely goes on as long."""

_MOST_HOLES: Final = 1000
"""Of a file, before the rest is given up."""


@dataclass(frozen=True)
class VideoLimits:
    """Where reading stops, so that no file occupies the machine for ever. What was read until there is kept.

    Attributes:
        pixels: Width times height of a frame.
        frames: Number of frames, also of those passed over.
        seconds: Time stamp of the last frame.
    """

    pixels: int = MAX_PIXELS
    frames: int = VIDEO_FRAMES
    seconds: float = VIDEO_HOURS * 3600.0

    def told(self) -> str:
        """In words."""
        hours, pixels = self.seconds / 3600, self.pixels / 1e6
        return f"up to {hours:g} hours, {self.frames:,} frames and {pixels:g} megapixels a frame"


@dataclass(frozen=True)
class VideoInfo:
    """What a file says of itself before a frame is read; it may be wrong.

    Attributes:
        size: Width and height of the stored frames in pixels, before rotation.
        seconds: Its length; None where it does not say.
        fps: Frames per second, on average; None where it does not say.
    """

    size: tuple[int, int]
    seconds: float | None
    fps: float | None

    @property
    def frames(self) -> int:
        """How many there will be; 0 if that is not known."""
        return round(self.seconds * self.fps) if self.seconds and self.fps else 0


@dataclass(frozen=True)
class Frame:
    """A picture of a video.

    Attributes:
        number: From 0, counting also those passed over.
        time: Seconds from the beginning of the video, later than the frame before.
        image: uint8 RGB ``[h, w, 3]``, upright, shrunk to ``LONGER_SIDE``.
        size: Width and height before it was shrunk, in pixels.
    """

    number: int
    time: float
    image: Pixels
    size: tuple[int, int]


def look_at_video(path: Path, limits: VideoLimits | None = None) -> VideoInfo:
    """What a file says of itself.

    Raises:
        FerError: It is no video that can be read, or its frames are too large; one sentence says why.
    """
    with _opened(path, limits or VideoLimits()) as (container, stream):
        return _info(container, stream)


def read_frames(path: Path, every: int = 1, limits: VideoLimits | None = None) -> Iterator[Frame]:
    """The frames of a video.

    Args:
        path: The file.
        every: 1 for every frame, k for every k-th.
        limits: Where reading stops.

    Yields:
        Frames in the order of time. Their time is the file's own, counted from its beginning; where it is missing or
        runs backwards (recordings put one after the other), frames follow each other at the average rate.

    Raises:
        FerError: The file cannot be read, at once; or from some point on, after the frames until there.
    """
    limits = limits or VideoLimits()
    name = printable(path.name)
    with _opened(path, limits) as (container, stream):
        info = _info(container, stream)
        damage = _Damage()
        clock = _Clock(container, info)
        number = -1
        for number, raw in enumerate(_decoded(container, stream, damage)):
            time = clock.time_of(raw)
            if number >= limits.frames or time > limits.seconds:
                raise FerError(
                    f"{name}: longer than the limit ({limits.told()}). Cut it into parts; the first is kept."
                )
            if number % every == 0:
                yield _frame(raw, number, time)
        if number < 0:
            raise FerError(f"{name}: no frame of it can be decoded. It is damaged or cut short; export it again.")
        if damage.places:
            places = "one place" if damage.places == 1 else f"{damage.places:,} places"
            raise FerError(f"{name}: damaged in {places}, which were passed over. The rest is read.")
        if info.seconds and clock.last < _CUT_SHORT * info.seconds - 1:
            raise FerError(
                f"{name}: cut short, it ends at {clock.last:.0f} s of {info.seconds:.0f} s. What it holds is read."
            )


@contextmanager
def _opened(path: Path, limits: VideoLimits) -> Iterator[tuple[InputContainer, VideoStream]]:
    """An open file and its first moving picture, with everything refused that can be refused before decoding."""
    import av
    from av.stream import Disposition

    name = printable(path.name)
    try:
        if not path.is_file():  # a pipe or device could be waited for without end
            raise FerError(f"{name}: {'not a regular file' if path.exists() else 'no such file. Check the path'}.")
        if not path.stat().st_size:
            raise FerError(f"{name}: the file is empty. Copy it again.")
        # An absolute path is never taken for the address of something else.
        container = av.open(str(path.absolute()), options={"format_whitelist": _FORMATS})
    except av.FFmpegError as error:
        raise FerError(
            f"{name}: not a video, or it is damaged or cut short. Use MP4, MOV, WebM, MKV or AVI."
        ) from error
    except OSError as error:
        raise from_os_error(error, path) from error
    with container:
        covers = Disposition.attached_pic  # still pictures of recordings
        streams = [stream for stream in container.streams.video if not stream.disposition & covers]
        if not streams:
            raise FerError(f"{name}: no moving picture in it{', only sound' if container.streams.audio else ''}.")
        stream = streams[0]
        if stream.codec_context is None:
            raise FerError(f"{name}: there is no decoder for this kind of video. Convert it to MP4 (H.264).")
        if stream.width * stream.height > limits.pixels:
            raise FerError(
                f"{name}: frames of {stream.width} x {stream.height} pixels; the limit is "
                f"{limits.pixels / 1e6:g} megapixels. Make it smaller."
            )
        stream.codec_context.options = {"max_pixels": str(limits.pixels)}  # the size may change later
        stream.thread_type = "AUTO"
        yield container, stream


def _info(container: InputContainer, stream: VideoStream) -> VideoInfo:
    seconds = container.duration / 1_000_000 if container.duration else None
    rate = stream.average_rate or stream.guessed_rate
    return VideoInfo((stream.width, stream.height), seconds, float(rate) if rate else None)


@dataclass
class _Damage:
    places: int = 0


def _decoded(container: InputContainer, stream: VideoStream, damage: _Damage) -> Iterator[VideoFrame]:
    """Frames; what cannot be decoded is passed over and counted."""
    import av

    for packet in _packets(container, stream, damage):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            damage.places += 1
            continue
        damage.places += any(frame.is_corrupt for frame in frames)
        yield from frames


def _packets(container: InputContainer, stream: VideoStream, damage: _Damage) -> Iterator[Packet[VideoStream]]:
    """What the container holds of a stream; a hole in it is passed over, beyond a broken end nothing is read."""
    import av

    for _ in range(_MOST_HOLES):
        try:
            yield from container.demux(stream)
            return
        except av.BlockingIOError:  # FFmpeg's "try again" for a file: it lost its way and has found it
            damage.places += 1
        except av.FFmpegError:
            damage.places += 1
            return


class _Clock:
    """Seconds of frames from the beginning of a video, each later than the one before."""

    def __init__(self, container: InputContainer, info: VideoInfo) -> None:
        start = container.start_time
        self._shift = -start / 1_000_000 if start is not None else None
        self._step = 1 / info.fps if info.fps else 1 / 25  # FFmpeg's own guess where a file is silent
        self.last = -self._step

    def time_of(self, frame: VideoFrame) -> float:
        if frame.time is None:
            self.last += self._step
            return self.last
        if self._shift is None:
            self._shift = -frame.time
        time = frame.time + self._shift
        if time <= self.last:
            time = self.last + self._step
            self._shift = time - frame.time
        self.last = time
        return time


def _frame(raw: VideoFrame, number: int, time: float) -> Frame:
    shrink = min(1.0, LONGER_SIDE / max(raw.width, raw.height))
    width, height = (max(1, round(side * shrink)) for side in (raw.width, raw.height))
    image = raw.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
    quarters = round(raw.rotation / 90) % 4  # anticlockwise, as np.rot90 turns
    size = (raw.width, raw.height) if quarters % 2 == 0 else (raw.height, raw.width)
    return Frame(number, time, np.ascontiguousarray(np.rot90(image, quarters)), size)
