"""Images of every class on the Balance page: by split after each step, and by source."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from dashboard import caching, charts
from dashboard.components import choose_view, plain, theme
from fer_core.data.balance import ClassPlan
from fer_core.data.dataset import SPLITS, Dataset
from fer_core.data.info import BALANCED


def distributions(dataset: Dataset, plans: Mapping[str, ClassPlan]) -> None:
    """Images of every class by split, step by step, or by source; only the open view is drawn."""
    st.markdown("**Images of every class**")
    view = choose_view(["Steps", "Sources"], "counts_by")
    (_by_step if view == "Steps" else _by_source)(dataset, plans)


def _by_step(dataset: Dataset, plans: Mapping[str, ClassPlan]) -> None:
    """Every split after a step, beside what balancing makes of it, on one scale."""
    steps = {step: counts for step, counts in dataset.info.counts.items() if step != BALANCED}
    last = list(steps)[-1]
    step = _step(list(steps))
    balanced = {**steps[last], "train": {emotion: plan.after for emotion, plan in plans.items()}}
    shown = {step.capitalize(): steps[step], BALANCED.capitalize(): balanced}
    top = 1.05 * max(1, *(n for counts in shown.values() for split in counts.values() for n in split.values()))
    st.caption("Train, validation, test: solid to pale")
    for column, (name, counts) in zip(st.columns(2), shown.items(), strict=True):
        with column:
            total = sum(sum(split.values()) for split in counts.values())
            st.caption(f"**{name}** · {total:,} images")
            figure = charts.class_distribution(counts, theme()).update_yaxes(range=[0, top])
            alt = f"{name}: images per class and split"
            st.plotly_chart(figure, config=charts.CONFIG, key=f"splits-{name}", alt=alt)


def _step(steps: list[str]) -> str:
    """The step of the ledger that is chosen, the last of them at first."""
    if st.session_state.get("step", steps[-1]) not in steps:  # chosen on another dataset, which had more steps
        st.session_state["step"] = steps[-1]
    return st.segmented_control(
        "After which step", steps, default=steps[-1], format_func=str.capitalize, required=True, key="step",
        bind="query-params",
    )  # fmt: skip


def _by_source(dataset: Dataset, plans: Mapping[str, ClassPlan]) -> None:
    """Images of each source after a step, one split at a time."""
    step = _step(list(dataset.info.counts))
    # Of its last step the tables tell, also where it was made before sources were counted at each.
    known = dataset.info.source_counts
    found = caching.source_counts(dataset) if step == next(reversed(dataset.info.counts)) else known.get(step)
    if found is None:
        st.caption(f"{plain(dataset.name)} was prepared before sources were counted at each step. Prepare it again.")
        return
    split = st.segmented_control(
        "Of which split", SPLITS, default="train", format_func=str.capitalize, required=True, key="source_split",
        bind="query-params",
    )  # fmt: skip
    counts = {source: splits[split] for source, splits in found.items()}
    said = " · ".join(f"{plain(source)} {sum(of_class.values()):,}" for source, of_class in counts.items())
    st.caption(f"{step.capitalize()}, by source, solid to pale: {said}")
    alt = f"{split}: images per class and source"
    st.plotly_chart(charts.class_distribution(counts, theme()), config=charts.CONFIG, key=f"sources-{split}", alt=alt)
    if step == BALANCED and any(steps.augmented for steps in plans.values()):
        st.caption("Augmented children count for the source of their original.")
