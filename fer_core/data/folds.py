"""Folds of a split: stratified by class, grouped by photograph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fer_core.emotions import EMOTIONS
from fer_core.errors import ConfigError


def folds(labels: NDArray[np.int64], photo_ids: Sequence[str], k: int, seed: int) -> NDArray[np.int64]:
    """Divides images into folds of about equal size and equal shares of each class.

    All images of a photograph, augmented ones too, are in one fold, so that no model is asked about a photograph
    that it has learned from. The fold of a photograph depends on the photographs and the seed, not on their order.

    Args:
        labels: int64 ``[N]``, indices into ``EMOTIONS``.
        photo_ids: For each image the photograph that it shows.
        k: How many folds, at least 2.
        seed: Decides which photographs go together.

    Returns:
        int64 ``[N]``: for each image its fold, 0 to ``k - 1``.

    Raises:
        ConfigError: There are fewer photographs than folds, or fewer than two folds.
    """
    names, photo = np.unique(np.asarray(photo_ids, dtype=object), return_inverse=True)
    if not 2 <= k <= len(names):
        raise ConfigError(f"{k} folds of {len(names):,} photographs: give at least 2, and at most one per photograph.")
    counts = np.zeros((len(names), len(EMOTIONS)), np.int64)
    np.add.at(counts, (photo, labels), 1)
    sizes, classes = counts.sum(1), counts.argmax(1)
    # The largest first: many small ones then make up for what these left uneven.
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    filled = np.zeros((k, len(EMOTIONS)), np.int64)
    fold = np.empty(len(names), np.int64)
    for group in order:
        chosen = np.lexsort((filled.sum(1), filled[:, classes[group]]))[0]
        fold[group] = chosen
        filled[chosen] += counts[group]
    return fold[photo]
