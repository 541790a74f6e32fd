"""Predict, video: a job reads it; then the player, and beside it the expression of each face by time."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import streamlit as st
from streamlit.errors import StreamlitAPIException
from streamlit.runtime.uploaded_file_manager import UploadedFile

from dashboard import caching, charts, timeline
from dashboard.components import (
    OWN_VIDEOS,
    all_jobs,
    choose,
    errors_kept,
    errors_shown,
    finding,
    is_upload,
    job_card,
    job_command,
    let_go,
    may_be_seen,
    show_kept_error,
    theme,
)
from dashboard.uploads import let_go_of_others
from fer_core import limits
from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError, JobError
from fer_core.inference.batch import RESULTS_FOLDER
from fer_core.inference.detector_options import DetectorChoice, default_every
from fer_core.inference.frames import SUFFIXES, VideoLimits, look_at_video
from fer_core.inference.served import ServedModel
from fer_core.inference.video import KIND
from fer_core.inference.video_results import FRAMES_FILE, FaceSummary, VideoSummary, clock, over_time
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job
from fer_core.workspace import Workspace, expand

if TYPE_CHECKING:
    import pandas as pd

MOST_SHOWN: Final = 6
"""Faces with a row of their own, those in sight for longest; the CSV file holds all."""

MOST_PLAYED: Final = limits.PLAYED_MB * 2**20
"""Bytes of a file that is given to the player, which takes it into memory."""

_PLAYED: Final = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mp4", ".webm": "webm", ".ogv": "ogg"}
"""What browsers can play."""

_JOB, _AT, _REFUSED, _UPLOAD = "video", "video_at", "video_refused", "upload"
_UPLOADS_KEPT = "video_uploads_kept"


def show_video(model: ServedModel, detector: DetectorChoice, threshold: float) -> None:
    """The form that starts a job, and the results of this or an earlier one.

    Args:
        model: Reads the faces.
        detector: How faces are looked for.
        threshold: Top probability below which a face is uncertain.
    """
    every_job = [job for job in all_jobs() if job.kind == KIND]
    for job in every_job:
        _sweep(job)
    jobs = {job.name: job for job in every_job if may_be_seen(job)}
    upload = _form(model, detector, threshold, busy=any(job.state().alive for job in jobs.values()))
    if not jobs:
        st.caption(
            "A job reads the video and goes on when you close this page. Faces are followed from frame to frame; "
            "what they show is written while it goes, and is kept when you stop it."
        )
        return
    job = jobs[choose("Video", list(jobs), key=_JOB)] if len(jobs) > 1 else next(iter(jobs.values()))
    state = job.state()
    folder = Path(job.status().result.get("folder", job.folder / RESULTS_FOLDER))
    whole = not state.alive and (folder / FRAMES_FILE).is_file()
    if state is not JobState.DONE and not (whole and state is JobState.STOPPED):  # then the finding says where
        job_card(job)
    if state.alive:
        return
    if whole:
        with errors_shown():
            summary = VideoSummary.read(folder)
            finding(summary.told())
            _results(job, folder, summary, upload)
    with st.container(horizontal=True):
        if whole:
            _download(folder)
        if folder.parent == job.folder:  # others are where somebody wanted them
            _deletion(job)


def _download(folder: Path) -> None:
    st.download_button(
        "Download CSV",
        (folder / FRAMES_FILE).read_bytes,
        file_name="expressions-by-time.csv",
        mime="text/csv",
        type="primary",
        icon=":material/download:",
        on_click="ignore",
    )


def _deletion(job: Job) -> None:
    with st.popover("Delete results", icon=":material/delete:"):
        st.markdown(
            "The table, the summary and the pictures of faces go for good. A video that was named by its path stays."
        )
        st.button("Delete them", icon=":material/delete:", key=f"delete-{job.name}", on_click=_delete, args=(job,))


def _delete(job: Job) -> None:
    with errors_kept(_REFUSED):
        supervisor.delete(job)
        caching.forget_video_tables()
        let_go(_JOB)


def _form(model: ServedModel, detector: DetectorChoice, threshold: float, busy: bool) -> UploadedFile | None:
    most = int(st.get_option("server.maxUploadSize"))
    upload = st.file_uploader(
        f"A video of up to {most} MB; {VideoLimits().told()}",
        type=sorted(suffix[1:] for suffix in SUFFIXES),
        key="video_file",
    )
    let_go_of_others([upload] if upload else [], _UPLOADS_KEPT)
    st.caption(
        "An upload lies on the disk of the machine that runs this page until it is read; what was found, with a small "
        "picture of each face, until you delete it."
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        path = st.text_input(
            "Or its path on this machine",
            placeholder="/data/clip.mp4",
            help="On the machine that runs this page, of any size. The video stays where it is.",
            key="video_path",
        ).strip()
        every = st.number_input(
            "Read every k-th frame",
            1,
            1000,
            default_every(detector.name),
            help="1 reads every frame. With 5, a video of 25 frames per second is read five times a second. "
            "The detector haar is slow: with 4, reading takes about as long as the video.",
            key="video_every",
            width=170,
        )
        options = ["--model", str(model.path), *detector.arguments(), "--threshold", f"{threshold:g}"]
        options += ["--every", str(every)]
        nothing = None if path or upload else "Upload a video or write a path first."
        st.button(
            "Read video",
            type="primary",
            icon=":material/play_arrow:",
            disabled=busy or nothing is not None,
            help="Another video is being read." if busy else nothing,
            on_click=_start,
            args=(upload, path, options),
        )
    show_kept_error(_REFUSED)
    if path:
        with st.popover("Copy as command", icon=":material/terminal:"):
            st.code(job_command(["predict", path, "--out", "results", *options]), language="bash", wrap_lines=True)
    return upload


def _start(upload: UploadedFile | None, path: str, options: list[str]) -> None:
    with errors_kept(_REFUSED):
        _check_room()
        name = _start_upload(upload, options) if upload else _start_path(path, options)
        st.session_state[_JOB] = name
        with contextlib.suppress(StreamlitAPIException):  # bound where there are others: then the picker writes it
            st.query_params[_JOB] = name
        st.session_state[_AT] = 0.0


def _check_room() -> None:
    """Raises FerError where as many videos are being read, for all visitors together, as may be."""
    if sum(job.kind == KIND and job.state().alive for job in all_jobs()) >= limits.VIDEO_JOBS:
        many = "one video" if limits.VIDEO_JOBS == 1 else f"{limits.VIDEO_JOBS} videos"
        raise FerError(f"This machine reads {many} at a time and is at it for somebody. Try again in a while.")


def _start_path(path: str, options: list[str]) -> str:
    place = expand(path).absolute()
    look_at_video(place)  # what cannot be read is told before anything is begun
    space = Workspace.default()
    name = space.new_name(space.jobs, KIND)
    supervisor.launch(space.jobs, KIND, name, ["predict", str(place), *options, "--name", name])
    return name


def _start_upload(upload: UploadedFile, options: list[str]) -> str:
    """The video lies in the job's folder, under a name of ours, for as long as the job runs."""
    space = Workspace.default()
    name = f"{KIND}-{secrets.token_hex(8)}"  # nobody else can guess the link to it
    suffix = Path(upload.name).suffix.lower()
    place = space.jobs / name / f"{_UPLOAD}{suffix if suffix in SUFFIXES else '.mp4'}"
    arguments = ["predict", str(place), *options, "--name", name]
    job = Job.create(space.jobs, KIND, name, arguments)

    def write() -> None:
        with place.open("wb") as file:
            upload.seek(0)
            shutil.copyfileobj(upload, file)
        look_at_video(place)

    try:
        supervisor.start(job, arguments, prepare=write)  # as it counts as starting, nobody sweeps it away
    except BaseException:
        place.unlink(missing_ok=True)  # on a full disk, this makes room for the rest
        job.discard()
        raise
    st.session_state.setdefault(OWN_VIDEOS, {})[name] = upload.file_id
    return name


