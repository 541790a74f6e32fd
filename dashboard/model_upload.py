"""A popover in which a visitor adds an ONNX file of their own to the models of the workspace."""

from __future__ import annotations

from typing import Final

import streamlit as st

from dashboard.components import errors_shown, plain, settle
from fer_core.inference.adopt import MAX_BYTES, MAX_CARD_BYTES, adopt, suggest_name
from fer_core.workspace import Workspace

_ADDED: Final = "added_model"


def choose_added() -> None:
    """The model that this visitor has just added becomes the chosen one. Call it before the page's model picker."""
    if name := st.session_state.pop(_ADDED, None):
        settle("model", name)
        st.toast(f"Added {plain(name)}.", icon=":material/check:")


def add_model() -> None:
    """The popover: a model, its card where there is one, and a name; then the page runs again with the new model."""
    with st.popover("Add a model", icon=":material/add:"), st.form("add_model", border=False):
        file = st.file_uploader(
            "ONNX file",
            type=["onnx"],
            max_upload_size=MAX_BYTES >> 20,
            help="A model that a run or `export` wrote, here or elsewhere. It is tried out before it is taken.",
            key="new_model_file",
        )
        card = st.file_uploader(
            "Its model_card.json, if there is one",
            type=["json"],
            max_upload_size=MAX_CARD_BYTES >> 20,
            key="new_model_card",
        )
        name = st.text_input("Name", placeholder="The file's name", max_chars=64, key="new_model_name")
        st.caption("It then runs on this machine for everyone here: add models only of people you trust.")
        st.caption("Keras files are never opened here: `python -m fer_core models import FILE --labels ORDER`")
        if st.form_submit_button("Add", type="primary", icon=":material/add:"):
            if file is None:
                st.warning("Choose an ONNX file first.", icon=":material/upload_file:")
                return
            with errors_shown(), st.spinner("Trying it out"):
                told = card.getvalue() if card else None
                model = adopt(
                    file.getvalue(), name or suggest_name(file.name), Workspace.default(), source=file.name, card=told
                )
                st.session_state[_ADDED] = model.name
                st.rerun()
