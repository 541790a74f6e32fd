"""The learning rate drops when a score on validation no longer improves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from fer_core.jobs.worker import Worker
from fer_core.training.callbacks.resumable import KeepsState, Number
from fer_core.training.config import PhaseConfig
from fer_core.training.optimizers import learning_rate


class Plateau(KeepsState, keras.callbacks.ReduceLROnPlateau):
    """Keras' ``ReduceLROnPlateau``, which tells of a drop and can be resumed.

    Args:
        worker: The run's job.
        phase: What is watched, and by how much the rate drops.
        resumed: What ``state`` gave before an interruption.
    """

    KEPT = ("best", "wait", "cooldown_counter")

    def __init__(self, worker: Worker, phase: PhaseConfig, resumed: Mapping[str, Number]) -> None:
        super().__init__(
            monitor=phase.monitor,
            mode="max" if phase.monitor == "val_accuracy" else "min",
            factor=phase.plateau_factor,
            patience=phase.plateau_patience,
            min_lr=phase.min_learning_rate,
        )
        self._worker = worker
        self.resumed = resumed

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        before = learning_rate(self.model.optimizer)
        super().on_epoch_end(epoch, logs)
        after = learning_rate(self.model.optimizer)
        if after < before:
            self._worker.emit("learning_rate", epoch=epoch, before=before, after=after)
