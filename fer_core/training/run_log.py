"""What the events of a run come to, kept between looks: a run that is watched is not read again from its start."""

from __future__ import annotations

import math
import threading
from array import array
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fer_core.jobs.event_log import EventLog

BATCH_COLUMNS: Final = (
    "phase", "epoch", "batch", "batches", "loss", "accuracy", "images_per_second", "cpu_percent", "memory_bytes",
    "gpu_percent", "gpu_memory_bytes",
)  # fmt: skip
"""Columns of ``RunEvents.batches``; the first six are in every batch event, the others may be missing."""

_NEEDED: Final = 6
_KEPT_RUNS: Final = 8  # a run of 100,000 batch events takes 7 MB


class Change(NamedTuple):
    """A setting that the run itself changed at the end of an epoch.

    Attributes:
        kind: ``learning_rate`` or ``weight_decay``.
        phase: Index of the phase.
        epoch: Of the phase, from 0.
        before: Its value in this epoch.
        after: From the next epoch on.
    """

    kind: str
    phase: int
    epoch: int
    before: float
    after: float


@dataclass(frozen=True)
class RunEvents:
    """All events of a run at one moment.

    Attributes:
        epochs: The last ``epoch`` event of every epoch, as it was written.
        batch: The latest ``batch`` event of the epoch that is being trained; None between epochs.
        batches: float64 ``[N, 11]``, one row per ``batch`` event, see ``BATCH_COLUMNS``; NaN where nothing is known.
        changes: Of learning rate and weight decay.
        started: Index of the last phase that began.
    """

    epochs: list[dict[str, Any]]
    batch: dict[str, Any] | None
    batches: NDArray[np.float64]
    changes: list[Change]
    started: int


class _RunLog:
    """One run, shared by all who look at it."""

    def __init__(self, file: Path) -> None:
        self._log = EventLog(file)
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._epochs: dict[tuple[Any, Any], dict[str, Any]] = {}
        self._batch: dict[str, Any] | None = None
        self._batches = array("d")
        self._changes: dict[tuple[str, int, int], Change] = {}
        self._phase = 0
        self._started = 0

    def look(self) -> RunEvents:
        with self._lock:
            events, anew = self._log.look()
            if anew:
                self._begin()
            for event in events:
                self._add(event)
            return RunEvents(
                epochs=list(self._epochs.values()),
                batch=self._batch,
                batches=np.array(self._batches, np.float64).reshape(-1, len(BATCH_COLUMNS)),
                changes=list(self._changes.values()),
                started=self._started,
            )

    def _add(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        if kind == "batch" and (row := _row(event)):
            self._batch = event
            self._batches.extend(row)
        elif kind == "epoch":
            self._batch = None
            self._epochs[event.get("phase"), event.get("epoch")] = event
        elif kind == "phase_start" and isinstance(event.get("phase"), int):
            self._batch = None
            self._phase = event["phase"]
            self._started = max(self._started, self._phase)
        elif kind in ("learning_rate", "weight_decay") and (values := _numbers(event, ("epoch", "before", "after"))):
            # The event does not name its phase: it is the one that began last.
            epoch = int(values[0])
            self._changes[kind, self._phase, epoch] = Change(kind, self._phase, epoch, values[1], values[2])


def _row(event: Mapping[str, Any]) -> list[float] | None:
    """The numbers of a batch event, None where it is damaged."""
    needed = _numbers(event, BATCH_COLUMNS[:_NEEDED])
    if needed is None or needed[3] <= 0:
        return None
    return needed + [_number(event.get(name)) for name in BATCH_COLUMNS[_NEEDED:]]


def _numbers(event: Mapping[str, Any], names: tuple[str, ...]) -> list[float] | None:
    found = [_number(event.get(name)) for name in names]
    return None if any(map(math.isnan, found)) else found


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


_logs: OrderedDict[Path, _RunLog] = OrderedDict()
_logs_lock = threading.Lock()


def read_events(file: Path) -> RunEvents:
    """The events of a run as they are now; what was read before is not read again.

    Args:
        file: Its ``events.jsonl``.
    """
    with _logs_lock:
        log = _logs.setdefault(file, _RunLog(file))
        _logs.move_to_end(file)
        while len(_logs) > _KEPT_RUNS:
            _logs.popitem(last=False)
    return log.look()


def forget() -> None:
    """Reads every run from its start the next time."""
    with _logs_lock:
        _logs.clear()
