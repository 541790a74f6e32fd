"""The chosen cell of a confusion matrix: a click, two pickers, a button or a link choose it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard import charts
from fer_core.emotions import EMOTIONS, INDEX

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

ONE_CELL: Final = "one_cell"
"""In the session, where it makes a difference: whether the cell counts, not the whole matrix."""


def pick_cell(default: tuple[int, int], *, disabled: bool = False) -> tuple[int, int]:
    """Two pickers; returns true and predicted class."""
    # The address leaves out a picker's first class, so it names no cell only where it lacks both.
    linked = any(st.query_params.get(key) in EMOTIONS for key in ("true", "read"))
    for key, index in zip(("true", "read"), default, strict=True):
        if st.session_state.get(key) not in EMOTIONS:
            st.session_state.pop(key, None)
            if not linked:
                st.session_state[key] = EMOTIONS[index]
    true, read = (
        st.selectbox(label, EMOTIONS, key=key, bind="query-params", width=124, disabled=disabled)
        for label, key in (("True", "true"), ("Read as", "read"))
    )
    return INDEX[true], INDEX[read]


def choose_cell(true: int, read: int) -> None:
    """Makes a cell the chosen one; only in a callback."""
    st.session_state["true"], st.session_state["read"] = EMOTIONS[true], EMOTIONS[read]
    if ONE_CELL in st.session_state:
        st.session_state[ONE_CELL] = True


def clickable(figure: Figure, alt: str) -> None:
    """A matrix of ``charts``; a click chooses a cell."""
    st.plotly_chart(figure, config=charts.CONFIG, key="matrix", on_select=_clicked, selection_mode="points", alt=alt)


def _clicked() -> None:
    """A second click on the same cell unselects it, and means the same: another may have been chosen meanwhile."""
    if "matrix" not in st.session_state:  # the page was left meanwhile
        return
    points = st.session_state["matrix"].selection.points
    if cell := points[0]["customdata"] if points else st.session_state.get("matrix-last"):
        st.session_state["matrix-last"] = cell
        choose_cell(*cell)
