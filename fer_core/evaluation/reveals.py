"""How often a test set has been looked at: a score that was looked at often is no longer an honest one.

The log, ``test_reveals.jsonl`` in the workspace, has one line per look. A test set is known by its pixels at
the size and colour in which the model is tested: the same images prepared twice, or read from an archive, are
still the same test at the same size and colour. At another size or colour they are counted anew.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from pathlib import Path

from fer_core.workspace import Workspace


def record_reveal(space: Workspace, pixel_sha: Iterable[str], model: str, data: str) -> int:
    """Notes that the result on a test set is about to be shown.

    Args:
        space: Where it is counted.
        pixel_sha: Of the test images, in any order.
        model: Name of the model.
        data: Name of the dataset or source.

    Returns:
        How often this test set has been revealed in the workspace, this time included.
    """
    test_set = _identity(pixel_sha)
    line = {"time": round(time.time(), 3), "test_set": test_set, "model": model, "data": data}
    space.root.mkdir(parents=True, exist_ok=True)
    # One write in append mode: evaluations that run at the same time do not lose each other's line.
    with _log(space).open("ab", buffering=0) as file:
        file.write(f"{json.dumps(line)}\n".encode())
    return _count(space, test_set)


def reveals(space: Workspace, pixel_sha: Iterable[str]) -> int:
    """How often a test set has been revealed in the workspace."""
    return _count(space, _identity(pixel_sha))


def _log(space: Workspace) -> Path:
    return space.root / "test_reveals.jsonl"


def _identity(pixel_sha: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(pixel_sha)).encode()).hexdigest()


def _count(space: Workspace, test_set: str) -> int:
    try:
        lines = _log(space).read_bytes().splitlines()
    except FileNotFoundError:
        return 0
    return sum(f'"test_set": "{test_set}"'.encode() in line for line in lines)
