"""Saves the run at every epoch's end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from fer_core.jobs.worker import Worker
from fer_core.training import backend, checkpoints
from fer_core.training.callbacks.best import Best
from fer_core.training.callbacks.resumable import Resumable


class Checkpoint(keras.callbacks.Callback):
    """Writes a checkpoint after all other callbacks have had their say, and then a ``checkpoint`` event.

    ``fit`` cannot go on inside an epoch (its metrics would start anew), so epochs are what is kept.

    Args:
        worker: The run's job.
        network: The whole of it, of which the phase may train a part.
        phase: Index of the phase.
        best: Knows which epoch's weights to keep besides the last one's.
        counters: Callbacks whose counters are saved, too.
        epochs_before: Epochs that the phases before it took.
        config_hash: Of the run's settings, compared at a resume.

    Attributes:
        state: What was written last; None until the first epoch has ended.
    """

    def __init__(
        self,
        worker: Worker,
        network: keras.Model,
        *,
        phase: int,
        best: Best,
        counters: Sequence[Resumable],
        epochs_before: int,
        config_hash: str,
    ) -> None:
        super().__init__()
        self._worker = worker
        self._network = network
        self._phase = phase
        self._best = best
        self._counters = counters
        self._epochs_before = epochs_before
        self._config_hash = config_hash
        self.state: checkpoints.CheckpointState | None = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        assert self._best.epoch is not None
        self.state = checkpoints.CheckpointState(
            phase=self._phase,
            epoch=epoch,
            finished=self._epochs_before + epoch + 1,
            ended=self.model.stop_training or epoch + 1 == self.params["epochs"],
            best=self._best.epoch,
            counters={type(counter).__name__: counter.state() for counter in self._counters},
            config_hash=self._config_hash,
        )
        if backend.process() == 0:  # the others have the same, and would never read it
            folder = self._worker.job.folder / checkpoints.FOLDER
            checkpoints.save(folder, self._network, self.model.optimizer, self.state)
        self._worker.emit("checkpoint", phase=self._phase, epoch=epoch)
