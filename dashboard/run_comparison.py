"""What the chosen runs look like beside one another: curves, paired differences, seeds and differing settings."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import streamlit as st

from dashboard import charts
from dashboard.components import plain, theme
from dashboard.run_curves import curves_of, group_of
from dashboard.run_table import NOISE, RunRow, paired, points
from fer_core.training.differences import settings_that_differ
from fer_core.training.seeds import SeedGroup

FEW_GROUPS = 3  # recipes with several seeds that are told without being asked for
MOST_GROUPS = 50  # that are told at once


def show_seeds(groups: list[SeedGroup]) -> None:
    """A line for each recipe that was tried with several seeds."""
    if not groups:
        return
    of = "1 recipe" if len(groups) == 1 else f"{len(groups):,} recipes"
    with st.expander(f"Several seeds of {of}", icon=":material/casino:", expanded=len(groups) <= FEW_GROUPS):
        st.markdown("\n".join(f"- {plain(group.sentence())}" for group in groups[:MOST_GROUPS]))
        if len(groups) > MOST_GROUPS:
            st.caption(f"The {MOST_GROUPS} with the highest mean; filter to see others.")


def show_comparison(rows: list[RunRow], groups: list[SeedGroup], baseline: str) -> None:
    """Curves, paired differences and differing settings of the chosen runs."""
    if any(row.facts.accuracies for row in rows):
        _show_curves([row for row in rows if row.facts.accuracies], groups, baseline)
    st.markdown("\n".join(f"- {plain(line)}" for line in _differences(rows)))
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


def _show_curves(rows: list[RunRow], groups: list[SeedGroup], baseline: str) -> None:
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


def _differences(rows: list[RunRow]) -> Iterator[str]:
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
