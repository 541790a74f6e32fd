"""The file of the YuNet face detector: found in a cache folder, or downloaded into it when asked to.

The folder is ``$FER_CACHE``, or ``fer_core`` in ``$XDG_CACHE_HOME`` or ``~/.cache``. Either version that OpenCV has
published may be put there by hand. The environment variable ``FER_YUNET_URL`` names another folder of the web to
download from, such as a mirror: the file must lie right below it under the same name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from fer_core import download
from fer_core.download import Checksum
from fer_core.errors import ModelError
from fer_core.jobs.progress import Progress, silent
from fer_core.workspace import expand

FILES: Final = {
    "face_detection_yunet_2026may.onnx": "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0",
    "face_detection_yunet_2023mar.onnx": "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
}
"""The versions that we know (MIT licence) and their SHA-256, newest first: the first that is there is used."""

DOWNLOADED: Final = "face_detection_yunet_2023mar.onnx"

_PUBLISHED: Final = "https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet"
"""OpenCV's model zoo; the address of the files themselves, which its repository only points to."""

COMMAND: Final = "python -m fer_core predict PICTURE --detector yunet"
"""Downloads the file when it is first used."""


def cache_folder() -> Path:
    """Where the file belongs."""
    if given := os.environ.get("FER_CACHE"):
        return expand(given)
    return expand(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "fer_core"


def find() -> Path | None:
    """The detector's file, if one that we know is there."""
    paths = {cache_folder() / name: Checksum("sha256", digest) for name, digest in FILES.items()}
    return next((path for path, checksum in paths.items() if checksum.is_of(path)), None)


def unknown() -> Path | None:
    """What lies in the place of the file where it is none that we know."""
    if find():
        return None
    return next((path for path in map(cache_folder().joinpath, FILES) if path.exists()), None)


def require() -> Path:
    """The detector's file.

    Raises:
        ModelError: It is not there, or what lies in its place is another file.
    """
    if found := find():
        return found
    _refuse(unknown())
    raise ModelError(
        f"The face detector yunet needs a file that is not here: run `{COMMAND}` once, which downloads it, or put "
        f"{DOWNLOADED} into the folder {cache_folder()} yourself, or choose the detector haar."
    )


def fetch(progress: Progress = silent) -> Path:
    """The detector's file, downloaded if it is not there; see ``download.fetch``.

    Raises:
        ModelError: It cannot be downloaded, something else arrived, or another file lies in its place.
        FerError: The disk is full, or the folder cannot be written.
    """
    if found := find():
        return found
    _refuse(unknown())
    path = cache_folder() / DOWNLOADED
    url = f"{(os.environ.get('FER_YUNET_URL') or _PUBLISHED).rstrip('/')}/{DOWNLOADED}"
    return download.fetch(url, path, Checksum("sha256", FILES[DOWNLOADED]), "use --detector haar", progress)


def _refuse(path: Path | None) -> None:
    if path is not None:
        raise ModelError(
            f"{path}: its checksum is that of no YuNet file we know, so it is not opened. Delete it, then run "
            f"`{COMMAND}` or put the right file there."
        )
