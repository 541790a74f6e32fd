"""What a model said of a split, as the Evaluate page shows it: scores, matrix, the faces of a cell, classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from dashboard import charts
from dashboard.components import theme
from dashboard.drawer import contact_sheet, open_if_asked
from fer_core.data.dataset import Dataset
from fer_core.emotions import EMOTIONS, INDEX
from fer_core.evaluation.metrics import Interval
from fer_core.evaluation.predictions import PROBABILITY_COLUMNS, seen_of
from fer_core.evaluation.report import EvaluationReport, report_table
from fer_core.inference.served import ServedModel

if TYPE_CHECKING:
    import pandas as pd

SHOWN = ("Row %", "Counts", "Column %")


@dataclass(frozen=True)
class View:
    """A model's predictions on a split of a dataset, and their scores."""

    model: ServedModel
    dataset: Dataset
    split: str
    table: pd.DataFrame
    report: EvaluationReport

    @property
    def link(self) -> dict[str, str]:
        """Query of a link to this view."""
        return {"model": self.model.name, "dataset": self.dataset.name, "split": self.split}


def leak_words(view: View) -> str:
    """Whether the model knows the photographs it is scored on: the badge of its accuracy, in Markdown."""
    seen = seen_of(view.table)
    if seen is None:
        return ":gray-badge[Leaks not known]"
    if not seen.any():
        return "Clean"
    about = "about " if view.report.leak_free.note.startswith("Approximate") else ""
    return f":orange-badge[:material/warning: Leaky · {about}{seen.sum():,} of {len(seen):,}]"


def most_confused(matrix: Sequence[Sequence[int]]) -> tuple[int, int] | None:
    """True and predicted class of the largest number of mistakes; None where there is no mistake."""
    counts = np.array(matrix)
    np.fill_diagonal(counts, 0)
    if not counts.any():
        return None
    true, predicted = np.unravel_index(int(counts.argmax()), counts.shape)
    return int(true), int(predicted)


def confusion_finding(report: EvaluationReport) -> str:
    """The page's finding: what is most often taken for what."""
    pair = most_confused(report.confusion_matrix)
    if pair is None:
        return "No picture is read wrongly."
    true, predicted = pair
    n, total = report.confusion_matrix[true][predicted], sum(report.confusion_matrix[true])
    return f"Most often confused: {EMOTIONS[true]} read as {EMOTIONS[predicted]} ({n:,} of {total:,})."


def scores(view: View) -> None:
    """Official and leak-free accuracy with their intervals, macro-F1, calibration error."""
    report, leak_free = view.report, view.report.leak_free
    with st.grid(4, min_column_width=150):
        st.metric(
            f"All images · n {report.n:,}",
            _interval(report.accuracy, report.ci95),
            border=True,
            height="stretch",
            help=f"Accuracy on {view.split} with its 95 % interval.",
        )
        known = leak_free.accuracy is not None and leak_free.ci95 is not None
        st.metric(
            f"Never seen · n {leak_free.n:,}",
            _interval(leak_free.accuracy, leak_free.ci95) if known else "—",  # type: ignore[arg-type]
            border=True,
            height="stretch",
            help="Never seen in train: accuracy on images without a copy among the photographs this model was trained "
            f"on. {leak_free.note}",
        )
        st.metric(
            "Macro-F1",
            f"{report.macro_f1:.3f}",
            border=True,
            height="stretch",
            help=f"Mean F1 of the seven classes, rare ones counting as much as frequent ones; {view.split}, "
            f"n {report.n:,}.",
        )
        st.metric(
            "Calibration error",
            f"{100 * report.ece:.1f} %",
            border=True,
            height="stretch",
            help="How far the stated probability is from the share of hits, on average (15 bins).",
        )


def _interval(value: float, interval: Interval) -> str:
    low, high = interval
    return f"{100 * value:.1f} % ± {50 * (high - low):.1f}"


