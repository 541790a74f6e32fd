"""Faces of a video over time -> plotly figures. No Streamlit here; the theme is an argument, as in ``charts``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import plotly.graph_objects as go

from dashboard.charts import BORDER
from dashboard.drawings import INK
from fer_core.emotions import CODES, EMOTIONS, PALETTES
from fer_core.inference.video_results import clock

if TYPE_CHECKING:
    import pandas as pd

ROW: Final = 44
"""Height of a face's row in pixels."""

_ROOM_FOR_CODE: Final = 0.05
"""Share of the width that a three-letter code needs; the words of a shorter stretch are under the pointer."""


def expression_timeline(
    binned: pd.DataFrame, faces: Sequence[int], seconds: float, theme: str, at: float = 0.0
) -> go.Figure:
    """A row per face: its apparent expression by time as coloured stretches with their codes, pale where uncertain.

    An invisible square on every bin can be clicked; its ``customdata`` is the time in seconds.

    Args:
        binned: From ``video_results.over_time``.
        faces: Numbers of the faces to show, from top to bottom.
        seconds: Length of the video.
        theme: "light" or "dark".
        at: The chosen moment in seconds, a vertical line.
    """
    figure = go.Figure()
    names = {face: f"Face {face}" for face in faces}
    shown = binned[binned["face"].isin(faces)]
    runs = _stretches(shown)
    for emotion in EMOTIONS:
        for uncertain in (False, True):
            some = runs[(runs["emotion"] == emotion) & (runs["uncertain"] == uncertain)]
            if some.empty:
                continue
            lengths = some["end"] - some["start"]
            words = f"{emotion}, uncertain" if uncertain else emotion
            figure.add_bar(
                orientation="h", y=[names[face] for face in some["face"]], x=lengths, base=some["start"], width=0.5,
                marker={"color": PALETTES[theme][emotion], "opacity": 0.35 if uncertain else 1, "line": {"width": 0}},
                hoverinfo="skip", name=words,
            )  # fmt: skip
            for face, start, end in zip(some["face"], some["start"], some["end"], strict=True):
                if end - start >= _ROOM_FOR_CODE * seconds:
                    figure.add_annotation(
                        x=(start + end) / 2, y=names[face], text=CODES[emotion] + ("?" if uncertain else ""),
                        yshift=-ROW * 0.42, showarrow=False, font={"size": 11, "color": INK[theme]},
                    )  # fmt: skip
    doubts = [", uncertain" if uncertain else "" for uncertain in shown["uncertain"]]
    figure.add_scatter(
        x=(shown["start"] + shown["end"]) / 2, y=[names[face] for face in shown["face"]], mode="markers",
        marker={"symbol": "square", "size": 18, "opacity": 0},
        selected={"marker": {"opacity": 0}}, unselected={"marker": {"opacity": 0}},
        customdata=[round(float(start), 2) for start in shown["start"]],
        hovertext=[
            f"{names[face]} at {clock(start)}: {emotion}{doubt}"
            for face, start, emotion, doubt in zip(
                shown["face"], shown["start"], shown["emotion"], doubts, strict=True
            )
        ],
        hovertemplate="%{hovertext}<extra></extra>",
    )  # fmt: skip
    figure.add_vline(x=at, line={"color": INK[theme], "width": 1.5, "dash": "dot"})
    ticks = np.arange(0, seconds + 0.01, max(1, round(seconds / 4))).tolist()
    figure.update_xaxes(
        range=[0, seconds], tickvals=ticks, ticktext=[clock(tick) for tick in ticks], gridcolor=BORDER[theme],
        zeroline=False, fixedrange=True,
    )  # fmt: skip
    figure.update_yaxes(
        type="category", categoryarray=list(names.values()), range=[len(names) - 0.4, -0.5], fixedrange=True,
        showgrid=False,
    )  # fmt: skip
    return figure.update_layout(
        height=round(ROW * (len(names) + 0.1)) + 36,
        margin={"l": 8, "r": 28, "t": 8, "b": 28},  # the times stand below
        barmode="overlay",
        showlegend=False,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        dragmode=False,
        hovermode="closest",
        hoverdistance=-1,
        clickmode="event+select",
    )


def _stretches(binned: pd.DataFrame) -> pd.DataFrame:
    """Bins of a face that follow each other and say the same, as one."""
    ordered = binned.sort_values(["face", "bin"])
    same = (
        (ordered["face"] == ordered["face"].shift())
        & (ordered["emotion"] == ordered["emotion"].shift())
        & (ordered["uncertain"] == ordered["uncertain"].shift())
        # Where there are as many bins as frames, rounding may leave one empty.
        & (ordered["bin"] - ordered["bin"].shift() <= 2)
    )
    groups = ordered.groupby((~same.fillna(False)).cumsum())
    return groups.agg(
        face=("face", "first"), emotion=("emotion", "first"), uncertain=("uncertain", "first"),
        start=("start", "min"), end=("end", "max"),
    )  # fmt: skip
