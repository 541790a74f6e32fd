"""Data -> plotly figures. No Streamlit here; the theme ("light" or "dark") is an argument.

Charts carry no title (the sentence above them is the title), no mode bar and no legend: lines are named at their
right end, and colour is never the only sign.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import cv2
import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard.drawings import INK, face
from fer_core.data.balance import ClassPlan
from fer_core.emotions import CODES, EMOTIONS, PALETTES
from fer_core.preprocessing import Pixels

if TYPE_CHECKING:
    import pandas as pd

ACCENT: Final = {"light": "#0F6B6B", "dark": "#4FB8B0"}
QUIET: Final = {"light": "#8A9499", "dark": "#7C868F"}
MATRIX_RAMP: Final = {"light": ["#F4F6F6", "#6FB3AD"], "dark": ["#181E25", "#1F6F6C"]}
"""From none to all; one text colour reads on both ends."""
BORDER: Final = {"light": "#DDE3E3", "dark": "#2A323B"}
RUN_COLOURS: Final = {
    "light": ["#0F6B6B", "#7A4A1E", "#5A7184", "#5E6B12", "#14809A", "#8A5A6E"],
    "dark": ["#4FB8B0", "#C9A07A", "#9DB2C4", "#B5BF6A", "#6CC5DB", "#C49AAE"],
}
"""Of lines of runs: none is the colour of an emotion."""

CONFIG: Final = {"displayModeBar": False, "scrollZoom": False}
"""Passed to ``st.plotly_chart``."""

_DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_LABEL_ROOM: Final = 0.09  # of a panel's height: a line of text with its leading
_LONGEST_LABEL: Final = 16  # characters


def training_curves(
    history: pd.DataFrame,
    batches: pd.DataFrame,
    theme: str,
    *,
    total_epochs: int,
    phases: Sequence[tuple[str, int]],
) -> go.Figure:
    """Accuracy, loss and learning rate, one above the other, over the epochs of all phases.

    Args:
        history: One row per finished epoch: ``global_epoch`` (from 0), ``accuracy``, ``val_accuracy``,
            ``loss``, ``val_loss``, ``learning_rate``, ``best``.
        batches: Running scores within epochs, a faint line: ``at`` (epochs since the start), ``loss``, ``accuracy``.
        theme: "light" or "dark".
        total_epochs: Where the axis ends, so that nothing jumps while the run goes on.
        phases: Name and number of epochs of each phase.
    """
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.06, row_heights=[0.4, 0.4, 0.2])
    x = history["global_epoch"] + 1
    mode = "lines+markers" if len(history) == 1 else "lines"  # a line of one point is invisible
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
        for name, column, width, colour in lines:
            figure.add_scatter(
                x=x, y=history[column].astype(float) * scale, row=row, col=1, name=name, mode=mode,
                line={"width": width, "color": colour}, hovertemplate=f"{name} {shown}<extra></extra>",
            )  # fmt: skip
            figure.add_annotation(
                x=x.iloc[-1], y=last[name] * scale, text=f" {name}", xanchor="left", showarrow=False, row=row, col=1,
                font={"color": INK[theme], "size": 12}, yshift=8 if last[name] == max(last.values()) else -8,
            )  # fmt: skip
    best = history[history["best"].astype(bool)].tail(1)
    figure.add_scatter(
        x=best["global_epoch"] + 1, y=best["val_accuracy"] * 100, row=1, col=1, mode="markers", name="best",
        marker={"size": 10, "color": ACCENT[theme], "line": {"color": INK[theme], "width": 1}},
        hovertemplate="best %{y:.1f} % at epoch %{x}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=x, y=history["learning_rate"], row=3, col=1, name="learning rate", mode=mode,
        line={"width": 1.6, "color": QUIET[theme], "dash": "dot"}, hovertemplate="%{y:.2e}<extra></extra>",
    )  # fmt: skip
    for row, title in ((1, "Accuracy %"), (2, "Loss"), (3, "Learning rate")):
        figure.update_yaxes(title={"text": title, "font": {"size": 12}}, row=row, col=1)
    figure.update_xaxes(range=[0, max(total_epochs, 1) * 1.14 + 0.4], fixedrange=True, showgrid=False)
    figure.update_xaxes(title={"text": "Epoch", "font": {"size": 12}}, row=3, col=1)
    figure.update_yaxes(fixedrange=True, gridcolor=BORDER[theme], nticks=5)
    figure.update_yaxes(exponentformat="e", nticks=3, rangemode="tozero", row=3, col=1)
    _bands(figure, phases, theme)
    figure.update_layout(hovermode="x unified")
    return _bare(figure, height=460)


def _bands(figure: go.Figure, phases: Sequence[tuple[str, int]], theme: str) -> None:
    """Phases as faint bands with their names on top; a single phase needs none."""
    if len(phases) < 2:
        return
    start = 0.0
    for number, (name, epochs) in enumerate(phases):
        figure.add_vrect(
            x0=start, x1=start + epochs, line_width=0, fillcolor=QUIET[theme], opacity=0.10 if number % 2 else 0.04,
            annotation_text=name, annotation_position="top left", annotation_font_size=11, row=1, col=1,
        )  # fmt: skip
        start += epochs


class RunCurves(NamedTuple):
    """A run's scores on validation after each epoch: accuracies 0 to 1, losses in nats."""

    name: str
    accuracies: Sequence[float]
    losses: Sequence[float]
    baseline: bool = False


