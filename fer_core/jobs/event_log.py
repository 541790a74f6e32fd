"""Reads a growing ``events.jsonl`` so that each look costs only what was written since the last one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

from fer_core.jobs.store import parse_events

_TAIL: Final = 4096  # bytes before the place reached that must still be there: more than any two files share


class News(NamedTuple):
    """What one look found.

    Attributes:
        events: Complete ones, in order; damaged lines are left out.
        anew: The file is not the one of the last look, or was shortened: these are all its events.
    """

    events: list[dict[str, Any]]
    anew: bool


class EventLog:
    """A place in an event file. Not for two threads at once.

    A last line without its end is left for the next look: a worker is writing it, or died there, and then the next
    worker ends it.

    Args:
        file: It need not be there yet.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._position = 0
        self._tail = b""

    def look(self) -> News:
        """Reads what came since the last look."""
        try:
            with self._file.open("rb") as file:
                file.seek(self._position - len(self._tail))
                # A file of the same name may be another one by now (a run was renamed), whatever its length.
                anew = file.read(len(self._tail)) != self._tail
                if anew:
                    file.seek(0)
                data = file.read()
        except OSError:
            anew, data = self._position > 0, b""
        if anew:
            self._position, self._tail = 0, b""
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        self._tail = (self._tail + whole)[-_TAIL:]
        return News(list(parse_events(whole.split(b"\n"))), anew)
