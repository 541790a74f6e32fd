"""The ``epoch`` event: the line of which history is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from fer_core.jobs.worker import Worker
from fer_core.training.callbacks.best import Best
from fer_core.training.callbacks.reporter import Reporter
from fer_core.training.callbacks.sample_board import SampleBoard
from fer_core.training.callbacks.validation import Validation
from fer_core.training.optimizers import learning_rate, weight_decay


class EpochEvents(keras.callbacks.Callback):
    """Writes an ``epoch`` event with the scores that the callbacks before it found.

    Args:
        worker: The run's job.
        phase: Index of the phase.
        epochs_before: Epochs that the phases before it took.
        reporter: Knows the epoch's speed.
        validation: Holds the epoch's predictions.
        board: The faces to follow.
        best: Knows whether the epoch is the best so far.
    """

    def __init__(
        self,
        worker: Worker,
        *,
        phase: int,
        epochs_before: int,
        reporter: Reporter,
        validation: Validation,
        board: SampleBoard,
        best: Best,
    ) -> None:
        super().__init__()
        self._worker = worker
        self._phase = phase
        self._epochs_before = epochs_before
        self._reporter = reporter
        self._validation = validation
        self._board = board
        self._best = best

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        assert logs is not None
        self._reporter.check_finite(logs["val_loss"])  # the epoch's last step may be the one that broke it
        speed = self._reporter.images_per_second
        self._worker.emit(
            "epoch",
            phase=self._phase,
            epoch=epoch,
            global_epoch=self._epochs_before + epoch,
            loss=float(logs["loss"]),
            accuracy=float(logs["accuracy"]),
            val_loss=logs["val_loss"],
            val_accuracy=logs["val_accuracy"],
            val_macro_precision=logs["val_macro_precision"],
            val_macro_recall=logs["val_macro_recall"],
            val_macro_f1=logs["val_macro_f1"],
            val_recall=self._validation.recall,
            learning_rate=learning_rate(self.model.optimizer),
            weight_decay=weight_decay(self.model.optimizer),
            seconds=round(self._reporter.elapsed, 2),
            images_per_second=speed and round(speed, 1),
            best=self._best.improved,
            samples=self._board.at(self._validation.probabilities),
        )
