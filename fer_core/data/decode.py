"""Sources -> pixels. What is kept of each picture in bulk is small: a 48 x 48 gray view and a hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.data.dataset import Split
from fer_core.data.info import Quarantined
from fer_core.data.layouts import Source
from fer_core.errors import FerError, from_os_error
from fer_core.jobs.progress import Progress, silent
from fer_core.machine import usable_cores
from fer_core.preprocessing import Pixels, decode, to_native
from fer_core.workspace import printable

VIEW: Final = 48
"""Side of the gray view on which copies are searched: FER2013's, on which the thresholds were measured."""

_THUMBNAIL_BYTES: Final = 16_384
_CHUNK: Final = 256  # pictures per task: long enough to hide the pool's cost, short enough for a lively progress bar


@dataclass(frozen=True)
class Pictures:
    """What is known of the pictures of a source after decoding each once.

    Attributes:
        view: uint8 ``[N, 48, 48]``, gray; zeros where a picture does not decode.
        sha: SHA-256 (hex) of the pixels at the dataset's native size and colour; empty where it does not
        decode. keep: bool ``[N]``: the encoded bytes already have native size and colour, show the same to
        every reader, and are stored unchanged. constant: bool ``[N]``: one colour all over.
    """

    view: Pixels
    sha: list[str]
    keep: NDArray[np.bool_]
    constant: NDArray[np.bool_]


def decode_source(
    source: Source, size: tuple[int, int], channels: int, progress: Progress = silent
) -> tuple[Pictures, list[Quarantined]]:
    """Decodes every picture of a source once.

    Args:
        source: Where to read.
        size: Native height and width, in pixels.
        channels: 1 (gray) or 3 (RGB).
        progress: Told of every chunk.

    Returns:
        What is known of each entry, and the entries that cannot be read.
    """
    total = len(source.entries)
    pictures = Pictures(
        np.zeros((total, VIEW, VIEW), np.uint8), [""] * total, np.zeros(total, bool), np.zeros(total, bool)
    )

    def examine(index: int) -> None:
        data = source.read(index)
        raw = decode(data, "the picture")
        native = to_native(raw, size, channels)
        pictures.view[index] = to_native(native, (VIEW, VIEW), 1)[:, :, 0]
        pictures.sha[index] = hashlib.sha256(native.tobytes()).hexdigest()
        gray = bool((raw[:, :, 0] == raw[:, :, 1]).all() and (raw[:, :, 0] == raw[:, :, 2]).all())
        pictures.keep[index] = raw.shape[:2] == size and gray == (channels == 1) and _plain(data)
        pictures.constant[index] = native.min() == native.max()

    failed = _for_each(source, range(total), examine, f"Reading {source.name}", progress)
    return pictures, failed


def decode_pixels(
    source: Source, rows: Sequence[int], size: tuple[int, int], channels: int, progress: Progress = silent
) -> tuple[Split, list[Quarantined]]:
    """Decodes some pictures of a source and holds them.

    Returns:
        The pictures that can be read, and the others.
    """
    images = np.empty((len(rows), *size, channels), np.uint8)
    ok = np.zeros(len(rows), bool)
    place = {row: number for number, row in enumerate(rows)}

    def hold(index: int) -> None:
        images[place[index]] = to_native(decode(source.read(index), "the picture"), size, channels)
        ok[place[index]] = True

    import pandas as pd

    failed = _for_each(source, rows, hold, f"Reading {source.name}", progress)
    good = np.flatnonzero(ok)
    entries = [source.entries[rows[number]] for number in good.tolist()]
    images = images if len(good) == len(rows) else images[good]
    table = pd.DataFrame(
        {
            "path": [entry.path for entry in entries],
            "source": source.name,
            "usage": [entry.usage for entry in entries],
            "pixel_sha": [hashlib.sha256(image.tobytes()).hexdigest() for image in images],
            "photo_id": "",
            "parent_id": None,
            "flags": "",
        }
    )
    return Split(images, np.array([entry.label for entry in entries], np.int64), table), failed


def encode_png(image: Pixels) -> bytes:
    """Encodes uint8 ``[h, w]``, ``[h, w, 1]`` or RGB ``[h, w, 3]`` as PNG, without loss."""
    if image.ndim == 3 and image.shape[2] == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", image)[1].tobytes()


def _plain(data: bytes) -> bool:
    """Whether every reader sees the same in the bytes as ``decode`` does: JPEG without EXIF, 8-bit PNG without alpha.

    Others may overlook an orientation, what is transparent, or half of 16 bits.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return b"Exif\0\0" not in data
    if data.startswith(b"\x89PNG"):
        header = data[: data.find(b"IDAT")]
        return data[24] <= 8 and data[25] not in (4, 6) and b"tRNS" not in header and b"eXIf" not in header
    return False


def _for_each(
    source: Source, rows: Sequence[int], use: Callable[[int], None], phase: str, progress: Progress
) -> list[Quarantined]:
    """Runs ``use`` on rows in a pool; returns those that cannot be read, in order."""

    def chunk(start: int) -> list[Quarantined]:
        failed = []
        for index in rows[start : start + _CHUNK]:
            path = source.entries[index].path
            try:
                use(index)
            except FerError as error:
                failed.append(Quarantined(path=path, reason=str(error).removeprefix("the picture: ")))
            except OSError as error:
                failed.append(Quarantined(path=path, reason=printable(str(from_os_error(error, path)))))
        return failed

    failed: list[Quarantined] = []
    pool = ThreadPoolExecutor(_threads(source, rows))
    try:
        for number, found in enumerate(pool.map(chunk, range(0, len(rows), _CHUNK)), start=1):
            failed += found
            progress(phase, min(number * _CHUNK, len(rows)), len(rows))
    finally:
        pool.shutdown(cancel_futures=True)  # a stop does not wait for the rest
    return failed


def _threads(source: Source, rows: Sequence[int]) -> int:
    """One for thumbnails: they decode in 40 microseconds, and more would only wait for Python's lock."""
    try:
        return 1 if len(source.read(rows[0])) < _THUMBNAIL_BYTES else usable_cores()
    except (FerError, OSError):
        return 1
