"""The settings of ``data balance`` as the Balance page shows them, and the button that starts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import streamlit as st

from dashboard.components import duration, job_command, plain
from dashboard.prepare_form import free_name, launch_dataset_job
from fer_core.data.balance import ClassPlan, expected_bytes
from fer_core.data.config import MAX_TARGET, BalanceConfig, Recipe, default_recipe
from fer_core.data.dataset import Dataset
from fer_core.emotions import EMOTIONS

MANY_CHILDREN: Final = 4
"""Children of one original above which a warning is shown: the network then mostly sees one face again."""

_RECIPES: Final = {
    Recipe.EVEN.value: "Even",
    Recipe.PUBLISHED.value: "Published 1,200 / 7,000 / 9,000",
    Recipe.NONE.value: "None",
}


def balance_settings(dataset: Dataset) -> BalanceConfig:
    """One row of controls, all of them in the URL."""
    if st.session_state.get("balance_of") != dataset.name:  # what fits one dataset need not fit the next
        st.session_state["balance_of"] = dataset.name
        st.session_state.pop("recipe", None)
        st.session_state.pop("child_seconds", None)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        recipe = st.segmented_control(
            "Recipe",
            list(_RECIPES),
            default=default_recipe(dataset.info.config.get("policy")).value,
            format_func=lambda name: _RECIPES[name],
            required=True,
            help="Even: every class up to the median class. Published: 1,200 disgust, 7,000 of every other class, at "
            "most 9,000. None: only the targets given here.",
            key="recipe",
            bind="query-params",
        )
        target = _number("Target", "target", "by recipe")
        cap = _number("Cap", "cap", "9,000" if recipe == Recipe.PUBLISHED else "none")
        emotion = st.selectbox(
            "One class", EMOTIONS, index=EMOTIONS.index("disgust"), key="one_class", bind="query-params", width=118,
            format_func=str.capitalize, help="The class that the target beside it is for.",
        )  # fmt: skip
        of_class = _number(f"Target of {emotion}", "one_target", "as others", "target_of")
    return BalanceConfig(
        recipe=Recipe(recipe), target=target, cap=cap, target_of={emotion: of_class} if of_class else {}
    )


def _number(label: str, key: str, placeholder: str, field: str = "") -> int | None:
    return st.number_input(
        label,
        min_value=1,
        max_value=MAX_TARGET,
        value=None,
        step=100,
        placeholder=placeholder,
        help=BalanceConfig.model_fields[field or key].description,
        key=key,
        bind="query-params",
        width=138,
    )


def warn_of_many_children(plans: Mapping[str, ClassPlan]) -> None:
    """Says which classes would mostly be copies, and the target that would avoid it."""
    for emotion, steps in plans.items():
        if steps.per_original > MANY_CHILDREN:
            st.warning(
                f"{emotion.capitalize()} would have {steps.per_original:.1f} children per original: the network would "
                f"mostly see the same {steps.before:,} faces again. A target of {(1 + MANY_CHILDREN) * steps.before:,} "
                f"keeps it at {MANY_CHILDREN}.",
                icon=":material/warning:",
            )


def create_button(dataset: Dataset, config: BalanceConfig, plans: Mapping[str, ClassPlan]) -> None:
    """Name, primary button, what it will cost, and the command that does the same."""
    changed = any(steps.after != steps.before for steps in plans.values())
    stem = "balanced" if config.recipe is Recipe.NONE else config.recipe.value
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = _name(free_name(f"{dataset.name[:48]}-{stem}"))
        start = st.button(
            "Create balanced dataset",
            type="primary",
            icon=":material/play_arrow:",
            disabled=not changed,
            help=None if changed else "These settings change nothing: choose a recipe or a target.",
        )
    st.caption(_cost(dataset, plans))
    arguments = ["data", "balance", str(dataset.folder), *config.options()]
    with st.expander("The same as a command", icon=":material/terminal:"):
        st.code(job_command([*arguments, "--out", name]), language="bash", wrap_lines=True)
    if start:
        launch_dataset_job("balance", name, arguments, "balance_name")


def _name(suggested: str) -> str:
    """The name of the new dataset: what we suggest for these settings, until somebody types another."""
    if st.session_state.get("balance_name") in (None, "", st.session_state.get("balance_suggested")):
        st.session_state["balance_name"] = suggested
    st.session_state["balance_suggested"] = suggested
    return st.text_input("Name of the new dataset", key="balance_name", max_chars=64, width=280).strip()


def _cost(dataset: Dataset, plans: Mapping[str, ClassPlan]) -> str:
    others = sum(sum(dataset.counts()[split].values()) for split in ("validation", "test"))
    images = others + sum(steps.after for steps in plans.values())
    words = f"{images:,} images in all, about {max(1, round(expected_bytes(dataset, plans) / 2**20)):,} MB"
    augmented = sum(steps.augmented for steps in plans.values())
    seconds = st.session_state.get("child_seconds")  # measured by the preview
    if augmented and seconds:
        words += f", {duration(augmented * seconds)} or more for making the children (timed on those below)"
    return f"{words}. {plain(dataset.name)} stays as it is."
