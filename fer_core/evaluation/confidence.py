"""How far a model's own confidence can be relied on: its top probability against how often it is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.evaluation.metrics import Floats, Interval, Ints, share_words, wilson_interval

BINS: Final = 15
"""As many as Guo et al. 2017 (arXiv:1706.04599) use."""


@dataclass(frozen=True)
class ReliabilityBins:
    """Predictions by their top probability, in ``B`` bins of equal width, open on the left: (0, 1/B] and so on.

    Attributes:
        edges: float64 ``[B + 1]``, 0 to 1.
        counts: Images in each bin, int64 ``[B]``.
        confidence: Mean top probability, float64 ``[B]``; NaN in a bin without images.
        accuracy: Share that is right, float64 ``[B]``; NaN in a bin without images.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def ece(self) -> float:
        """Expected calibration error: how far confidence is from accuracy, weighted by images; 0 where there are none.

        Source: Guo et al. 2017, arXiv:1706.04599.
        """
        filled = self.counts > 0
        gaps = np.abs(self.confidence - self.accuracy)[filled]
        return float((self.counts[filled] * gaps).sum() / max(1, self.counts.sum()))


def reliability_bins(probabilities: Floats, labels: Ints, bins: int = BINS) -> ReliabilityBins:
    """Confidence against accuracy, bin by bin.

    For the state before a temperature, give ``calibration.apply_temperature(probabilities, 1 / temperature)``.

    Args:
        probabilities: float ``[N, 7]``, rows sum to one.
        labels: int ``[N]``.
        bins: How many, at least 1.
    """
    top, hit = _top(probabilities, labels)
    which = np.clip(np.ceil(top.astype(np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(which, minlength=bins)
    sums = (np.bincount(which, weights=values, minlength=bins) for values in (top, hit))
    nothing = np.full(bins, np.nan)
    confidence, accuracy = (np.divide(total, counts, out=nothing.copy(), where=counts > 0) for total in sums)
    return ReliabilityBins(np.linspace(0, 1, bins + 1), counts.astype(np.int64), confidence, accuracy)


@dataclass(frozen=True)
class CoverageCurve:
    """What is gained by answering only where the model is confident, one point for each top probability that occurs.

    Images of the same confidence cannot be told apart, so they are answered together.

    Attributes:
        threshold: The lowest top probability that is answered, float64 ``[K]``, falling.
        coverage: Share of the images that are answered, float64 ``[K]``, rising to 1.
        accuracy: Share of the answered ones that are right, float64 ``[K]``; the last is the accuracy of all.
    """

    threshold: NDArray[np.float64]
    coverage: NDArray[np.float64]
    accuracy: NDArray[np.float64]


def coverage_curve(probabilities: Floats, labels: Ints) -> CoverageCurve:
    """Accuracy of the most confident answers, as a function of how many are given.

    Source: El-Yaniv and Wiener 2010, JMLR 11, 1605-1641 (its risk-coverage curve, with accuracy for one minus risk).

    Args:
        probabilities: float ``[N, 7]``, rows sum to one.
        labels: int ``[N]``; without images the curve has no points.
    """
    top, hit = _top(probabilities, labels)
    order = np.argsort(-top, kind="stable")
    top, right = top[order], hit[order].cumsum()
    last = np.flatnonzero(np.diff(top, append=-1.0))  # of the images that share a confidence
    answered = last + 1
    return CoverageCurve(top[last].astype(np.float64), answered / max(1, len(top)), right[last] / answered)


@dataclass(frozen=True)
class Answered:
    """What calling the less confident answers uncertain costs, and what it brings.

    Attributes:
        threshold: Answers with a lower top probability are uncertain.
        n: Images that are answered.
        coverage: Their share, 0 to 1; 0 where there are no images.
        accuracy: Share of the answered ones that are right; None where none is answered.
        ci95: Its 95% Wilson interval.
    """

    threshold: float
    n: int
    coverage: float
    accuracy: float | None
    ci95: Interval | None

    @property
    def said(self) -> str:
        """The price in words."""
        if self.accuracy is None or self.ci95 is None:
            return "No image is answered: all are uncertain."
        right = f"{share_words(self.accuracy, self.ci95)} right on"
        if self.coverage == 1:
            return f"{right} all images; none is uncertain."
        return f"{right} {100 * self.coverage:.1f} % of images; {100 * (1 - self.coverage):.1f} % uncertain."


def answered_at(probabilities: Floats, labels: Ints, threshold: float) -> Answered:
    """What is left, and how right it is, where answers below a threshold count as uncertain.

    Args:
        probabilities: float ``[N, 7]``, rows sum to one.
        labels: int ``[N]``.
        threshold: Top probability from which on an answer counts, 0 to 1, as ``predict`` takes it.
    """
    top, hit = _top(probabilities, labels)
    given = top >= threshold
    n, right = int(given.sum()), int(hit[given].sum())
    if n == 0:
        return Answered(threshold, 0, 0.0, None, None)
    return Answered(threshold, n, n / len(top), right / n, wilson_interval(right, n))


def _top(probabilities: Floats, labels: Ints) -> tuple[Floats, NDArray[np.bool_]]:
    """The top probability of each image, and whether its class is the label."""
    values = np.asarray(probabilities)
    # Not widened: a float32 of 0.7 is not below a threshold of 0.7, neither here nor in `predict`.
    return values.max(axis=1), values.argmax(axis=1) == np.asarray(labels)
