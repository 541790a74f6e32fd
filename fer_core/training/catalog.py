"""What is known of all runs of a workspace, read once: later looks cost a listing of each run's folder.

What was read of runs that are not at work is also kept in ``.catalog.json`` beside them, so that the next server does
not begin from nothing. That file is derived from the runs alone: it may be deleted at any moment, and whatever does
not fit the files of a run as they are now is read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError

import fer_core
from fer_core.errors import FerError
from fer_core.evaluation.compare import PairedDifference
from fer_core.evaluation.predictions import predictions_file, read_predictions
from fer_core.jobs.progress import Progress, silent
from fer_core.jobs.state import JobState, derive
from fer_core.jobs.store import Job, write_atomically
from fer_core.training import run_folder
from fer_core.training.answers import Answers, paired
from fer_core.training.comparison import shared_images, why_not_compared
from fer_core.training.facts import RunFacts, read_facts
from fer_core.training.run_folder import DiskUse, Notes
from fer_core.training.runs import KIND, Run
from fer_core.workspace import Workspace

CATALOG_FILE: Final = ".catalog.json"

_FORMAT: Final = 2  # to be raised when what is derived from a run changes
_VOLATILE: Final = frozenset({"lock", "stop", "worker.log"})  # say nothing that is kept here
_MOST_PAIRS: Final = 256

_Rows = NDArray[np.int64]


@dataclass(frozen=True)
class RunSummary:
    """A run as a table shows it.

    Attributes:
        job: Its folder.
        state: What is true now.
        facts: What its files say.
        notes: What a person wrote about it.
        disk: What it takes.
        freeable: Bytes of checkpoints that it does not need any more.
        answers: To the validation images; None where there are none, or they are damaged.
        data: What its answers are about: equal where the dataset and the images are the same.
    """

    job: Job
    state: JobState
    facts: RunFacts
    notes: Notes
    disk: DiskUse
    freeable: int
    answers: Answers | None
    data: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.job.name

    @property
    def run(self) -> Run:
        """A fresh look at its folder."""
        return Run(self.job)


@dataclass(frozen=True)
class _Entry:
    """What is kept of a run, and of which version of its files and its dataset it was made."""

    # A curve may hold NaN, which JSON does not know.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(ser_json_inf_nan="constants")

    signature: str
    dataset: str
    written: str
    whole: bool
    facts: RunFacts
    notes: Notes
    disk: DiskUse
    answers: Answers | None


@dataclass(frozen=True)
class _File:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(ser_json_inf_nan="constants")

    version: str
    runs: dict[str, _Entry]


_FILE: Final = TypeAdapter(_File)
_VERSION: Final = f"{fer_core.__version__}/{_FORMAT}"


class Catalog:
    """The runs of a workspace, for as many looks at once as come.

    Args:
        space: Where they are.
    """

    def __init__(self, space: Workspace) -> None:
        self._space = space
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] | None = None
        self._pairs: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[_Rows, _Rows] | str] = {}

    def look(self, progress: Progress = silent) -> list[RunSummary]:
        """All training runs as they are now, damaged ones included, newest first.

        Args:
            progress: Hears of the runs that have to be read, if there are any.
        """
        with self._lock:
            known = self._read_file() if self._entries is None else self._entries
            found = sorted(_folders(self._space.runs), key=lambda folder: folder.written, reverse=True)
            datasets: dict[str, str] = {}
            self._entries = {
                folder.job.name: entry
                for folder in found
                if (entry := known.get(folder.job.name))
                and entry.signature == folder.signature
                and entry.dataset == _dataset_stamp(entry.facts, datasets)
            }
            new = [folder for folder in found if folder.job.name not in self._entries]
            try:
                for number, folder in enumerate(new):
                    progress("Reading runs", number, len(new))
                    if folder.job.kind in (KIND, ""):  # a damaged one may have been a run
                        self._entries[folder.job.name] = _read(folder, datasets)
            finally:
                summaries = [
                    _summary(folder.job, self._entries[folder.job.name])
                    for folder in found
                    if folder.job.name in self._entries
                ]
                self._write_file(summaries, {folder.job.name for folder in new})
            return summaries

    def difference(self, a: RunSummary, b: RunSummary) -> tuple[PairedDifference | None, str]:
        """How run ``b`` differs from ``a`` on validation images; or None, and why that is not known.

        Like ``compare_runs``, but from what is kept: a matter of microseconds.
        """
        if a.answers is None or b.answers is None:
            return None, "no answers to compare"
        if a.data == b.data and a.facts.config and a.facts.config.dataset:
            found = a.answers.compare(b.answers)
            return found, "" if found else "no shared image"
        rows = self._shared(a, b)
        if isinstance(rows, str):
            return None, rows
        right_a, right_b = (side.answers.rows()[at] for side, at in ((a, rows[0]), (b, rows[1])) if side.answers)
        both = int((right_a & right_b).sum())
        return paired(both, int(right_a.sum()) - both, int(right_b.sum()) - both, len(right_a)), ""

    def _shared(self, a: RunSummary, b: RunSummary) -> tuple[_Rows, _Rows] | str:
        """Where shared images stand in the answers of either, or why there are none; the same for all such runs."""
        pair = a.data, b.data
        if pair not in self._pairs:
            if len(self._pairs) >= _MOST_PAIRS:
                self._pairs.clear()
            try:
                self._pairs[pair] = shared_images(a.run, b.run) or why_not_compared(a.run, b.run)
            except (FerError, OSError):  # gone or damaged since the look
                return "no answers to compare"
        return self._pairs[pair]

    def _read_file(self) -> dict[str, _Entry]:
        try:
            file = _FILE.validate_json((self._space.runs / CATALOG_FILE).read_bytes())
        except (OSError, ValidationError):
            return {}
        return file.runs if file.version == _VERSION else {}

    def _write_file(self, summaries: list[RunSummary], new: set[str]) -> None:
        """Keeps what stays as it is, if there is something new of that kind."""
        assert self._entries is not None
        settled = [summary.name for summary in summaries if not summary.state.alive]
        if new.isdisjoint(settled):
            return
        file = _File(_VERSION, {name: self._entries[name] for name in settled})
        with contextlib.suppress(OSError):  # a full disk or a folder that may only be read: it is derived anyway
            write_atomically(self._space.runs / CATALOG_FILE, _FILE.dump_json(file))


@dataclass(frozen=True)
class _Folder:
    """The folder of a run as listed: its job, when that was made, and a digest of its files' identities."""

    job: Job
    written: int
    signature: str


