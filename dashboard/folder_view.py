"""Predict, folder: thousands of pictures as a job, and what it found."""

from __future__ import annotations

import io
import os
import zipfile
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from dashboard import caching, drawings
from dashboard.components import (
    all_jobs,
    choose,
    duration,
    errors_kept,
    errors_shown,
    finding,
    job_card,
    job_command,
    let_go,
    newest_job,
    page_link,
    show_kept_error,
    theme,
)
from dashboard.prepare_form import free_name, source_stem
from fer_core import limits
from fer_core.errors import FerError
from fer_core.inference.batch import (
    ANNOTATED_FOLDER,
    FACES_FILE,
    KIND,
    OTHER_FOLDERS,
    RESULTS_FILE,
    SUMMARY_FILE,
    Counts,
    Summary,
    read_summary,
)
from fer_core.inference.detector_options import DetectorChoice
from fer_core.inference.served import ServedModel
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job
from fer_core.workspace import Workspace, expand

ROWS_SHOWN = 1000
ROWS_BESIDE = 7
"""Rows of the table of folders that are as tall together as the seven bars beside it."""

_PATH = "folder_path"
_REFUSED = "folder_refused"
_JOB = "results"


def show_folder(model: ServedModel, detector: DetectorChoice, threshold: float) -> None:
    """The form that starts a job, and the results of this or an earlier one."""
    jobs = [job for job in all_jobs() if job.kind == KIND]
    _form(model, detector, threshold, busy=any(job.state().alive for job in jobs))
    if not jobs:
        st.caption(
            "Every picture in it and in all folders below is read by a job, which goes on when you close this page. "
            "What it finds is written while it goes, and is kept when you stop it."
        )
        return
    by_name = {job.name: job for job in jobs}
    job = by_name[choose("Results", list(by_name), key=_JOB)] if len(jobs) > 1 else jobs[0]
    if job.state() is not JobState.DONE:
        job_card(job)
    with errors_shown():
        folder = Path(job.status().result.get("folder", job.folder))
        summary = None if job.state().alive else read_summary(folder)
        if summary is not None:
            _results(job, folder, summary)


