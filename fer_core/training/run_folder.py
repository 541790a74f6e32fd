"""What is done to the folders of runs: rename, delete, free disk, take notes, choose the baseline.

Nothing here touches a run that is at work: whoever changes a folder holds the run's lock meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError

from fer_core.errors import JobError
from fer_core.inference.served import CARD_FILE, MODEL_FILE, ModelCard, check_unused
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job, JobSpec, write_atomically
from fer_core.training.runs import CHECKPOINTS, KIND, METRICS_FILE
from fer_core.workspace import Workspace, check_name

NOTES_FILE: Final = "notes.json"

_BASELINE: Final = "baseline.json"  # beside the runs


class Notes(BaseModel):
    """``notes.json``: what a person wrote about a run."""

    tags: list[str] = []
    note: str = ""


class _Baseline(BaseModel):
    run: str


@dataclass(frozen=True)
class DiskUse:
    """Bytes of a run's files, and of those in its ``checkpoints/`` alone."""

    total: int
    checkpoints: int


def rename(space: Workspace, name: str, new: str) -> Job:
    """Gives a run another name, in its folder, its card and its job.

    Args:
        space: Where it is.
        name: Of the run.
        new: Its name from now on.

    Raises:
        JobError: There is no such run, it is at work, or the name is taken.
        FerError: The name cannot be a folder's, or a model has it.
    """
    job = _find(space, name)
    folder = job.folder.with_name(check_name(new, "run"))
    with job.held("renamed"):
        if folder.exists():
            raise JobError(f"There is a run named {new!r} already. Choose another name.")
        check_unused(new, space)
        was_baseline = baseline(space) == job.name
        job.folder.rename(folder)  # from here on it has the new name, whatever else is interrupted
        if was_baseline:
            set_baseline(space, new)
        write_name(folder, new)
    return Job(folder)


def write_name(folder: Path, name: str) -> None:
    """Writes a run's name into the files that repeat it, card and job; a damaged one is left as it is."""
    with contextlib.suppress(OSError, ValidationError):
        card = ModelCard.model_validate_json((folder / CARD_FILE).read_bytes())
        card.name = name
        write_atomically(folder / CARD_FILE, card.model_dump_json(indent=2))
    with contextlib.suppress(OSError, ValidationError):
        file = folder / "job.json"
        spec, written = JobSpec.model_validate_json(file.read_bytes()), file.stat()
        for before, argument in enumerate(spec.arguments[1:]):
            if spec.arguments[before] == "--name" and argument == spec.name:
                spec.arguments[before + 1] = name
        spec.name = name
        write_atomically(file, spec.model_dump_json(indent=2))
        os.utime(file, ns=(written.st_atime_ns, written.st_mtime_ns))  # runs are sorted by it


def delete(space: Workspace, name: str) -> int:
    """Removes a run with all its files; returns how many bytes that frees.

    Raises:
        JobError: There is no such run, or it is at work.
    """
    job = _find(space, name)
    with job.held("deleted"):
        freed = disk_use(job.folder).total
        was_baseline = baseline(space) == job.name
        job.discard()
        if was_baseline:
            set_baseline(space, None)
    return freed


def freeable(job: Job) -> int:
    """Bytes of checkpoints that a run does not need any more; 0 where it may still go on or never finished."""
    if job.state() is not JobState.DONE or not is_whole(job):
        return 0
    return disk_use(job.folder).checkpoints


def is_whole(job: Job) -> bool:
    """Whether a run has what it was trained for, its model and its scores."""
    return all((job.folder / file).is_file() for file in (METRICS_FILE, MODEL_FILE))


def free_checkpoints(space: Workspace, name: str) -> int:
    """Removes the checkpoints of a finished run, which has its model and needs them no more.

    Returns:
        How many bytes that frees.

    Raises:
        JobError: There is no such run, it is at work, or it is not finished: it could then not go on.
    """
    job = _find(space, name)
    with job.held("freed of its checkpoints"):
        if job.state() is not JobState.DONE:
            raise JobError(f"{job.name} is not finished, and goes on from its checkpoints. Resume it, or delete it.")
        if not is_whole(job):
            raise JobError(f"{job.name} lacks its model or scores, so its checkpoints are kept.")
        freed = disk_use(job.folder).checkpoints
        shutil.rmtree(job.folder / CHECKPOINTS, ignore_errors=True)
    return freed


def disk_use(folder: Path) -> DiskUse:
    """How many bytes a run takes, read from the sizes of its files."""
    total = checkpoints = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # a worker replaces files while we look
                size = (Path(parent) / name).stat().st_size
                total += size
                checkpoints += size if Path(parent).name == CHECKPOINTS else 0
    return DiskUse(total, checkpoints)


def read_notes(folder: Path) -> Notes:
    """What was noted about a run; empty where there is nothing or the file is damaged."""
    try:
        return Notes.model_validate_json((folder / NOTES_FILE).read_bytes())
    except (OSError, ValidationError):
        return Notes()


def write_notes(folder: Path, notes: Notes) -> None:
    """Replaces what was noted about a run."""
    write_atomically(folder / NOTES_FILE, notes.model_dump_json(indent=2))


def baseline(space: Workspace) -> str | None:
    """The run that others are compared with; None where none was chosen or it is gone."""
    try:
        name = _Baseline.model_validate_json((space.runs / _BASELINE).read_bytes()).run
    except (OSError, ValidationError):
        return None
    return name if (space.runs / name / "job.json").is_file() else None


def set_baseline(space: Workspace, name: str | None) -> None:
    """Chooses the run that others are compared with, or none.

    Raises:
        JobError: There is no such run.
    """
    if name is None:
        (space.runs / _BASELINE).unlink(missing_ok=True)
        return
    job = _find(space, name)
    write_atomically(space.runs / _BASELINE, json.dumps({"run": job.name}))


def _find(space: Workspace, name: str) -> Job:
    """A training run of the workspace by name, also a damaged one.

    Raises:
        JobError: There is none; a run that lies elsewhere is not ours to change.
    """
    job = Job.open(space.run(name))
    if job.folder.parent != space.runs or job.kind not in (KIND, ""):
        raise JobError(f"{name} is not a training run of this workspace ({space.root}).")
    return job
