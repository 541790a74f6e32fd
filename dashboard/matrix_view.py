"""Evaluate, matrix: the confusion matrix, and beside it the faces of the chosen cell, or where two models differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import streamlit as st

from dashboard import charts
from dashboard.address import write_address
from dashboard.cells import choose_cell, clickable, pick_cell
from dashboard.comparison_view import compared_with_another
from dashboard.components import theme
from dashboard.drawer import contact_sheet, open_if_asked
from dashboard.evaluation import View, confusion_finding, most_confused, pair_words
from fer_core.emotions import EMOTIONS
from fer_core.evaluation.predictions import PROBABILITY_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

SHOWN: Final = ("Row %", "Counts", "Column %", "Difference")
ORDERS: Final = ("Most sure", "Least sure", "Highest loss")

_PAIRS: Final = 5


@st.fragment  # a click runs this alone, not the page
def matrix_and_faces(view: View) -> None:
    """The matrix, and beside it the faces of the chosen cell; a click, the two pickers or a link choose it."""
    left, right = st.columns([5, 4], gap="medium")
    with left:
        show = st.segmented_control(
            "In the cells",
            SHOWN,
            default=SHOWN[0],
            required=True,
            key="cells",
            bind="query-params",
            help="Difference: against another model that was evaluated on these images.",
        )
    default = next(iter(most_confused(view.report.confusion_matrix)), (0, 0))
    if show == "Difference":
        compared_with_another(view, default, left, right)
    else:
        with right, st.container(horizontal=True, vertical_alignment="bottom"):
            true, read = pick_cell(default)
            order = st.selectbox("Sorted by", ORDERS, key="order", bind="query-params", width=138)
        with left:
            figure = charts.confusion_matrix(view.report.confusion_matrix, theme(), show=show, selected=(true, read))
            clickable(figure, confusion_finding(view.report))
            _pairs(view)
        with right:
            _faces(view, true, read, order)
    write_address("address-matrix")


def _pairs(view: View) -> None:
    """What is most often taken for what; each chooses its cell."""
    pairs = most_confused(view.report.confusion_matrix, _PAIRS)
    if not pairs:
        return
    with st.container(gap=None):
        st.caption("Most often confused")
        with st.grid(2, min_column_width=220, gap=(None, "small")):
            for true, read in pairs:
                st.button(
                    pair_words(view.report.confusion_matrix, true, read),
                    type="tertiary",
                    key=f"pair-{true}-{read}",
                    on_click=choose_cell,
                    args=(true, read),
                )


def in_order(cell: pd.DataFrame, true: int, read: int, order: str) -> pd.DataFrame:
    """The rows of a cell in one of ``ORDERS``; the loss falls as the probability of the true class rises."""
    by = PROBABILITY_COLUMNS[true if order == "Highest loss" else read]
    return cell.sort_values(by, ascending=order != "Most sure", kind="stable")


def _faces(view: View, true: int, read: int, order: str) -> None:
    of_class = view.table[view.table["label"] == true]
    cell = in_order(of_class[of_class["predicted"] == read], true, read, order)
    words = f"{EMOTIONS[true]} read as {EMOTIONS[read]}" if true != read else f"{EMOTIONS[true]} read rightly"
    st.markdown(f"**{len(cell):,} of {len(of_class):,} {words}**")
    if cell.empty:
        st.caption("No picture is in this cell.")
        return
    places = [(view.split, row) for row in cell["row"].tolist()]
    said, meant = (cell[PROBABILITY_COLUMNS[index]].to_numpy() for index in (read, true))

    def told(at: int) -> str:
        loss = f", loss {-np.log(max(meant[at], 1e-7)):.1f}" if order == "Highest loss" else ""
        return f"{EMOTIONS[true]} read as {EMOTIONS[read]}, {100 * said[at]:.0f} %{loss}"

    contact_sheet(view.dataset, places, told, key=f"sheet-{view.split}-{true}-{read}-{order}")
    link = {**view.link, "true": EMOTIONS[true], "read": EMOTIONS[read]}
    open_if_asked(view.dataset, places, view.table, ("evaluate", link), model=view.model_file)
