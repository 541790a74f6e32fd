"""What lets Keras' own callbacks go on after an interruption."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

Number = float | int | None


class Resumable(Protocol):
    """A callback whose counters belong to the checkpoint."""

    def state(self) -> dict[str, Number]:
        """Its counters, by name."""


class KeepsState:
    """Gives a Keras callback back the counters that it resets when training begins.

    Without them a resumed run would lower its learning rate, or stop, at another epoch than an uninterrupted one
    (``BackupAndRestore`` leaves them out).
    """

    KEPT: ClassVar[tuple[str, ...]] = ()
    resumed: Mapping[str, Number] = {}

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        super().on_train_begin(logs)  # type: ignore[misc]
        for name, value in self.resumed.items():
            setattr(self, name, value)

    def state(self) -> dict[str, Number]:
        """Its counters, by name."""
        return {name: _plain(getattr(self, name)) for name in self.KEPT}


def _plain(value: Any) -> Number:
    return value if value is None or isinstance(value, int) else float(value)