def _form(model: ServedModel, detector: DetectorChoice, threshold: float, busy: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        path = st.text_input(
            "Folder or zip on this machine",
            placeholder="/data/album",
            help="On the machine that runs this page; with all folders below it. A picture stays where it is.",
            key=_PATH,
        ).strip()
        annotated = st.checkbox("Draw boxes", help="Also writes pictures with boxes on their faces.", key="annotated")
        options = ["--model", str(model.path), *detector.arguments(), "--threshold", f"{threshold:g}"]
        options += ["--annotated"] * annotated
        st.button(
            "Read folder",
            type="primary",
            icon=":material/play_arrow:",
            disabled=busy or not path,
            help="Another folder is being read." if busy else None if path else "Write a path first.",
            on_click=_start,
            args=(path, options),
        )
    show_kept_error(_REFUSED)
    if path:
        with st.popover("Copy as command", icon=":material/terminal:"):
            st.code(job_command(["predict", path, "--out", "results", *options]), language="bash", wrap_lines=True)


def _start(path: str, options: list[str]) -> None:
    space = Workspace.default()
    with errors_kept(_REFUSED):
        place = expand(path).absolute()
        if not place.exists():
            raise FerError(f"{path}: no such file or folder on this machine. Check the path.")
        name = space.new_name(space.jobs, KIND)
        supervisor.launch(space.jobs, KIND, name, [KIND, str(place), *options, "--name", name])
        st.session_state[_JOB] = name


def _results(job: Job, folder: Path, summary: Summary) -> None:
    finding(summary.told())
    with st.grid(4, min_column_width=150):
        label = f"Pictures of {summary.total:,}" if summary.stopped else "Pictures"
        st.metric(label, f"{summary.pictures:,}", border=True, height="stretch")
        st.metric("Faces", f"{summary.faces:,}", border=True, height="stretch")
        st.metric(
            f"Uncertain below {summary.threshold:g}",
            f"{100 * summary.uncertain / max(1, summary.faces):.1f} %",
            border=True,
            height="stretch",
            help=f"Faces whose highest probability is lower; n {summary.faces:,}.",
        )
        st.metric("Time", duration(summary.seconds), border=True, height="stretch")
    left, right = st.columns([2, 3], gap="medium")
    with left:
        st.markdown("**Share of the faces, %**")
        shares = summary.shares()
        st.image(drawings.seven_bars(shares, theme()), width="stretch", alt=drawings.told(shares))
    with right:
        st.markdown("**By folder**")
        _by_folder(summary)
    st.caption(f"{summary.model} · {summary.detector} · {folder}")
    _downloads(job, folder)
    with st.expander("Faces", icon=":material/table_rows:"):
        st.dataframe(pd.read_csv(folder / FACES_FILE, nrows=ROWS_SHOWN), hide_index=True, placeholder="")
        st.caption(f"The first {ROWS_SHOWN:,} rows at most; the CSV file holds all.")
    _score(job)
    if folder.parent != job.folder:
        return  # others are where somebody wanted them
    with st.popover("Delete results", icon=":material/delete:"):
        st.markdown("The tables and the pictures with boxes go for good. The pictures that were read stay.")
        st.button("Delete them", icon=":material/delete:", key=f"delete-{job.name}", on_click=_delete, args=(job,))


def _delete(job: Job) -> None:
    with errors_kept(_REFUSED):
        supervisor.delete(job)
        let_go(_JOB)


def _by_folder(summary: Summary) -> None:
    above = os.path.commonpath([folder for folder in summary.folders if folder != OTHER_FOLDERS] or [""])
    rows = [
        {"folder": folder.removeprefix(above).strip("/") or Path(folder).name, **_row(counts)}
        for folder, counts in summary.folders.items()
    ]
    st.dataframe(
        rows,
        hide_index=True,
        height="content" if len(rows) < ROWS_BESIDE else 35 * ROWS_BESIDE,
        placeholder="",
        column_config={
            "folder": st.column_config.TextColumn(width=110),
            "pictures": st.column_config.NumberColumn(width=70, format="localized"),
            "faces": st.column_config.NumberColumn(width=60, format="localized"),
            "mostly": st.column_config.TextColumn(width=80),
            "share": st.column_config.ProgressColumn(width=120, format="percent", min_value=0, max_value=1),
        },
    )


def _row(counts: Counts) -> dict[str, object]:
    shares = counts.shares()
    top = max(shares, key=shares.__getitem__)
    return {
        "pictures": counts.pictures,
        "faces": counts.faces,
        "mostly": top if counts.faces else None,
        "share": shares[top] if counts.faces else None,
        "without a face": counts.faceless,
        "unreadable": counts.unreadable,
    }


def _downloads(job: Job, folder: Path) -> None:
    drawn = sorted((folder / ANNOTATED_FOLDER).glob("*.jpg"))
    with st.container(horizontal=True):
        st.download_button(
            "Download CSV",
            (folder / FACES_FILE).read_bytes,
            file_name=f"{job.name}-{FACES_FILE}",
            mime="text/csv",
            type="primary",
            icon=":material/download:",
            on_click="ignore",
        )
        with st.popover("More downloads", icon=":material/download:"):
            for words, file in (("A line of JSON per picture", RESULTS_FILE), ("Summary, JSON", SUMMARY_FILE)):
                name = f"{job.name}-{file}"
                st.download_button(words, (folder / file).read_bytes, name, on_click="ignore", type="tertiary")
            # An archive is put together in memory.
            if drawn and sum(file.stat().st_size for file in drawn) <= limits.UPLOAD_MB * 2**20:
                name = f"{job.name}-{ANNOTATED_FOLDER}.zip"
                zipped = partial(_zipped, drawn)
                st.download_button("Pictures with boxes, zip", zipped, name, on_click="ignore", type="tertiary")
    if drawn:
        are = "picture with boxes is" if len(drawn) == 1 else "pictures with boxes are"
        st.caption(f"{len(drawn):,} {are} in {folder / ANNOTATED_FOLDER}.")


def _zipped(files: list[Path]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for file in files:
            archive.write(file, file.name)
    return target.getvalue()


def _score(job: Job) -> None:
    """Where the folders tell the expression, the model can be scored against them."""
    arguments = job.spec().arguments
    if "--model" not in arguments:
        return
    options = arguments.index("--model")
    paths, model = arguments[1:options], arguments[options + 1]
    if len(paths) != 1 or not caching.labelled(Path(paths[0])):
        return
    command = ["evaluate", model, paths[0], "--keep"]
    scoring = newest_job("evaluate")
    *asked, kept = scoring.spec().arguments if scoring else [""]
    mine = asked == command
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Score against the folder names",
            icon=":material/grid_on:",
            disabled=bool(scoring and scoring.state().alive),
            help="The folders are named after expressions. Pictures are taken as face crops, as in a dataset, and are "
            "kept as one, so that Evaluate shows them. A look at test images is counted.",
            on_click=_score_now,
            args=(command, Path(paths[0])),
        )
        if mine and Path(kept).is_dir():  # it appears when it is complete
            page_link(
                "evaluate", "Open in Evaluate", model=Path(model).parent.name, dataset=Path(kept).name, split="test"
            )
    if scoring and mine:
        job_card(scoring)


def _score_now(command: list[str], pictures: Path) -> None:
    space = Workspace.default()
    with errors_kept(_REFUSED):
        kept = space.datasets / free_name(source_stem(pictures))
        name = space.new_name(space.jobs, "evaluate-source")
        supervisor.launch(space.jobs, "evaluate", name, [*command, str(kept)])
