"""Live progress within an epoch, and the place where a stop is noticed."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, Final

import keras

from fer_core.errors import FerError
from fer_core.jobs.worker import Worker
from fer_core.training.callbacks.machine import Machine
from fer_core.training.data import TrainingBatches

_EVENT_EVERY: Final = 0.5  # seconds


class Reporter(keras.callbacks.Callback):
    """Reports every batch to the job, and writes a ``batch`` event at most twice a second.

    Reporting raises ``Stopped`` when the user wants the run to end, and the exception leaves ``fit`` at once:
    a stop takes no longer than a batch.

    Args:
        worker: The run's job.
        batches: What the phase trains on; its epoch is set here, before the epoch's first batch is asked for.
        phase: Index of the phase.
        phases: Number of phases of the run.
        validation_steps: How often ``validated`` is called after the last batch of an epoch.
    """

    def __init__(
        self, worker: Worker, batches: TrainingBatches, *, phase: int, phases: int, validation_steps: int
    ) -> None:
        super().__init__()
        self._worker = worker
        self._batches = batches
        self._phase = phase
        self._phases = phases
        self._steps = len(batches) + validation_steps
        self._machine = Machine()
        self._first_batch = True
        self._next_event = 0.0
        self.images_per_second: float | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the epoch began."""
        return time.monotonic() - self._began

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._batches.epoch = self._epoch = epoch
        epochs = self.params["epochs"]
        self._text = f"Phase {self._phase + 1} of {self._phases}, epoch {epoch + 1} of {epochs}"
        self._began = self._timed_from = time.monotonic()
        self._images = 0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        now = time.monotonic()
        if self._first_batch:
            # It compiled the step: no measure of speed.
            self._first_batch, self._timed_from = False, now
        else:
            self._images += self._batches.size_of(batch)
            self.images_per_second = self._images / max(now - self._timed_from, 1e-6)
        if now >= self._next_event:
            self._next_event = now + _EVENT_EVERY
            self._emit(batch, logs or {})
        self._worker(self._text, batch + 1, self._steps)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.check_finite(float((logs or {})["loss"]))

    def validated(self, steps: int) -> None:
        """Reports that ``steps`` steps of the epoch's validation are done."""
        self._worker(self._text, len(self._batches) + steps, self._steps)

    def check_finite(self, loss: float) -> None:
        """Raises FerError where the loss is not a number: nothing that follows would be one."""
        if not math.isfinite(loss):
            raise FerError(
                f"The loss is no longer a number (phase {self._phase + 1}, epoch {self._epoch + 1}): "
                f"training diverged. Lower phases.{self._phase}.learning_rate in a new run; "
                "the epochs before are kept."
            )

    def _emit(self, batch: int, logs: Mapping[str, Any]) -> None:
        loss = float(logs["loss"])
        self.check_finite(loss)
        self._worker.emit(
            "batch",
            phase=self._phase,
            epoch=self._epoch,
            batch=batch,
            batches=len(self._batches),
            loss=loss,
            accuracy=float(logs["accuracy"]),
            images_per_second=self.images_per_second and round(self.images_per_second, 1),
            **self._machine.use(),
        )
