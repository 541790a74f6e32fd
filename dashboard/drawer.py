"""The image drawer: one picture and its story, for any picture on any page; and the contact sheet that opens it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard import caching, charts, drawings
from dashboard.components import errors_shown, page_link, plain, theme
from fer_core.data.dataset import Dataset
from fer_core.emotions import EMOTIONS
from fer_core.evaluation.predictions import PROBABILITY_COLUMNS, seen_of
from fer_core.preprocessing import decode

if TYPE_CHECKING:
    import pandas as pd

SHEET: Final = 24
"""Pictures of one contact sheet, in six columns."""

_SIDE: Final = 288  # pixels of the large picture
_RELATIVES: Final = 6


def contact_sheet(dataset: Dataset, split: str, rows: Sequence[int], words: Sequence[str], key: str) -> None:
    """Pictures of a split as one figure, 24 at a time; a click, or the number field below, opens the drawer.

    Args:
        dataset: Where they are.
        split: Their split.
        rows: Their row numbers, in the order to show.
        words: For each, what stands beside it under the pointer.
        key: Unique on the page; changes with what is shown.
    """
    pages = (len(rows) - 1) // SHEET + 1
    page_key = f"{key}-page"
    page = min(int(st.session_state.get(page_key, 1)), pages)
    first = (page - 1) * SHEET
    shown = list(rows[first : first + SHEET])
    with errors_shown():
        pictures = [decode(data) for data in dataset.encoded(split, shown)]
        figure = charts.contact_sheet(pictures, words[first : first + SHEET])
        chart_key = f"{key}-{page}"
        st.plotly_chart(
            figure,
            config=charts.CONFIG,
            key=chart_key,
            on_select=lambda: _clicked(chart_key, first, len(shown)),
            selection_mode="points",
            alt=f"{len(shown)} pictures of {split}; the number field opens one",
        )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            if pages > 1:
                st.pagination(pages, key=page_key, max_visible_pages=5)
            st.number_input(
                f"Open picture 1 to {len(rows):,}",
                min_value=1,
                max_value=len(rows),
                value=None,
                key=f"{key}-number",
                placeholder="number",
                width=150,
                on_change=lambda: _typed(f"{key}-number"),
            )


def _clicked(chart_key: str, first: int, n: int) -> None:
    """Remembers which picture to open. A second click on the same picture unselects it, and means the same."""
    points = st.session_state[chart_key].selection.points
    last_key = f"{chart_key}-last"
    position = points[0]["customdata"] if points else st.session_state.get(last_key)
    position = position[0] if isinstance(position, list) else position
    if isinstance(position, int) and 0 <= position < n:
        st.session_state[last_key] = position
        st.session_state["drawer"] = first + position


def _typed(key: str) -> None:
    number = st.session_state[key]
    if number is not None:
        st.session_state["drawer"] = int(number) - 1


def open_if_asked(
    dataset: Dataset,
    split: str,
    rows: Sequence[int],
    predictions: pd.DataFrame | None = None,
    link: Mapping[str, str] | None = None,
) -> None:
    """Opens the drawer once if a picture was clicked, typed or linked to; the next rerun leaves it closed.

    Args:
        dataset: Where the pictures are.
        split: Their split.
        rows: Their row numbers, in the order of "previous" and "next".
        predictions: What a model says of every row of the split.
        link: Query of a link to this page with the same choices.
    """
    position = st.session_state.pop("drawer", None)
    linked = st.query_params.pop("image", "") if "image" in st.query_params else ""
    if linked.isdecimal() and int(linked) in rows:
        position = rows.index(int(linked))
    if position is None or not 0 <= position < len(rows):
        return
    st.session_state["drawer_at"] = position

    @st.dialog("Picture", width="medium", position="right", icon=":material/image:")
    def drawer() -> None:
        at = min(int(st.session_state["drawer_at"]), len(rows) - 1)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button("Previous", icon=":material/chevron_left:", disabled=at == 0, on_click=_go, args=(at - 1,))
            st.button(
                "Next",
                icon=":material/chevron_right:",
                icon_position="right",
                disabled=at == len(rows) - 1,
                on_click=_go,
                args=(at + 1,),
            )
            st.caption(f"{at + 1:,} of {len(rows):,}")
        with errors_shown():
            _story(dataset, split, int(rows[at]), predictions, link)

    drawer()


def _go(position: int) -> None:
    st.session_state["drawer_at"] = position


def _story(
    dataset: Dataset, split: str, row: int, predictions: pd.DataFrame | None, link: Mapping[str, str] | None
) -> None:
    table = caching.table(dataset, split)
    about = table.iloc[row]
    label = EMOTIONS[int(about["label"])]
    picture = decode(dataset.encoded(split, [row])[0])
    left, right = st.columns(2, gap="medium")
    left.image(drawings.face(picture, _SIDE), width=_SIDE, alt=f"A {split} picture labelled {label}")
    with right:
        st.markdown(f"**Labelled {label}**")
        if predictions is not None:
            said = predictions.iloc[row]
            probabilities = {e: float(said[c]) for e, c in zip(EMOTIONS, PROBABILITY_COLUMNS, strict=True)}
            top = EMOTIONS[int(said["predicted"])]
            st.markdown(f"Read as {top} · {100 * probabilities[top]:.1f} %")
            st.image(drawings.seven_bars(probabilities, theme()), width="stretch", alt=drawings.told(probabilities))
            seen = seen_of(predictions)
            if seen is not None and seen[row]:
                st.badge("A copy was trained on", icon=":material/warning:", color="orange")
    st.caption(plain(f"{about['path']} · {about['source']} · {split} · row {row:,}"))
    _copies(dataset, split, about, label)
    _family(dataset, split, about)
    if link is not None:
        page_link("evaluate", "Link to this picture", **{**link, "image": str(row)})


def _copies(dataset: Dataset, split: str, about: pd.Series, label: str) -> None:
    """Copies of the same photograph on the other side, with their labels."""
    copies = caching.copies(dataset)
    side, other = ("train", "eval") if split == "train" else ("eval", "train")
    found = copies[copies[f"{side}_path"] == about["path"]]
    found = found[found["train_source"] == about["source"]] if split == "train" else found[found["eval_split"] == split]
    if found.empty:
        return
    st.markdown(f"**Copies of this photograph in {'evaluation splits' if split == 'train' else 'train'}**")
    with st.grid(_RELATIVES, min_column_width=72):
        for copy in found.head(_RELATIVES).to_dict("records"):
            with st.container(gap="xsmall"):
                theirs = copy[f"{other}_label"]
                st.image(drawings.face(decode(copy[f"{other}_image"]), 96), width=96, alt=f"A copy labelled {theirs}")
                words = f":orange[{theirs}]" if theirs != label else theirs
                st.caption(f"{words} · {copy['kind']}{' · left out' if copy['removed'] else ''}")
    if len(found) > _RELATIVES:
        st.caption(f"{len(found) - _RELATIVES} more")


def _family(dataset: Dataset, split: str, about: pd.Series) -> None:
    """The parent of an augmented picture, or the children of an original."""
    if split != "train":
        return  # only train is augmented
    table = caching.table(dataset, split)
    parent = about["parent_id"]
    if isinstance(parent, str):
        title, related = "Augmented from", table[(table["pixel_sha"] == parent) & table["parent_id"].isna()]
    else:
        title, related = "Augmented children", table[table["parent_id"] == about["pixel_sha"]]
    if related.empty:
        return
    st.markdown(f"**{title}** :gray[{len(related):,}]")
    with st.grid(_RELATIVES, min_column_width=72):
        for data in dataset.encoded(split, related.index[:_RELATIVES].to_numpy()):
            st.image(drawings.face(decode(data), 96), width=96, alt=title)
