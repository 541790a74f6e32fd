"""Originals with their augmented children: as balancing would make them, and as a balanced dataset holds them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from fer_core.data.augment import Augmenter
from fer_core.data.config import USUAL, AugmentConfig
from fer_core.data.dataset import Dataset
from fer_core.data.decode import encode_png
from fer_core.emotions import INDEX
from fer_core.preprocessing import Pixels, decode, to_native

if TYPE_CHECKING:
    import pandas as pd

CHILDREN: Final = 6
"""How many children are shown of an original."""


@dataclass(frozen=True)
class Family:
    """An original and its children.

    Attributes:
        path: Of the original in its source.
        original: uint8 ``[H, W, C]``.
        children: The same, at most ``CHILDREN``.
        seconds: What making one child took here; 0 for children that were made before.
    """

    path: str
    original: Pixels
    children: list[Pixels]
    seconds: float = 0.0


def preview_family(
    dataset: Dataset, table: pd.DataFrame, emotion: str, number: int, seed: int, strengths: AugmentConfig = USUAL
) -> Family | None:
    """An original with the first children that ``balance`` would make of it.

    Loads albumentations.

    Args:
        dataset: Not balanced.
        table: The rows of its train split.
        emotion: Of which class.
        number: Which of its faces, from 0; they come in a drawn order and then again.
        seed: Of the balancing.
        strengths: Of its augmentation.

    Returns:
        None where the class has no image.

    Raises:
        ConfigError: The strengths leave the original as it is.
    """
    rows = table[table["label"] == INDEX[emotion]]
    if rows.empty:
        return None
    row, sha, path = _drawn(rows, number)
    size, channels = (dataset.info.height, dataset.info.width), dataset.info.channels
    original = _pictures(dataset, [row])[0]
    augment = Augmenter(channels, strengths)
    augment.child(original, sha, 0, seed)  # the first takes longer
    started = time.perf_counter()
    children = [augment.child(original, sha, n, seed) for n in range(CHILDREN)]
    for child in children:
        to_native(decode(encode_png(child)), size, channels)  # what else balancing does with each
    return Family(path, original, children, (time.perf_counter() - started) / CHILDREN)


def stored_family(dataset: Dataset, table: pd.DataFrame, emotion: str, number: int) -> Family | None:
    """An original of a balanced dataset with its children.

    Args:
        dataset: Balanced.
        table: The rows of its train split.
        emotion: Of which class.
        number: Which of its families, from 0; they come in a drawn order and then again.

    Returns:
        None where the class has no children.
    """
    of_class = table[table["label"] == INDEX[emotion]]
    is_child = of_class["parent_id"].notna()
    children = of_class[is_child]
    parents = of_class[~is_child & of_class["pixel_sha"].isin(children["parent_id"])].drop_duplicates("pixel_sha")
    if parents.empty:
        return None
    row, sha, path = _drawn(parents, number)
    own = children.index[children["parent_id"] == sha][:CHILDREN]
    original, *grown = _pictures(dataset, [row, *map(int, own)])
    return Family(path, original, grown)


def _drawn(rows: pd.DataFrame, number: int) -> tuple[int, str, str]:
    """Row number, ``pixel_sha`` and path of one of some rows."""
    position = int(np.random.default_rng(0).permutation(len(rows))[number % len(rows)])
    row = rows.iloc[position]
    return int(rows.index[position]), str(row["pixel_sha"]), str(row["path"])


def _pictures(dataset: Dataset, rows: list[int]) -> list[Pixels]:
    size = dataset.info.height, dataset.info.width
    return [to_native(decode(data), size, dataset.info.channels) for data in dataset.encoded("train", rows)]
