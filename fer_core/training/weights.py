"""ImageNet weights of the backbones: found in Keras' own cache folder, or downloaded into it.

They are the files without classifier that ``keras.applications`` uses itself, in the same place, so that what a
notebook has downloaded is not downloaded again. No framework is loaded: pages ask ``find`` too.

The environment variable ``FER_WEIGHTS_URL`` names another address to download from, such as that of a mirror: the
files must lie right below it under the same names. ``KERAS_HOME``, ``http_proxy``, ``https_proxy`` and ``no_proxy``
are honoured.
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
from typing import Final
from urllib.error import HTTPError

from fer_core.errors import ModelError, from_os_error
from fer_core.jobs.progress import Progress, silent
from fer_core.jobs.store import take_lock
from fer_core.workspace import expand

_PIECE: Final = 2**18  # bytes
_TIMEOUT: Final = 20.0  # seconds without a byte
_RETRIES: Final = 3  # once something has arrived, and anew each time that more has
_PAUSE: Final = 1.0  # seconds before the next attempt, and between looks at another process' download


@dataclass(frozen=True)
class WeightsFile:
    """A file as Keras publishes it: its address, and its MD5 in hexadecimal."""

    url: str
    md5: str

    @property
    def name(self) -> str:
        """What it is called, there and in the cache."""
        return self.url.rpartition("/")[2]

    @property
    def source(self) -> str:
        """Where to download it from: ``url``, unless ``FER_WEIGHTS_URL`` names another place."""
        mirror = os.environ.get("FER_WEIGHTS_URL")
        return f"{mirror.rstrip('/')}/{self.name}" if mirror else self.url

    @property
    def path(self) -> Path:
        """Where it belongs."""
        return cache_folder() / self.name


# As in Keras 3.15.1: keras/src/applications/resnet.py (both ResNets) and efficientnet_v2.py. A test compares them.
_PUBLISHED: Final = "https://storage.googleapis.com/tensorflow/keras-applications"
_RESNET_FILE: Final = "weights_tf_dim_ordering_tf_kernels_notop.h5"
WEIGHTS: Final[dict[str, WeightsFile]] = {
    "resnet50v2": WeightsFile(f"{_PUBLISHED}/resnet/resnet50v2_{_RESNET_FILE}", "fac2f116257151a9d068a22e544a4917"),
    "resnet50": WeightsFile(f"{_PUBLISHED}/resnet/resnet50_{_RESNET_FILE}", "4d473c1dd8becc155b73f8504c6f6626"),
    "efficientnetv2b0": WeightsFile(
        f"{_PUBLISHED}/efficientnet_v2/efficientnetv2-b0_notop.h5", "893217f2bb855e2983157299931e43ff"
    ),
}
"""By the name of the network."""


def cache_folder() -> Path:
    """``$KERAS_HOME/models`` or ``~/.keras/models``; like Keras, below /tmp where the home folder is read-only."""
    if given := os.environ.get("KERAS_HOME"):
        return expand(given) / "models"
    home = expand("~")
    return (home if os.access(home, os.W_OK) else Path("/tmp")) / ".keras" / "models"


def find(architecture: str) -> Path | None:
    """The ImageNet weights of a network, if they are in the cache and their checksum is right."""
    file = WEIGHTS.get(architecture)
    if file is None:
        return None
    with contextlib.suppress(OSError):
        stat = file.path.stat()
        if _remembered_md5(file.path, stat.st_ino, stat.st_size, stat.st_mtime_ns) == file.md5:
            return file.path
    return None


def fetch(architecture: str, progress: Progress = silent) -> Path:
    """The ImageNet weights of a network, downloaded if they are not in the cache.

    What has arrived is kept as ``<name>.part`` when the connection drops or ``progress`` raises ``Stopped``, and the
    next call asks for the rest only. Of several processes one downloads and the others wait for it.

    Args:
        architecture: A key of ``WEIGHTS``.
        progress: Told of bytes; their total is 0 where it is not known.

    Raises:
        ModelError: There are none of this network, or they cannot be downloaded, or something else arrived.
        FerError: The disk is full, or the cache cannot be written.
    """
    file = WEIGHTS.get(architecture)
    if file is None:
        raise ModelError(f"There are no ImageNet weights of the network {architecture!r}: use --set weights=none.")
    if found := find(architecture):
        return found
    path = file.path.with_name(f"{file.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path, progress) as part:
            if not find(architecture):  # another process may just have finished
                _complete(file, part, path, progress)
                path.replace(file.path)
    except OSError as error:
        raise from_os_error(error, path) from error
    return file.path


def locate(weights: str, architecture: str, progress: Progress = silent) -> Path | None:
    """The file that the setting ``weights`` means: None for ``none``, that of ``fetch`` for ``imagenet``, or a path.

    Raises:
        ModelError: There is no such file, or it cannot be downloaded.
        FerError: The disk is full, or the cache cannot be written.
    """
    if weights == "none":
        return None
    if weights == "imagenet":
        return fetch(architecture, progress)
    path = expand(weights)
    if not path.is_file():
        raise ModelError(f"{path}: no such weights file; give the path of one, or --set weights=imagenet or none.")
    return path


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@functools.lru_cache(maxsize=16)
def _remembered_md5(path: Path, inode: int, size: int, mtime: int) -> str:
    """The checksum, computed once as long as the file is the same: pages ask at every look."""
    return _md5(path)


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


def _complete(file: WeightsFile, part: FileIO, path: Path, progress: Progress) -> None:
    """Downloads what ``part`` lacks, going on after dropped connections, and checks the whole."""
    if _md5(path) == file.md5:  # stopped between its last byte and its renaming
        return
    phase, by_hand = f"Downloading {file.name}", f"put {file.name} into the folder {path.parent} yourself"
    have, furthest, retries = part.seek(0, os.SEEK_END), 0, 0
    while True:
        try:
            progress(phase, have, 0)
            for start, total, piece in _receive(file.source, have):
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
                raise ModelError(
                    f"{file.source} cannot be downloaded ({failure}): {by_hand}, or start with --set weights=none."
                ) from failure
    if (found := _md5(path)) != file.md5:
        part.truncate(0)
        raise ModelError(
            f"{file.source} gave another file than expected (MD5 {found}, not {file.md5}), which was deleted: "
            f"start again, or {by_hand}, or start with --set weights=none."
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
