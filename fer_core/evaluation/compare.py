"""Two models on the same images: who is right more often, and whether that is more than chance.

Most images are read alike by two models, so the difference of their accuracies is far better known than either
accuracy. It is therefore taken over pairs of answers, never from two separate intervals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fer_core.evaluation.metrics import confusion_matrix, wilson_interval

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PairedDifference:
    """What two models, A and B, say of ``n`` images that both were asked about.

    Attributes:
        both: Images that both read right.
        only_a: Images that only A reads right.
        only_b: Images that only B reads right.
        neither: Images that none reads right.
    """

    both: int
    only_a: int
    only_b: int
    neither: int

    @property
    def n(self) -> int:
        """Number of images, at least 1."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def difference(self) -> float:
        """Accuracy of B minus accuracy of A, -1 to 1."""
        return (self.only_b - self.only_a) / self.n

    @property
    def ci95(self) -> tuple[float, float]:
        """95% interval of ``difference``, low and high."""
        return paired_interval(self.both, self.only_b, self.only_a, self.neither)

    @property
    def p_value(self) -> float:
        """Of McNemar's exact test: how likely so unequal a share of the disagreements is if both are equally good."""
        return mcnemar(self.only_a, self.only_b)

    @property
    def within_noise(self) -> bool:
        """Whether the interval holds 0: the difference may be chance."""
        low, high = self.ci95
        return low <= 0 <= high


@dataclass(frozen=True)
class PairedAnswers:
    """What two models, A and B, say of each of ``N`` images that both were asked about, at least 1.

    Attributes:
        paths: Of the images.
        labels: int64 ``[N]``.
        a: What A says, int64 ``[N]``.
        b: What B says, int64 ``[N]``.
    """

    paths: pd.Series[str]
    labels: NDArray[np.int64]
    a: NDArray[np.int64]
    b: NDArray[np.int64]

    @property
    def difference(self) -> PairedDifference:
        """Who is right how often."""
        right_a, right_b = self.a == self.labels, self.b == self.labels
        return PairedDifference(
            both=int((right_a & right_b).sum()),
            only_a=int((right_a & ~right_b).sum()),
            only_b=int((right_b & ~right_a).sum()),
            neither=int((~right_a & ~right_b).sum()),
        )

    @property
    def confusion_difference(self) -> NDArray[np.int64]:
        """Confusion matrix of B minus that of A, int64 ``[7, 7]``; rows, the true classes, add up to 0."""
        return confusion_matrix(self.labels, self.b) - confusion_matrix(self.labels, self.a)

    def only_one_right(self) -> pd.DataFrame:
        """The images that one of the two alone reads right, in their order.

        Returns:
            Columns ``path``, ``label``, ``predicted_a`` and ``predicted_b``.
        """
        import pandas as pd

        rows = (self.a == self.labels) != (self.b == self.labels)
        columns = {"label": self.labels, "predicted_a": self.a, "predicted_b": self.b}
        return pd.DataFrame({"path": self.paths.to_numpy()[rows], **{key: of[rows] for key, of in columns.items()}})


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p value of McNemar's exact test: is the split of the disagreements that of a fair coin?

    Source: McNemar 1947, Psychometrika 12, 153-157, with the binomial distribution itself in place of chi-squared.

    Args:
        only_a: Images that only A reads right.
        only_b: Images that only B reads right.

    Returns:
        0 to 1; 1 where the two never disagree on what is right.
    """
    n, fewer = only_a + only_b, min(only_a, only_b)
    tail = term = 1  # whole numbers, so nothing is rounded before the end
    for k in range(1, fewer + 1):
        term = term * (n - k + 1) // k
        tail += term
    return min(1.0, 2 * tail / 2**n)


def p_words(p: float) -> str:
    """A p value with as many digits as are of use."""
    return f"p = {p:.2g}" if p >= 0.0001 else "p < 0.0001"


def paired_interval(both: int, only_first: int, only_second: int, neither: int) -> tuple[float, float]:
    """95% interval of the difference between two proportions of the same sample, the first minus the second.

    Method 10 of Newcombe 1998, Statistics in Medicine 17, 2635-2650: the Wilson intervals of both proportions,
    joined under their correlation, which is corrected for continuity. It holds for small samples and where the
    models never disagree.

    Args:
        both: Successes in both.
        only_first: Successes in the first alone.
        only_second: Successes in the second alone.
        neither: Failures in both. All four add up to at least 1.

    Returns:
        Low and high, within -1 to 1.
    """
    n = both + only_first + only_second + neither
    successes = both + only_first, both + only_second
    first, second = (count / n for count in successes)
    (low1, high1), (low2, high2) = (wilson_interval(count, n) for count in successes)
    correlation = _correlation(both, only_first, only_second, neither)
    difference = first - second
    below = _joined(first - low1, high2 - second, correlation)
    above = _joined(high1 - first, second - low2, correlation)
    return max(-1.0, difference - below), min(1.0, difference + above)


def _correlation(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Newcombe's phi: that of the fourfold table, a positive one moved toward 0 by the continuity correction."""
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if margins == 0:
        return 0.0
    excess = float(both * neither - only_first * only_second)
    if excess > 0:
        excess = max(excess - (both + only_first + only_second + neither) / 2, 0.0)
    return excess / math.sqrt(margins)


def _joined(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * correlation * one * other + other * other))


def compare(a: pd.DataFrame, b: pd.DataFrame) -> PairedDifference | None:
    """How often the models of two tables are right; see ``pair``. None where they share no image."""
    answers = pair(a, b)
    return answers.difference if answers else None


def pair(a: pd.DataFrame, b: pd.DataFrame) -> PairedAnswers | None:
    """The answers of two models to the images that both tables hold; None where they share none.

    An image is known by its path and its label: one that was relabelled in between is left out, and so is a path
    that a table holds twice. Where both tables have a column ``pixel_sha``, that must agree, too.

    Args:
        a: Columns ``path``, ``label`` and ``predicted``, as ``read_predictions`` gives them.
        b: The same of the other model.
    """
    rows_a, rows_b = shared_rows(a, b)
    if not len(rows_a):
        return None
    return PairedAnswers(
        paths=a["path"].iloc[rows_a],
        labels=a["label"].to_numpy(np.int64)[rows_a],
        a=a["predicted"].to_numpy(np.int64)[rows_a],
        b=b["predicted"].to_numpy(np.int64)[rows_b],
    )


def shared_rows(a: pd.DataFrame, b: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the images that two tables share stand in each of them, int64 ``[N]`` twice; see ``pair``."""
    keys = [key for key in ("path", "label", "pixel_sha") if key in a.columns and key in b.columns]
    if all(a[key].equals(b[key]) for key in keys):  # the same split: nothing to look for
        return np.arange(len(a)), np.arange(len(a))
    numbered = [table[keys].assign(at=np.arange(len(table))) for table in (a, b)]
    shared = numbered[0].merge(numbered[1], on=keys)
    shared = shared[~shared.duplicated(keys, keep=False)]
    return shared["at_x"].to_numpy(np.int64), shared["at_y"].to_numpy(np.int64)
