"""The one folder that holds everything a user makes: sources, datasets, runs, jobs, models."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fer_core.errors import DatasetError, FerError, JobError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Workspace:
    """Paths below one root; nothing is created until it is needed."""

    root: Path

    @classmethod
    def default(cls) -> Workspace:
        """``$FER_WORKSPACE``, or ``workspace`` in the current folder."""
        return cls(expand(os.environ.get("FER_WORKSPACE") or "workspace").absolute())

    @property
    def sources(self) -> Path:
        """The inbox: archives put or uploaded here are offered on the Data page."""
        return self.root / "sources"

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def evaluations(self) -> Path:
        """What models said of datasets other than their own; those of a run on its own data lie in the run."""
        return self.root / "evaluations"

    @property
    def device_lock(self) -> Path:
        """Held by the one training run that may use the processor or GPU."""
        return self.root / "device.lock"

    def free_bytes(self) -> int:
        """Free disk space where the workspace is, or will be."""
        existing = next(folder for folder in (self.root, *self.root.parents) if folder.exists())
        return shutil.disk_usage(existing).free

    def dataset(self, name_or_path: str) -> Path:
        """The folder of a prepared dataset, by its name in the workspace or by path.

        Raises:
            DatasetError: Nothing is there.
        """
        for folder in (self.datasets / name_or_path, expand(name_or_path)):
            if (folder / "dataset.json").is_file():
                return folder.absolute()
        known = ", ".join(entry.name for entry in self.list_datasets()) or "none yet"
        raise DatasetError(
            f"No prepared dataset named or at {name_or_path!r}. Datasets in the workspace: {known}. "
            "Make one with `python -m fer_core data prepare SOURCE... --out NAME`."
        )

    def new_dataset(self, name_or_path: str) -> Path:
        """Where a new dataset goes: a bare name goes into the workspace, a path with a folder in it is kept.

        Raises:
            FerError: The name cannot be the name of a dataset.
        """
        path = expand(name_or_path)
        if (shown := printable(name_or_path)) != name_or_path:
            raise FerError(f"{shown}: this name is not plain text. Choose another name.")
        if path.name != name_or_path:
            return path.absolute()
        return self.datasets / check_name(name_or_path, "dataset")

    def list_datasets(self) -> list[Path]:
        """Folders of the prepared datasets, newest first."""
        files = (file for file in self.datasets.glob("*/dataset.json") if not file.parent.name.startswith("."))
        return [file.parent for file in newest_first(files)]  # hidden: being written

    def run(self, name_or_path: str) -> Path:
        """The folder of a training run, by name or by path.

        Raises:
            JobError: Nothing is there.
        """
        for folder in (self.runs / name_or_path, expand(name_or_path)):
            if (folder / "job.json").is_file():
                return folder.absolute()
        known = ", ".join(sorted(entry.parent.name for entry in self.runs.glob("*/job.json"))) or "none yet"
        raise JobError(f"No run named {name_or_path!r}. Runs in the workspace: {known}.")

    def new_name(self, folder: Path, stem: str) -> str:
        """The first free ``stem-1``, ``stem-2``, ... in ``folder``."""
        number = 1
        while (folder / f"{stem}-{number}").exists():
            number += 1
        return f"{stem}-{number}"


def newest_first(files: Iterable[Path]) -> list[Path]:
    """Files by the time they were last written; one whose folder was renamed or deleted meanwhile is left out."""
    written = []
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            written.append((file.stat().st_mtime, file))
    return [file for _, file in sorted(written, key=lambda entry: entry[0], reverse=True)]


def check_name(name: str, what: str) -> str:
    """Returns ``name`` if it can be a folder name everywhere.

    Raises:
        FerError: It is empty, too long, or holds characters that could leave the workspace.
    """
    if not _NAME.fullmatch(name):
        raise FerError(
            f"{name!r} cannot be the name of a {what}: use 1 to 64 letters, digits, dots, dashes or underscores, "
            "starting with a letter or digit."
        )
    return name


def expand(path: str) -> Path:
    """The path that a user wrote, with ``~`` and ``~name`` replaced by a home folder.

    Raises:
        FerError: There is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise FerError(f"{path}: there is no home folder of that user. Write the path in full.") from None


def printable(path: str) -> str:
    """A file name as text that can be stored and shown, on a terminal too.

    Bytes that are no UTF-8 become replacement characters, and so do control characters (C0, C1), which could end the
    line or give orders to the terminal. The result is not for opening the file.
    """
    return _CONTROL.sub("\ufffd", path.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
