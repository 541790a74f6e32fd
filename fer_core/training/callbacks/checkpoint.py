"""Saves the run at every epoch's end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from fer_core.jobs.worker import Worker
from fer_core.training import checkpoints
from fer_core.training.callbacks.best import Best


class Checkpoint(keras.callbacks.Callback):
    """Writes a checkpoint after all other callbacks have had their say, and then a ``checkpoint`` event.

    ``fit`` cannot go on inside an epoch (its metrics would start anew), so epochs are what is kept.

    Args:
        worker: The run's job.
        phase: Index of the phase.
        best: Knows which epoch's weights to keep besides the last one's.
        config_hash: Of the run's settings, compared at a resume.
    """

    def __init__(self, worker: Worker, *, phase: int, best: Best, config_hash: str) -> None:
        super().__init__()
        self._worker = worker
        self._phase = phase
        self._best = best
        self._config_hash = config_hash

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        assert self._best.epoch is not None
        state = checkpoints.CheckpointState(
            phase=self._phase, epoch=epoch, best=self._best.epoch, config_hash=self._config_hash
        )
        folder = self._worker.job.folder / checkpoints.FOLDER
        checkpoints.save(folder, self.model, self.model.optimizer, state)
        self._worker.emit("checkpoint", phase=self._phase, epoch=epoch)
