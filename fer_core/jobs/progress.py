"""How long work reports and is interrupted, without knowing who listens."""

from __future__ import annotations

import time
from typing import Protocol


class Progress(Protocol):
    """Called often by long work, from one thread.

    It may raise ``fer_core.errors.Stopped``: the work then cleans up what is half-done and lets it pass.
    """

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Says that ``done`` of ``total`` units of ``phase`` (a short phrase in plain words) are finished."""


def silent(phase: str, done: int, total: int) -> None:
    """Reports to nobody."""


class Pace:
    """How long the rest of some work takes, at its pace since it began to advance.

    Args:
        total: Units of work.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._begun: tuple[float, int] | None = None

    def seconds_left(self, done: int) -> int | None:
        """Seconds until ``done`` units are all of them; None while no pace is known."""
        now = time.monotonic()
        if self._begun is None or done <= self._begun[1]:
            self._begun = now, done  # loading and compiling are over only when it advances
            return None
        since, before = self._begun
        return round((now - since) * (self._total - done) / (done - before))
