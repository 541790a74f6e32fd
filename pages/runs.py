"""Runs: what you tried, and what it bought."""

import streamlit as st

from dashboard.components import choose, finding, page_link
from dashboard.run_actions import RENAMED, actions, export_run, free_disk, import_run
from dashboard.run_comparison import show_comparison, show_seeds
from dashboard.run_table import (
    NOISE,
    ORDERS,
    RunRow,
    column_config,
    example,
    finding_sentence,
    in_order,
    matching,
    read_rows,
    table,
    ticked_too,
)
from fer_core.training.seeds import seed_groups
from fer_core.workspace import Workspace

MOST = 6  # runs in one chart
PAGE = 50  # rows of the table that come at once: more take long to draw


def chosen_in_table(shown: list[str]) -> None:
    """What was ticked in the table becomes the choice that stands in the URL; runs it does not show stay chosen."""
    ticked = [shown[row] for row in st.session_state["runs_table"].selection.rows if row < len(shown)]
    before = st.session_state.get("compare", [])
    chosen = ticked_too(before, shown, ticked)
    st.session_state["compare"] = chosen[:MOST]
    if new := [name for name in ticked if name not in before]:
        st.session_state["run"] = new[-1]
    if len(chosen) > MOST:
        st.toast(f"At most {MOST} runs fit into one chart.")


def follow_rename(names: list[str]) -> None:
    """Pickers follow a run that has another name now, and forget one that is gone."""
    old, new = st.session_state.pop(RENAMED, ("", ""))
    if new:
        st.session_state["run"] = new
    elif st.session_state.get("run", names[0]) not in names:
        st.session_state["run"] = names[0]
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
            st.button(f"Show {more} more", icon=":material/expand_more:", on_click=show_more)
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
        on_select=lambda: chosen_in_table(shown),
        selection_mode="multi-row",
        alt=f"{len(shown)} runs, the baseline first",
    )
    return chosen


def show_more() -> None:
    st.session_state["runs_limit"] += PAGE


rows = read_rows(Workspace.default())
if not rows:
    finding("No run yet. Each will be one row, like this example.")
    st.dataframe(example(), hide_index=True, column_config=column_config(["example"]), alt="An example row, not a run")
    with st.container(horizontal=True, vertical_alignment="center"):
        page_link("train", "Start training")
        import_run()
else:
    names = [row.name for row in rows]
    follow_rename(names)
    head = st.container()
    matches, order = narrowed(rows)
    with head:
        finding(finding_sentence(matches) if matches else f"None of {len(rows):,} runs matches the filter.")
    compared = show_table(in_order(matches, order), names)
    show_seeds(seed_groups(row.facts for row in matches))
    if not matches:
        st.stop()  # nothing is done to a run that is not shown
    if not any(row.baseline for row in rows):
        st.caption(f"Choose a baseline to see what each run gained on it, and what is {NOISE}.")
    name = choose("Run", names, key="run")
    actions(rows[names.index(name)])
    if compared:
        groups = seed_groups(row.facts for row in rows)
        baseline = rows[0].name if rows[0].baseline else ""
        show_comparison([row for row in rows if row.name in compared], groups, baseline)
    with st.container(horizontal=True):
        free_disk(rows)
        export_run(rows[names.index(name)])
        import_run()
