"""What the benchmarks measure on: the real archives where they are given, else faces that we draw."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from benchmarks.measure import note, run_child

FER2013, REEXPORT = "fer2013.zip", "emotion-detection-fer.zip"

ARCHIVES_HELP: Final = (
    f"Folder with {FER2013} and {REEXPORT}. Default: $FER_REAL_DATA; without it, faces are drawn, "
    "which is too little to judge the figures by."
)
DATASET_HELP: Final = (
    f"A prepared leak-free dataset, or a folder with {FER2013} and {REEXPORT} to make it from. "
    "Default: $FER_REAL_DATA; without it, faces are drawn."
)

AS_BUNDLED: Final = ("--val-fraction", "0.05")
"""How the dataset of the bundled model was prepared: with another share, it is validated on what it has learned."""

FER: Final = (sys.executable, "-m", "fer_core")
"""The command line, in the interpreter that runs the benchmark."""


def given(data: Path | None) -> Path | None:
    """The folder of real data, if there is one."""
    named = data or os.environ.get("FER_REAL_DATA")
    return Path(named).absolute() if named else None


def archives(data: Path | None, scratch: Path) -> tuple[Path, Path]:
    """FER2013 and its re-export, drawn into ``scratch`` where no folder is given.

    Raises:
        SystemExit: The folder does not hold them.
    """
    folder = given(data)
    if folder is None:
        note("drawing faces")
        run_child([*FER, "data", "demo", "--out", scratch / "drawn"])
        folder = scratch / "drawn"
        first, second = sorted(folder.iterdir(), key=lambda path: "fer2013" not in path.name)
        return first, second
    for name in (FER2013, REEXPORT):
        if not (folder / name).is_file():
            raise SystemExit(f"{folder}: expected {FER2013} and {REEXPORT} here, found no {name}.")
    return folder / FER2013, folder / REEXPORT


def leak_free_dataset(data: Path | None, scratch: Path, *options: str) -> Path:
    """A prepared dataset of policy leak-free: the one that is given, or made in ``scratch`` with these options."""
    folder = given(data)
    if folder is not None and (folder / "dataset.json").is_file():
        return folder
    first, second = archives(data, scratch)
    note("preparing a dataset")
    out = scratch / "leak-free"
    workspace = {"FER_WORKSPACE": str(scratch / "workspace")}
    run_child([*FER, "data", "prepare", f"fer2013={first}", f"edf={second}", "--out", out, *options], workspace)
    return out
