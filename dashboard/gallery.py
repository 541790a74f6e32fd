"""All images of a dataset: filtered, sorted, 24 at a time; a click shows one with its story."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import streamlit as st

from dashboard import caching
from dashboard.components import errors_shown, show_error
from dashboard.decisions import pending_panel
from dashboard.drawer import Places, contact_sheet, open_if_asked
from fer_core.data.dataset import LEFT_OUT, SPLITS, Dataset
from fer_core.data.findings import Reason, flag_words
from fer_core.emotions import EMOTIONS, INDEX

if TYPE_CHECKING:
    import pandas as pd

_ANY: Final = "any"
_SORTS: Final = ("As stored", "Name", "Most copies")
_AUGMENTED: Final = "augmented"
_KINDS: Final = ("originals", _AUGMENTED)


@st.fragment
def gallery(dataset: Dataset) -> None:
    """Filters, and what they leave."""
    with errors_shown():
        _show(dataset)


def _show(dataset: Dataset) -> None:
    images = caching.images(dataset)
    if problem := caching.left_out_problem(dataset):
        show_error(f"Pictures that were left out are not shown: {problem}")
    shown, words = _filtered(images)
    st.markdown(f"**{len(shown):,} of {len(images):,} images** :gray[{words}]")
    if shown.empty:
        st.caption("No image fits. Take a filter away.")
        return
    places = Places(shown)

    def told(at: int) -> str:
        image = shown.iloc[at]
        return " · ".join([EMOTIONS[image["label"]], image["split"], image["path"], *flag_words(image["flags"])])

    contact_sheet(dataset, places, told, key=f"gallery-{words}")
    link = {"dataset": dataset.name, "view": "Images", **_link()}
    open_if_asked(dataset, places, link=("data", link))
    pending_panel(dataset)


def _filtered(images: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows that the filters leave, in the order asked for, and the filters in words."""
    there = [split for split in (*SPLITS, LEFT_OUT) if (images["split"] == split).any()]
    sources = list(images["source"].cat.categories)
    found = [set(flag_words(text)) - {_AUGMENTED} for text in images["flags"].cat.categories]
    augmented = images["parent_id"].notna().to_numpy()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        split = _choice("Split", "images_split", there)
        emotion = _choice("Class", "images_class", list(EMOTIONS))
        source = _choice("Source", "images_source", sources) if len(sources) > 1 else _ANY
        reasons = [reason.value for reason in Reason if any(reason in words for words in found)]
        reason = _choice("Finding", "images_finding", ["none", *reasons]) if reasons else _ANY
        kind = _choice("Made", "images_made", list(_KINDS)) if augmented.any() else _ANY
        sort = st.selectbox("Sort", _SORTS, key="images_sort", bind="query-params", width=130)
    keep = np.ones(len(images), bool)
    for value, column in ((split, "split"), (source, "source")):
        if value != _ANY:
            keep &= (images[column] == value).to_numpy()
    if emotion != _ANY:
        keep &= (images["label"] == INDEX[emotion]).to_numpy()
    if reason != _ANY:
        fitting = [not words if reason == "none" else reason in words for words in found]
        keep &= np.array(fitting)[images["flags"].cat.codes]
    if kind != _ANY:
        keep &= augmented if kind == _AUGMENTED else ~augmented
    shown = images[keep]
    if sort == "Name":
        shown = shown.sort_values("path", kind="stable")
    elif sort == "Most copies":
        originals = images.loc[~augmented, "photo_id"]
        copies = shown["photo_id"].map(originals.value_counts())
        shown = shown.assign(n=copies).sort_values(["n", "photo_id"], ascending=[False, True], kind="stable")
    chosen = [value for value in (split, emotion, source, reason, kind) if value != _ANY]
    return shown, " · ".join([*chosen, sort.lower()])


def _choice(label: str, key: str, options: list[str]) -> str:
    if st.session_state.get(key) not in (None, _ANY, *options):  # of another dataset
        st.session_state[key] = _ANY
    return st.selectbox(label, [_ANY, *options], key=key, bind="query-params", width=140) or _ANY


def _link() -> dict[str, str]:
    keys = ("images_split", "images_class", "images_source", "images_finding", "images_made", "images_sort")
    return {key: str(st.session_state[key]) for key in keys if st.session_state.get(key) not in (None, _ANY)}
