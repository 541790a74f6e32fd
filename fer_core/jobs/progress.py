"""How long work reports and is interrupted, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called often by long work, from one thread.

    It may raise ``fer_core.errors.Stopped``: the work then cleans up what is half-done and lets it pass.
    """

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Says that ``done`` of ``total`` units of ``phase`` (a short phrase in plain words) are finished."""


def silent(phase: str, done: int, total: int) -> None:
    """Reports to nobody."""
