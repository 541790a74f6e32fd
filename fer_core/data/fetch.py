"""Downloads the two Kaggle data sets with kagglehub, an optional extra, which keeps them in a cache of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Final

from fer_core.data.sources import look_at
from fer_core.errors import FerError
from fer_core.jobs.progress import Progress, silent

HANDLES: Final = {"fer2013": "msambare/fer2013", "emotion-detection-fer": "ananthu017/emotion-detection-fer"}
"""What Kaggle calls the two data sets that are usually merged."""

INSTALL: Final = "pip install -r requirements-kaggle.txt"

_POLL: Final = 0.2  # seconds

# In a process of its own: a download cannot be stopped otherwise. What it has loaded is gone on with the next time.
_CHILD: Final = "import sys, kagglehub; print(kagglehub.dataset_download(sys.argv[1]))"
_UNREACHABLE: Final = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "ProxyError", "SSLError")


def installed() -> bool:
    """Whether the optional extra is there."""
    return importlib.util.find_spec("kagglehub") is not None


def cache_folder() -> Path:
    """Where kagglehub keeps data sets: ``$KAGGLEHUB_CACHE``, or ``~/.cache/kagglehub``."""
    return Path(os.environ.get("KAGGLEHUB_CACHE") or Path.home() / ".cache" / "kagglehub") / "datasets"


def fetch(name: str, inbox: Path, progress: Progress = silent) -> Path:
    """Downloads a data set from Kaggle, unless it is in kagglehub's cache.

    Args:
        name: A key of ``HANDLES``.
        inbox: Where a download by hand belongs; for the message.
        progress: Told while it loads. Raising from it ends the download, which the next one goes on with.

    Returns:
        The folder with its pictures, a source for ``prepare``.

    Raises:
        FerError: kagglehub is not installed, Kaggle cannot be reached or refuses, or what came is no such data set.
    """
    handle = HANDLES[name]
    by_hand = f"download https://www.kaggle.com/datasets/{handle} in a browser and put the zip into {inbox}"
    if not installed():
        raise FerError(f"kagglehub is not installed: {INSTALL}. Or {by_hand}.")
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen([sys.executable, "-c", _CHILD, handle], stdout=output, stderr=errors)
        try:
            while process.poll() is None:
                progress(_phase(handle), 0, 0)
                time.sleep(_POLL)
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            raise FerError(f"{_reason(_last_line(errors))}. Try again later, or {by_hand}.")
        folder = Path(_last_line(output))
    try:
        look_at(folder)
    except FerError as error:
        raise FerError(f"What Kaggle sent is not {name} ({error}) To get it otherwise, {by_hand}.") from error
    return folder


def _phase(handle: str) -> str:
    """What it does, with the size of what has come: Kaggle's server says it to kagglehub alone."""
    parts = (cache_folder() / handle).glob("*.archive")
    size = sum(part.stat().st_size for part in parts)
    return f"Downloading, {size / 1e6:,.0f} MB so far" if size else "Asking Kaggle"


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _reason(line: str) -> str:
    if any(word in line for word in _UNREACHABLE):
        return "Kaggle cannot be reached from this machine"
    return f"Kaggle refused the download ({line[:200].rstrip('.')})" if line else "The download ended without a word"