@st.fragment  # a click runs this alone, not the page
def matrix_and_faces(view: View) -> None:
    """The matrix, and beside it the faces of the chosen cell; a click, the two pickers or a link choose it."""
    default = most_confused(view.report.confusion_matrix) or (0, 0)
    for key, index in (("true", default[0]), ("read", default[1])):
        if st.session_state.get(key) not in EMOTIONS:
            st.session_state.pop(key, None)
            if st.query_params.get(key) not in EMOTIONS:
                st.session_state[key] = EMOTIONS[index]
    left, right = st.columns([5, 4], gap="medium")
    with right, st.container(horizontal=True, vertical_alignment="bottom"):
        true = INDEX[st.selectbox("True", EMOTIONS, key="true", bind="query-params", width=140)]
        read = INDEX[st.selectbox("Read as", EMOTIONS, key="read", bind="query-params", width=140)]
    with left:
        show = st.segmented_control("In the cells", SHOWN, default=SHOWN[0], required=True, key="cells")
        figure = charts.confusion_matrix(view.report.confusion_matrix, theme(), show=show, selected=(true, read))
        st.plotly_chart(
            figure,
            config=charts.CONFIG,
            key="matrix",
            on_select=_choose_cell,
            selection_mode="points",
            alt=confusion_finding(view.report),
        )
    with right:
        _faces(view, true, read)


def _choose_cell() -> None:
    points = st.session_state["matrix"].selection.points
    if points:
        true, read = points[0]["customdata"]
        st.session_state["true"], st.session_state["read"] = EMOTIONS[true], EMOTIONS[read]


def _faces(view: View, true: int, read: int) -> None:
    column = PROBABILITY_COLUMNS[read]
    cell = view.table[(view.table["label"] == true) & (view.table["predicted"] == read)]
    cell = cell.sort_values(column, ascending=False, kind="stable")
    total = int((view.table["label"] == true).sum())
    words = f"{EMOTIONS[true]} read as {EMOTIONS[read]}" if true != read else f"{EMOTIONS[true]} read rightly"
    st.markdown(f"**{len(cell):,} of {total:,} {words}** :gray[most confident first]")
    if cell.empty:
        st.caption("No picture is in this cell.")
        return
    places = [(view.split, row) for row in cell["row"].tolist()]
    shares = cell[column].to_numpy()
    contact_sheet(
        view.dataset,
        places,
        lambda at: f"{EMOTIONS[true]} read as {EMOTIONS[read]}, {100 * shares[at]:.0f} %",
        key=f"sheet-{view.split}-{true}-{read}",
    )
    link = {**view.link, "true": EMOTIONS[true], "read": EMOTIONS[read]}
    open_if_asked(view.dataset, places, view.table, ("evaluate", link), model=view.model.path)


def classes(view: View) -> None:
    """The classification report, as a table."""
    st.dataframe(
        report_table(view.report),
        hide_index=True,
        height="content",
        placeholder="",
        column_config={
            "class": st.column_config.TextColumn("Class"),
            "precision": st.column_config.NumberColumn("Precision", format="%.3f"),
            "recall": st.column_config.ProgressColumn("Recall", format="%.3f", min_value=0, max_value=1),
            "f1": st.column_config.NumberColumn("F1", format="%.3f"),
            "support": st.column_config.NumberColumn("Support", format="localized"),
        },
    )
    st.caption(f"{view.split} · n {view.report.n:,} · support: images of that class")


def downloads(view: View) -> None:
    """Scores and predictions as files."""
    stem = f"{view.model.name}-{view.dataset.name}-{view.split}"
    named = view.table.assign(
        label=np.array(EMOTIONS)[view.table["label"]], predicted=np.array(EMOTIONS)[view.table["predicted"]]
    )
    with st.popover("Download", icon=":material/download:"):
        for words, data, name in (
            ("Classification report, CSV", lambda: report_table(view.report).to_csv(index=False), f"{stem}.report.csv"),
            ("Predictions, CSV", lambda: named.to_csv(index=False), f"{stem}.predictions.csv"),
            ("All scores, JSON", lambda: view.report.model_dump_json(indent=2), f"{stem}.json"),
        ):
            st.download_button(words, data, file_name=name, on_click="ignore", type="tertiary")
