"""Scores of predictions against labels, in NumPy alone, because the dashboard imports this.

Everywhere: ``labels`` and ``predicted`` are integer arrays ``[N]`` of class indices in the order of
``emotions.py``; ``probabilities`` is a float array ``[N, 7]`` whose rows sum to one. An undefined score, of a
class that was never predicted or never occurs, is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fer_core.emotions import EMOTIONS

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]
Interval = tuple[float, float]

_Z95: Final = 1.959963984540054  # the 97.5% point of the normal distribution
_SMALLEST: Final = 1e-7  # the clip of Keras' cross-entropy, so that losses compare with published ones


def confusion_matrix(labels: Ints, predicted: Ints) -> NDArray[np.int64]:
    """Counts by true class (rows) and predicted class (columns), int64 ``[7, 7]``."""
    n = len(EMOTIONS)
    cells = np.asarray(labels, np.int64) * n + np.asarray(predicted, np.int64)
    return np.bincount(cells, minlength=n * n).reshape(n, n).astype(np.int64)


def accuracy(labels: Ints, predicted: Ints) -> float:
    """Share of images whose predicted class is the label."""
    return float(np.mean(np.asarray(labels) == np.asarray(predicted))) if len(labels) else 0.0


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall, F1 (float64 ``[..., 7]``) and support (int64 ``[..., 7]``) of every class."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]


def class_scores(matrix: NDArray[np.int64]) -> ClassScores:
    """Scores of every class from a confusion matrix ``[7, 7]``, or from many of them, ``[..., 7, 7]``."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1).astype(np.float64)
    predicted, support = matrix.sum(axis=-2), matrix.sum(axis=-1)
    return ClassScores(
        precision=_share(hits, predicted),
        recall=_share(hits, support),
        f1=_share(2 * hits, predicted + support),
        support=support,
    )


def _share(part: NDArray[np.float64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def macro_f1(labels: Ints, predicted: Ints) -> float:
    """Mean F1 of the seven classes, each counting the same however rare it is.

    All seven always count, also one that does not occur in ``labels``, so that figures of two splits compare.
    """
    return float(class_scores(confusion_matrix(labels, predicted)).f1.mean())


def wilson_interval(correct: int, n: int) -> Interval:
    """95% interval of a proportion (Wilson 1927), which holds for small ``n`` and near 0 and 1 too.

    Returns:
        Low and high, within 0 to 1; the whole range where ``n`` is 0.
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = correct / n, _Z95 * _Z95
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def share_words(share: float, interval: Interval) -> str:
    """A share with its interval in percent, as everyone sees it: ``69.3 % ± 2.5``, half its width.

    Near 0 and 1, where one side is less than two thirds of the other, both ends: ``98.7 % (95.3 to 99.6)``.
    """
    low, high = interval
    shorter, longer = sorted((share - low, high - share))
    lopsided = shorter < longer * 2 / 3
    around = f"({100 * low:.1f} to {100 * high:.1f})" if lopsided else f"± {50 * (high - low):.1f}"
    return f"{100 * share:.1f} % {around}"


def cross_entropy(probabilities: Floats, labels: Ints) -> float:
    """Mean negative log-probability of the true class, in nats."""
    if not len(labels):
        return 0.0
    true = np.asarray(probabilities, np.float64)[np.arange(len(labels)), labels]
    return float(-np.log(np.clip(true, _SMALLEST, 1.0)).mean())
