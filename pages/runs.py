"""Runs: what you tried, and what it bought."""

from collections.abc import Iterator

import pandas as pd
import streamlit as st

from dashboard import charts
from dashboard.components import choose, finding, page_link, plain, theme
from dashboard.run_actions import RENAMED, actions, free_disk
from dashboard.run_table import (
    NOISE,
    ORDERS,
    RunRow,
    column_config,
    example,
    finding_sentence,
    in_order,
    matching,
    paired,
    points,
    read_rows,
    table,
)
from fer_core.training.differences import settings_that_differ
from fer_core.workspace import Workspace

MOST = 6  # runs in one chart
PAGE = 50  # rows of the table that come at once: more take long to draw


def chosen_in_table(shown: list[str]) -> None:
    """What was ticked in the table becomes the choice that stands in the URL; runs it does not show stay chosen."""
    ticked = [shown[row] for row in st.session_state["runs_table"].selection.rows if row < len(shown)]
    before = st.session_state.get("compare", [])
    chosen = [*(name for name in before if name not in shown or name in ticked)]
    chosen += [name for name in ticked if name not in chosen]
    st.session_state["compare"] = chosen[:MOST]
    if new := [name for name in ticked if name not in before]:
        st.session_state["run"] = new[-1]
    if len(chosen) > MOST:
        st.toast(f"At most {MOST} runs fit into one chart.")


def follow_rename(names: list[str]) -> None:
    """Pickers follow a run that has another name now, and forget one that is gone."""
    old, new = st.session_state.pop(RENAMED, ("", ""))
    if old:
        st.session_state["run"] = new
    elif st.session_state.get("run", names[0]) not in names:
        st.session_state["run"] = names[0]
    chosen = [new if name == old else name for name in st.session_state.get("compare", [])]
    if "compare" in st.session_state:
        st.session_state["compare"] = [name for name in chosen if name in names]


def narrowed(rows: list[RunRow]) -> list[RunRow]:
    """The rows that the visitor wants to see, in the order that is wanted."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = st.text_input(
            "Filter",
            key="filter",
            bind="query-params",
            max_chars=100,
            placeholder="Name, dataset, preset, tag, note, state",
            help="Every word must be found.",
            width=360,
        )
        order = st.selectbox(
            "Sort by",
            ORDERS,
            key="sort",
            bind="query-params",
            help="The baseline stays first. Validation: clean scores before leaky ones. Time: the quickest first.",
            width=160,
        )
    return in_order(matching(rows, wanted), order or ORDERS[0])


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


def differences(rows: list[RunRow]) -> Iterator[str]:
    """A line for each run against the yardstick: the baseline, or else the oldest."""
    first = rows[0] if rows[0].baseline else rows[-1]
    for row in (row for row in rows if row is not first):
        found, why_not = paired(first, row)
        if found is None:
            yield f"{row.name} against {first.name}: {why_not}."
            continue
        noise = f", {NOISE}," if found.within_noise else ""
        yield (
            f"{row.name} against {first.name}: {points(found)} points{noise} on {found.n:,} validation images; "
            f"{found.only_b:,} only {row.name} reads rightly, {found.only_a:,} only {first.name}."
        )
    if without := [row.name for row in rows if not row.facts.accuracies]:
        yield f"No finished epoch, so no curve: {', '.join(without)}."


def show_comparison(rows: list[RunRow]) -> None:
    """Curves, paired differences and differing settings of the chosen runs."""
    drawn = [row for row in rows if row.facts.accuracies]
    if drawn:
        st.markdown("**Accuracy and loss on validation**")
        curves = [charts.RunCurves(row.name, row.facts.accuracies, row.facts.losses, row.baseline) for row in drawn]
        names = ", ".join(row.name for row in drawn)
        figure = charts.run_overlay(curves, theme())
        st.plotly_chart(figure, config=charts.CONFIG, key="run_overlay", alt=f"Validation curves of {names}")
    st.markdown("\n".join(f"- {plain(line)}" for line in differences(rows)))
    configs = {row.name: row.facts.config for row in rows if row.facts.config}
    if len(configs) < 2:
        return
    settings = settings_that_differ(configs)
    if not settings:
        st.caption("All settings are the same.")
        return
    st.markdown("**Settings that differ**")
    cells = [
        {"setting": key, **{name: "—" if value is None else str(value) for name, value in row.items()}}
        for key, row in settings.items()
    ]
    st.dataframe(pd.DataFrame(cells), hide_index=True, column_config={"setting": st.column_config.Column(pinned=True)})


rows = read_rows(Workspace.default())
if not rows:
    finding("No run yet. Each will be one row, like this example.")
    st.dataframe(example(), hide_index=True, column_config=column_config(["example"]), alt="An example row, not a run")
    page_link("train", "Start training")
else:
    names = [row.name for row in rows]
    follow_rename(names)
    head = st.container()
    matches = narrowed(rows)
    with head:
        finding(finding_sentence(matches) if matches else f"None of {len(rows):,} runs matches the filter.")
    compared = show_table(matches, names)
    if not any(row.baseline for row in rows):
        st.caption(f"Choose a baseline to see what each run gained on it, and what is {NOISE}.")
    name = choose("Run", names, key="run")
    actions(rows[names.index(name)])
    if compared:
        show_comparison([row for row in rows if row.name in compared])
    free_disk(rows)
