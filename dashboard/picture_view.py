"""Predict, pictures: what was found in the pictures that a visitor uploads."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from functools import partial

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from dashboard import charts
from dashboard.components import errors_shown, finding, job_command, plain, show_error, theme
from dashboard.faces import read, sample, show_reading
from dashboard.uploads import UploadedPicture, encoded, let_go_of_others, read_uploads, too_much
from fer_core import limits
from fer_core.emotions import EMOTIONS
from fer_core.inference.batch import Counts, annotated_jpeg, annotated_name
from fer_core.inference.detector_options import DetectorChoice, DetectorOptions
from fer_core.inference.images import PictureResult
from fer_core.inference.served import ServedModel
from fer_core.inference.table import document, faces_table

TYPES = ["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "zip"]
MOST_ERRORS = 3
SHEET = 24
"""Pictures of one contact sheet, in six columns."""

_ROUND = "pictures_round"  # counts up to let all uploads go: the uploader is then a new one
_REFUSED = "pictures_refused"
_NUMBER = "picture"  # the one that is shown, from 1
_PAGE = "pictures_page"


def show_pictures(model: ServedModel, detector: DetectorChoice, threshold: float) -> None:
    """The uploader, and what a model says of the uploads; a sample photograph before there are any."""
    files = _uploader()
    if not files:
        data, name, fitting = sample(model)
        st.caption(f"Nothing uploaded yet: this is {name}.")
        with st.spinner("Reading"):
            result = read(data, name, model, fitting, threshold)
        show_reading(data, result, model)
        return
    with errors_shown():
        uploaded = read_uploads(files, model, detector, threshold)
        pictures = uploaded.pictures
        if uploaded.cut_short:
            st.warning(plain(uploaded.cut_short), icon=":material/hourglass_bottom:")
            if len(pictures) < limits.UPLOAD_PICTURES:
                st.button("Read on", icon=":material/play_arrow:")
        if not pictures:
            st.info("There is no picture in this archive.", icon=":material/search_off:")
            return
        place = _overview(pictures) if len(pictures) > 1 else 0
        shown = pictures[place]
        if len(pictures) > 1 and not shown.result.error:
            st.caption(plain(f"Picture {place + 1} · {shown.result.path}"))
        show_reading(shown.data(), shown.result, model)
        _unreadable([picture.result.error for picture in pictures if picture.result.error and picture is not shown])
        _footer(pictures, model, detector, threshold)


def _unreadable(errors: Sequence[str]) -> None:
    """Why pictures other than the one shown could not be read; the table tells of all."""
    for error in errors[:MOST_ERRORS]:
        show_error(error)
    if len(errors) > MOST_ERRORS:
        st.caption(f"{len(errors) - MOST_ERRORS:,} more could not be read: see the table.")


def _uploader() -> list[UploadedFile]:
    number = st.session_state.setdefault(_ROUND, 0)
    files = st.file_uploader(
        "Pictures",
        type=TYPES,
        accept_multiple_files=True,
        key=f"pictures-{number}",
        label_visibility="collapsed",
        max_upload_size=limits.UPLOAD_MB,
    )
    let_go_of_others(files or [])
    if refused := st.session_state.pop(_REFUSED, None):
        show_error(refused)
    if not files:
        st.caption(
            f"Pictures, or a zip of them: up to {limits.UPLOAD_PICTURES:,} pictures of {limits.MEGAPIXELS} megapixels, "
            f"{limits.UPLOAD_MB} MB together. They stay in memory, never on disk, until you remove them or close this "
            "tab. More: choose Folder."
        )
    elif refused := too_much(files):
        _let_go(refused)
        st.rerun()
    return files or []


def _let_go(refused: str | None = None) -> None:
    st.session_state[_ROUND] += 1
    st.session_state[_REFUSED] = refused


def _overview(pictures: Sequence[UploadedPicture]) -> int:
    """Finding, contact sheet and table of several pictures; a click on either, or the number, chooses one.

    Returns:
        The position of the chosen one.
    """
    counts = Counts()
    for picture in pictures:
        counts.add(picture.result)
    finding(counts.told())
    st.session_state[_NUMBER] = min(st.session_state.get(_NUMBER) or 1, len(pictures))
    left, right = st.columns(2, gap="medium")
    with left:
        _sheet(pictures)
    with right:
        _table(pictures)
    return int(st.session_state[_NUMBER]) - 1


def _sheet(pictures: Sequence[UploadedPicture]) -> None:
    pages = (len(pictures) - 1) // SHEET + 1
    page = min(int(st.session_state.get(_PAGE, 1)), pages)
    first = (page - 1) * SHEET
    shown = pictures[first : first + SHEET]
    words = [f"{first + n}. {_said(picture.result)}" for n, picture in enumerate(shown, start=1)]
    figure = charts.contact_sheet([picture.reading.thumbnail for picture in shown], words)
    key = f"sheet-{page}"
    st.plotly_chart(
        figure,
        config=charts.CONFIG,
        key=key,
        on_select=partial(_clicked, key, first),
        selection_mode="points",
        alt=f"{len(shown)} of {len(pictures)} pictures; the number field shows one",
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if pages > 1:
            st.pagination(pages, key=_PAGE, max_visible_pages=5)
        st.number_input(f"Show picture 1 to {len(pictures):,}", 1, len(pictures), key=_NUMBER, width=180)


def _said(result: PictureResult) -> str:
    """What was found in a picture, in a few words."""
    if result.error:
        return "could not be read"
    return ", ".join(f"{face.emotion} {100 * face.probabilities.max():.0f} %" for face in result.faces[:3]) or "no face"


def _clicked(key: str, first: int) -> None:
    points = st.session_state[key].selection.points
    if points:
        position = points[0]["customdata"]
        st.session_state[_NUMBER] = first + 1 + (position[0] if isinstance(position, list) else position)


def _table(pictures: Sequence[UploadedPicture]) -> None:
    """One row per face, and one for a picture without any."""
    table = faces_table(picture.result for picture in pictures)
    places = [place for place, picture in enumerate(pictures) for _ in range(max(1, len(picture.result.faces)))]
    columns = {"path": "picture", "face": "face", "emotion": "apparent expression"}
    summary = table[list(columns)].rename(columns=columns)
    summary["probability"] = table[[f"p_{emotion}" for emotion in EMOTIONS]].astype(float).max(axis=1)
    summary["note"] = table["error"].where(table["uncertain"] != True, "uncertain").fillna("")  # noqa: E712
    st.dataframe(
        summary,
        hide_index=True,
        height=min(330, 36 * (len(summary) + 1) + 3),
        placeholder="",
        column_config={
            "picture": st.column_config.TextColumn(width=130),
            "face": st.column_config.NumberColumn(width=50),
            "probability": st.column_config.NumberColumn(format="percent"),
        },
        on_select=partial(_ticked, places),
        selection_mode="single-row",
        key="faces",
    )


def _ticked(places: Sequence[int]) -> None:
    rows = st.session_state["faces"].selection.rows
    if rows and rows[0] < len(places):
        st.session_state[_NUMBER] = places[rows[0]] + 1


def _footer(
    pictures: Sequence[UploadedPicture], model: ServedModel, detector: DetectorChoice, threshold: float
) -> None:
    """Downloads, and the same from a terminal or from Python."""
    results = [picture.result for picture in pictures]
    with st.container(horizontal=True):
        st.download_button(
            "Download CSV",
            lambda: faces_table(results).to_csv(index=False),
            file_name="expressions.csv",
            mime="text/csv",
            type="primary",
            icon=":material/download:",
            on_click="ignore",
        )
        with st.popover("More downloads", icon=":material/download:"):
            for words, data, ending in (
                ("JSON, as `predict --json`", lambda: json.dumps([document(r) for r in results], indent=2), "json"),
                ("Pictures with boxes, zip", partial(annotated_zip, pictures, theme()), "zip"),
            ):
                st.download_button(words, data, f"expressions.{ending}", on_click="ignore", type="tertiary")
        names = {picture.file.name for picture in pictures}
        _copy_as(min(names) if len(names) == 1 else ".", model, detector, threshold)
        st.space("stretch")
        st.button("Remove all", icon=":material/close:", type="tertiary", on_click=_let_go)


def annotated_zip(pictures: Sequence[UploadedPicture], colours: str) -> bytes:
    """The pictures with numbered boxes on their faces, as an archive."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for number, (picture, data) in enumerate(encoded(pictures), start=1):
            if picture.result.faces:
                name = annotated_name(number, picture.result.path)
                archive.writestr(name, annotated_jpeg(data, picture.result, colours))
    return target.getvalue()


def _copy_as(path: str, model: ServedModel, detector: DetectorChoice, threshold: float) -> None:
    """The same as a command and as a few lines of Python."""
    with st.popover("Copy as command", icon=":material/terminal:"):
        chosen = ["--model", model.name, *detector.arguments(), "--threshold", f"{threshold:g}"]
        st.code(job_command(["predict", path, *chosen]), language="bash", wrap_lines=True)
    usual = detector.options == DetectorOptions()
    also = "" if usual else "from fer_core.inference.detector_options import DetectorOptions\n"
    options = "" if usual else f", {detector.options!r}"
    with st.popover("Copy as Python", icon=":material/code:"):
        st.code(
            f"""\
from fer_core import Reader
{also}
reader = Reader({model.name!r}, {detector.name!r}, {threshold:g}{options})
for picture in reader.read_many([{path!r}]):
    for face in picture.faces:
        print(picture.path, face.box, face.emotion, face.probabilities)
""",
            language="python",
        )
