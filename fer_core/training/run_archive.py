"""A run as one zip file: written here, and taken in from strangers.

What comes in is not trusted: only files that a run of ours has are taken in, under names of ours; each is bounded in
size before and while it is read; none is loaded that could carry code. The run appears in one step or not at all.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from fer_core.archive import DAMAGED, MAX_EXPANSION, BoundedZip, files_in, unsafe
from fer_core.data.dataset import Dataset
from fer_core.errors import FerError, JobError
from fer_core.evaluation.predictions import read_predictions
from fer_core.inference.served import CARD_FILE, FINGERPRINTS_FILE, MODEL_FILE, ModelCard, check_unused
from fer_core.inference.tta import Tta
from fer_core.jobs.state import JobState, derive
from fer_core.jobs.store import Job, JobSpec, JobStatus, take_lock
from fer_core.training.config import RunConfig, read_config
from fer_core.training.facts import read_facts
from fer_core.training.run_folder import NOTES_FILE, Notes, write_name
from fer_core.training.runs import CHECKPOINTS, CONFIG_FILE, KIND, METRICS_FILE, Run, write_config
from fer_core.workspace import Workspace, check_name

_MB: Final = 2**20

_SIZES: Final = {
    "job.json": 1 * _MB,
    CONFIG_FILE: 1 * _MB,
    "status.json": 16 * _MB,
    NOTES_FILE: 1 * _MB,
    "events.jsonl": 1024 * _MB,
    "worker.log": 256 * _MB,
    METRICS_FILE: 16 * _MB,
    CARD_FILE: 16 * _MB,
    MODEL_FILE: 2048 * _MB,
    "best.keras": 4096 * _MB,
    FINGERPRINTS_FILE: 256 * _MB,
    "classification_report.csv": 1 * _MB,
    "training_history.png": 64 * _MB,
    "prediction_samples.png": 64 * _MB,
}
"""Files of a run, and the most that each may unpack to."""

_PATTERNS: Final = (
    (re.compile(rf"predictions-(train|validation|test)(-({'|'.join(Tta)}))?\.parquet"), 512 * _MB),
    (re.compile(r"confusion_matrix_(val|test)\.png"), 64 * _MB),
    (re.compile(rf"{CHECKPOINTS}/(state\.json|phase\d{{1,3}}-epoch\d{{1,6}}\.npz)"), 4096 * _MB),
)

_SMALL: Final = 256 * _MB  # unpacked sizes below this are harmless whatever the ratio
_SPARE: Final = 512 * _MB  # of the disk, to be left free
_MOST_ENTRIES: Final = 10_000
_CHUNK: Final = _MB
_INCOMING: Final = ".incoming"  # beside the runs: what lies in it is none yet
_STORED: Final = frozenset({".png", ".npz", ".keras", ".parquet"})  # compressed already

_Document = TypeVar("_Document", bound=BaseModel)


@dataclass(frozen=True)
class Imported:
    """A run that was taken in, and how many files of the archive were left out as none of a run's."""

    job: Job
    left_out: int


