"""Which pictures look alike to a network: nearest neighbours by cosine, a block of rows at a time."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.jobs.progress import Progress, silent

_BLOCK_VALUES: Final = 2**24
"""Similarities that are held at a time: 64 MB, however many pictures there are."""


def nearest(
    embeddings: NDArray[np.float32], photographs: NDArray[np.int64], count: int, progress: Progress = silent
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The most alike pictures of each picture, the most alike first, among those of other photographs.

    Args:
        embeddings: float32 ``[N, F]``, of length 1 each.
        photographs: int64 ``[N]``: which photograph each shows.
        count: How many, at least 1.
        progress: Told of every block: 60,000 pictures take minutes.

    Returns:
        int64 ``[N, count]``: their rows, -1 where there are fewer; float32 ``[N, count]``: their cosines, -1 to 1,
        NaN where there are fewer.
    """
    total = len(embeddings)
    rows = np.full((total, count), -1, np.int64)
    cosines = np.full((total, count), np.nan, np.float32)
    held, step = min(count, total), max(1, _BLOCK_VALUES // max(1, total))
    for start in range(0, total, step):
        progress("Looking for images that are alike", start, total)
        block = slice(start, start + step)
        alike = embeddings[block] @ embeddings.T
        alike[photographs[block, None] == photographs] = -np.inf
        best = np.argpartition(alike, total - held, axis=1)[:, total - held :]
        values = np.take_along_axis(alike, best, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        best, values = np.take_along_axis(best, order, axis=1), np.take_along_axis(values, order, axis=1)
        there = np.isfinite(values)
        rows[block, :held] = np.where(there, best, -1)
        cosines[block, :held] = np.where(there, values.clip(-1, 1), np.nan)
    return rows, cosines
