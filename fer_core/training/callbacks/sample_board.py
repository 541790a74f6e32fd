"""Eight validation faces that stay the same through a run: one watches the network learn them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fer_core.emotions import EMOTIONS

SIZE: Final = 8


class SampleBoard:
    """Chooses the faces once: each class in turn, then again, until eight are found or none is left.

    Args:
        labels: int64 ``[N]`` of the validation split.
        seed: Of the run.
    """

    def __init__(self, labels: NDArray[np.int64], seed: int) -> None:
        self._labels = labels
        order = np.random.default_rng(seed).permutation(len(labels))
        turn = np.empty(len(labels), np.int64)  # which of its class each face is, in the shuffled order
        for label in range(len(EMOTIONS)):
            members = order[labels[order] == label]
            turn[members] = np.arange(len(members))
        self.rows = np.lexsort((labels, turn))[:SIZE]

    def at(self, probabilities: NDArray[np.float32]) -> list[dict[str, Any]]:
        """What the epoch event says of each face: ``row``, ``true``, ``guess`` and ``probability_true``."""
        return [
            {
                "row": int(row),
                "true": EMOTIONS[self._labels[row]],
                "guess": EMOTIONS[probabilities[row].argmax()],
                "probability_true": round(float(probabilities[row, self._labels[row]]), 4),
            }
            for row in self.rows
        ]
