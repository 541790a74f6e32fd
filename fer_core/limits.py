"""How much a stranger may hand us. Every limit is told in words where it is met.

Each is read once, from an environment variable, when the program starts.
"""

from __future__ import annotations

import os
from typing import Final


def _whole(name: str, default: int) -> int:
    """A positive whole number from the environment; a wrong one ends the program before it does anything."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise SystemExit(f"{name} is {text[:40]!r}; it must be a whole number of 1 or more. Correct or unset it.")
    return int(text)


MEGAPIXELS: Final = _whole("FER_MAX_MEGAPIXELS", 64)
"""Of one picture: larger ones are refused before they are decoded (64 megapixels of RGB take 192 MB)."""

FILE_MB: Final = _whole("FER_MAX_FILE_MB", 256)
"""Of one picture on disk: 64 megapixels, uncompressed, are smaller."""

ENTRY_MB: Final = _whole("FER_MAX_ENTRY_MB", 64)
"""Of one picture in an archive: 64 megapixels are smaller as JPEG or PNG."""

ENTRIES: Final = _whole("FER_MAX_ENTRIES", 200_000)
"""Of an archive of pictures: to list so many takes two seconds and 83 MiB, however few bytes they have."""

MODEL_MB: Final = _whole("FER_MAX_MODEL_MB", 200)
"""Of an ONNX file that is added: twice ResNet50V2 (98.6 MB), and what the server lets through at once."""

MODEL_SECONDS: Final = _whole("FER_MAX_MODEL_SECONDS", 120)
"""In which such a model must have answered its first 80 pictures; ResNet50V2 took 28 to 34 on two busy cores."""

MODEL_MEMORY_MB: Final = _whole("FER_MAX_MODEL_MEMORY_MB", 4096)
"""That the models of one process may occupy together; ResNet50V2 with 64 faces occupies up to 1.4 GB."""

RESULTS_MB: Final = _whole("FER_MAX_RESULTS_MB", 32)
"""Of predictions that are uploaded as a CSV: 200,000 rows of a path and seven numbers; the server parses it."""

VIDEO_HOURS: Final = _whole("FER_MAX_VIDEO_HOURS", 6)
"""Time stamp at which reading a video stops; what was read until then is kept, here and in the next."""

VIDEO_FRAMES: Final = _whole("FER_MAX_VIDEO_FRAMES", 2_000_000)
"""Frames of a video, also of those passed over: six hours have 1.3 million at 60 a second."""

PLAYED_MB: Final = _whole("FER_MAX_PLAYED_MB", 200)
"""Of a video on this machine that a page plays: the player takes it into the server's memory."""

RECORDED_ROWS: Final = _whole("FER_MAX_RECORDED_ROWS", 100_000)
"""Of a webcam recording: one face for an hour at 28 frames a second, about 8 MB of CSV."""

UPLOAD_MB: Final = _whole("FER_MAX_UPLOAD_MB", 200)
"""Of what one visitor has uploaded at a time, together: it stays in the server's memory while it is shown."""

UPLOAD_PICTURES: Final = _whole("FER_MAX_UPLOAD_PICTURES", 200)
"""Pictures that one visitor has uploaded at a time; more of them are a folder."""

UPLOAD_SECONDS: Final = _whole("FER_MAX_UPLOAD_SECONDS", 120)
"""How long a page may read uploads at a stretch; what takes longer is a job."""

VIDEO_JOBS: Final = _whole("FER_MAX_VIDEO_JOBS", max(1, (os.cpu_count() or 1) // 2))
"""Videos that are read at a time for all visitors together: each keeps two cores busy, one decodes for the other."""
