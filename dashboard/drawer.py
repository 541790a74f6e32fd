"""The image drawer: one picture and its story, for any picture on any page; and the contact sheet that opens it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, overload

import streamlit as st

from dashboard import caching, charts, drawings
from dashboard.components import errors_shown, page_link, plain, theme
from dashboard.decisions import decide_about
from dashboard.explanation import explanation
from fer_core.data.copies import compare
from fer_core.data.dataset import LEFT_OUT, Dataset
from fer_core.data.decisions import Picture, idle_actions
from fer_core.data.findings import flag_words
from fer_core.emotions import EMOTIONS
from fer_core.evaluation.predictions import PROBABILITY_COLUMNS, origin_of, seen_of
from fer_core.preprocessing import Pixels, decode

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

Place = tuple[str, int]
"""Split, or ``LEFT_OUT``, and row of a picture."""


@dataclass(frozen=True)
class Places(Sequence[Place]):
    """The places of rows of ``caching.images``; a place is made when it is asked for, since there can be 60,000."""

    images: pd.DataFrame

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, at: int) -> Place: ...
    @overload
    def __getitem__(self, at: slice) -> list[Place]: ...
    def __getitem__(self, at: int | slice) -> Place | list[Place]:
        if isinstance(at, slice):
            part = self.images.iloc[at]
            return list(zip(part["split"], part["row"].tolist(), strict=True))
        row = self.images.iloc[at]
        return str(row["split"]), int(row["row"])

    def __contains__(self, place: object) -> bool:
        return bool(self._fits(place).any())

    def index(self, place: Place, *bounds: int) -> int:
        del bounds  # nobody asks for a part
        return int(self._fits(place).argmax())

    def _fits(self, place: object) -> NDArray[np.bool_]:
        split, row = place if isinstance(place, tuple) else ("", -1)
        return ((self.images["split"] == split) & (self.images["row"] == row)).to_numpy()


SHEETS: Final = {12: (4, 420), 24: (6, 280), 60: (10, 420)}
"""Pictures of one contact sheet -> its columns, and its height in pixels: the fewer, the larger."""

SHEET: Final = 24
"""Pictures of one where nobody chooses."""

_SIDE: Final = 288  # pixels of the large picture
_RELATIVES: Final = 6


def contact_sheet(
    dataset: Dataset, places: Sequence[Place], words: Callable[[int], str], key: str, per_page: int = SHEET
) -> None:
    """Pictures as one figure, some at a time; a click, or the number field below, opens the drawer.

    Args:
        dataset: Where they are.
        places: Where in it, in the order to show.
        words: What stands beside the picture of a position under the pointer.
        key: Unique on the page; changes with what is shown.
        per_page: How many at a time, one of ``SHEETS``.
    """
    columns, height = SHEETS[per_page]
    pages = (len(places) - 1) // per_page + 1
    page_key = f"{key}-page"
    page = min(int(st.session_state.get(page_key, 1)), pages)
    first = (page - 1) * per_page
    shown = places[first : first + per_page]
    with errors_shown():
        pictures = [decode(data) for data in encoded(dataset, shown)]
        told = [words(first + number) for number in range(len(shown))]
        figure = charts.contact_sheet(pictures, told, columns, height)
        chart_key = f"{key}-{page}"
        st.plotly_chart(
            figure,
            config=charts.CONFIG,
            key=chart_key,
            on_select=lambda: _clicked(chart_key, first, len(shown)),
            selection_mode="points",
            alt=f"{len(shown)} pictures; the number field opens one",
        )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            if pages > 1:
                st.pagination(pages, key=page_key, max_visible_pages=5)
            st.number_input(
                f"Open picture 1 to {len(places):,}",
                min_value=1,
                max_value=len(places),
                value=None,
                key=f"{key}-number",
                placeholder="number",
                width=150,
                on_change=lambda: _typed(f"{key}-number"),
            )


def encoded(dataset: Dataset, places: Sequence[Place]) -> list[bytes]:
    """The encoded pictures of some places, in their order."""
    found: dict[Place, bytes] = {}
    for split in dict.fromkeys(split for split, _ in places):
        rows = [row for other, row in places if other == split]
        found |= {(split, row): data for row, data in zip(rows, dataset.encoded(split, rows), strict=True)}
    return [found[place] for place in places]


def _clicked(chart_key: str, first: int, n: int) -> None:
    """Remembers which picture to open. A second click on the same picture unselects it, and means the same."""
    if chart_key not in st.session_state:  # the page was left meanwhile
        return
    points = st.session_state[chart_key].selection.points
    last_key = f"{chart_key}-last"
    position = points[0]["customdata"] if points else st.session_state.get(last_key)
    position = position[0] if isinstance(position, list) else position
    if isinstance(position, int) and 0 <= position < n:
        st.session_state[last_key] = position
        st.session_state["drawer"] = first + position


def _typed(key: str) -> None:
    number = st.session_state.get(key)  # None also if the page was left meanwhile
    if number is not None:
        st.session_state["drawer"] = int(number) - 1


def open_if_asked(
    dataset: Dataset,
    places: Sequence[Place],
    predictions: pd.DataFrame | None = None,
    link: tuple[str, Mapping[str, str]] | None = None,
    *,
    model: Path | None = None,
    decides: bool = True,
) -> None:
    """Opens the drawer if a picture was clicked, typed or linked to. It stands in the address until it is closed.

    Args:
        dataset: Where the pictures are.
        places: Where in it, in the order of "previous" and "next".
        predictions: What a model says of them, where they are all of one split.
        link: Page and query of a link with the same choices.
        model: The file of the model that said it, which can then be asked where it looked.
        decides: Whether something can be decided about the pictures there.
    """
    position = st.session_state.pop("drawer", None)
    if position is None and (linked := st.query_params.get("image")):
        split, _, number = linked.rpartition(":")
        place = (split or places[0][0], int(number)) if number.isdecimal() and len(number) < 10 and places else None
        if place in places:
            position = places.index(place)
        else:
            _close()
            st.toast(f"There is no picture {plain(linked[:64])} here.", icon=":material/link_off:", duration="long")
    if position is None or not 0 <= position < len(places):
        return
    _go(position, places)

    @st.dialog("Picture", width="medium", position="right", icon=":material/image:", on_dismiss=_close)
    def drawer() -> None:
        at = min(int(st.session_state["drawer_at"]), len(places) - 1)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button("Previous", icon=":material/chevron_left:", disabled=at == 0, on_click=_go, args=(at - 1, places))
            st.button(
                "Next",
                icon=":material/chevron_right:",
                icon_position="right",
                disabled=at == len(places) - 1,
                on_click=_go,
                args=(at + 1, places),
            )
            st.caption(f"{at + 1:,} of {len(places):,}")
        with errors_shown():
            _story(dataset, places[at], predictions, link, model=model, decides=decides)

    drawer()


def _go(position: int, places: Sequence[Place]) -> None:
    st.session_state["drawer_at"] = position
    split, row = places[position]
    image = f"{split}:{row}"
    if st.query_params.get("image") != image:
        st.query_params["image"] = image


def _close() -> None:
    st.query_params.pop("image", None)


def _story(
    dataset: Dataset,
    place: Place,
    predictions: pd.DataFrame | None,
    link: tuple[str, Mapping[str, str]] | None,
    *,
    model: Path | None,
    decides: bool,
) -> None:
    split, row = place
    images = caching.images(dataset)
    about = images[(images["split"] == split) & (images["row"] == row)].iloc[0]
    label = EMOTIONS[int(about["label"])]
    picture = decode(dataset.encoded(split, [row])[0])
    answer = predictions[predictions["row"] == row] if predictions is not None else None
    left, right = st.columns(2, gap="medium")
    left.image(drawings.face(picture, _SIDE), width=_SIDE, alt=f"A {split} picture labelled {label}")
    with right:
        st.markdown(f"**Labelled {label}**")
        if answer is not None:
            said = answer.iloc[0]
            probabilities = {e: float(said[c]) for e, c in zip(EMOTIONS, PROBABILITY_COLUMNS, strict=True)}
            top = EMOTIONS[int(said["predicted"])]
            tta = origin_of(answer).tta
            st.markdown(f"Read as {top} · {100 * probabilities[top]:.1f} %{f' · {tta}' if tta else ''}")
            st.image(drawings.seven_bars(probabilities, theme()), width="stretch", alt=drawings.told(probabilities))
            seen = seen_of(answer)
            if seen is not None and seen[0]:
                st.badge("A copy was trained on", icon=":material/warning:", color="orange")
        for words in flag_words(about["flags"]):
            st.badge(words, color="gray")
    if answer is not None and model is not None:
        explanation(picture, EMOTIONS[int(answer["predicted"].iloc[0])], model, "drawer")
    told = f"left out: {about['why']}" if split == LEFT_OUT else split
    st.caption(plain(f"{about['path']} · {about['source']} · {told} · row {row:,}"))
    if isinstance(about["parent_id"], str):
        st.caption("Decisions are made about its original.")
    elif decides:
        pictures = [Picture(about["source"], about["path"], about["pixel_sha"])]
        splits = {*images.loc[images["pixel_sha"] == about["pixel_sha"], "split"]}
        decide_about(dataset, pictures, key="drawer", without=idle_actions(splits))
    _copies(dataset, images, about, picture)
    _family(dataset, images, about)
    if link is not None:
        page, query = link
        page_link(page, "Link to this picture", **{**query, "image": f"{split}:{row}"})


def _copies(dataset: Dataset, images: pd.DataFrame, about: pd.Series, picture: Pixels) -> None:
    """All copies of the photograph, in every split and left out, with their labels."""
    same = images[(images["photo_id"] == about["photo_id"]) & images["parent_id"].isna()]
    own = about["parent_id"] if isinstance(about["parent_id"], str) else None
    same = same[((same["split"] != about["split"]) | (same["row"] != about["row"])) & (same["pixel_sha"] != own)]
    if same.empty:
        return
    st.markdown(f"**Copies of this photograph** :gray[{len(same):,}]")
    shown = same.head(_RELATIVES)
    pictures = encoded(dataset, Places(shown))
    with st.grid(_RELATIVES, min_column_width=72):
        for copy, data in zip(shown.to_dict("records"), pictures, strict=True):
            with st.container(gap="xsmall"):
                other = decode(data)
                theirs = EMOTIONS[copy["label"]]
                st.image(drawings.face(other, 96), width=96, alt=f"A copy labelled {theirs}")
                words = f":orange[{theirs}]" if copy["label"] != about["label"] else theirs
                kind, similarity = compare(picture, other)
                alike = kind if kind == "exact" else f"{kind} {similarity:.2f}"
                st.caption(f"{words} · {alike} · {'left out' if copy['split'] == LEFT_OUT else copy['split']}")
    if len(same) > _RELATIVES:
        st.caption(f"{len(same) - _RELATIVES} more")


def _family(dataset: Dataset, images: pd.DataFrame, about: pd.Series) -> None:
    """The parent of an augmented picture, or the children of an original."""
    if about["split"] != "train":
        return  # only train is augmented
    train = images[images["split"] == "train"]
    parent = about["parent_id"]
    if isinstance(parent, str):
        title, related = "Augmented from", train[(train["pixel_sha"] == parent) & train["parent_id"].isna()]
    else:
        title, related = "Augmented children", train[train["parent_id"] == about["pixel_sha"]]
    if related.empty:
        return
    st.markdown(f"**{title}** :gray[{len(related):,}]")
    with st.grid(_RELATIVES, min_column_width=72):
        for data in dataset.encoded("train", related["row"].head(_RELATIVES).to_numpy()):
            st.image(drawings.face(decode(data), 96), width=96, alt=title)
