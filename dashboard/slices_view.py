"""Where a model is weaker: parts of a split against the rest, and their wrong images."""

from __future__ import annotations

import numpy as np
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from dashboard import caching, charts, evaluation_charts
from dashboard.components import errors_shown, plain, theme
from dashboard.drawer import contact_sheet, open_if_asked
from dashboard.evaluation import View
from fer_core.emotions import EMOTIONS
from fer_core.evaluation.predictions import probabilities_of
from fer_core.evaluation.slices import (
    ALPHA,
    FEW,
    Dimension,
    Slice,
    finding,
    image_dimensions,
    score,
    select,
)
from fer_core.workspace import printable

_MAX_MB = 20


@st.fragment  # a click runs this alone, not the page
def slices(view: View) -> None:
    """A dimension, its slices from the weakest on, and the wrong images of the chosen one."""
    with errors_shown():  # those around the page do not reach a click
        _slices(view)


def _slices(view: View) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        place = st.container(width="content")
        file = _upload()
    dimensions = {each.name: each for each in (*_known(view), *(_added(view, file) if file else ()))}
    with place:
        names = list(dimensions)
        _settle("slice_by", names)
        by = (
            st.segmented_control(
                "Slices by", names, format_func=plain, required=True, key="slice_by", bind="query-params"
            )
            or names[0]
        )
    labels, predicted = (view.table[column].to_numpy(np.int64) for column in ("label", "predicted"))
    found = {each.name: each for each in score(dimensions[by], labels, predicted)}
    told = finding(by, list(found.values()))
    st.markdown(f"**{plain(told)}**")
    left, right = st.columns([5, 4], gap="medium")
    with right:
        _settle("slice", list(found))
        chosen = found[st.selectbox("Slice", list(found), key="slice", bind="query-params")]
        _wrong(view, by, chosen)
    with left:
        figure = evaluation_charts.slice_dots(list(found.values()), view.report.accuracy, chosen.name, theme())
        st.plotly_chart(
            figure,
            config=charts.CONFIG,
            key=f"slices-{by}",
            on_select=lambda: _clicked(f"slices-{by}", list(found)),
            selection_mode="points",
            alt=told,
        )
        st.caption(
            f"{view.where} · n {view.report.n:,} · lines: 95 % intervals; dotted: all images · filled where a slice "
            f"differs from the rest (Fisher's exact test, p under {ALPHA:g} after Holm's correction for the number of "
            f"slices), else within noise · few: under {FEW} images"
        )


def _known(view: View) -> list[Dimension]:
    rows = view.table["row"].to_numpy(np.int64)
    table = caching.table(view.dataset, view.split).iloc[rows]
    return image_dimensions(table, select(caching.quality(view.dataset, view.split), rows))


def _upload() -> UploadedFile | None:
    with st.popover("Add columns", icon=":material/upload_file:"):
        file = st.file_uploader(
            "A CSV with a column `file` and any others",
            type=["csv", "tsv", "txt"],
            max_upload_size=_MAX_MB,
            key="slice_file",
        )
        st.caption("Age group, camera, who labelled it: words as they are, numbers in quarters. It stays in memory.")
    return file


def _added(view: View, file: UploadedFile) -> list[Dimension]:
    """The dimensions of the CSV that a visitor uploaded, and what of it is not used."""
    with errors_shown():
        name = printable(file.name)
        where = f"{view.dataset.name}, {view.split}"
        added = caching.slice_columns(file.getvalue(), name, view.table["path"], where)
        told = [f"{name}: {len(added.matches.images):,} of {len(view.table):,} images.", *added.notes()]
        st.caption(plain(" ".join(told)))
        return added.dimensions
    return []


def _settle(key: str, options: list[str]) -> None:
    """Chooses the first option, unless what was chosen or linked to is still there."""
    candidates = (st.session_state.get(key), st.query_params.get(key), options[0])
    st.session_state[key] = next(option for option in candidates if option in options)


def _clicked(key: str, names: list[str]) -> None:
    if key not in st.session_state:  # the page was left meanwhile
        return
    points = st.session_state[key].selection.points
    if points:
        place = points[0]["customdata"]
        st.session_state["slice"] = names[place[0] if isinstance(place, list) else place]


def _wrong(view: View, by: str, chosen: Slice) -> None:
    """What is said of a slice, and its wrong images, the surest first."""
    about = view.table.iloc[chosen.rows]
    wrong = about[about["label"] != about["predicted"]]
    surest = np.argsort(-probabilities_of(wrong).max(axis=1, initial=0), kind="stable")
    wrong, shares = wrong.iloc[surest], probabilities_of(wrong).max(axis=1, initial=0)[surest]
    st.markdown(_words(chosen))
    if wrong.empty:
        st.caption("No picture of this slice is read wrongly.")
        return
    st.markdown(f"**{len(wrong):,} of {chosen.n:,} read wrongly** :gray[most confident first]")
    pairs = [(EMOTIONS[label], EMOTIONS[said]) for label, said in zip(wrong["label"], wrong["predicted"], strict=True)]
    places = [(view.split, row) for row in wrong["row"].tolist()]
    contact_sheet(
        view.dataset,
        places,
        lambda at: f"{pairs[at][0]} read as {pairs[at][1]}, {100 * shares[at]:.0f} %",
        key=f"slice-{view.split}-{by}-{chosen.name}",
    )
    link = {**view.link, "view": "Slices", "slice_by": by, "slice": chosen.name}
    open_if_asked(view.dataset, places, view.table, ("evaluate", link), model=view.model_file)


def _words(chosen: Slice) -> str:
    """What is known of a slice, in a line."""
    told = [chosen.said, chosen.against_rest]
    if chosen.difference_ci95 is not None:
        low, high = chosen.difference_ci95
        told[1] += f" (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"
    told.append(
        "macro-F1 not defined: a class is missing" if chosen.macro_f1 is None else f"macro-F1 {chosen.macro_f1:.3f}"
    )
    if chosen.few:
        told.append("few images")
    return " · ".join(told)
