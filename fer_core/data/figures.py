"""The figures in a dataset's folder: images per class before and after, and samples of its faces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from fer_core.canvas import BORDER, INK, QUIET, SheetRow, Tile, bare, new_figure, save, sheet
from fer_core.data.info import SPLITS, DatasetInfo
from fer_core.emotions import EMOTIONS, INDEX, PALETTES
from fer_core.preprocessing import decode, to_native

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fer_core.data.dataset import Dataset

DISTRIBUTION_FILE: Final = "distribution_before_after.png"
SAMPLES_FILE: Final = "samples.png"

_COLOURS: Final = PALETTES["light"]
_COLUMNS: Final = 8
_CHILDREN: Final = 3  # of one original on the sheet: two families fill a row


def write_figures(dataset: Dataset) -> None:
    """Draws both figures into the folder of a dataset whose files are written.

    Raises:
        DatasetError: A file of the dataset is missing or damaged.
    """
    save(_distribution(dataset.info), dataset.folder / DISTRIBUTION_FILE)
    save(_samples(dataset), dataset.folder / SAMPLES_FILE)


def _distribution(info: DatasetInfo) -> Figure:
    """Three panels, one per split: outline bars before, solid bars after, augmented images hatched."""
    balanced = info.before_balancing()
    before = balanced or next(iter(info.counts.values()))
    told = "before balancing" if balanced else "as read from the sources"
    shown = "originals solid, augmented hatched" if balanced else "solid"
    title = f"{info.name}: images per class {told} (outline) and in the dataset ({shown})"
    figure = new_figure(title, 1180, 420)
    panels = figure.subplots(1, len(SPLITS), sharey=True)
    for axes, split in zip(panels, SPLITS, strict=True):
        after = info.final()[split]
        grown = {emotion: max(0, after[emotion] - before[split][emotion]) if balanced else 0 for emotion in EMOTIONS}
        _panel(axes, split, before[split], after, grown)
    return figure


def _panel(
    axes: Axes, split: str, before: Mapping[str, int], after: Mapping[str, int], augmented: Mapping[str, int]
) -> None:
    rows = np.arange(len(EMOTIONS))
    first, last, grown = ([counts[emotion] for emotion in EMOTIONS] for counts in (before, after, augmented))
    originals = np.subtract(last, grown)
    colours = list(_COLOURS.values())
    axes.barh(rows, first, 0.78, facecolor="none", edgecolor=QUIET, lw=1)
    axes.barh(rows, originals, 0.5, color=colours)
    axes.barh(rows, grown, 0.5, left=originals, facecolor="white", edgecolor=colours, hatch="////", lw=0.8)
    for row, (one, other) in enumerate(zip(first, last, strict=True)):
        axes.text(max(one, other), row, f" {_change(one, other)}", color=INK, fontsize=9, va="center")
    axes.set_title(f"{split.capitalize()} · {_change(sum(first), sum(last))}", color=INK, fontsize=10.5, loc="left")
    axes.set_yticks(rows, [emotion.capitalize() for emotion in EMOTIONS])
    axes.set_ylim(len(EMOTIONS) - 0.4, -0.6)
    axes.set_xlim(0, 1.5 * max(1, *first, *last))  # the labels stand at the ends of the bars
    axes.set_xticks([])
    bare(axes)
    axes.axvline(0, color=BORDER, lw=1)


def _change(before: int, after: int) -> str:
    return f"{before:,} → {after:,}" if before and before != after else f"{after:,}"


def _samples(dataset: Dataset) -> Figure:
    """A row per class, from train: originals, or originals each with its augmented children beside it."""
    table = dataset.table("train")
    chosen = {emotion: _chosen(table[table["label"] == INDEX[emotion]]) for emotion in EMOTIONS}
    wanted = [row for rows in chosen.values() for row in rows]
    info = dataset.info
    size = info.height, info.width
    pictures = dict(zip(wanted, dataset.encoded("train", wanted), strict=True))
    child = table["parent_id"].notna()
    rows = [
        SheetRow(
            emotion.capitalize(),
            [
                Tile(
                    to_native(decode(pictures[row], info.name), size, info.channels),
                    "augmented" if child[row] else "",
                    marked=bool(child[row]),
                )
                for row in chosen[emotion]
            ],
            _COLOURS[emotion],
            empty="no image in train",
        )
        for emotion in EMOTIONS
    ]
    note = "Framed faces are augmented copies of the original to their left." if child.any() else "All are originals."
    return sheet(rows, title=f"{info.name}: faces of the training split", note=note)


def _chosen(rows: pd.DataFrame) -> list[int]:
    """Up to eight rows of a class, spread evenly over it: families where there are children, else originals.

    Args:
        rows: Of one class in train, indexed by row number.
    """
    originals = rows[rows["parent_id"].isna()].drop_duplicates("pixel_sha")
    children = rows[rows["parent_id"].notna()].groupby("parent_id").groups
    parents = originals[originals["pixel_sha"].isin(children.keys())]
    shown = parents if len(parents) else originals
    spread = np.linspace(0, len(shown) - 1, min(len(shown), _COLUMNS)).astype(np.int64)
    tiles: list[int] = []
    for row, sha in shown["pixel_sha"].iloc[spread].items():
        tiles += [row, *children.get(sha, ())][: 1 + _CHILDREN]
    return [int(row) for row in tiles[:_COLUMNS]]
