"""A form in which a visitor adds an ONNX file of their own to the models of the workspace."""

from __future__ import annotations

from typing import Final

import streamlit as st

from dashboard import caching
from dashboard.components import errors_shown, plain, settle
from fer_core.data.dataset import Dataset
from fer_core.inference.adopt import MAX_BYTES, MAX_CARD_BYTES, adopt, suggest_name
from fer_core.workspace import Workspace

_ADDED: Final = "added_model"


def choose_training(key: str) -> Dataset | None:
    """Asks what a model that was made elsewhere was trained on; None where that is not known."""
    folders = {folder.name: folder for folder in Workspace.default().list_datasets()}
    name = st.selectbox(
        "Trained on",
        [*folders],
        index=None,
        placeholder="Not known",
        help="Its accuracy on images never seen in training is told if you name the dataset.",
        key=key,
    )
    with errors_shown():
        return caching.dataset(folders[name]) if name else None
    return None


def choose_added() -> None:
    """The model that this visitor has just added becomes the chosen one. Call it before the page's model picker."""
    if name := st.session_state.pop(_ADDED, None):
        settle("model", name)
        st.toast(f"Added {plain(name)}.", icon=":material/check:")


def add_model() -> None:
    """The form in a popover."""
    with st.popover("Add a model", icon=":material/add:"):
        model_form()


def model_form() -> None:
    """A model, its card where there is one, what it was trained on, and a name; then the page runs again with it."""
    with st.form("add_model", border=False):
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
        trained_on = choose_training(key="new_model_trained_on")
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
                    file.getvalue(),
                    name or suggest_name(file.name),
                    Workspace.default(),
                    source=file.name,
                    card=told,
                    trained_on=trained_on,
                )
                st.session_state[_ADDED] = model.name
                st.rerun()
