"""Which runs the Runs page shows, in which order, and which of them are chosen."""

from __future__ import annotations

from typing import Final

import streamlit as st

from dashboard.components import settle
from dashboard.run_actions import RENAMED
from dashboard.run_table import ORDERS, RunRow, column_config, matching, table, ticked_too

MOST: Final = 6  # runs in one chart
PAGE: Final = 50  # rows of the table that come at once: more take long to draw


def _chosen_in_table(shown: list[str]) -> None:
    """What was ticked in the table becomes the choice that stands in the URL; runs it does not show stay chosen."""
    ticked = [shown[row] for row in st.session_state["runs_table"].selection.rows if row < len(shown)]
    before = st.session_state.get("compare", [])
    chosen = ticked_too(before, shown, ticked)
    st.session_state["compare"] = chosen[:MOST]
    if new := [name for name in ticked if name not in before]:
        settle("run", new[-1])
    if len(chosen) > MOST:
        st.toast(f"At most {MOST} runs fit into one chart.")


def follow_rename(names: list[str]) -> None:
    """Pickers follow a run that has another name now, and forget one that is gone."""
    old, new = st.session_state.pop(RENAMED, ("", ""))
    if new:
        settle("run", new)
    elif st.session_state.get("run", names[0]) not in names:
        settle("run", names[0])
    chosen = [new if name == old else name for name in st.session_state.get("compare", [])]
    if "compare" in st.session_state:
        st.session_state["compare"] = [name for name in chosen if name in names]


def narrowed(rows: list[RunRow]) -> tuple[list[RunRow], str]:
    """The rows that the visitor wants to see, and in which order."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = st.text_input(
            "Filter",
            key="runs_filter",
            bind="query-params",
            max_chars=100,
            placeholder="Name, dataset, preset, tag, note, state",
            help="Every word must be found.",
            width=360,
        )
        order = st.selectbox(
            "Sort by",
            ORDERS,
            key="runs_sort",
            bind="query-params",
            help="The baseline stays first. Validation: clean scores before leaky ones. Time: the quickest first.",
            width=160,
        )
    return matching(rows, wanted), order or ORDERS[0]


def show_table(rows: list[RunRow], names: list[str]) -> list[str]:
    """The hero: the table, and the runs that are chosen in it or in the picker below.

    Args:
        rows: Those that match the filter.
        names: Of all runs.
    """
    limit = st.session_state.setdefault("runs_limit", PAGE)
    shown = [row.name for row in rows[:limit]]
    hero = st.container()
    if len(rows) > limit:
        with st.container(horizontal=True, vertical_alignment="center"):
            more = min(PAGE, len(rows) - limit)
            st.button(f"Show {more} more", icon=":material/expand_more:", on_click=_show_more)
            st.caption(f"{limit:,} of {len(rows):,} runs are shown.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.multiselect(
            f"Compare up to {MOST} runs",
            names,
            key="compare",
            bind="query-params",
            max_selections=MOST,
            placeholder="Tick rows above, or choose here",
            width=620,
        )
        more_columns = st.toggle("More columns", key="more_columns", help="Disk use, tags and notes.")
    # The picker is what counts; the table's ticks follow it. Complete, as the browser would send it: a state that only
    # looks different counts as a click in the table on the next run.
    ticks = {"rows": sorted(shown.index(name) for name in chosen if name in shown), "columns": [], "cells": []}
    if st.session_state.get("runs_table") != {"selection": ticks}:
        st.session_state["runs_table"] = {"selection": ticks}
    hero.dataframe(
        table(rows[:limit], more_columns),
        hide_index=True,
        column_config=column_config(shown),
        key="runs_table",
        on_select=lambda: _chosen_in_table(shown),
        selection_mode="multi-row",
        alt=f"{len(shown)} runs, the baseline first",
    )
    return chosen


def _show_more() -> None:
    st.session_state["runs_limit"] += PAGE
