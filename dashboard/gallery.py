"""All images of a dataset: filtered, sorted, some at a time; a click shows one with its story."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import streamlit as st

from dashboard import caching
from dashboard.components import errors_shown, plain, show_error
from dashboard.decisions import pending_of, pending_panel
from dashboard.drawer import SHEET, SHEETS, Places, contact_sheet, open_if_asked
from fer_core.data.dataset import LEFT_OUT, SPLITS, Dataset
from fer_core.data.findings import Reason, flag_words
from fer_core.emotions import EMOTIONS, INDEX

if TYPE_CHECKING:
    import pandas as pd

_ANY: Final = "any"
_PENDING, _APPLIED, _UNDECIDED = "pending", "applied", "not decided"
_DECIDED: Final = {
    "decided": (_PENDING, _APPLIED),
    _PENDING: (_PENDING,),
    _APPLIED: (_APPLIED,),
    _UNDECIDED: (_PENDING, _APPLIED),
}
"""What can be asked of decisions -> those that count."""

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
    shown, words, per_page = _filtered(images, _decided(dataset))
    st.markdown(f"**{len(shown):,} of {len(images):,} images** :gray[{words}]")
    if shown.empty:
        st.caption("No image fits. Take a filter away.")
        return
    places = Places(shown)

    def told(at: int) -> str:
        image = shown.iloc[at]
        return " · ".join([EMOTIONS[image["label"]], image["split"], image["path"], *flag_words(image["flags"])])

    contact_sheet(dataset, places, told, key=f"gallery-{words}-{per_page}", per_page=per_page)
    link = {"dataset": dataset.name, "view": "Images", **_link()}
    open_if_asked(dataset, places, link=("data", link))
    pending_panel(dataset)


def _decided(dataset: Dataset) -> dict[str, set[str]]:
    """The pixels that something was decided about: in a decision that is pending, and in one it was made with."""
    made_with = dataset.info.config.get("decisions") or []
    return {
        _PENDING: {decision.pixel_sha for decision in pending_of(dataset)},
        _APPLIED: {decision["pixel_sha"] for decision in made_with},
    }


def _filtered(images: pd.DataFrame, decided: Mapping[str, set[str]]) -> tuple[pd.DataFrame, str, int]:
    """The rows that the filters leave, in the order asked for; the filters in words; how many to show at a time."""
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
        decision = _choice("Decided", "images_decided", list(_DECIDED)) if any(decided.values()) else _ANY
        name = st.text_input(
            "File name", placeholder="part of it", key="images_name", bind="query-params", max_chars=200, width=130
        ).strip()
        sort = st.selectbox("Sort", _SORTS, key="images_sort", bind="query-params", width=130)
        per_page = st.selectbox(
            "Per page", list(SHEETS), index=list(SHEETS).index(SHEET), key="images_per_page", bind="query-params",
            help="The fewer, the larger.", width=90,
        )  # fmt: skip
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
    if decision != _ANY:
        asked = set().union(*(decided[state] for state in _DECIDED[decision]))
        about = images["pixel_sha"].isin(asked).to_numpy()
        keep &= ~about if decision == _UNDECIDED else about
    if name:
        keep &= images["path"].str.contains(name, case=False, regex=False).to_numpy()
    shown = images[keep]
    if sort == "Name":
        shown = shown.sort_values("path", kind="stable")
    elif sort == "Most copies":
        originals = images.loc[~augmented, "photo_id"]
        copies = shown["photo_id"].map(originals.value_counts())
        shown = shown.assign(n=copies).sort_values(["n", "photo_id"], ascending=[False, True], kind="stable")
    chosen = [plain(value) for value in (split, emotion, source, reason, kind, decision) if value != _ANY]
    named = [f"named {plain(name)}"] if name else []
    return shown, " · ".join([*chosen, *named, sort.lower()]), per_page


def _choice(label: str, key: str, options: list[str]) -> str:
    if st.session_state.get(key) not in (None, _ANY, *options):  # of another dataset
        st.session_state[key] = _ANY
    return st.selectbox(label, [_ANY, *options], key=key, bind="query-params", width=130) or _ANY


def _link() -> dict[str, str]:
    filters = ("split", "class", "source", "finding", "made", "decided", "name", "sort", "per_page")
    keys = [f"images_{name}" for name in filters]
    return {key: str(st.session_state[key]) for key in keys if st.session_state.get(key) not in (None, _ANY, "")}
