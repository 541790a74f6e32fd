"""Weight decay rises each time the learning rate drops, as the published recipe ``resnet50`` asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from fer_core.jobs.worker import Worker
from fer_core.training.callbacks.resumable import KeepsState, Number
from fer_core.training.optimizers import inner, learning_rate, weight_decay


class IncreaseWeightDecayOnLRDrop(KeepsState, keras.callbacks.Callback):
    """Multiplies weight decay when the learning rate is lower than an epoch before.

    Keras applies decay in proportion to the learning rate, so that a drop weakens it; this keeps it up. It stands
    after what lowers the rate. The optimizer's decay must be a variable (``optimizers.AdamW``, ``optimizers.SGD``).

    Args:
        worker: The run's job.
        factor: What decay is multiplied by.
        resumed: What ``state`` gave before an interruption.
    """

    KEPT = ("rate",)

    def __init__(self, worker: Worker, factor: float, resumed: Mapping[str, Number]) -> None:
        super().__init__()
        self._worker = worker
        self._factor = factor
        self.resumed = resumed
        self.rate = float("inf")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        rate = learning_rate(self.model.optimizer)
        if rate < self.rate < float("inf"):
            before = weight_decay(self.model.optimizer)
            inner(self.model.optimizer).weight_decay.assign(before * self._factor)
            after = weight_decay(self.model.optimizer)
            self._worker.emit("weight_decay", epoch=epoch, before=before, after=after)
        self.rate = rate
