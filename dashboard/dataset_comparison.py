"""Two datasets side by side: which pictures one has and the other has not, and which carry another label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard import caching
from dashboard.components import errors_shown, plain
from dashboard.decisions import pending_panel
from dashboard.drawer import Places, contact_sheet, open_if_asked
from fer_core.data.dataset import LEFT_OUT, Dataset
from fer_core.emotions import EMOTIONS
from fer_core.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

_KINDS: Final = ("added", "removed", "relabelled", "moved")


@dataclass(frozen=True)
class Comparison:
    """What one dataset has against another, pictures by their pixels, augmented ones aside.

    Attributes:
        here: How many pictures the one has.
        there: How many the other has.
        differing: For each kind the rows that differ; those that were removed are rows of the other dataset.
    """

    here: int
    there: int
    differing: dict[str, pd.DataFrame]


@st.fragment
def comparison(dataset: Dataset) -> None:
    """What this dataset has against another one, by class, and the pictures themselves."""
    others = {folder.name: folder for folder in Workspace.default().list_datasets() if folder.name != dataset.name}
    if not others:
        st.caption("There is no second dataset to compare with.")
        return
    if st.session_state.get("other_dataset") not in (None, *others):
        del st.session_state["other_dataset"]
    name = st.selectbox("Compare with", list(others), key="other_dataset", bind="query-params", width=280)
    with errors_shown():
        other = caching.dataset(others[name])
        called = {
            "added": f"only in {dataset.name}",
            "removed": f"only in {other.name}",
            "relabelled": "another label",
            "moved": "another split",
        }
        found = caching.comparison(dataset, other)
        differing = found.differing
        counts = {
            kind: rows["label"].value_counts().reindex(range(len(EMOTIONS)), fill_value=0)
            for kind, rows in differing.items()
        }
        st.dataframe(
            [
                {"": called[kind]}
                | {emotion: int(counts[kind][label]) for label, emotion in enumerate(EMOTIONS)}
                | {"all": len(differing[kind])}
                for kind in _KINDS
            ],
            hide_index=True,
            height="content",
            width="stretch",
        )
        st.caption(
            f"Pictures by their pixels, augmented ones aside: {found.here:,} in {plain(dataset.name)}, "
            f"{found.there:,} in {plain(other.name)}."
        )
        kinds = [kind for kind in _KINDS if len(differing[kind])]
        if not kinds:
            st.markdown("Both hold the same pictures with the same labels in the same splits.")
            return
        kind = st.segmented_control(
            "Show", kinds, default=kinds[0], required=True, key="other_kind", label_visibility="collapsed",
            format_func=lambda kind: plain(called[kind]),
        )  # fmt: skip
        rows = differing[kind if kind in kinds else kinds[0]]
        holder = other if kind == "removed" else dataset
        places = Places(rows)
        contact_sheet(holder, places, lambda at: rows["words"].iloc[at], key=f"other-{name}-{kind}")
        open_if_asked(holder, places, decides=holder is dataset)  # the other one's decisions are not on this page
        pending_panel(dataset)


def compare(here: pd.DataFrame, there: pd.DataFrame) -> Comparison:
    """Compares two datasets by their rows, as ``caching.images`` has them."""
    ours, theirs = _originals(here), _originals(there)
    return Comparison(len(ours), len(theirs), _differing(ours, theirs))


def _originals(images: pd.DataFrame) -> pd.DataFrame:
    """One row per picture that is in a split, augmented ones aside."""
    return images[images["parent_id"].isna() & (images["split"] != LEFT_OUT)].drop_duplicates("pixel_sha")


def _differing(here: pd.DataFrame, there: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For each kind the rows that differ; those that were removed are rows of the other dataset."""
    both = here.merge(there[["pixel_sha", "label", "split"]], on="pixel_sha", suffixes=("", "_there"))
    names = dict(enumerate(EMOTIONS))
    split, before = both["split"].astype(str), both["split_there"].astype(str)
    relabelled, moved = both["label"] != both["label_there"], split != before
    found = {
        "added": here[~here["pixel_sha"].isin(there["pixel_sha"])],
        "removed": there[~there["pixel_sha"].isin(here["pixel_sha"])],
        "relabelled": both[relabelled],
        "moved": both[moved],
    }
    told = {
        "relabelled": both["label_there"].map(names) + " there, " + both["label"].map(names) + " here",
        "moved": before + " there, " + split + " here",
    }
    return {
        kind: rows.assign(
            words=told[kind][rows.index] if kind in told else rows["label"].map(names) + " · " + rows["path"]
        )
        for kind, rows in found.items()
    }
