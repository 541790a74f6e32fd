"""Curves, confidence and slices of an evaluation, quality of labels -> plotly figures.

No Streamlit here; the theme is an argument.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from dashboard.charts import ACCENT, BORDER, EMOTION_DASHES, QUIET, bare
from dashboard.drawings import INK, apart
from fer_core.emotions import PALETTES
from fer_core.evaluation.confidence import Answered, CoverageCurve, ReliabilityBins
from fer_core.evaluation.curves import ClassCurve
from fer_core.evaluation.metrics import Floats
from fer_core.evaluation.slices import Slice

_HEIGHT: Final = 320
_RIGHT: Final = 12  # margin in pixels
_MOST_POINTS: Final = 400  # of the coverage curve: more cannot be told apart
_RECALLS: Final = np.linspace(0, 1, 300)[1:]  # at which precision is drawn
_TALL: Final = 400
_LOW: Final = 170
_BINS: Final = 25  # of label quality
_ROW: Final = 46  # pixels of a slice
_LONGEST_NAME: Final = 24  # characters beside the chart; the whole name is under the pointer


def reliability(after: ReliabilityBins, before: ReliabilityBins | None, theme: str) -> go.Figure:
    """How often answers of each stated probability are right; on the diagonal, they keep what they say.

    Args:
        after: As the model is served. A point is the larger, the more images it stands for.
        before: The same without its temperature, if it has one.
        theme: "light" or "dark".
    """
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 100], y=[0, 100], mode="lines", hoverinfo="skip", line={"color": QUIET[theme], "width": 1, "dash": "dot"}
    )
    lines: list[tuple[str, ReliabilityBins, dict[str, Any], dict[str, Any]]] = []
    if before is not None:
        hollow = {"color": "rgba(0,0,0,0)", "line": {"color": QUIET[theme], "width": 1.5}}
        lines.append(("before", before, {"color": QUIET[theme], "width": 1.5, "dash": "dash"}, hollow))
    lines.append(("as served", after, {"color": ACCENT[theme], "width": 2.4}, {"color": ACCENT[theme]}))
    for name, bins, line, marker in lines:
        filled = bins.counts > 0
        counts = bins.counts[filled]
        figure.add_scatter(
            x=100 * bins.confidence[filled], y=100 * bins.accuracy[filled], name=name, mode="lines+markers", line=line,
            marker={**marker, "size": 5 + 11 * np.sqrt(counts / counts.max()), "opacity": 1}, customdata=counts,
            hovertemplate=f"{name}: says %{{x:.0f}} %, right in %{{y:.0f}} % of %{{customdata:,}}<extra></extra>",
        )  # fmt: skip
    _percent_axes(figure, theme, "Stated probability %", "Right %")
    figure.update_xaxes(range=[0, 102])
    figure.update_yaxes(range=[0, 102])
    return bare(figure, _HEIGHT, _RIGHT)


def coverage(curve: CoverageCurve, answered: Answered, theme: str) -> go.Figure:
    """Accuracy of the images that are answered, by their share; the chosen threshold is a point on it.

    Args:
        curve: At least one point.
        answered: What the threshold brings.
        theme: "light" or "dark".
    """
    at = np.unique(np.linspace(0, len(curve.coverage) - 1, _MOST_POINTS).astype(int))
    # A handful of the surest answers say nothing of accuracy: the line begins where there is one in a hundred.
    at = at[(curve.coverage[at] >= 0.01) | (at == len(curve.coverage) - 1)]
    accuracy = 100 * curve.accuracy[at]
    figure = go.Figure()
    figure.add_scatter(
        x=100 * curve.coverage[at], y=accuracy, mode="lines", line={"color": ACCENT[theme], "width": 2.4},
        customdata=curve.threshold[at],
        hovertemplate="uncertain below %{customdata:.2f}: %{y:.1f} % right on %{x:.0f} %<extra></extra>",
    )  # fmt: skip
    low = float(accuracy.min())
    if answered.accuracy is not None and answered.ci95 is not None:
        value, (bottom, top) = 100 * answered.accuracy, (100 * end for end in answered.ci95)
        figure.add_scatter(
            x=[100 * answered.coverage], y=[value], mode="markers", hoverinfo="skip",
            error_y={
                "type": "data", "symmetric": False, "array": [top - value], "arrayminus": [value - bottom],
                "color": INK[theme], "thickness": 1.2, "width": 4,
            },
            marker={"size": 12, "color": ACCENT[theme], "line": {"color": INK[theme], "width": 1.5}},
        )  # fmt: skip
        low = min(low, bottom)
    _percent_axes(figure, theme, "Answered, % of the images", "Right, % of the answered")
    figure.update_xaxes(range=[0, 102])
    figure.update_yaxes(range=[max(0, low - 4), 102])
    return bare(figure, _HEIGHT, _RIGHT)


def precision_recall(curves: Mapping[str, ClassCurve], theme: str) -> go.Figure:
    """Precision of each class by how much of it is found, each line named at its right end.

    Args:
        curves: At least one, by emotion.
        theme: "light" or "dark".
    """
    figure = go.Figure()
    # Of the images between two of the class, none is drawn: average precision does not count them either.
    drawn = {name: np.unique(np.searchsorted(curve.recall, _RECALLS - 1e-9)) for name, curve in curves.items()}
    ends = [100 * float(curve.precision[drawn[name][-1]]) for name, curve in curves.items()]
    for (name, curve), end, place in zip(curves.items(), ends, apart(ends, 0, 100, 0.05), strict=True):
        at = np.append(drawn[name][0], drawn[name])  # from the left edge on, also where one image is all there is
        figure.add_scatter(
            x=100 * np.append(0, curve.recall[at[1:]]), y=100 * curve.precision[at], name=name, mode="lines",
            line={"color": PALETTES[theme][name], "dash": EMOTION_DASHES[name], "width": 2.2},
            customdata=curve.threshold[at],
            hovertemplate=f"{name} from %{{customdata:.2f}} on: %{{y:.0f}} % right, %{{x:.0f}} % found<extra></extra>",
        )  # fmt: skip
        figure.add_annotation(
            x=100, y=end, ax=104, ay=place, axref="x", ayref="y", xanchor="left", text=name.capitalize(),
            font={"color": INK[theme], "size": 12}, arrowhead=0, arrowwidth=1, arrowcolor=QUIET[theme],
        )  # fmt: skip
    _percent_axes(figure, theme, "Recall %", "Precision %")
    figure.update_xaxes(range=[0, 100.5], nticks=6)
    figure.update_yaxes(range=[0, 102])
    return bare(figure, _TALL, 76)  # the names stand in the margin


def label_quality(quality: Floats, wrong: NDArray[np.bool_], theme: str) -> go.Figure:
    """How many labels have which probability, those that are likely wrong filled.

    Args:
        quality: Probability of each label, ``[N]``, 0 to 1.
        wrong: Whether it is likely wrong, ``[N]``.
        theme: "light" or "dark".
    """
    figure = go.Figure()
    drawn = (
        ("likely wrong", wrong, {"color": ACCENT[theme]}),
        ("others", ~wrong, {"color": "rgba(0,0,0,0)", "line": {"color": QUIET[theme], "width": 1.2}}),
    )
    for name, those, marker in drawn:
        counts, edges = np.histogram(quality[those], bins=_BINS, range=(0, 1))
        told = [f"{100 * low:.0f} to {100 * high:.0f} %" for low, high in pairwise(edges)]
        figure.add_bar(
            x=100 * (edges[:-1] + edges[1:]) / 2, y=counts, name=name, marker=marker, customdata=told,
            hovertemplate=f"%{{customdata}}, {name}: %{{y:,}}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(barmode="stack", bargap=0.12)
    _percent_axes(figure, theme, "Probability of the label %", "Labels")
    figure.update_xaxes(range=[0, 100])
    figure.update_yaxes(nticks=4, rangemode="tozero")
    return bare(figure, _LOW, _RIGHT)


def slice_dots(slices: Sequence[Slice], overall: float, chosen: str, theme: str) -> go.Figure:
    """A row for each slice: its accuracy as a dot with its 95% interval, solid where it differs from the rest.

    An invisible square over every row can be clicked; its ``customdata`` is the place of the slice.

    Args:
        slices: From top to bottom, at least one.
        overall: Accuracy of all images, a vertical line.
        chosen: Name of the slice that is framed.
        theme: "light" or "dark".
    """
    places = list(range(len(slices)))
    values = [100 * each.accuracy for each in slices]
    ends = [(100 * each.ci95[0], 100 * each.ci95[1]) for each in slices]
    low, high = min(end for end, _ in ends), max(end for _, end in ends)
    room = 0.08 * (high - low)
    low, high = low - room, high + room
    figure = go.Figure()
    figure.add_vline(x=100 * overall, line={"color": QUIET[theme], "width": 1, "dash": "dot"})
    figure.add_scatter(
        x=values, y=places, mode="markers+text", hoverinfo="skip", cliponaxis=False,
        text=[f"{value:.1f} %" for value in values], textposition="top center", textfont={"color": INK[theme]},
        error_x={
            "type": "data", "symmetric": False, "color": QUIET[theme], "thickness": 1.6, "width": 0,
            "array": [end - value for value, (_, end) in zip(values, ends, strict=True)],
            "arrayminus": [value - start for value, (start, _) in zip(values, ends, strict=True)],
        },
        marker={
            "size": 11, "color": [BORDER[theme] if each.noise else ACCENT[theme] for each in slices],
            "line": {"color": [QUIET[theme] if each.noise else ACCENT[theme] for each in slices], "width": 1.6},
        },
    )  # fmt: skip
    # Several squares to a row, so that a click anywhere on it counts.
    steps = np.linspace(low, high, 25)
    figure.add_scatter(
        x=np.tile(steps, len(slices)), y=np.repeat(places, len(steps)), mode="markers",
        marker={"symbol": "square", "size": 34, "opacity": 0},
        selected={"marker": {"opacity": 0}}, unselected={"marker": {"opacity": 0}},
        customdata=np.repeat(places, len(steps)).tolist(),
        hovertext=np.repeat([_under_pointer(each) for each in slices], len(steps)).tolist(),
        hovertemplate="%{hovertext}<extra></extra>",
    )  # fmt: skip
    for place, each in enumerate(slices):
        if each.name == chosen:
            figure.add_shape(
                type="rect", xref="paper", x0=0, x1=1, y0=place - 0.46, y1=place + 0.46, layer="below",
                line={"width": 0}, fillcolor=BORDER[theme], opacity=0.45,
            )  # fmt: skip
    names = [
        f"{html.escape(short)}<br>n {each.n:,}{' · few' if each.few else ''}"
        for short, each in zip(_short([each.name for each in slices]), slices, strict=True)
    ]
    _percent_axes(figure, theme, "Right %", "")
    figure.update_xaxes(range=[low, high], showgrid=False)
    figure.update_yaxes(
        tickvals=places, ticktext=names, range=[len(slices) - 0.5, -0.5], showgrid=False, ticksuffix="  ",
        tickfont={"size": 12},
    )  # fmt: skip
    figure.update_layout(hovermode="closest", hoverdistance=-1, clickmode="event+select")
    return bare(figure, 60 + _ROW * len(slices), _RIGHT)


def _short(names: Sequence[str]) -> list[str]:
    """Names that fit beside the chart: without what is in brackets, unless that alone tells them apart."""
    bare = [name.partition(" (")[0] for name in names]
    if len({*bare}) < len(names):
        bare = list(names)
    return [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…" for name in bare]


def _under_pointer(each: Slice) -> str:
    return f"{html.escape(each.name)}<br>{each.said}<br>{each.against_rest}"


def _percent_axes(figure: go.Figure, theme: str, x: str, y: str) -> None:
    figure.update_xaxes(title={"text": x, "font": {"size": 12}}, fixedrange=True, zeroline=False, showgrid=False)
    figure.update_yaxes(
        title={"text": y, "font": {"size": 12}}, fixedrange=True, zeroline=False, gridcolor=BORDER[theme], nticks=6
    )