def _folders(runs: Path) -> Iterator[_Folder]:
    with contextlib.suppress(FileNotFoundError), os.scandir(runs) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # renamed or deleted meanwhile
                if found := _folder(Path(entry.path)):
                    yield found


def _folder(path: Path) -> _Folder | None:
    if not path.is_dir():
        return None
    written, files = 0, []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name in _VOLATILE or entry.name.startswith("."):
                continue
            with contextlib.suppress(FileNotFoundError):  # a worker replaces files while we look
                found = entry.stat()
                # A file that was replaced within one tick of the clock is another one all the same.
                files.append((entry.name, found.st_ino, found.st_mtime_ns, found.st_size))
                written = found.st_mtime_ns if entry.name == "job.json" else written
    if not written:
        return None
    digest = hashlib.blake2b(repr(sorted(files)).encode("utf-8", "surrogateescape"), digest_size=16)
    return _Folder(Job(path), written, digest.hexdigest())


def _dataset_stamp(facts: RunFacts, seen: dict[str, str]) -> str:
    """Which version of its dataset is at hand; ``seen`` holds those of this look."""
    if facts.config is None or facts.config.dataset is None:
        return ""
    path = facts.config.dataset.path
    if path not in seen:
        try:
            found = (Path(path) / "dataset.json").stat()
            seen[path] = f"{path} {found.st_mtime_ns} {found.st_size}"
        except (OSError, ValueError):
            seen[path] = f"{path} gone"
    return seen[path]


def _read(folder: _Folder, datasets: dict[str, str]) -> _Entry:
    job = folder.job
    facts = read_facts(job)
    try:
        answers = Answers.of(read_predictions(predictions_file(job.folder, "validation")))
    except (FerError, OSError):
        answers = None
    return _Entry(
        signature=folder.signature,
        dataset=_dataset_stamp(facts, datasets),
        written=job.status().state,
        whole=run_folder.is_whole(job),
        facts=facts,
        notes=run_folder.read_notes(job.folder),
        disk=run_folder.disk_use(job.folder),
        answers=answers,
    )


def _summary(job: Job, entry: _Entry) -> RunSummary:
    state = derive(entry.written, lock_held=False, stop_requested=False)
    if state is JobState.CRASHED:  # so it has not said its last word, and only its lock knows whether it still can
        state = derive(entry.written, job.lock_held(), job.stop_requested())
    reference = entry.facts.config.dataset if entry.facts.config else None
    return RunSummary(
        job=job,
        state=state,
        facts=entry.facts,
        notes=entry.notes,
        disk=entry.disk,
        freeable=entry.disk.checkpoints if state is JobState.DONE and entry.whole else 0,
        answers=entry.answers,
        data=(
            entry.dataset,
            reference.fingerprint if reference else "",
            entry.answers.images if entry.answers else "",
        ),
    )
