"""The finished epochs of a run as points that a tracker writes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from fer_core.emotions import EMOTIONS
from fer_core.jobs.event_log import EventLog

_NAMES: Final = {
    "loss": "loss/train",
    "accuracy": "accuracy/train",
    "val_accuracy": "accuracy/validation",
    "val_macro_precision": "validation/macro_precision",
    "val_macro_recall": "validation/macro_recall",
    "val_macro_f1": "validation/macro_f1",
    "learning_rate": "rates/learning_rate",
    "weight_decay": "rates/weight_decay",
    "images_per_second": "speed/images_per_second",
}
"""Key of an ``epoch`` event -> name of its points."""

LAST_SCORE: Final = "loss/validation"
"""The last of an epoch's scores, in every epoch: where it has arrived, all have."""


class BatchPoint(NamedTuple):
    """Means over the batches of an epoch so far.

    Attributes:
        step: Batches since the run began, from 1.
        time: Seconds since 1970.
        loss: In nats.
        accuracy: 0 to 1.
    """

    step: int
    time: float
    loss: float
    accuracy: float


@dataclass(frozen=True)
class Epoch:
    """A finished epoch.

    Attributes:
        step: Its number in the run, from 1.
        time: When it ended, seconds since 1970.
        scores: Name -> value, of what is known; ``LAST_SCORE`` comes last.
        batches: Of the attempt that finished it.
    """

    step: int
    time: float
    scores: dict[str, float]
    batches: list[BatchPoint]


class EpochLog:
    """Reads ``events.jsonl`` on, look by look.

    Args:
        file: It need not be there yet.
    """

    def __init__(self, file: Path) -> None:
        self._log = EventLog(file)
        self._begin()

    def _begin(self) -> None:
        self._epochs: dict[tuple[int, int], Epoch] = {}
        self._attempt = _Attempt()
        self._batches: dict[int, int] = {}  # phase -> batches of an epoch
        self._ends: dict[tuple[int, int], int] = {}  # epoch -> batches since the run began

    def look(self) -> list[Epoch]:
        """All finished epochs so far. One that was trained twice, because a crash came before its checkpoint, is
        there once, as it was trained last."""
        events, anew = self._log.look()
        if anew:
            self._begin()
        for event in events:
            with contextlib.suppress(KeyError, TypeError, ValueError):  # a damaged event
                if event.get("type") == "batch":
                    self._add_batch(event)
                elif event.get("type") == "epoch":
                    self._add_epoch(event)
        return list(self._epochs.values())

    def _add_batch(self, event: dict[str, Any]) -> None:
        key, batch = (int(event["phase"]), int(event["epoch"])), int(event["batch"])
        if key != self._attempt.key or batch <= self._attempt.reached:
            self._attempt = _Attempt(key)  # also where a resumed run trains an epoch from its start again
        self._attempt.reached = batch
        self._attempt.points.append(
            BatchPoint(batch + 1, float(event["time"]), float(event["loss"]), float(event["accuracy"]))
        )
        self._batches[key[0]] = int(event["batches"])

    def _add_epoch(self, event: dict[str, Any]) -> None:
        key = int(event["phase"]), int(event["epoch"])
        epoch_scores = dict(_scores(event))
        before = max((end for other, end in self._ends.items() if other < key), default=0)
        points = self._attempt.points if self._attempt.key == key else []
        self._epochs[key] = Epoch(
            step=int(event["global_epoch"]) + 1,
            time=float(event["time"]),
            scores=epoch_scores,
            batches=[point._replace(step=before + point.step) for point in points],
        )
        self._ends[key] = before + self._batches.get(key[0], 0)
        self._attempt = _Attempt()


@dataclass
class _Attempt:
    """The epoch that is being trained, phase and number, and how far."""

    key: tuple[int, int] | None = None
    reached: int = -1
    points: list[BatchPoint] = field(default_factory=list)


def _scores(event: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for key, name in _NAMES.items():
        if event.get(key) is not None:
            yield name, float(event[key])
    recall = event.get("val_recall") or {}
    for emotion in EMOTIONS:
        if recall.get(emotion) is not None:
            yield f"recall/{emotion}", float(recall[emotion])
    yield LAST_SCORE, float(event["val_loss"])
