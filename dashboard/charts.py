"""Data -> plotly figures. No Streamlit here; the theme ("light" or "dark") is an argument.

Charts carry no title (the sentence above them is the title), no mode bar and no legend: lines are named at their
right end, and colour is never the only sign.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import cv2
import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from dashboard.drawings import INK, apart, face
from fer_core.data.balance import ClassPlan
from fer_core.emotions import CODES, EMOTIONS, PALETTES
from fer_core.preprocessing import Pixels

if TYPE_CHECKING:
    import pandas as pd

ACCENT: Final = {"light": "#0F6B6B", "dark": "#4FB8B0"}
QUIET: Final = {"light": "#8A9499", "dark": "#7C868F"}
MATRIX_RAMP: Final = {"light": ["#F4F6F6", "#6FB3AD"], "dark": ["#181E25", "#1F6F6C"]}
"""From none to all; one text colour reads on both ends."""
DIFFERENCE_RAMP: Final = {
    theme: [orange, *MATRIX_RAMP[theme]] for theme, orange in (("light", "#E3A567"), ("dark", "#8A4F1D"))
}
"""From worse over equal to better; one text colour reads on all of it."""
BORDER: Final = {"light": "#DDE3E3", "dark": "#2A323B"}
RUN_COLOURS: Final = {
    "light": ["#0F6B6B", "#7A4A1E", "#5A7184", "#5E6B12", "#14809A", "#8A5A6E"],
    "dark": ["#4FB8B0", "#C9A07A", "#9DB2C4", "#B5BF6A", "#6CC5DB", "#C49AAE"],
}
"""Of lines of runs: none is the colour of an emotion."""

CONFIG: Final = {"displayModeBar": False, "scrollZoom": False}
"""Passed to ``st.plotly_chart``."""

_DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
EMOTION_DASHES: Final = dict(zip(EMOTIONS, (*_DASHES, "8px,3px,2px,3px,2px,3px"), strict=True))
"""Of lines of emotions, which differ not by colour alone."""

_LABEL_ROOM: Final = 0.09  # of a panel's height: a line of text with its leading
_LONGEST_LABEL: Final = 16  # characters
_FAINT: Final = 0.005  # of all images: a difference of so many has the full colour, fewer are paler


def training_curves(
    history: pd.DataFrame,
    batches: pd.DataFrame,
    theme: str,
    *,
    phases: Sequence[tuple[str, int]],
    events: Mapping[str, Sequence[tuple[float, str]]],
) -> go.Figure:
    """Accuracy and loss over the epochs of all phases, and under them what happened when.

    Args:
        history: One row per finished epoch: ``global_epoch`` (from 0), ``accuracy``, ``val_accuracy``,
            ``loss``, ``val_loss``, ``best``.
        batches: Running scores within epochs, a faint line: ``at`` (epochs since the start), ``loss``, ``accuracy``.
        theme: "light" or "dark".
        phases: Name and number of epochs of each phase; their sum is where the axis ends.
        events: Name of a row of ticks -> the epoch of each, from 1, and what stands under the pointer.
    """
    strip = 0.06 * len(events)
    panel = (1 - strip) / 2
    figure = make_subplots(
        rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.05, row_heights=[panel, panel, strip or 0.01]
    )
    x = history["global_epoch"] + 1
    panels = (
        (1, "accuracy", "val_accuracy", 100.0, "%{y:.1f} %"),
        (2, "loss", "val_loss", 1.0, "%{y:.3f}"),
    )
    for row, train, validation, scale, shown in panels:
        lines = (("train", train, 1.2, QUIET[theme]), ("validation", validation, 2.6, ACCENT[theme]))
        figure.add_scatter(
            x=batches["at"], y=batches[train] * scale, row=row, col=1, mode="lines", hoverinfo="skip",
            line={"width": 1, "color": QUIET[theme]}, opacity=0.45,
        )  # fmt: skip
        if history.empty:
            continue
        last = {name: float(history[column].iloc[-1]) for name, column, *_ in lines}
        upper = max(last, key=last.__getitem__)  # one of them, also where they are equal
        for name, column, width, colour in lines:
            figure.add_scatter(
                x=x, y=history[column].astype(float) * scale, row=row, col=1, name=name, mode=_mode(history),
                line={"width": width, "color": colour}, hovertemplate=f"{name} {shown}<extra></extra>",
            )  # fmt: skip
            figure.add_annotation(
                x=x.iloc[-1], y=last[name] * scale, text=f" {name}", xanchor="left", showarrow=False, row=row, col=1,
                font={"color": INK[theme], "size": 12}, yshift=8 if name == upper else -8,
            )  # fmt: skip
    best = history[history["best"].astype(bool)].tail(1)
    figure.add_scatter(
        x=best["global_epoch"] + 1, y=best["val_accuracy"] * 100, row=1, col=1, mode="markers", name="best",
        marker={"size": 10, "color": ACCENT[theme], "line": {"color": INK[theme], "width": 1}},
        hovertemplate="best %{y:.1f} % at epoch %{x}<extra></extra>",
    )  # fmt: skip
    for name, ticks in events.items():
        figure.add_scatter(
            x=[at for at, _ in ticks], y=[name] * len(ticks), row=3, col=1, mode="markers", name=name,
            marker={"symbol": "line-ns", "size": 9, "line": {"width": 2, "color": INK[theme]}},
            customdata=[told for _, told in ticks], hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
    names = list(events)
    figure.update_yaxes(title={"text": "Accuracy %", "font": {"size": 12}}, row=1, col=1)
    figure.update_yaxes(title={"text": "Loss", "font": {"size": 12}}, row=2, col=1)
    figure.update_yaxes(fixedrange=True, gridcolor=BORDER[theme], nticks=5)
    figure.update_yaxes(
        type="category", categoryarray=names, range=[len(names) - 0.5, -0.5], showgrid=False, zeroline=False,
        tickfont={"size": 11}, row=3, col=1,
    )  # fmt: skip
    return _over_epochs(figure, phases, theme)


def recall_curves(history: pd.DataFrame, theme: str, *, phases: Sequence[tuple[str, int]]) -> go.Figure:
    """Recall of each class on validation over the epochs of all phases, each line named at its right end.

    Args:
        history: One row per finished epoch, at least one: ``global_epoch`` (from 0) and ``recall_<emotion>``, NaN for
            an emotion that the split does not hold.
        theme: "light" or "dark".
        phases: Name and number of epochs of each phase.
    """
    figure = make_subplots(rows=1, cols=1)
    x = history["global_epoch"] + 1
    total = sum(epochs for _, epochs in phases)
    lines = {emotion: 100 * history[f"recall_{emotion}"].astype(float) for emotion in EMOTIONS}
    lines = {emotion: line for emotion, line in lines.items() if line.notna().any()}
    places = apart([float(line.iloc[-1]) for line in lines.values()], 0, 100, 0.045)
    for (emotion, line), place in zip(lines.items(), places, strict=True):
        figure.add_scatter(
            x=x, y=line, row=1, col=1, name=emotion, mode=_mode(history),
            line={"color": PALETTES[theme][emotion], "dash": EMOTION_DASHES[emotion], "width": 2.2},
            hovertemplate=f"{emotion} %{{y:.1f}} %<extra></extra>",
        )  # fmt: skip
        figure.add_annotation(
            x=x.iloc[-1], y=line.iloc[-1], ax=x.iloc[-1] + 0.03 * total, ay=place, axref="x", ayref="y",
            text=emotion.capitalize(), xanchor="left", font={"color": INK[theme], "size": 12},
            arrowhead=0, arrowwidth=1, arrowcolor=QUIET[theme],
        )  # fmt: skip
    figure.update_yaxes(title={"text": "Recall %", "font": {"size": 12}}, range=[-2, 102], nticks=6)
    return _over_epochs(figure, phases, theme)


class Change(NamedTuple):
    """A change of a setting between two epochs: after which epoch (from 1), from what and to what."""

    epoch: float
    before: float
    after: float


def rate_curves(
    history: pd.DataFrame,
    theme: str,
    *,
    phases: Sequence[tuple[str, int]],
    drops: Sequence[Change],
    raises: Sequence[Change],
    log: bool,
) -> go.Figure:
    """Learning rate and weight decay at the end of every epoch.

    Args:
        history: One row per finished epoch, at least one: ``global_epoch`` (from 0), ``learning_rate``,
            ``weight_decay``.
        theme: "light" or "dark".
        phases: Name and number of epochs of each phase.
        drops: Of the learning rate.
        raises: Of weight decay.
        log: Whether learning rates differ so much that only a logarithmic scale shows them.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    panels = (
        (1, "Learning rate", "learning_rate", drops, "triangle-down", "lowered"),
        (2, "Weight decay", "weight_decay", raises, "triangle-up", "raised"),
    )
    for row, title, column, changes, symbol, word in panels:
        figure.add_scatter(
            x=history["global_epoch"] + 1, y=history[column].astype(float), row=row, col=1, mode=_mode(history),
            line={"width": 2, "color": ACCENT[theme]}, hovertemplate="%{y:.2e}<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=[change.epoch for change in changes], y=[change.before for change in changes], row=row, col=1,
            mode="markers", marker={"symbol": symbol, "size": 10, "color": INK[theme]},
            customdata=[f"{word} from {change.before:.2g} to {change.after:.2g}" for change in changes],
            hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
        figure.update_yaxes(title={"text": title, "font": {"size": 12}}, row=row, col=1)
    figure.update_yaxes(exponentformat="e", rangemode="tozero", nticks=5)
    rates = history["learning_rate"].astype(float)
    if log and rates.max() > 0:
        # A cosine ends near zero, which would take up most of a logarithmic scale.
        low = max(rates[rates > 0].min(), rates.max() / 1e4)
        ticks = [step * 10.0**power for power in range(-12, 3) for step in (1, 2, 5)]
        ticks = [tick for tick in ticks if low <= tick <= rates.max()]
        if len(ticks) > 6:
            ticks = ticks[::3]
        figure.update_yaxes(
            type="log", range=[np.log10(low) - 0.1, np.log10(rates.max()) + 0.1], row=1, col=1,
            tickvals=ticks, ticktext=[f"{tick:.0e}".replace("e-0", "e-") for tick in ticks],
        )  # fmt: skip
    return _over_epochs(figure, phases, theme)


def machine_curves(machine: pd.DataFrame, theme: str, *, phases: Sequence[tuple[str, int]], threads: int) -> go.Figure:
    """Images a second, cores and memory of the process that trains, use of the GPU, over the epochs of all phases.

    Args:
        machine: ``at`` (epochs since the start), ``images_per_second``, ``cpu_percent`` (100 is one core),
            ``memory_bytes``, ``gpu_percent``, ``gpu_memory_bytes``; NaN where nothing is known.
        theme: "light" or "dark".
        phases: Name and number of epochs of each phase.
        threads: Processor threads that the run may use.
    """
    panels = [
        ("Images/s", machine["images_per_second"], "%{y:,.0f} images/s", None),
        (f"Cores of {threads}", machine["cpu_percent"] / 100, "%{y:.1f} cores at work", 1.05 * threads),
        ("Memory GB", machine["memory_bytes"] / 1e9, "%{y:.2f} GB", None),
    ]
    if machine["gpu_percent"].notna().any():
        panels += [
            ("GPU %", machine["gpu_percent"], "GPU %{y:.0f} %", 105),
            ("GPU GB", machine["gpu_memory_bytes"] / 1e9, "%{y:.1f} GB of the GPU", None),
        ]
    figure = make_subplots(rows=len(panels), cols=1, shared_xaxes=True, vertical_spacing=0.06)
    for row, (title, values, shown, top) in enumerate(panels, start=1):
        figure.add_scatter(
            x=machine["at"], y=values, row=row, col=1, mode=_mode(machine), connectgaps=True,
            line={"width": 1.6, "color": ACCENT[theme]}, hovertemplate=f"{shown}<extra></extra>",
        )  # fmt: skip
        figure.update_yaxes(title={"text": title, "font": {"size": 12}}, rangemode="tozero", nticks=4, row=row, col=1)
        if top is not None:
            figure.update_yaxes(range=[0, top], row=row, col=1)
    return _over_epochs(figure, phases, theme)


def _mode(table: pd.DataFrame) -> str:
    return "lines+markers" if len(table) == 1 else "lines"  # a line of one point is invisible


def _over_epochs(figure: go.Figure, phases: Sequence[tuple[str, int]], theme: str) -> go.Figure:
    """What all charts of one run share: an axis over the epochs of all phases, so that nothing jumps as it goes on."""
    _bands(figure, phases, theme)
    total = sum(epochs for _, epochs in phases)
    figure.update_xaxes(range=[0, max(total, 1) * 1.14 + 0.4], fixedrange=True, showgrid=False, zeroline=False)
    last = len(list(figure.select_xaxes()))
    figure.update_xaxes(title={"text": "Epoch", "font": {"size": 12}}, row=last, col=1)
    figure.update_yaxes(fixedrange=True, gridcolor=BORDER[theme])
    figure.update_layout(hovermode="x unified")
    return bare(figure, height=460).update_layout(margin_t=24)  # the names of phases stand there


def _bands(figure: go.Figure, phases: Sequence[tuple[str, int]], theme: str) -> None:
    """Phases as faint bands with their names above; a single phase needs none."""
    phases = [phase for phase in phases if phase[1]]  # one that the run ended before has no place
    if len(phases) < 2:
        return
    start = 0.0
    for number, (name, epochs) in enumerate(phases):
        figure.add_vrect(
            x0=start, x1=start + epochs, line_width=0, fillcolor=QUIET[theme], opacity=0.10 if number % 2 else 0.04,
            row="all", col=1,
        )  # fmt: skip
        figure.add_annotation(
            x=start, y=1, xref="x", yref="y domain", text=name, xanchor="left", yanchor="bottom", showarrow=False,
            font={"color": INK[theme], "size": 11},
        )  # fmt: skip
        start += epochs


class Band(NamedTuple):
    """The lowest and the highest value at each epoch, of several runs that are drawn as one line."""

    low: Sequence[float]
    high: Sequence[float]


class RunCurves(NamedTuple):
    """A run's scores on validation after each epoch: accuracies 0 to 1, losses in nats; bands in the same units."""

    name: str
    accuracies: Sequence[float]
    losses: Sequence[float]
    baseline: bool = False
    accuracy_band: Band | None = None
    loss_band: Band | None = None


def smoothed(values: Sequence[float], weight: float) -> list[float]:
    """Exponential moving average, corrected for its start at zero, as TensorBoard draws it (Adam's correction).

    Args:
        values: In order.
        weight: Of what went before, 0 (the values themselves) to below 1.
    """
    average, found = 0.0, []
    for number, value in enumerate(values, start=1):
        average = weight * average + (1 - weight) * value
        found.append(average / (1 - weight**number))
    return found


def run_overlay(runs: Sequence[RunCurves], theme: str, *, smoothing: float = 0.0) -> go.Figure:
    """Validation accuracy and loss of several runs over their epochs, each line named at its right end.

    The baseline is drawn in ink; the others differ by colour and by dash.

    Args:
        runs: At most six, each with at least one epoch.
        theme: "light" or "dark".
        smoothing: See ``smoothed``; what was measured stays faint behind a smoothed line.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.1)
    epochs = max(len(run.accuracies) for run in runs)
    styles = _line_styles(runs, theme)
    percent = [[100 * value for value in run.accuracies] for run in runs]
    bands = [
        run.accuracy_band and Band(*([100 * value for value in side] for side in run.accuracy_band)) for run in runs
    ]
    panels = (
        (1, "Accuracy %", percent, bands, "%{y:.1f} %"),
        (2, "Loss", [list(run.losses) for run in runs], [run.loss_band for run in runs], "%{y:.3f}"),
    )
    for row, title, measured, around, shown in panels:
        lines = [smoothed(line, smoothing) for line in measured]
        everything = [
            value for line in (*measured, *(side for band in around if band for side in band)) for value in line
        ]
        low, high = min(everything), max(everything)
        room = 0.08 * (high - low) or 1.0
        low, high = low - room, high + room
        longest = [line[-1] for line in lines if len(line) == epochs]
        places = iter(apart(longest, low, high, _LABEL_ROOM))
        for run, line, style in zip(runs, lines, styles, strict=True):
            name = run.name if len(run.name) <= _LONGEST_LABEL else f"{run.name[: _LONGEST_LABEL - 1]}…"
            figure.add_scatter(
                x=list(range(1, len(line) + 1)), y=line, row=row, col=1, name=run.name, line=style,
                mode="lines+markers" if len(line) == 1 else "lines", hovertemplate=f"{shown} {name}<extra></extra>",
            )  # fmt: skip
            # A leader would look like a part of a line that ends before the others: its name stands at its own end.
            where: dict[str, Any] = {"showarrow": False, "xshift": 6}
            if len(line) == epochs:
                where = {"ax": 1.03 * epochs, "ay": next(places), "axref": f"x{row}", "ayref": f"y{row}"}
            figure.add_annotation(
                x=len(line), y=line[-1], row=row, col=1, text=name, xanchor="left",
                font={"color": INK[theme], "size": 12}, arrowhead=0, arrowwidth=1, arrowcolor=QUIET[theme],
                **where,
            )  # fmt: skip
        for line, band, style in zip(measured, around, styles, strict=True):
            _behind(figure, line if smoothing else None, band, style["color"], row)
        figure.update_yaxes(range=[low, high], title={"text": title, "font": {"size": 12}}, row=row, col=1)
    step = -(-epochs // 8)
    ticks = list(range(step, epochs + 1, step))
    figure.update_xaxes(range=[0.8, 1 + (epochs - 0.6) * 1.25], fixedrange=True, showgrid=False, tickvals=ticks)
    figure.update_xaxes(title={"text": "Epoch", "font": {"size": 12}}, row=2, col=1)
    figure.update_yaxes(fixedrange=True, gridcolor=BORDER[theme], nticks=5)
    figure.update_layout(hovermode="x")
    return bare(figure, height=460)


def _behind(figure: go.Figure, line: Sequence[float] | None, band: Band | None, colour: str, row: int) -> None:
    """What stays faint behind a line: the values it was smoothed from, and the runs that it is the mean of."""
    if line:
        figure.add_scatter(
            x=list(range(1, len(line) + 1)), y=line, row=row, col=1, mode="lines", opacity=0.3, hoverinfo="skip",
            line={"color": colour, "width": 1.2}, zorder=-1,
        )  # fmt: skip
    if band:
        x = list(range(1, len(band.low) + 1))
        figure.add_scatter(
            x=x + x[::-1], y=[*band.high, *reversed(band.low)], row=row, col=1, mode="lines", fill="toself",
            fillcolor=colour, opacity=0.16, line={"width": 0}, hoverinfo="skip", zorder=-2,
        )  # fmt: skip


def _line_styles(runs: Sequence[RunCurves], theme: str) -> list[dict[str, Any]]:
    """A line for each run; the baseline's is solid, thick and in ink."""
    others = iter(zip(RUN_COLOURS[theme], _DASHES, strict=True))
    styles: list[dict[str, Any]] = []
    for run in runs:
        if run.baseline:
            styles.append({"color": INK[theme], "dash": "solid", "width": 2.8})
        else:
            colour, dash = next(others)
            styles.append({"color": colour, "dash": dash, "width": 2.0})
    return styles


def balance_bars(plans: Mapping[str, ClassPlan], theme: str, *, touched: bool = True) -> go.Figure:
    """Images per class: an outline before, over it what stays (solid) and what is augmented (hatched).

    Args:
        plans: Of every emotion.
        theme: "light" or "dark".
        touched: Whether balancing concerns this split; one that it does not is grey.
    """
    names = [emotion.capitalize() for emotion in EMOTIONS]
    steps = [plans[emotion] for emotion in EMOTIONS]
    colours = [PALETTES[theme][emotion] if touched else QUIET[theme] for emotion in EMOTIONS]
    kept = [step.before - step.removed for step in steps]
    figure = go.Figure()
    figure.add_bar(
        x=[step.before for step in steps], y=names, orientation="h", width=0.8,
        hovertemplate="before %{x:,}<extra></extra>",
        marker={"color": "rgba(0,0,0,0)", "line": {"color": QUIET[theme], "width": 1.2}},
    )  # fmt: skip
    figure.add_bar(
        x=kept, y=names, orientation="h", width=0.5, marker={"color": colours},
        hovertemplate="originals %{x:,}<extra></extra>",
    )  # fmt: skip
    figure.add_bar(
        x=[step.augmented for step in steps], base=kept, y=names, orientation="h", width=0.5,
        customdata=[step.augmented for step in steps], hovertemplate="augmented %{customdata:,}<extra></extra>",
        marker={
            "color": "rgba(0,0,0,0)",
            "line": {"color": colours, "width": [1.2 * bool(step.augmented) for step in steps]},
            "pattern": {"shape": "/", "fgcolor": colours, "bgcolor": "rgba(0,0,0,0)", "size": 6, "solidity": 0.35},
        },
    )  # fmt: skip
    figure.add_scatter(
        x=[max(step.before, step.after) for step in steps], y=names, mode="text", textposition="middle right",
        text=[f"\u00a0{_told(step)}" for step in steps], textfont={"color": INK[theme]},
        cliponaxis=False, hoverinfo="skip",
    )  # fmt: skip
    longest = max(len(line) for step in steps for line in _told(step).split("<br>"))
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(range=[0, max(1, *(max(s.before, s.after) for s in steps))], visible=False, fixedrange=True)
    figure.update_yaxes(autorange="reversed", fixedrange=True, ticksuffix="  ")
    return bare(figure, height=290).update_layout(margin_r=16 + 7 * longest)  # pixels: the labels stand in the margin


def _told(step: ClassPlan) -> str:
    if step.augmented:
        share = f"{step.per_original:.1f}" if step.per_original >= 0.05 else "under 0.1"
        return f"{step.before:,} → {step.after:,}<br>\u00a0{share} per original"
    return f"{step.before:,} → {step.after:,}" if step.removed else f"{step.after:,}"


def weight_bars(counts: Mapping[str, int], weights: Mapping[str, float], theme: str) -> go.Figure:
    """What an image of each class counts in the loss, with how many there are.

    Args:
        counts: Train images by emotion; a class without any has no bar.
        weights: By emotion; the mean image counts 1.
        theme: "light" or "dark".
    """
    shown = [weights[emotion] if counts[emotion] else 0.0 for emotion in EMOTIONS]
    told = [f"{weight:.2f} · n {counts[emotion]:,}" for emotion, weight in zip(EMOTIONS, shown, strict=True)]
    figure = go.Figure()
    figure.add_bar(
        x=shown, y=[emotion.capitalize() for emotion in EMOTIONS], orientation="h", width=0.5,
        marker={"color": [PALETTES[theme][emotion] for emotion in EMOTIONS]}, hoverinfo="skip",
        text=[f"\u00a0{words}" for words in told], textposition="outside", textfont={"color": INK[theme]},
        cliponaxis=False,
    )  # fmt: skip
    figure.update_xaxes(range=[0, max(shown)], visible=False, fixedrange=True)
    figure.update_yaxes(autorange="reversed", fixedrange=True, ticksuffix="  ")
    return bare(figure, height=290).update_layout(margin_r=16 + 7 * max(map(len, told)))  # pixels, for the labels


def class_distribution(counts: Mapping[str, Mapping[str, int]], theme: str) -> go.Figure:
    """Images per class and split, or per class and source: seven groups of bars, solid to pale.

    Args:
        counts: split or source -> emotion -> number of images.
        theme: "light" or "dark".
    """
    figure = go.Figure()
    for (name, per_class), shade in zip(counts.items(), np.linspace(1, 0.3, len(counts)), strict=True):
        figure.add_bar(
            x=[emotion.capitalize() for emotion in EMOTIONS],
            y=[per_class[emotion] for emotion in EMOTIONS],
            name=name,
            marker={"color": [PALETTES[theme][e] for e in EMOTIONS], "opacity": shade},
            hovertemplate=f"%{{x}}, {name}: %{{y:,}}<extra></extra>",
        )
    figure.update_layout(barmode="group", bargap=0.25)
    figure.update_xaxes(fixedrange=True)
    figure.update_yaxes(fixedrange=True, gridcolor=BORDER[theme], nticks=5, rangemode="tozero")
    return bare(figure, height=260)


def confusion_matrix(
    matrix: Sequence[Sequence[int]],
    theme: str,
    *,
    show: str,
    selected: tuple[int, int] | None = None,
) -> go.Figure:
    """A confusion matrix whose cells can be clicked: rows true, columns predicted.

    Clicks on a heat map itself select nothing, so invisible squares lie on the cells; their ``customdata`` is
    ``[true, predicted]``.

    Args:
        matrix: Counts ``[7, 7]``.
        theme: "light" or "dark".
        show: What stands in a cell: "Counts", "Row %" or "Column %". Colour is the share of the row, or of the
            column for "Column %".
        selected: True and predicted class of the cell to frame.
    """
    counts = np.asarray(matrix, float)
    rows, columns = (counts.sum(axis=axis, keepdims=True) for axis in (1, 0))
    row_share, column_share = (np.divide(counts, t, out=np.zeros_like(counts), where=t > 0) for t in (rows, columns))
    shade = column_share if show == "Column %" else row_share
    text = [[f"{n:,.0f}" for n in row] for row in counts]
    if show != "Counts":
        text = [[f"{100 * share:.0f}" for share in row] for row in shade]
    told = [
        f"{counts[t, p]:,.0f} pictures · {100 * row_share[t, p]:.1f} % of the row · "
        f"{100 * column_share[t, p]:.1f} % of the column"
        for t, p in np.ndindex(*counts.shape)
    ]
    return _matrix(shade, (0, 1), MATRIX_RAMP[theme], text, told, theme, selected)


def difference_matrix(
    matrix: NDArray[np.int64],
    other: NDArray[np.int64],
    theme: str,
    *,
    names: tuple[str, str],
    selected: tuple[int, int] | None = None,
) -> go.Figure:
    """A confusion matrix minus that of another model on the same images; its cells can be clicked likewise.

    The sign says more or fewer, the colour better (teal: more hits or fewer mistakes) or worse (orange).

    Args:
        matrix: Counts ``[7, 7]``.
        other: Those of the other model.
        theme: "light" or "dark".
        names: Of the model and of the other.
        selected: True and predicted class of the cell to frame.
    """
    difference = matrix - other
    better = np.where(np.eye(len(difference), dtype=bool), difference, -difference)
    # A handful of images are noise, and shall look like it.
    bound = max(1, np.abs(difference).max(), _FAINT * matrix.sum())
    text = [[f"{n:+,d}" if n else "0" for n in row] for row in difference]
    one, two = map(html.escape, names)
    told = [
        f"{matrix[cell]:,} by {one} · {other[cell]:,} by {two} ({difference[cell]:+,d})"
        for cell in np.ndindex(*difference.shape)
    ]
    return _matrix(better, (-bound, bound), DIFFERENCE_RAMP[theme], text, told, theme, selected)


def _matrix(
    shade: NDArray[np.number[Any]],
    bounds: tuple[float, float],
    ramp: Sequence[str],
    text: Sequence[Sequence[str]],
    told: Sequence[str],
    theme: str,
    selected: tuple[int, int] | None,
) -> go.Figure:
    """A matrix of the seven classes.

    Args:
        shade: What colours a cell, ``[7, 7]``.
        bounds: Its values at both ends of the ramp.
        ramp: Colours, evenly spaced.
        text: What stands in each cell.
        told: What stands under the pointer, below the names of the classes, row by row.
        theme: "light" or "dark".
        selected: The cell to frame.
    """
    names = [emotion.capitalize() for emotion in EMOTIONS]
    places = range(len(EMOTIONS))
    figure = go.Figure(
        go.Heatmap(
            z=shade,
            x=list(places),
            y=list(places),
            zmin=bounds[0],
            zmax=bounds[1],
            colorscale=ramp,
            showscale=False,
            xgap=2,
            ygap=2,
            text=text,
            texttemplate="%{text}",
            textfont={"color": INK[theme], "size": 14},
            hoverinfo="skip",
        )
    )
    cells = [(true, predicted) for true in places for predicted in places]
    figure.add_scatter(
        x=[predicted for _, predicted in cells], y=[true for true, _ in cells], mode="markers",
        marker={"symbol": "square", "size": 40, "opacity": 0},
        selected={"marker": {"opacity": 0}}, unselected={"marker": {"opacity": 0}},
        customdata=cells,
        hovertext=[
            f"{names[t]} read as {names[p].lower()}<br>{words}" for (t, p), words in zip(cells, told, strict=True)
        ],
        hovertemplate="%{hovertext}<extra></extra>",
    )  # fmt: skip
    if selected is not None:
        true, predicted = selected
        figure.add_shape(
            type="rect", x0=predicted - 0.5, x1=predicted + 0.5, y0=true - 0.5, y1=true + 0.5,
            line={"color": INK[theme], "width": 2},
        )  # fmt: skip
    axis = {"tickvals": list(places), "ticks": "", "showgrid": False, "zeroline": False, "fixedrange": True}
    figure.update_xaxes(
        **axis, ticktext=list(CODES.values()), side="top", range=[-0.5, 6.5], constrain="domain",
        title={"text": "Read as", "font": {"size": 12}, "standoff": 4},
    )  # fmt: skip
    figure.update_yaxes(
        **axis, ticktext=names, range=[6.5, -0.5], scaleanchor="x", constrain="domain", constraintoward="top",
        title={"text": "True", "font": {"size": 12}, "standoff": 4},
    )  # fmt: skip
    figure.update_layout(hovermode="closest", hoverdistance=-1, clickmode="event+select")
    return bare(figure, height=440)


def contact_sheet(pictures: Sequence[Pixels], words: Sequence[str], columns: int = 6, height: int = 280) -> go.Figure:
    """Thumbnails as one picture, with an invisible square on each to point at and click.

    One picture appears several times faster than 24 image elements do. The ``customdata`` of a square is its position.

    Args:
        pictures: uint8 ``[h, w]`` or RGB ``[h, w, 3]``, any size.
        words: What stands beside each under the pointer.
        columns: Thumbnails in a row.
        height: Of the figure, in pixels of the page.
    """
    side, gap = 576 // columns, 6  # the fewer in a row, the larger: the picture stays about as heavy
    rows = max(1, -(-len(pictures) // columns))
    step = side + gap
    sheet = np.zeros((rows * step - gap, columns * step - gap, 4), np.uint8)  # gaps are transparent
    for number, picture in enumerate(pictures):
        y, x = (place * step for place in divmod(number, columns))
        code = cv2.COLOR_GRAY2BGRA if picture.ndim == 2 or picture.shape[2] == 1 else cv2.COLOR_RGB2BGRA
        sheet[y : y + side, x : x + side] = cv2.cvtColor(face(picture, side), code)
    _, encoded = cv2.imencode(".png", sheet, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    figure = go.Figure(
        go.Scatter(
            x=[(n % columns) * step + side / 2 for n in range(len(pictures))],
            y=[(n // columns) * step + side / 2 for n in range(len(pictures))],
            mode="markers",
            marker={"symbol": "square", "size": 50, "opacity": 0},
            selected={"marker": {"opacity": 0}},
            unselected={"marker": {"opacity": 0}},
            customdata=list(range(len(pictures))),
            hovertext=list(words),
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    down, across = sheet.shape[:2]
    figure.add_layout_image(
        source="data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode(),
        x=0, y=0, sizex=across, sizey=down, xref="x", yref="y", sizing="stretch", layer="below",
    )  # fmt: skip
    figure.update_xaxes(visible=False, range=[0, across], fixedrange=True, constrain="domain")
    figure.update_yaxes(
        visible=False, range=[down, 0], fixedrange=True, scaleanchor="x", constrain="domain", constraintoward="top"
    )
    figure.update_layout(hovermode="closest", hoverdistance=-1, clickmode="event+select")
    bare(figure, height=height)
    return figure.update_layout(margin={"l": 0, "r": 0, "t": 0, "b": 0})


def bare(figure: go.Figure, height: int, right: int = 28) -> go.Figure:
    """A figure without legend and background; ``right`` is its margin there, in pixels."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": right, "t": 8, "b": 8},
        showlegend=False,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        dragmode=False,
    )
    return figure
