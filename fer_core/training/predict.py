"""Probabilities of many images from the network in training, step by step, so that a stop need not wait."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from fer_core.emotions import EMOTIONS
from fer_core.training import backend

_BATCH: Final = 256


def steps(images: int) -> int:
    """How many steps ``predict_probabilities`` takes for so many images."""
    return math.ceil(_shares(images)[backend.process()] / _BATCH)


def predict_probabilities(
    model: keras.Model, images: NDArray[Any], tick: Callable[[int], None] = lambda done: None
) -> NDArray[np.float32]:
    """Softmax of a network's logits in inference mode, at temperature 1.

    Processes that train together share the images, and must all call it.

    Args:
        model: Built by ``fer_core.models.architectures.build``, or its head.
        images: uint8 ``[N, H, W, C]``, or what the head reads.
        tick: Told after each step how many are done.

    Returns:
        float32 ``[N, 7]``, rows sum to one.
    """
    shares = _shares(len(images))
    first = sum(shares[: backend.process()])
    own = images[first : first + shares[backend.process()]]
    probabilities = np.empty((len(own), len(EMOTIONS)), np.float32)
    for step in range(steps(len(images))):
        part = slice(step * _BATCH, (step + 1) * _BATCH)
        logits = backend.answers(model, own[part]).astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities[part] = powers / powers.sum(axis=1, keepdims=True)
        tick(step + 1)
    return backend.gathered(probabilities, shares)


def _shares(images: int) -> list[int]:
    """How many of so many images each process predicts."""
    each, rest = divmod(images, backend.processes())
    return [each + (process < rest) for process in range(backend.processes())]
