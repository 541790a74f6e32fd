"""What a run needs to go on exactly where it was, and its best weights: files in ``checkpoints/``.

Keras' own files leave out the state of Dropout's seed generators and of the best epoch so far, and without
them a resumed run differs from an uninterrupted one. Here every variable is written, one file per epoch, and
then ``state.json``, which names the file that counts: a crash between the two leaves the previous epoch in
force.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import keras
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from fer_core.errors import JobError
from fer_core.jobs.store import write_atomically
from fer_core.training.runs import CHECKPOINTS

FOLDER: Final = CHECKPOINTS
_STATE: Final = "state.json"

Arrays = Mapping[str, NDArray[np.generic]]


class BestEpoch(BaseModel):
    """The epoch with the highest validation accuracy so far; of equals, the first."""

    phase: int
    epoch: int
    val_accuracy: float


class CheckpointState(BaseModel):
    """``state.json``: the last epoch that is finished. Phases and epochs are counted from 0."""

    phase: int
    epoch: int
    best: BestEpoch
    config_hash: str


def save(folder: Path, model: keras.Model, optimizer: keras.optimizers.Optimizer, state: CheckpointState) -> None:
    """Writes the epoch that ``state`` names; from then on it is the one to go on from.

    Only the last epoch and the best one are kept.
    """
    folder.mkdir(exist_ok=True)
    arrays = {
        f"{prefix}.{i}": np.asarray(keras.ops.convert_to_numpy(variable))
        for prefix, owner in (("model", model), ("optimizer", optimizer))
        for i, variable in enumerate(owner.variables)
    }
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    write_atomically(folder / _name(state.phase, state.epoch), content.getvalue())
    write_atomically(folder / _STATE, state.model_dump_json(indent=2))
    kept = {_name(state.phase, state.epoch), _name(state.best.phase, state.best.epoch)}
    for file in (*folder.glob("*.npz"), *folder.glob(".*.tmp")):  # what a killed worker was writing goes too
        if file.name not in kept:
            file.unlink()


def load_state(folder: Path) -> CheckpointState | None:
    """The last finished epoch; None if none was.

    Raises:
        JobError: ``state.json`` is damaged.
    """
    try:
        return CheckpointState.model_validate_json((folder / _STATE).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise JobError(f"{folder / _STATE}: damaged; this run cannot go on. Start a new one.") from error


def restore(
    folder: Path,
    phase: int,
    epoch: int,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer | None = None,
) -> None:
    """Sets a model, and if given a built optimizer, to what they were at the end of an epoch.

    Raises:
        JobError: The file is missing, damaged, or of another network.
    """
    file = folder / _name(phase, epoch)
    try:
        with np.load(file, allow_pickle=False) as content:
            _assign(model.variables, content, "model")
            if optimizer is not None:
                _assign(optimizer.variables, content, "optimizer")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise JobError(f"{file}: missing or damaged; this run cannot go on. Start a new one.") from error


def _assign(variables: list[keras.Variable], content: Arrays, prefix: str) -> None:
    for i, variable in enumerate(variables):
        variable.assign(content[f"{prefix}.{i}"])


def _name(phase: int, epoch: int) -> str:
    return f"phase{phase + 1}-epoch{epoch + 1:03}.npz"
