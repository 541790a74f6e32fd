"""What training takes of the machine."""

from __future__ import annotations

import psutil


class Machine:
    """This process, from now on. A look takes some tens of microseconds."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first answer says nothing: it has no interval

    def use(self) -> dict[str, float]:
        """``cpu_percent`` since the last look (100 is one core), and ``memory_bytes`` held now."""
        with self._process.oneshot():
            return {"cpu_percent": self._process.cpu_percent(), "memory_bytes": self._process.memory_info().rss}
