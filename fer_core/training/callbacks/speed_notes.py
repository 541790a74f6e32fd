"""Notes at every epoch's end how fast it was, so that the next run's time can be foretold."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import keras

from fer_core.training import backend
from fer_core.training.callbacks.reporter import Reporter
from fer_core.training.speeds import PhaseSpeed, Pictures, Work, peak_memory, remember
from fer_core.workspace import Workspace


class SpeedNotes(keras.callbacks.Callback):
    """Stands last, so that an epoch's end is timed with its checkpoint.

    Args:
        work: What the phase does.
        pictures: What it does it on.
        reporter: Knows the speed of training.
        once: Whether the frozen part was computed once.
    """

    def __init__(self, work: Work, pictures: Pictures, reporter: Reporter, *, once: bool) -> None:
        super().__init__()
        self._work = work
        self._pictures = pictures
        self._reporter = reporter
        self._once = once
        self._first_step: float | None = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._began = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._last_step = time.monotonic()
        if self._first_step is None:
            self._first_step = self._last_step - self._began

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        rate = self._reporter.images_per_second
        if rate is None or self._first_step is None:  # an epoch of one step tells nothing
            return
        took = max(time.monotonic() - self._last_step, 1e-6)
        speed = PhaseSpeed(
            work=self._work,
            train=rate,
            score=self._pictures.validation / took,
            once=self._once,
            start_seconds=max(0.0, self._first_step - self._work.batch_size / rate),
            memory=max(0, peak_memory() - self._pictures.bytes),
            gpu_memory=backend.gpu_peak_memory(),
        )
        remember(Workspace.default(), speed)
