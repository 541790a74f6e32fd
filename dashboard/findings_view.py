"""What the audit found, as a table; the chosen finding's images side by side, and what is decided about them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from dashboard import caching, drawings
from dashboard.components import errors_shown, plain
from dashboard.decisions import decide_about, pending_panel
from dashboard.drawer import Place, encoded, open_if_asked
from fer_core.data.dataset import Dataset
from fer_core.data.decisions import Picture
from fer_core.preprocessing import decode

if TYPE_CHECKING:
    import pandas as pd

_ALL: Final = "All reasons"
_FILTERS: Final = ("findings_reason", "findings_here")
_SHOWN: Final = 12
_HEIGHT: Final = 280


@st.fragment
def findings_view(dataset: Dataset) -> None:
    """The findings of a dataset, the gravest first."""
    with errors_shown():
        _show(dataset)


def _show(dataset: Dataset) -> None:
    table = caching.findings(dataset)
    if table is None:
        st.info(
            f"{plain(dataset.name)} was prepared before findings were kept. Prepare it again to see them.",
            icon=":material/history:",
        )
        return
    if table.empty:
        st.caption("The audit found nothing.")
        return
    shown = _filtered(table)
    chosen = st.dataframe(
        shown,
        column_order=["reason", "n", "labels", "splits", "similarity", "sources", "action"],
        hide_index=True,
        placeholder="",
        height=_HEIGHT,
        width="stretch",
        on_select="rerun",
        selection_mode="single-row",
        key="-".join(("findings", dataset.name, *(str(st.session_state.get(key)) for key in _FILTERS))),
        column_config={
            "reason": st.column_config.TextColumn("Finding"),
            "n": st.column_config.NumberColumn("Images", format="localized"),
            "labels": st.column_config.TextColumn("Labels, or what"),
            "splits": st.column_config.TextColumn("Splits"),
            "similarity": st.column_config.NumberColumn("Alike", format="%.2f"),
            "sources": st.column_config.TextColumn("Sources"),
            "action": st.column_config.TextColumn("To do"),
        },
    )
    if shown.empty:
        st.caption("Nothing of this kind is left in the dataset.")
        return
    rows = chosen.selection.rows
    at = rows[0] if rows and rows[0] < len(shown) else 0
    finding = shown.iloc[at]
    _one(dataset, finding, f"{at + 1:,} of {len(shown):,}", alike=table[table["reason"] == finding["reason"]])
    pending_panel(dataset)


def _filtered(table: pd.DataFrame) -> pd.DataFrame:
    reasons = list(table["reason"].unique())
    with st.container(horizontal=True, vertical_alignment="bottom"):
        reason = st.selectbox(
            "Reason",
            [_ALL, *reasons],
            key="findings_reason",
            bind="query-params",
            width=300,
        )
        here = st.toggle(
            "Only what is still in the dataset",
            key="findings_here",
            help="Of copies: those of which more than one image is. Of other findings: those whose image is.",
        )
    shown = table if reason == _ALL or reason not in reasons else table[table["reason"] == reason]
    if here:
        left = shown["images"].map(lambda images: sum(bool(image["split"]) for image in images))
        needed = shown["n"].clip(upper=2).where(shown["images"].map(len) > 0, 0)
        shown = shown[left >= needed]
    return shown.assign(labels=shown["labels"].where(shown["told"] == "", shown["told"]))


def _one(dataset: Dataset, finding: pd.Series, position: str, alike: pd.DataFrame) -> None:
    """The chosen finding; ``alike`` are all of its reason, itself among them."""
    images: list[dict[str, Any]] = list(finding["images"])
    st.markdown(f"**{str(finding['reason']).capitalize()}** :gray[{position} · to do: {finding['action']}]")
    if not images:
        st.markdown(plain(finding["told"]))
        return
    known = caching.places(dataset)
    places: list[Place] = []
    shown = [image for image in images[:_SHOWN] if image["pixel_sha"] in known]
    places = [known[image["pixel_sha"]] for image in shown]
    with st.grid(6, min_column_width=110):
        for number, (image, data) in enumerate(zip(shown, encoded(dataset, places), strict=True)):
            with st.container(gap="xsmall"):
                st.image(drawings.face(decode(data), 144), width="stretch", alt=f"{image['path']}, {image['label']}")
                other = image["label"] != images[0]["label"]
                label = f":orange[{image['label']}]" if other else image["label"]
                st.caption(f"{label} · {image['split'] or ':gray[left out]'}")
                st.button(
                    plain(image["path"].rpartition("/")[2]),
                    key=f"finding-image-{number}",
                    type="tertiary",
                    help=plain(f"{image['source']}:{image['path']}{_why(image)}"),
                    on_click=_open,
                    args=(number,),
                )
    if len(images) > len(shown):
        st.caption(f"{len(images) - len(shown):,} more")
    decide_about(dataset, _pictures(images), key="finding", because=str(finding["reason"]))
    _decide_about_all(dataset, _pictures(itertools.chain(*alike["images"])), str(finding["reason"]))
    open_if_asked(dataset, places)


def _pictures(images: Iterable[dict[str, Any]]) -> list[Picture]:
    """The pictures of images, each once."""
    found = {image["pixel_sha"]: Picture(image["source"], image["path"], image["pixel_sha"]) for image in images}
    return list(found.values())


def _decide_about_all(dataset: Dataset, pictures: Sequence[Picture], reason: str) -> None:
    """The same for every finding of one reason, where somebody wants a policy rather than a look at each."""
    with st.popover(f"All of this kind: {reason}", icon=":material/select_all:"):
        st.markdown(f"**{len(pictures):,} pictures** :gray[{reason}]")
        decide_about(dataset, pictures, key="finding-all", because=f"all: {reason}")


def _why(image: dict[str, Any]) -> str:
    return f" ({image['why']})" if image["why"] else ""


def _open(position: int) -> None:
    st.session_state["drawer"] = position
