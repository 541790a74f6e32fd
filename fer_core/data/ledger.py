"""The ledger: counts after every step, with a reason for every image that a step moved or left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer_core.data.info import SPLITS, Change, Counts, count

GONE = ""
"""The split of a row that was left out."""


class Ledger:
    """Follows rows through the steps. It compares before and after itself, so its totals cannot but add up.

    Args:
        labels: int64 ``[N]``, indices into ``EMOTIONS``.
        sources: The source of each row.
    """

    def __init__(self, labels: NDArray[np.int64], sources: NDArray[np.object_]) -> None:
        self.counts: dict[str, Counts] = {}
        self.by_source: dict[str, dict[str, Counts]] = {}
        self._rows_of = {str(name): np.flatnonzero(sources == name) for name in dict.fromkeys(sources)}
        self.changes: list[Change] = []
        self._labels = labels
        self._before: NDArray[np.object_] | None = None

    def record(
        self,
        step: str,
        splits: NDArray[np.object_],
        why: NDArray[np.object_] | None = None,
        labels: NDArray[np.int64] | None = None,
    ) -> None:
        """Enters a step. Its changes are listed by split and reason, whatever the order of the rows.

        Args:
            step: A word.
            splits: The split of each row after it; ``GONE`` if it was left out.
            why: The reason for each row that moved.
            labels: int64 ``[N]``, where some have changed.
        """
        if labels is not None:
            self._labels = labels
        named = splits.astype(str)
        self.counts[step] = count(named, self._labels)
        self.by_source[step] = {name: count(named[r], self._labels[r]) for name, r in self._rows_of.items()}
        if self._before is not None and why is not None:
            moved = self._before != splits
            reasons = pd.DataFrame({"from": self._before, "to": splits, "why": why})[moved]
            changes = [
                Change(step=step, split=split, n=sign * int(n), why=str(reason))
                for sign, side in ((1, "from"), (-1, "to"))
                for (split, reason), n in reasons.groupby([side, "why"]).size().items()
                if split in SPLITS
            ]
            self.changes += sorted(changes, key=lambda change: (SPLITS.index(change.split), change.why))
        self._before = splits.copy()
