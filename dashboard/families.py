"""One original with its augmented children, on the Balance page."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from dashboard import caching, drawings
from dashboard.balance_form import augment_settings
from dashboard.components import errors_shown, plain
from fer_core.data.balance import ClassPlan
from fer_core.data.config import AugmentConfig, BalanceConfig
from fer_core.data.dataset import Dataset
from fer_core.data.families import CHILDREN, Family


def show_preview(dataset: Dataset, plans: Mapping[str, ClassPlan], config: BalanceConfig) -> BalanceConfig:
    """An original beside the children that balancing would make of it, and the sliders that they follow.

    Args:
        dataset: Whose training faces.
        plans: What balancing would do to each class.
        config: Its settings.

    Returns:
        The same settings with the strengths that the sliders show.
    """
    # The library that augments takes a second to load, so nothing is made before somebody asks.
    waiting = "face_number" not in st.session_state
    emotion = _choice([name for name, steps in plans.items() if steps.before], plans, waiting=waiting)
    config = config.model_copy(update={"augment": augment_settings(dataset.info.channels)})
    with errors_shown():
        config.augment.check(dataset.info.channels)
        if waiting:
            st.caption("The children are made exactly as the new dataset would hold them, and follow the sliders.")
        else:
            _preview(dataset, emotion, plans[emotion], config)
    return config


def _preview(dataset: Dataset, emotion: str, plan: ClassPlan, config: BalanceConfig) -> None:
    with st.spinner("Augmenting"):
        family = caching.family(dataset, emotion, st.session_state["face_number"], config)
    if family is not None:
        _faces(family)
        st.session_state["child_seconds"] = family.seconds
        told = f"{plan.per_original:.1f} of these per original" if plan.augmented else "none of these"
        st.caption(f"With these settings {emotion} gets {told}.")


def show_children(dataset: Dataset, plans: Mapping[str, ClassPlan]) -> None:
    """An original of a balanced dataset beside its children, and the strengths that these were made with."""
    options = [name for name, steps in plans.items() if steps.augmented]
    if not options:
        return
    emotion = _choice(options, plans, waiting=False)
    strengths = BalanceConfig.model_validate(dataset.info.config["balance"]).augment
    names = [name for name in AugmentConfig.model_fields if name != "hue" or dataset.info.channels == 3]
    st.caption(f"Made with {', '.join(f'{name} {getattr(strengths, name):g}' for name in names)}.")
    with errors_shown():
        family = caching.family(dataset, emotion, st.session_state.get("face_number", 0), None)
        if family is not None:
            _faces(family)


def _choice(options: list[str], plans: Mapping[str, ClassPlan], *, waiting: bool) -> str:
    """The class whose faces are shown, beside the button that shows the first of them or the next."""
    st.markdown("**An original and its augmented children**")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        emotion = _class_picker(options, plans)
        label = f"Show {CHILDREN} children" if waiting else "Another face"
        number = 0 if waiting else st.session_state.get("face_number", 0) + 1
        st.button(label, icon=":material/face:", key="another_face", on_click=_show_face, args=(number,))
    return emotion


def _show_face(number: int) -> None:
    st.session_state["face_number"] = number


def _class_picker(options: list[str], plans: Mapping[str, ClassPlan]) -> str:
    """The class that grows most, unless another one is chosen."""
    if st.session_state.get("face_class") not in options:
        st.session_state.pop("face_class", None)
    most = max(options, key=lambda emotion: plans[emotion].per_original)
    return st.selectbox(
        "Class", options, index=options.index(most), format_func=str.capitalize, key="face_class",
        bind="query-params", width=150,
    )  # fmt: skip


def _faces(family: Family) -> None:
    pictures = [("original", family.original), *((f"child {n}", c) for n, c in enumerate(family.children, start=1))]
    with st.grid(1 + CHILDREN, min_column_width=96):
        for name, picture in pictures:
            with st.container(gap="xsmall"):
                st.image(drawings.face(picture), width="stretch", alt=f"{name} of {family.path}")
                st.caption(f"**{name}**" if name == "original" else name)
    st.caption(plain(family.path))
