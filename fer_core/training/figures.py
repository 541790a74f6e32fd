"""The figure of a run's history: accuracy and loss over the epochs of all phases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from fer_core.canvas import ACCENT, BORDER, INK, QUIET, bare, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HISTORY_FILE: Final = "training_history.png"

_PANELS: Final = (("Accuracy %", "accuracy", 100.0), ("Loss", "loss", 1.0))


def write_training_history(history: pd.DataFrame, phases: Sequence[tuple[str, int]], file: Path, *, title: str) -> None:
    """Draws accuracy and loss of train (thin) and validation (thick), with phases and the best epoch.

    Args:
        history: As ``Run.history`` gives it; at least one epoch.
        phases: Name and number of epochs of each phase.
        file: The PNG to write.
        title: Which run on which data.
    """
    epoch = history["global_epoch"].astype(int) + 1
    figure = new_figure(title, 820, 620)
    panels = figure.subplots(len(_PANELS), 1, sharex=True)
    for axes, (name, column, scale) in zip(panels, _PANELS, strict=True):
        values = {
            "train": history[column].astype(float) * scale,
            "validation": history[f"val_{column}"].astype(float) * scale,
        }
        axes.plot(epoch, values["train"], color=QUIET, lw=1.2, marker="o" if len(epoch) == 1 else "")
        axes.plot(epoch, values["validation"], color=ACCENT, lw=2.4, marker="o" if len(epoch) == 1 else "")
        higher = max(values, key=lambda line: values[line].iloc[-1])
        for line, y in values.items():
            shift = (7, 3) if line == higher else (7, -9)  # so that two names at one height stay apart
            axes.annotate(line, (epoch.iloc[-1], y.iloc[-1]), shift, textcoords="offset points", color=INK, fontsize=9)
        axes.set_ylabel(name, color=INK)
        axes.grid(axis="y", color=BORDER)
        axes.set_axisbelow(True)
        bare(axes)
        _bands(axes, phases)
    best = history[history["best"].astype(bool)].tail(1)
    for number, score in zip(best["global_epoch"] + 1, best["val_accuracy"] * 100, strict=True):
        panels[0].plot(number, score, "o", color=ACCENT, ms=8, mec=INK)
        panels[0].annotate(
            f"best {score:.1f} %, epoch {number}", (number, score), (0, 9), textcoords="offset points",
            ha="right" if number > epoch.max() / 2 else "left", color=INK, fontsize=9,
        )  # fmt: skip
    total = max(epoch.max(), sum(epochs for _, epochs in phases))
    panels[0].margins(y=0.16)
    panels[-1].set_xlim(0.5, total * 1.12 + 0.5)  # room for the names of the lines
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    panels[-1].set_xlabel("Epoch", color=INK)
    save(figure, file)


def _bands(axes: Axes, phases: Sequence[tuple[str, int]]) -> None:
    """Phases as faint bands with their names on top; a single phase needs none."""
    phases = [phase for phase in phases if phase[1]]  # one that the run ended before has no place
    if len(phases) < 2:
        return
    start = 0.5
    for number, (name, epochs) in enumerate(phases):
        axes.axvspan(start, start + epochs, color=QUIET, alpha=0.12 if number % 2 else 0.05, lw=0)
        axes.annotate(
            name, (start, 1), (4, -4), xycoords=("data", "axes fraction"), textcoords="offset points",
            va="top", color=INK, fontsize=8.5,
        )  # fmt: skip
        start += epochs
