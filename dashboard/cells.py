"""The chosen cell of a confusion matrix: a click, two pickers, a button or a link choose it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard import charts
from dashboard.address import stand_in_address
from fer_core.emotions import EMOTIONS, INDEX

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

ONE_CELL: Final = "one_cell"
"""In the session, where it makes a difference: whether the cell counts, not the whole matrix."""

_FOLLOWS: Final = "cell_follows"
"""In the session: the default cell that is shown; None once the visitor chose one."""

_KEYS: Final = ("true", "read")


def pick_cell(default: tuple[int, int], *, disabled: bool = False) -> tuple[int, int]:
    """Two pickers; returns true and predicted class. Where the visitor chose none, the cell goes with the default."""
    follows = st.session_state.get(_FOLLOWS)
    moved = follows not in (None, default)
    if moved or any(st.session_state.get(key) not in EMOTIONS for key in _KEYS):
        named = [st.query_params.get(key, "") for key in _KEYS]
        linked = not moved and any(name in INDEX for name in named)
        for key, name, index in zip(_KEYS, named, default, strict=True):
            # Of a link that names one class only, the other is the first: addresses once left that out.
            st.session_state[key] = EMOTIONS[INDEX.get(name, 0) if linked else index]
    stand_in_address(*_KEYS)
    true, read = (
        st.selectbox(
            label, EMOTIONS, index=None, required=True, key=key, bind="query-params", width=124, disabled=disabled
        )
        for label, key in zip(("True", "Read as"), _KEYS, strict=True)
    )
    if true is None or read is None:  # "Back", to an address that did not name it yet
        st.rerun()
    cell = INDEX[true], INDEX[read]
    if _FOLLOWS not in st.session_state or follows is not None:
        st.session_state[_FOLLOWS] = default if cell == default else None
    return cell


def choose_cell(true: int, read: int) -> None:
    """Makes a cell the chosen one; only in a callback."""
    st.session_state["true"], st.session_state["read"] = EMOTIONS[true], EMOTIONS[read]
    st.session_state[_FOLLOWS] = None
    if ONE_CELL in st.session_state:
        st.session_state[ONE_CELL] = True


def clickable(figure: Figure, alt: str) -> None:
    """A matrix of ``charts``; a click chooses a cell. ``app.py`` has its height go with its width."""
    st.plotly_chart(
        figure, height="stretch", config=charts.CONFIG, key="matrix", on_select=_clicked, selection_mode="points",
        alt=alt,
    )  # fmt: skip


def _clicked() -> None:
    """A second click on the same cell unselects it, and means the same: another may have been chosen meanwhile."""
    if "matrix" not in st.session_state:  # the page was left meanwhile
        return
    points = st.session_state["matrix"].selection.points
    if cell := points[0]["customdata"] if points else st.session_state.get("matrix-last"):
        st.session_state["matrix-last"] = cell
        choose_cell(*cell)
