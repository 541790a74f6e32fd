"""The settings of ``data balance`` as the Balance page shows them, and the button that starts it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import streamlit as st

from dashboard.components import duration, job_command, plain
from dashboard.prepare_form import dataset_name, launch_dataset_job
from fer_core.data.balance import ClassPlan, expected_bytes
from fer_core.data.config import MAX_TARGET, AugmentConfig, BalanceConfig, Recipe, default_recipe
from fer_core.data.dataset import Dataset
from fer_core.emotions import EMOTIONS

MANY_CHILDREN: Final = 4
"""Children of one original above which a warning is shown: the network then mostly sees one face again."""

CLASS_WEIGHTS: Final = "weights"
"""Beside the recipes in the control of that name: it makes no dataset."""

_RECIPES: Final = {
    Recipe.EVEN.value: "Even",
    Recipe.PUBLISHED.value: "Published 1,200 / 7,000 / 9,000",
    CLASS_WEIGHTS: "Class weights",
    Recipe.NONE.value: "None",
}


def balance_settings(dataset: Dataset) -> BalanceConfig | None:
    """One row of controls, all of them in the URL; None where class weights are chosen instead of copies."""
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
            "most 9,000. Class weights: no copies, but rare classes count more in training. None: only the targets "
            "given here.",
            key="recipe",
            bind="query-params",
            wrap=True,
        )
        if recipe == CLASS_WEIGHTS:
            return None
        target = _number("Target", "target", "by recipe")
        cap = _number("Cap", "cap", "9,000" if recipe == Recipe.PUBLISHED else "none")
        targets = _targets_of_classes()
    if targets:
        said = ", ".join(f"{emotion} {wanted:,}" for emotion, wanted in targets.items())
        st.caption(f"Targets of single classes, before all others: {said}.")
    return BalanceConfig(recipe=Recipe(recipe), target=target, cap=cap, target_of=targets)


def _targets_of_classes() -> dict[str, int]:
    """The classes that are to have a target of their own."""
    with st.popover("Single classes", icon=":material/tune:"):
        st.caption(BalanceConfig.model_fields["target_of"].description or "")
        with st.grid(2, min_column_width=120):
            given = {emotion: _number(emotion.capitalize(), f"target_{emotion}", "as others") for emotion in EMOTIONS}
    return {emotion: wanted for emotion, wanted in given.items() if wanted}


def augment_settings(channels: int) -> AugmentConfig:
    """A slider for each strength of augmentation, all of them in the URL; says which are not the usual ones.

    Args:
        channels: Of the dataset. Gray pictures have no hue.
    """
    names = [name for name in AugmentConfig.model_fields if name != "hue" or channels == 3]
    with st.grid(len(names), min_column_width=140):
        chosen = AugmentConfig(**{name: _strength(name) for name in names})
    usual, changed = AugmentConfig.model_fields, chosen.changed()
    told = ", ".join(f"{name} {value:g} instead of {usual[name].default:g}" for name, value in changed.items())
    with st.container(horizontal=True, vertical_alignment="center"):  # always there, so that the faces stay in place
        st.caption(f"Changed: {told}." if told else "The usual strengths.")
        st.button(
            "Usual strengths",
            type="tertiary",
            icon=":material/undo:",
            disabled=not told,
            on_click=_reset,
            args=(changed,),
        )
    return chosen


def _strength(name: str) -> float:
    field, largest = AugmentConfig.model_fields[name], AugmentConfig.largest(name)
    angle = largest > 1
    chosen = st.slider(
        field.title or name,
        0.0,
        largest,
        float(field.default),
        1.0 if angle else 0.05,
        format="%d°" if angle else "%.2f",
        help=field.description,
        key=name,
        bind="query-params",
    )
    return round(float(chosen), 2)  # three steps of 0.05 are not quite 0.15, which the command says


def _reset(names: Iterable[str]) -> None:
    for name in names:  # the browser would go on showing values that are only removed here
        st.session_state[name] = float(AugmentConfig.model_fields[name].default)


def _number(label: str, key: str, placeholder: str) -> int | None:
    field = BalanceConfig.model_fields.get(key)
    return st.number_input(
        label,
        min_value=1,
        max_value=MAX_TARGET,
        value=None,
        step=100,
        placeholder=placeholder,
        help=field.description if field else None,
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
    problem = None
    if not config.augment.varies(dataset.info.channels):
        problem = "At these strengths children would equal their original: raise one of them below."
    elif all(steps.after == steps.before for steps in plans.values()):
        problem = "These settings change nothing: choose a recipe or a target."
    stem = "balanced" if config.recipe is Recipe.NONE else config.recipe.value
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = dataset_name(f"{dataset.name[:48]}-{stem}", "balance_name")
        start = st.button(
            "Create balanced dataset",
            type="primary",
            icon=":material/play_arrow:",
            disabled=problem is not None,
            help=problem,
        )
    st.caption(_cost(dataset, plans))
    arguments = ["data", "balance", str(dataset.folder), *config.options()]
    with st.expander("The same as a command", icon=":material/terminal:"):
        st.code(job_command([*arguments, "--out", name]), language="bash", wrap_lines=True)
    if start:
        launch_dataset_job("balance", name, arguments, "balance_name")


def _cost(dataset: Dataset, plans: Mapping[str, ClassPlan]) -> str:
    others = sum(sum(dataset.counts()[split].values()) for split in ("validation", "test"))
    images = others + sum(steps.after for steps in plans.values())
    words = f"{images:,} images in all, about {max(1, round(expected_bytes(dataset, plans) / 2**20)):,} MB"
    augmented = sum(steps.augmented for steps in plans.values())
    seconds = st.session_state.get("child_seconds")  # measured by the preview
    if augmented and seconds:
        words += f", {duration(augmented * seconds)} or more for making the children (timed on those below)"
    return f"{words}. {plain(dataset.name)} stays as it is."