def _source(job: Job) -> Path:
    return Path(job.spec().arguments[1])


def _sweep(job: Job) -> None:
    """Deletes an upload whose job has ended: the worker does so itself, unless it was killed."""
    if job.state().alive or not is_upload(job):
        return
    upload = job.folder / _source(job).name
    if upload.exists():
        with contextlib.suppress(JobError), job.held("changed"):  # it may have begun just now
            upload.unlink(missing_ok=True)


@st.fragment  # a click runs this alone, not the page
def _results(job: Job, folder: Path, summary: VideoSummary, upload: UploadedFile | None) -> None:
    faces = sorted(summary.faces, key=lambda face: -face.seconds)[:MOST_SHOWN]
    faces.sort(key=lambda face: face.face)
    table = caching.video_table(folder)
    if not 0 <= st.session_state.get(_AT, 0.0) <= summary.seconds:
        st.session_state[_AT] = 0.0
    left, right = st.columns([2, 3], gap="medium")
    with right:
        at = st.slider(
            "Moment, in seconds",
            0.0,
            max(0.1, summary.seconds),
            step=0.1,
            key=_AT,
            help="The player begins here. A click on the timeline chooses a moment as well.",
        )
        if faces:
            binned = over_time(table, summary.seconds, summary.threshold)
            st.plotly_chart(
                timeline.expression_timeline(binned, [face.face for face in faces], summary.seconds, theme(), at),
                config=charts.CONFIG,
                key="video_timeline",
                on_select=_clicked,
                selection_mode="points",
                alt=summary.told(),
            )
        st.caption(_at_moment(table, at))
        if len(summary.faces) > len(faces):
            st.caption(f"The {len(faces)} faces in sight for longest; the CSV file holds all {len(summary.faces)}.")
        if summary.brief_faces:
            st.caption(f"{summary.brief_faces:,} more were in sight only briefly: often no faces at all.")
    with left:
        _player(job, upload, at)
    if faces:
        _faces(folder, faces)


