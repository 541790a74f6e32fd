"""A form in which a visitor adds an ONNX file of their own to the models of the workspace."""

from __future__ import annotations

from typing import Final

import streamlit as st

from dashboard import caching
from dashboard.components import errors_shown, plain, settle
from fer_core.data.dataset import Dataset
from fer_core.errors import ConfigError
from fer_core.evaluation.orders import ORDERS, order_text, parse_order
from fer_core.inference.adopt import MAX_BYTES, MAX_CARD_BYTES, adopt, suggest_name
from fer_core.inference.conventions import SCALES, Stated
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
    """A model, what is known of one made elsewhere, its card, and a name; then the page runs again with it."""
    with st.form("add_model", border=False):
        file = st.file_uploader(
            "ONNX file",
            type=["onnx"],
            max_upload_size=MAX_BYTES >> 20,
            help="A model that a run or `export` wrote; or one of PyTorch or tf2onnx, with the order of its outputs. "
            "It is tried out before it is taken.",
            key="new_model_file",
        )
        left, right = st.columns(2)
        with left:
            labels = st.selectbox(
                "Order of its outputs",
                [order_text(order) for order in ORDERS.values()],
                index=None,
                placeholder="As ours",
                accept_new_options=True,
                help="Of a model made elsewhere, which class each output is: choose, or type the seven names with "
                "commas between. Networks that were trained on class folders have alphabetical.",
                key="new_model_labels",
            )
        with right:
            scale = st.selectbox(
                "Pixel values",
                [*SCALES],
                index=None,
                placeholder="The usual",
                help="What a model made elsewhere expects of them. The usual: 0-255 where it rescales them itself, "
                "else 0-1.",
                key="new_model_scale",
            )
        card = st.file_uploader(
            "Its model_card.json, if there is one",
            type=["json"],
            max_upload_size=MAX_CARD_BYTES >> 20,
            key="new_model_card",
        )
        left, right = st.columns(2)
        with left:
            trained_on = choose_training(key="new_model_trained_on")
        with right:
            name = st.text_input("Name", placeholder="The file's name", max_chars=64, key="new_model_name")
        st.caption("It then runs on this machine for everyone here: add models only of people you trust.")
        st.caption("Keras files are never opened here: `python -m fer_core models import FILE --labels ORDER`")
        if st.form_submit_button("Add", type="primary", icon=":material/add:"):
            if file is None:
                st.warning("Choose an ONNX file first.", icon=":material/upload_file:")
                return
            with errors_shown(), st.spinner("Trying it out"):
                told = card.getvalue() if card else None
                stated = _stated(labels, scale)
                model = adopt(
                    file.getvalue(),
                    name or suggest_name(file.name),
                    Workspace.default(),
                    source=file.name,
                    card=told,
                    stated=stated,
                    trained_on=trained_on,
                )
                st.session_state[_ADDED] = model.name
                st.rerun()


def _stated(labels: str | None, scale: str | None) -> Stated | None:
    """What the visitor says of a model made elsewhere; None for one of ours."""
    if labels is None:
        if scale is not None:
            raise ConfigError("Choose the order of its outputs, too: a model of ours has its own pixel values.")
        return None
    order = parse_order(labels)
    if order is None:
        raise ConfigError(
            "An order is found out by the command alone: python -m fer_core models import FILE --labels detect "
            "--dataset DATASET"
        )
    return Stated(order=order, scale=scale)
