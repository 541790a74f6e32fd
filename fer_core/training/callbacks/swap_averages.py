"""The running mean of the weights (EMA) takes their place while an epoch's end is scored and saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from fer_core.training.optimizers import swap_averages


class SwapAverages(keras.callbacks.Callback):
    """Exchanges weights and means at an epoch's end. One stands before what scores and saves, one after it."""

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        swap_averages(self.model)
