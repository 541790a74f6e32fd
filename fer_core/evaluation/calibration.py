"""Temperature scaling: one number that makes probabilities mean what they say.

Source: Guo et al. 2017, arXiv:1706.04599. Dividing logits by T is the same as raising the probabilities to
1/T and renormalising them, so no logits are needed.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.evaluation.metrics import Floats, Ints

LOWEST: Final = 0.2
HIGHEST: Final = 10.0
"""Temperatures are sought between these: a tiny, perfectly separated validation set has its optimum at 0."""

_SMALLEST: Final = 1e-12  # where a float32 softmax has underflowed to 0


def apply_temperature(probabilities: Floats, temperature: float) -> NDArray[np.float32]:
    """Probabilities at another temperature; above 1 they become flatter.

    Args:
        probabilities: float ``[N, 7]``.
        temperature: What to divide the logits by; ``1 / T`` undoes ``T``.

    Returns:
        float32 ``[N, 7]``, rows sum to one, the order of classes in each row unchanged.
    """
    scaled = _logits(probabilities) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def fit_temperature(probabilities: Floats, labels: Ints) -> float:
    """The temperature with the lowest cross-entropy.

    Args:
        probabilities: float ``[N, 7]`` at temperature 1, of images the model was not trained on.
        labels: int ``[N]``.

    Returns:
        A temperature between ``LOWEST`` and ``HIGHEST``; 1 where there are no images.
    """
    if not len(labels):
        return 1.0
    logits = _logits(probabilities)
    true = logits[np.arange(len(labels)), labels]

    def slope(inverse: float) -> float:
        """Derivative of the cross-entropy by 1/T. It only grows (the loss is convex in 1/T)."""
        scaled = inverse * logits
        weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        expected = (weights * logits).sum(axis=1) / weights.sum(axis=1)
        return float((expected - true).mean())

    low, high = 1 / HIGHEST, 1 / LOWEST
    for _ in range(40):  # halves the interval down to 1e-11
        middle = (low + high) / 2
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return 2 / (low + high)


def _logits(probabilities: Floats) -> NDArray[np.float64]:
    return np.log(np.clip(np.asarray(probabilities, np.float64), _SMALLEST, None))
