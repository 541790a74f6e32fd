"""The figures of an evaluation: the confusion matrix, and faces with what the model said of them."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

from fer_core.canvas import INK, SheetRow, Tile, bare, new_figure, save, sheet
from fer_core.emotions import EMOTIONS
from fer_core.evaluation.metrics import Floats, Ints, share_words
from fer_core.evaluation.report import EvaluationReport
from fer_core.preprocessing import Pixels

SAMPLES_FILE: Final = "prediction_samples.png"

_RAMP: Final = ("#F4F6F6", "#6FB3AD")  # ends where the ink still stands 6.7:1 against it
_COLUMNS: Final = 7
_ROWS: Final = 2  # of right predictions, and as many of wrong ones


def confusion_matrix_file(folder: Path, split: str) -> Path:
    """The figure of a split's confusion matrix, in the folder of a run: ``validation`` is shortened to ``val``."""
    return folder / f"confusion_matrix_{'val' if split == 'validation' else split}.png"


def write_confusion_matrix(report: EvaluationReport, file: Path | IO[bytes], *, title: str) -> None:
    """Draws a confusion matrix: rows true, columns predicted, counts and shares of the row.

    Args:
        report: Whose matrix, accuracy, interval and number of images are shown.
        file: The PNG to write, or where to write it.
        title: Model, split, and whether the data is clean or leaky; the figures follow it.
    """
    from matplotlib.colors import LinearSegmentedColormap

    counts = np.asarray(report.confusion_matrix, np.int64)
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    accuracy = f"{share_words(report.accuracy, report.ci95)} · n {report.n:,}"
    figure = new_figure(f"{title}\n{accuracy}", 720, 660)
    axes = figure.subplots()
    ramp = LinearSegmentedColormap.from_list("teal", _RAMP)
    axes.pcolormesh(share, cmap=ramp, vmin=0, vmax=1, edgecolors="white", linewidth=2)
    for row, column in np.ndindex(*counts.shape):
        n, weight = counts[row, column], "bold" if row == column else "normal"
        axes.text(column + 0.5, row + 0.4, f"{n:,}", ha="center", va="center", color=INK, fontweight=weight)
        percent = f"{100 * share[row, column]:.0f} %" if n else "–"
        axes.text(column + 0.5, row + 0.7, percent, ha="center", va="center", color=INK, fontsize=8)
    names = [label.capitalize() for label in report.labels]
    middles = np.arange(len(names)) + 0.5
    axes.set_xticks(middles, names)
    axes.set_yticks(middles, [f"{name}\nn {n:,}" for name, n in zip(names, counts.sum(axis=1), strict=True)])
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("Predicted, in % of the row", color=INK)
    axes.set_ylabel("True", color=INK)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    bare(axes)
    save(figure, file)


def write_prediction_samples(
    images: Pixels, labels: Ints, probabilities: Floats, file: Path, *, title: str, seed: int
) -> None:
    """Draws some faces with true label, prediction and probability: right and wrong ones, at random in each.

    Args:
        images: uint8 ``[N, H, W, C]``.
        labels: int ``[N]``.
        probabilities: float ``[N, 7]``.
        file: The PNG to write.
        title: Model and split.
        seed: Decides which faces are shown.
    """
    predicted = probabilities.argmax(axis=1)
    right = predicted == labels
    random = np.random.default_rng(seed)
    rows = []
    for word, chosen in (("Right", np.flatnonzero(right)), ("Wrong", np.flatnonzero(~right))):
        drawn = _spread(random.permutation(chosen), labels)
        tiles = [
            Tile(
                images[row],
                f"{EMOTIONS[labels[row]]}\n→ {EMOTIONS[predicted[row]]} {100 * probabilities[row].max():.0f} %",
            )
            for row in drawn
        ]
        starts = range(0, max(1, len(tiles)), _COLUMNS)
        rows += [SheetRow(word, tiles[at : at + _COLUMNS], empty=f"no {word.lower()} prediction") for at in starts]
    note = f"True label → prediction and its probability. {right.sum():,} of {len(labels):,} are right."
    save(sheet(rows, title=title, note=note), file)


def _spread(rows: NDArray[np.int64], labels: Ints) -> list[int]:
    """The first rows of each class, classes in order: two rows of the sheet, filled up where a class has too few."""
    number = np.zeros(len(rows), np.int64)
    for label in range(len(EMOTIONS)):
        of_class = labels[rows] == label
        number[of_class] = np.arange(of_class.sum())
    first = rows[np.lexsort((labels[rows], number))][: _ROWS * _COLUMNS]
    return [int(row) for row in first]
