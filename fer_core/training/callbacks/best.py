"""Which epoch was the best so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from fer_core.training.checkpoints import BestEpoch


class Best(keras.callbacks.Callback):
    """Keeps the epoch with the highest validation accuracy of the whole run; of equals, the first.

    Args:
        phase: Index of the phase.
        so_far: The best epoch of the phases before, or of the part of the run before it was interrupted.

    Attributes:
        epoch: The best one; None until the first epoch has ended.
        improved: Whether it is the epoch that has just ended.
    """

    def __init__(self, phase: int, so_far: BestEpoch | None) -> None:
        super().__init__()
        self._phase = phase
        self.epoch = so_far
        self.improved = False

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        accuracy = (logs or {})["val_accuracy"]
        self.improved = self.epoch is None or accuracy > self.epoch.val_accuracy
        if self.improved:
            self.epoch = BestEpoch(phase=self._phase, epoch=epoch, val_accuracy=accuracy)