def export_run(job: Job, target: IO[bytes], *, checkpoints: bool = False) -> None:
    """Writes a run into a zip file, in a folder of its name.

    A run may be at work: what it holds now is written, and it is imported as stopped.

    Args:
        job: The run.
        target: A file that is open for writing and can be sought in.
        checkpoints: Whether those go along, from which an unfinished run goes on.

    Raises:
        OSError: Reading or writing failed.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for file in sorted(path for path in job.folder.rglob("*") if path.is_file() and not path.is_symlink()):
            name = file.relative_to(job.folder).as_posix()
            if _most_bytes(name) is None or (name.startswith(f"{CHECKPOINTS}/") and not checkpoints):
                continue
            packing = zipfile.ZIP_STORED if file.suffix in _STORED else zipfile.ZIP_DEFLATED
            with contextlib.suppress(FileNotFoundError):  # a worker replaces its checkpoints while we read
                archive.write(file, f"{job.name}/{name}", packing)


def export_file(job: Job, file: Path, *, checkpoints: bool = False) -> int:
    """Like ``export_run``, into a new file that is there when it is complete; returns its bytes.

    Raises:
        FerError: The file is there already, or its folder is not.
        OSError: Reading or writing failed.
    """
    if file.exists():
        raise FerError(f"{file} is there already. Choose another name, or remove it first.")
    if not file.parent.is_dir():
        raise FerError(f"{file.parent}: no such folder. Make it first, or choose another.")
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as target:
            export_run(job, target, checkpoints=checkpoints)
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return file.stat().st_size


def import_run(space: Workspace, source: Path | IO[bytes], name: str = "") -> Imported:
    """Takes in a run that ``export_run`` wrote, here or elsewhere.

    A run that was at work when it was exported is stopped here. Where the workspace holds the dataset that it was
    trained on, by its content, it is told of that one. It is sent to no MLflow server any more.

    Args:
        space: Where to.
        source: The zip file.
        name: The run's name here; without one, the name it had.

    Raises:
        FerError: The file is no such archive, is damaged or not to be trusted, or the name is taken.
    """
    try:
        archive = BoundedZip(source, "This archive")
    except (OSError, *DAMAGED) as error:
        if isinstance(error, FileNotFoundError):
            raise FerError(f"{source}: no such file. Check the path.") from None
        raise FerError(f"This is no zip file, or a damaged one ({error}). Export the run again.") from error
    with archive, _incoming(space) as folder:
        files, left_out = _entries(archive)
        _check_sizes(space, archive, files)
        for path, info in files.items():
            _unpack(archive, info, folder / path)
        spec = _checked(folder)
        name = name or spec.name
        check_unused(check_name(name, "run"), space)
        _settle(folder, space)
        write_name(folder, name)
        final = space.runs / name
        if final.exists():
            raise JobError(f"There is a run named {name!r} already. Choose another name.")
        folder.rename(final)
    return Imported(Job(final), left_out)


def _most_bytes(name: str) -> int | None:
    """The most that a file of a run may hold; None for a file that no run has."""
    return _SIZES.get(name) or next((most for pattern, most in _PATTERNS if pattern.fullmatch(name)), None)


def _entries(archive: zipfile.ZipFile) -> tuple[dict[str, zipfile.ZipInfo], int]:
    """The entries that are files of a run, by their path in its folder; and the number of the others.

    Raises:
        FerError: There is no run or more than one, or an entry wants what none should.
    """
    infos = files_in(archive)
    if len(infos) > _MOST_ENTRIES:
        raise FerError(f"This archive has {len(infos):,} files, far more than a run. Export the run again.")
    for info in infos:  # an archive that wants to write elsewhere is not taken in without that entry: it is refused
        if why := unsafe(info, 2**63):
            raise FerError(f"{info.filename[:200]!r} in this archive is {why}, so nothing of it was taken in.")
    roots = {PurePosixPath(info.filename).parent for info in infos if PurePosixPath(info.filename).name == "job.json"}
    roots = {root for root in roots if len(root.parts) < 2}
    if len(roots) != 1:
        found = "more than one run" if roots else "no run (job.json is missing)"
        raise FerError(f"This archive holds {found}. Give one that `runs export` wrote.")
    (root,) = roots
    files: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        path = PurePosixPath(info.filename)
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else ""
        most = _most_bytes(name)
        if most is None:
            continue
        if name in files:
            raise FerError(f"{name} is in this archive twice, so nothing of it was taken in.")
        if why := unsafe(info, most, "what it is"):
            raise FerError(f"{name} in this archive {why}, so nothing of it was taken in.")
        files[name] = info
    return files, len(infos) - len(files)


def _check_sizes(space: Workspace, archive: zipfile.ZipFile, files: dict[str, zipfile.ZipInfo]) -> None:
    """Raises FerError for a decompression bomb, or where the disk is too full."""
    assert archive.fp is not None  # it is open
    packed = max(1, archive.fp.seek(0, 2))  # not the sum of its entries: those of a bomb may overlap
    claimed = sum(info.file_size for info in files.values())
    if claimed > max(_SMALL, MAX_EXPANSION * packed):
        raise FerError(
            f"This archive claims to unpack to {claimed / 2**30:.1f} GB, {claimed // packed:,} times its size. "
            "That is a decompression bomb, not a run."
        )
    if claimed + _SPARE > space.free_bytes():
        raise FerError(
            f"This run takes {claimed / _MB:,.0f} MB, and only {space.free_bytes() / _MB:,.0f} MB are free. "
            "Free some disk, then import it again."
        )


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    """Writes an entry to a file of ours, not more of it than it claims to hold."""
    target.parent.mkdir(exist_ok=True)
    written = 0
    try:
        with archive.open(info) as packed, target.open("wb") as file:
            while part := packed.read(_CHUNK):
                written += len(part)
                if written > info.file_size:
                    raise zipfile.BadZipFile("more in it than it says")
                file.write(part)
    except OSError:  # of the disk; one of the archive is no different to the user
        raise
    except Exception as error:  # every compressor raises its own kinds
        raise FerError(f"{target.name} is damaged in this archive ({error}). Export the run again.") from error
    if written != info.file_size:
        raise FerError(f"{target.name} is cut short in this archive. Export the run again.")


def _checked(folder: Path) -> JobSpec:
    """The job of an unpacked run whose files are what they should be.

    Raises:
        FerError: One is not.
    """
    spec = _valid(folder / "job.json", JobSpec)
    if spec is None or spec.kind != KIND:
        raise FerError("This archive holds a job that is no training run. Give one that `runs export` wrote.")
    if not (folder / CONFIG_FILE).is_file():
        raise FerError(f"{CONFIG_FILE} is missing in this archive. Export the run again.")
    try:
        read_config(folder / CONFIG_FILE)
    except FerError:
        raise FerError(f"{CONFIG_FILE} is damaged in this archive. Export the run again.") from None
    _valid(folder / "status.json", JobStatus)
    _valid(folder / CARD_FILE, ModelCard)
    _valid(folder / NOTES_FILE, Notes)
    for file in folder.glob("predictions-*.parquet"):
        try:
            read_predictions(file)
        except Exception:  # Arrow has errors of its own for what no writer of ours makes
            raise FerError(f"{file.name} is damaged in this archive. Export the run again.") from None
    if (file := folder / FINGERPRINTS_FILE).is_file():
        try:
            np.load(file, allow_pickle=False, mmap_mode="r")
        except (OSError, ValueError, EOFError):
            raise FerError(f"{file.name} is damaged in this archive. Export the run again.") from None
    _check_curves(Run(Job(folder)))
    return spec


def _check_curves(run: Run) -> None:
    """Raises FerError where what pages read of a run's events cannot be read: pages trust our own worker."""
    try:
        read_facts(run.job)
        _ = (run.history, run.batches, run.machine, run.changes, run.phases, run.best, run.gap, run.samples)
        _ = (run.progress, run.metrics)
    except Exception:  # any kind: numbers that are words, lists without an end
        raise FerError("events.jsonl is damaged in this archive. Export the run again.") from None


