"""A file from the web into a cache folder: what has arrived is kept, one process downloads, and a checksum decides.

``http_proxy``, ``https_proxy`` and ``no_proxy`` are honoured.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from io import FileIO
from pathlib import Path
from typing import Final, Literal
from urllib.error import HTTPError

from fer_core.errors import ModelError, from_os_error
from fer_core.jobs.progress import Progress, silent
from fer_core.jobs.store import take_lock

_PIECE: Final = 2**18  # bytes
_TIMEOUT: Final = 20.0  # seconds without a byte
_RETRIES: Final = 3  # once something has arrived, and anew each time that more has
_PAUSE: Final = 1.0  # seconds before the next attempt, and between looks at another process' download


@dataclass(frozen=True)
class Checksum:
    """A checksum as it is published: its algorithm, and its value in hexadecimal."""

    algorithm: Literal["md5", "sha256"]
    value: str

    def is_of(self, path: Path) -> bool:
        """Whether it is that of a file, which is read once as long as it is the same: pages ask at every look."""
        with contextlib.suppress(OSError):
            stat = path.stat()
            return _remembered(self.algorithm, path, stat.st_ino, stat.st_size, stat.st_mtime_ns) == self.value
        return False


def fetch(url: str, path: Path, checksum: Checksum, otherwise: str, progress: Progress = silent) -> Path:
    """Downloads a file unless it is there.

    What has arrived is kept as ``<name>.part`` when the connection drops or ``progress`` raises ``Stopped``, and the
    next call asks for the rest only. Of several processes one downloads and the others wait for it.

    Args:
        url: Where from.
        path: Where to; its folder is made. Another file that lies there is replaced.
        checksum: The file's.
        otherwise: What the user can do without it, to end a message with: "start with --set weights=none".
        progress: Told of bytes; their total is 0 where it is not known.

    Returns:
        ``path``.

    Raises:
        ModelError: It cannot be downloaded, or something else arrived.
        FerError: The disk is full, or the folder cannot be written.
    """
    if checksum.is_of(path):
        return path
    partial = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(partial, progress) as part:
            if not checksum.is_of(path):  # another process may just have finished
                _complete(url, part, partial, checksum, otherwise, progress)
                partial.replace(path)
    except OSError as error:
        raise from_os_error(error, partial) from error
    return path


def _hash(algorithm: str, path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


@functools.lru_cache(maxsize=16)
def _remembered(algorithm: str, path: Path, inode: int, size: int, mtime: int) -> str:
    return _hash(algorithm, path)


@contextlib.contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[FileIO]:
    """The partial file, locked while it is open; it vanishes afterwards if there is nothing in it."""
    while True:
        descriptor = take_lock(path)
        if descriptor is None:
            progress(f"Waiting for another download of {path.stem}", 0, 0)
            time.sleep(_PAUSE)
            continue
        with FileIO(descriptor, "r+") as part:
            if not _is_at(path, descriptor):
                continue  # its holder renamed or removed it after we had opened it
            try:
                yield part
            except OSError as error:
                if error.errno == errno.ENOSPC:  # give back what we took
                    part.truncate(0)
                raise
            finally:
                if not os.fstat(descriptor).st_size:
                    path.unlink(missing_ok=True)
            return


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _complete(url: str, part: FileIO, path: Path, checksum: Checksum, otherwise: str, progress: Progress) -> None:
    """Downloads what ``part`` lacks, going on after dropped connections, and checks the whole."""
    if _hash(checksum.algorithm, path) == checksum.value:  # stopped between its last byte and its renaming
        return
    phase, by_hand = f"Downloading {path.stem}", f"put {path.stem} into the folder {path.parent} yourself"
    have, furthest, retries = part.seek(0, os.SEEK_END), 0, 0
    while True:
        try:
            progress(phase, have, 0)
            for start, total, piece in _receive(url, have):
                if start != have:  # the server sends all, whatever it was asked for
                    part.truncate(start)
                have = part.seek(start)
                while have < start + len(piece):  # a disk that is nearly full takes less than it was given
                    have += part.write(piece[have - start :])
                if have > furthest:
                    furthest, retries = have, _RETRIES
                progress(phase, have, total)
            break
        except _Failed as failure:
            if failure.status == 416 and have:  # the server's file ends before: what we have is of another
                have = part.seek(0)
                part.truncate()
            elif retries and not 400 <= failure.status < 500:
                retries -= 1
                time.sleep(_PAUSE)
            else:
                raise ModelError(f"{url} cannot be downloaded ({failure}): {by_hand}, or {otherwise}.") from failure
    if (found := _hash(checksum.algorithm, path)) != checksum.value:
        part.truncate(0)
        raise ModelError(
            f"{url} gave another file than expected ({checksum.algorithm.upper()} {found}, not {checksum.value}), "
            f"which was deleted: start again, or {by_hand}, or {otherwise}."
        )


class _Failed(Exception):
    """What went wrong between here and the server, told apart from a disk error, which is an OSError too."""

    def __init__(self, reason: object, status: int = 0) -> None:
        super().__init__(getattr(reason, "strerror", None) or str(reason) or type(reason).__name__)
        self.status = status


def _receive(url: str, start: int) -> Iterator[tuple[int, int, bytes]]:
    """Pieces of a file from byte ``start``, or from 0 if the server sends all: where each begins, the size of the
    whole (0 if unknown), and its bytes. The first is empty.
    """
    try:
        request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
        # An opener of its own, since the one that urllib keeps remembers the proxies of its first use.
        with urllib.request.build_opener().open(request, timeout=_TIMEOUT) as reply:
            rest = reply.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            at, length = start if rest else 0, reply.headers.get("Content-Length", "")
            total = at + int(length) if length.isdigit() else 0
            yield at, total, b""
            # read1 gives what has arrived, so that a slow download shows and can be stopped.
            while piece := reply.read1(_PIECE):
                yield at, total, piece
                at += len(piece)
            if at < total:
                raise _Failed("the connection ended early")
    except HTTPError as error:
        raise _Failed(f"{error.code} {error.reason}", error.code) from error
    except (OSError, HTTPException, ValueError) as error:  # ValueError: no web address
        raise _Failed(getattr(error, "reason", error)) from error
