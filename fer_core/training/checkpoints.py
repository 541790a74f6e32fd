"""What a run needs to go on exactly where it was, and its best weights: files in ``checkpoints/``.

Keras' own files leave out the state of Dropout's seed generators and of the best epoch so far, and without
them a resumed run differs from an uninterrupted one. Here every variable is written, one file per epoch, and
then ``state.json``, which names the file that counts: a crash between the two leaves the previous epoch in
force.

Disks and power cuts damage files all the same. So each epoch's file also holds the state that goes with it, and the
epoch before is kept, too: a run goes on from the newest that is whole.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from fer_core.errors import FerError, JobError
from fer_core.jobs.store import Job, write_atomically
from fer_core.training import backend
from fer_core.training.runs import CHECKPOINTS

FOLDER: Final = CHECKPOINTS
_STATE: Final = "state.json"
_EMBEDDED: Final = "state"  # the array of an epoch's file that holds its state, as JSON
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class BestEpoch(BaseModel):
    """The epoch with the highest validation accuracy so far; of equals, the first."""

    phase: int
    epoch: int
    val_accuracy: float


class CheckpointState(BaseModel):
    """``state.json``: the last epoch that is finished.

    Attributes:
        phase: Its phase, counted from 0.
        epoch: Its number in the phase, counted from 0.
        finished: Epochs that all phases have taken so far.
        ended: Whether the phase ended with it.
        best: The best epoch so far.
        counters: Those of callbacks that decide on later epochs, by the callback's name.
        config_hash: Of the run's settings.
        history: The ``epoch`` events up to it, should ``events.jsonl`` be damaged; only in ``state.json``.
    """

    phase: int
    epoch: int
    finished: int
    ended: bool
    best: BestEpoch
    counters: dict[str, dict[str, float | int | None]] = {}
    config_hash: str
    history: list[dict[str, Any]] = []

    @property
    def files(self) -> tuple[str, str]:
        """The file of its epoch, and that of the best one."""
        return _name(self.phase, self.epoch), _name(self.best.phase, self.best.epoch)


def save(folder: Path, model: keras.Model, optimizer: keras.optimizers.Optimizer, state: CheckpointState) -> None:
    """Writes the epoch that ``state`` names; from then on it is the one to go on from.

    Only this epoch, the one before and the best one are kept.

    Raises:
        FerError: The disk is full; the checkpoints before are as they were.
    """
    folder.mkdir(exist_ok=True)
    arrays: dict[str, NDArray[np.generic]] = {
        f"{prefix}.{i}": np.asarray(keras.ops.convert_to_numpy(variable))
        for prefix, owner in (("model", model), ("optimizer", optimizer))
        for i, variable in enumerate(owner.variables)
    }
    arrays[_EMBEDDED] = np.frombuffer(state.model_dump_json(exclude={"history"}).encode(), np.uint8)
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    epochs = {(event["phase"], event["epoch"]): event for event in Job(folder.parent).events("epoch")}
    state.history = [epochs[key] for key in sorted(epochs) if key <= (state.phase, state.epoch)]
    try:
        write_atomically(folder / state.files[0], content.getvalue())
        write_atomically(folder / _STATE, state.model_dump_json(indent=2))
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise _no_room(folder, content.tell(), state.finished - 1) from error
    _sync(folder)  # or a power cut could undo the renaming and keep what is deleted now deleted
    before = [other for other in _embedded(folder) if other.finished < state.finished][:1]
    kept = {file for each in (state, *before) for file in each.files}
    for old in (*folder.glob("*.npz"), *folder.glob(".*.tmp")):  # what a killed worker was writing goes too
        if old.name not in kept:
            old.unlink()


def _no_room(folder: Path, needed: int, kept: int) -> FerError:
    free = shutil.disk_usage(folder).free
    return FerError(
        f"{folder}: the disk is full. A checkpoint takes {needed / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free. "
        f"Free some space, then go on with `train --resume {folder.parent.name}`: {kept or 'no'} finished "
        f"epoch{'' if kept == 1 else 's'} {'is' if kept == 1 else 'are'} kept."
    )


def _sync(folder: Path) -> None:
    """Waits until the names of a folder's files are on the disk, where the file system can say so."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def last_state(folder: Path) -> CheckpointState | None:
    """The last finished epoch, as far as can be said without reading its weights; None if there is none."""
    return next(iter(_states(folder)), None)


def load_state(folder: Path) -> CheckpointState | None:
    """The newest finished epoch whose files are whole; None if no epoch was finished.

    Raises:
        JobError: There are checkpoints, but none that is whole.
    """
    damaged: list[Path] = []
    for state in _states(folder):
        torn = [folder / name for name in state.files if not _whole(folder / name)]
        if not torn:
            for file in damaged:
                _log().warning("%s: missing or damaged; going on after epoch %d of the run.", file, state.finished)
            return state
        damaged += [file for file in torn if file not in damaged]
    if damaged or (folder / _STATE).exists() or any(folder.glob("*.npz")):
        raise _damaged(damaged[0] if damaged else folder / _STATE)
    return None


def _states(folder: Path) -> list[CheckpointState]:
    """States to go on from, best first: the one in force, then those of the epochs that are on disk."""
    try:
        return [CheckpointState.model_validate_json((folder / _STATE).read_bytes()), *_embedded(folder)]
    except FileNotFoundError:
        return _embedded(folder)
    except ValidationError:
        _log().warning("%s: damaged; reading what stands in the checkpoints themselves.", folder / _STATE)
        return _embedded(folder)


def _embedded(folder: Path) -> list[CheckpointState]:
    """The states in the epochs' own files, newest first; a file that is damaged or of an old version has none."""
    found = []
    for file in folder.glob("*.npz"):
        with contextlib.suppress(Exception), np.load(file, allow_pickle=False) as content:  # see `_whole`
            found.append(CheckpointState.model_validate_json(content[_EMBEDDED].tobytes()))
    return sorted(found, key=lambda state: state.finished, reverse=True)


def _whole(file: Path) -> bool:
    """Whether a file of arrays can be read to its end and every checksum in it is right."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except Exception:  # damaged bytes can ask zipfile for anything: other methods, passwords, huge sizes
        return False


def _damaged(file: Path) -> JobError:
    return JobError(
        f"{file}: missing or damaged, and no checkpoint before it is whole. Put it back from a copy; or delete the "
        f"folder {file.parent} and resume, which trains the run again from its first epoch."
    )


def _log() -> logging.Logger:
    return logging.getLogger(__name__)


def restore(
    folder: Path,
    phase: int,
    epoch: int,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer | None = None,
) -> None:
    """Sets a model, and if given a built optimizer, to what they were at the end of an epoch.

    Of processes that train together all must call it; the first one reads the file.

    Raises:
        JobError: The file is missing, damaged, or of another network.
    """
    file = folder / _name(phase, epoch)
    owners = {"model": model} if optimizer is None else {"model": model, "optimizer": optimizer}
    if backend.process() > 0:
        for owner in owners.values():
            backend.assign(owner.variables, None)
        return
    try:
        with np.load(file, allow_pickle=False) as content:
            for prefix, owner in owners.items():
                variables = owner.variables
                backend.assign(variables, (content[f"{prefix}.{i}"] for i in range(len(variables))))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(file) from error


def _name(phase: int, epoch: int) -> str:
    return f"phase{phase + 1}-epoch{epoch + 1:03}.npz"