def _valid(file: Path, kind: type[_Document]) -> _Document | None:
    """A JSON file of an unpacked run, None where there is none.

    Raises:
        FerError: It is damaged.
    """
    try:
        return kind.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise FerError(f"{file.name} is damaged in this archive. Export the run again.") from None


def _settle(folder: Path, space: Workspace) -> None:
    """Makes a run that of this machine: nobody is at work on it, and its dataset lies in this workspace."""
    job = Job(folder)
    status = job.status()
    status.pid = 0  # of a process of another machine
    if derive(status.state, lock_held=False, stop_requested=False) is JobState.CRASHED:
        status.state = JobState.STOPPED
        goes_on = (
            "to go on from its checkpoints"
            if (folder / CHECKPOINTS).is_dir()
            else ("to train it again from its first epoch: its checkpoints were not exported")
        )
        status.message = f"It was not finished when it was exported. Resume it {goes_on}."
    job.write_status(status)
    config = read_config(folder / CONFIG_FILE)
    config.mlflow = ""  # a stranger does not choose a server that gets our scores, and our password with them
    if config.dataset and (here := _same_dataset(config, space)):
        config.dataset.path, config.dataset.name = str(here.folder), here.name
    write_config(job, config)


def _same_dataset(config: RunConfig, space: Workspace) -> Dataset | None:
    """The dataset of the workspace that holds what a run was trained on."""
    for folder in space.list_datasets():
        with contextlib.suppress(FerError, OSError):
            dataset = Dataset.open(folder)
            if config.dataset and dataset.info.fingerprint == config.dataset.fingerprint:
                return dataset
    return None


@contextlib.contextmanager
def _incoming(space: Workspace) -> Iterator[Path]:
    """A folder to unpack to, which is gone afterwards; also what a crash has left of earlier ones.

    It is locked, so that another process does not take it for such.
    """
    parent = space.runs / _INCOMING
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.iterdir():
        with contextlib.suppress(OSError):
            if (lock := take_lock(left / "lock")) is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(lock)
    folder = parent / f"{os.getpid()}-{time.time_ns()}"
    folder.mkdir()
    lock = take_lock(folder / "lock")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)
        with contextlib.suppress(OSError):  # others may be unpacking there
            parent.rmdir()