def _clicked() -> None:
    """Goes to a moment. A second click on the same one unselects it, and changes nothing."""
    points = st.session_state["video_timeline"].selection.points
    if points:
        moment = points[0]["customdata"]
        st.session_state[_AT] = float(moment[0] if isinstance(moment, list) else moment)


def _at_moment(table: pd.DataFrame, at: float) -> str:
    """What the faces show in the last frame until a moment."""
    until = table[table["time"] <= at + 1e-6]
    if until.empty:
        return "Nothing was read until here."
    frame = until[until["frame"] == until["frame"].iloc[-1]].dropna(subset=["face"])
    told = []
    for row in frame.itertuples():
        doubt = ", uncertain" if row.uncertain else ""
        told.append(f"face {row.face} {row.emotion} ({100 * getattr(row, f'p_{row.emotion}'):.0f} %{doubt})")
    return f"At {clock(at)}: {'; '.join(told) or 'no face'}."


def _player(job: Job, upload: UploadedFile | None, at: float) -> None:
    source = _source(job)
    kind = _PLAYED.get(source.suffix.lower())
    if kind is None:
        st.caption(f"Browsers do not play {source.suffix or 'such'} files: convert it to MP4 to see it here.")
    elif is_upload(job):
        if upload is not None and st.session_state.get(OWN_VIDEOS, {}).get(job.name) == upload.file_id:
            st.video(upload, f"video/{kind}", start_time=at, alt="The video that was read")
        else:
            st.caption("The upload was deleted when reading ended. Upload it again to see it beside the timeline.")
    elif not source.is_file():
        st.caption("The video is no longer where it was read.")
    elif source.stat().st_size > MOST_PLAYED:
        st.caption(f"Too large to be played here (over {MOST_PLAYED // 2**20} MB): open it in a player of your own.")
    else:
        st.video(str(source), f"video/{kind}", start_time=at, alt="The video that was read")


def _faces(folder: Path, faces: list[FaceSummary]) -> None:
    """A picture of each, and the share of each expression."""
    with st.container(horizontal=True):
        for face in faces:
            with st.container(width=150):
                words = f"Face {face.face} as the model sees it, at {clock(face.best)}"
                if (folder / face.picture).is_file():
                    st.image(str(folder / face.picture), width=64, alt=words)
                st.markdown(f"**Face {face.face} · {face.emotion.capitalize()}**")
                st.caption(f"{clock(face.first)} to {clock(face.last)}, in sight for {clock(face.seconds)}")
    shares = {f"face {face.face}": [100 * face.shares[emotion] for emotion in EMOTIONS] for face in faces}
    st.dataframe(
        {"share of its time, %": [*EMOTIONS, "uncertain"]}
        | {name: [*values, 100 * face.uncertain] for (name, values), face in zip(shares.items(), faces, strict=True)},
        hide_index=True,
        column_config={
            name: st.column_config.ProgressColumn(format="%.1f", min_value=0, max_value=100) for name in shares
        },
    )
