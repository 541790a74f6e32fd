"""A phase ends when a score on validation no longer improves."""

from __future__ import annotations

from collections.abc import Mapping

import keras

from fer_core.training.callbacks.resumable import KeepsState, Number


class EarlyStopping(KeepsState, keras.callbacks.EarlyStopping):
    """Keras' ``EarlyStopping``, which can be resumed. The best weights are kept by ``Best`` and ``Checkpoint``.

    Args:
        monitor: ``val_accuracy`` or ``val_loss``.
        patience: Epochs without improvement after which the phase ends.
        resumed: What ``state`` gave before an interruption.
    """

    KEPT = ("best", "wait")

    def __init__(self, monitor: str, patience: int, resumed: Mapping[str, Number]) -> None:
        super().__init__(monitor=monitor, patience=patience, mode="max" if monitor == "val_accuracy" else "min")
        self.resumed = resumed