def run_overlay(runs: Sequence[RunCurves], theme: str) -> go.Figure:
    """Validation accuracy and loss of several runs over their epochs, each line named at its right end.

    The baseline is drawn in ink; the others differ by colour and by dash.

    Args:
        runs: At most six, each with at least one epoch.
        theme: "light" or "dark".
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    epochs = max(len(run.accuracies) for run in runs)
    styles = _line_styles(runs, theme)
    panels = (
        (1, "Accuracy %", [[100 * value for value in run.accuracies] for run in runs], "%{y:.1f} %"),
        (2, "Loss", [list(run.losses) for run in runs], "%{y:.3f}"),
    )
    for row, title, lines, shown in panels:
        low, high = min(map(min, lines)), max(map(max, lines))
        room = 0.08 * (high - low) or 1.0
        low, high = low - room, high + room
        places = _apart([line[-1] for line in lines], low, high, _LABEL_ROOM)
        for run, line, style, place in zip(runs, lines, styles, places, strict=True):
            name = run.name if len(run.name) <= _LONGEST_LABEL else f"{run.name[: _LONGEST_LABEL - 1]}…"
            figure.add_scatter(
                x=list(range(1, len(line) + 1)), y=line, row=row, col=1, name=run.name, line=style,
                mode="lines+markers" if len(line) == 1 else "lines", hovertemplate=f"{shown} {name}<extra></extra>",
            )  # fmt: skip
            figure.add_annotation(
                x=len(line), y=line[-1], ax=len(line) + 0.03 * epochs, ay=place, axref=f"x{row}", ayref=f"y{row}",
                row=row, col=1, text=name, xanchor="left", font={"color": INK[theme], "size": 12},
                arrowhead=0, arrowwidth=1, arrowcolor=QUIET[theme],
            )  # fmt: skip
        figure.update_yaxes(range=[low, high], title={"text": title, "font": {"size": 12}}, row=row, col=1)
    step = -(-epochs // 8)
    ticks = list(range(step, epochs + 1, step))
    figure.update_xaxes(range=[0.8, 1 + (epochs - 0.6) * 1.25], fixedrange=True, showgrid=False, tickvals=ticks)
    figure.update_xaxes(title={"text": "Epoch", "font": {"size": 12}}, row=2, col=1)
    figure.update_yaxes(fixedrange=True, gridcolor=BORDER[theme], nticks=5)
    figure.update_layout(hovermode="x")
    return _bare(figure, height=460)


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


def _apart(values: Sequence[float], low: float, high: float, share: float) -> list[float]:
    """Places for labels beside ``values`` that keep at least ``share`` of the axis between two of them."""
    gap = share * (high - low)
    order = sorted(range(len(values)), key=lambda index: values[index])
    places = [0.0] * len(values)
    ceiling = high - gap * (len(values) - 0.5)  # leaves room for the labels above
    floor = low + gap / 2
    for index in order:
        places[index] = floor = max(floor, min(values[index], ceiling))
        floor, ceiling = floor + gap, ceiling + gap
    return places


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
    return _bare(figure, height=290).update_layout(margin_r=16 + 7 * longest)  # pixels: the labels stand in the margin


def _told(step: ClassPlan) -> str:
    if step.augmented:
        share = f"{step.per_original:.1f}" if step.per_original >= 0.05 else "under 0.1"
        return f"{step.before:,} → {step.after:,}<br>\u00a0{share} per original"
    return f"{step.before:,} → {step.after:,}" if step.removed else f"{step.after:,}"


def class_distribution(counts: Mapping[str, Mapping[str, int]], theme: str) -> go.Figure:
    """Images per class and split, seven groups of up to three bars.

    Args:
        counts: split -> emotion -> number of images.
        theme: "light" or "dark".
    """
    figure = go.Figure()
    shades = {"train": 1.0, "validation": 0.6, "test": 0.3}
    for split, per_class in counts.items():
        figure.add_bar(
            x=[emotion.capitalize() for emotion in EMOTIONS],
            y=[per_class[emotion] for emotion in EMOTIONS],
            name=split,
            marker={"color": [PALETTES[theme][e] for e in EMOTIONS], "opacity": shades[split]},
            hovertemplate=f"%{{x}}, {split}: %{{y:,}}<extra></extra>",
        )
    figure.update_layout(barmode="group", bargap=0.25)
    figure.update_xaxes(fixedrange=True)
    figure.update_yaxes(fixedrange=True, gridcolor=BORDER[theme], nticks=5, rangemode="tozero")
    return _bare(figure, height=260)


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
    names = [emotion.capitalize() for emotion in EMOTIONS]
    places = range(len(EMOTIONS))
    figure = go.Figure(
        go.Heatmap(
            z=shade,
            x=list(places),
            y=list(places),
            zmin=0,
            zmax=1,
            colorscale=MATRIX_RAMP[theme],
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
            f"{names[t]} read as {names[p].lower()}<br>{counts[t, p]:,.0f} pictures · "
            f"{100 * row_share[t, p]:.1f} % of the row · {100 * column_share[t, p]:.1f} % of the column"
            for t, p in cells
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
    return _bare(figure, height=440)


def contact_sheet(pictures: Sequence[Pixels], words: Sequence[str]) -> go.Figure:
    """Up to 24 thumbnails in six columns as one picture, with an invisible square on each to point at and click.

    One picture appears several times faster than 24 image elements do. The ``customdata`` of a square is its position.

    Args:
        pictures: uint8 ``[h, w]`` or RGB ``[h, w, 3]``, any size.
        words: What stands beside each under the pointer.
    """
    columns, side, gap = 6, 96, 6
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
    height, width = sheet.shape[:2]
    figure.add_layout_image(
        source="data:image/png;base64," + base64.b64encode(encoded).decode(),
        x=0, y=0, sizex=width, sizey=height, xref="x", yref="y", sizing="stretch", layer="below",
    )  # fmt: skip
    figure.update_xaxes(visible=False, range=[0, width], fixedrange=True, constrain="domain")
    figure.update_yaxes(
        visible=False, range=[height, 0], fixedrange=True, scaleanchor="x", constrain="domain", constraintoward="top"
    )
    figure.update_layout(hovermode="closest", hoverdistance=-1, clickmode="event+select")
    _bare(figure, height=280)
    return figure.update_layout(margin={"l": 0, "r": 0, "t": 0, "b": 0})


def _bare(figure: go.Figure, height: int) -> go.Figure:
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 28, "t": 8, "b": 8},
        showlegend=False,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        dragmode=False,
    )
    return figure
