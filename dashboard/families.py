"""One original with its augmented children, on the Balance page."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from dashboard import caching, drawings
from dashboard.components import errors_shown, plain
from fer_core.data.balance import ClassPlan
from fer_core.data.dataset import Dataset
from fer_core.data.families import CHILDREN, Family


def show_family(dataset: Dataset, plans: Mapping[str, ClassPlan], seed: int | None) -> None:
    """An original beside its children; another one at the press of a button.

    Args:
        dataset: Whose training faces.
        plans: What balancing does, or did, to each class.
        seed: Of the balancing to come; None for a dataset that is balanced already.
    """
    options = [emotion for emotion, steps in plans.items() if (steps.before if seed is not None else steps.augmented)]
    if not options:
        return
    # The library that augments takes a second to load, so nothing is made before somebody asks.
    waiting = seed is not None and "face_number" not in st.session_state
    number = st.session_state.get("face_number", 0)
    st.markdown("**An original and its augmented children**")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        emotion = _class_picker(options, plans)
        label = f"Show {CHILDREN} children" if waiting else "Another face"
        st.button(
            label, icon=":material/face:", key="another_face", on_click=_show_face, args=(0 if waiting else number + 1,)
        )
    if waiting:
        hue = ", hue" if dataset.info.channels == 3 else ""
        steps = f"flip, rotation, shear, brightness, contrast{hue}"
        st.caption(f"Augmented exactly as the new dataset would hold them: {steps}.")
        return
    with errors_shown(), st.spinner("Augmenting"):
        family = caching.family(dataset, emotion, number, seed)
        if family is not None:
            _faces(family)
            if seed is not None:
                st.session_state["child_seconds"] = family.seconds
                plan = plans[emotion]
                told = f"{plan.per_original:.1f} of these per original" if plan.augmented else "none of these"
                st.caption(f"With these settings {emotion} gets {told}.")


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
