"""Runs: what you tried, and what it bought."""

from collections.abc import Iterator

import pandas as pd
import streamlit as st

from dashboard import charts
from dashboard.components import choose, finding, page_link, plain, theme
from dashboard.run_actions import RENAMED, actions, export_run, free_disk, import_run
from dashboard.run_curves import curves_of, group_of
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
    ticked_too,
)
from fer_core.training.differences import settings_that_differ
from fer_core.training.seeds import SeedGroup, seed_groups
from fer_core.workspace import Workspace

MOST = 6  # runs in one chart
FEW_GROUPS = 3  # recipes with several seeds that are told without being asked for
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


def show_curves(rows: list[RunRow], groups: list[SeedGroup], baseline: str) -> None:
    """The chosen runs laid over one another, smoothed and with seeds taken together where that is wanted."""
    st.markdown("**Accuracy and loss on validation**")
    with st.container(horizontal=True, vertical_alignment="center"):
        smoothing = st.slider(
            "Smoothing",
            0.0,
            0.95,
            step=0.05,
            key="smoothing",
            bind="query-params",
            help="Exponential moving average; 0 for none. What was measured stays faint behind it.",
            width=260,
        )
        together = any(group_of(row, groups) for row in rows) and st.toggle(
            "Seeds as one line",
            key="seeds_as_one",
            bind="query-params",
            help="All finished seeds of a chosen run's recipe: mean, and a band from lowest to highest, over "
            "the epochs that all of them have.",
        )
    curves = curves_of(rows, groups if together else (), baseline)
    names = ", ".join(curve.name for curve in curves)
    figure = charts.run_overlay(curves, theme(), smoothing=smoothing)
    st.plotly_chart(figure, config=charts.CONFIG, key="run_overlay", alt=f"Validation curves of {names}")


def show_seeds(groups: list[SeedGroup]) -> None:
    """A line for each recipe that was tried with several seeds."""
    if not groups:
        return
    of = "1 recipe" if len(groups) == 1 else f"{len(groups):,} recipes"
    with st.expander(f"Several seeds of {of}", icon=":material/casino:", expanded=len(groups) <= FEW_GROUPS):
        st.markdown("\n".join(f"- {plain(group.sentence())}" for group in groups[:PAGE]))
        if len(groups) > PAGE:
            st.caption(f"The {PAGE} with the highest mean; filter to see others.")


def show_comparison(rows: list[RunRow], groups: list[SeedGroup], baseline: str) -> None:
    """Curves, paired differences and differing settings of the chosen runs."""
    if any(row.facts.accuracies for row in rows):
        show_curves([row for row in rows if row.facts.accuracies], groups, baseline)
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
