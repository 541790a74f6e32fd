"""Parts that more than one page shows."""

from __future__ import annotations

import contextlib
import re
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import streamlit as st
from streamlit.errors import StreamlitAPIException

from dashboard import caching
from dashboard.address import stand_in_address
from fer_core.data.dataset import Dataset
from fer_core.errors import FerError, JobError, from_os_error
from fer_core.evaluation.metrics import share_words
from fer_core.inference.served import ServedModel, list_models
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState, StopWish, silence, summary
from fer_core.jobs.store import Job, JobStatus, list_jobs
from fer_core.training.runs import KIND, Run
from fer_core.workspace import Workspace, newest_first

if TYPE_CHECKING:
    from fer_core.evaluation.label_check import LabelCheckInfo
    from fer_core.evaluation.report import EvaluationReport
    from fer_core.training.facts import Score
    from fer_core.training.reached import Reached

PAGES: Final = Path(__file__).parents[1] / "pages"
REFRESH_SECONDS: Final = 2.0

_KEEPS_NOTHING: Final = frozenset({"prepare", "balance", "fetch", "evaluate", "tour", "before-after"})
"""Kinds of jobs whose folders hold nothing of worth when they end early: their cards can be dismissed."""

_GO_ON: Final = frozenset({KIND, "labels", "before-after"})
"""Kinds of jobs that can be resumed where they ended early."""

OWN_VIDEOS: Final = "video_own"
"""In the session's state: name of the job of each video that this visitor uploaded -> id of the upload."""

_PICKERS: Final = ("dataset", "model", "run")
_HANDED: Final = "open_"

_MARKDOWN: Final = re.compile(r"([\\`*_\[\]#!|<>$:~])")
_STATE_BADGES: Final = {
    JobState.STARTING: ("Starting", ":material/schedule:", "gray"),
    JobState.QUEUED: ("Queued", ":material/schedule:", "gray"),
    JobState.RUNNING: ("Running", ":material/play_arrow:", "blue"),
    JobState.STOPPING: ("Stopping", ":material/stop:", "gray"),
    JobState.DONE: ("Done", ":material/check:", "gray"),
    JobState.FAILED: ("Failed", ":material/error:", "red"),
    JobState.STOPPED: ("Stopped", ":material/stop:", "gray"),
    JobState.CRASHED: ("Crashed", ":material/error:", "red"),
}


def theme() -> str:
    """ "light" or "dark": what this visitor sees now."""
    return "dark" if st.context.theme.type == "dark" else "light"


@contextlib.contextmanager
def errors_shown() -> Iterator[None]:
    """Shows an error that the user can act on as a message; what follows the block still runs."""
    try:
        yield
    except FerError as error:
        show_error(str(error))
    except OSError as error:
        show_error(str(from_os_error(error)))


@contextlib.contextmanager
def errors_kept(key: str) -> Iterator[None]:
    """Like ``errors_shown`` in a callback, which has no place on the page: ``show_kept_error`` shows it there."""
    try:
        yield
    except FerError as error:
        st.session_state[key] = str(error)
    except OSError as error:
        st.session_state[key] = str(from_os_error(error))


def show_kept_error(key: str) -> None:
    """Shows once what a callback could not do."""
    if message := st.session_state.pop(key, None):
        show_error(message)


def show_error(message: str) -> None:
    st.error(plain(message), icon=":material/error:")


def plain(text: str) -> str:
    """Text that may hold a stranger's words (a file name, say), so that Markdown shows it letter by letter.

    Otherwise a file named like a Markdown image would make the browser fetch it.
    """
    return _MARKDOWN.sub(r"\\\1", text)


def finding(text: str) -> None:
    """The page's finding, one sentence."""
    st.subheader(plain(text), anchor=False)


def page_link(name: str, label: str, **query: str) -> None:
    """A link to another page that hands its choices on."""
    # Streamlit drops from a link what a picker of the page that is left is bound to: it goes under another name.
    handed = {f"{_HANDED}{key}" if key in _PICKERS else key: value for key, value in query.items()}
    st.page_link(PAGES / f"{name}.py", label=label, icon=":material/arrow_forward:", query_params=handed or None)


def state_badge(state: JobState) -> None:
    label, icon, colour = _STATE_BADGES[state]
    st.badge(label, icon=icon, color=colour)  # type: ignore[arg-type]


def leak_badge(dataset: Dataset) -> None:
    """Clean, or leaky with the count; its tooltip says what the search for copies does not see."""
    from dashboard.sentences import search_limits
    from fer_core.training.facts import dataset_leak  # the first page does not wait for it

    clean = not dataset.info.contaminated
    icon, colour = (":material/verified:", "green") if clean else (":material/warning:", "orange")
    limits = search_limits(dataset.info.copy_rule)
    st.badge(dataset_leak(dataset), icon=icon, color=colour, help=limits)  # type: ignore[arg-type]


def accuracy(report: EvaluationReport | LabelCheckInfo | Score | Reached, split: str, leak: str) -> str:
    """The one way an accuracy is written: value, interval, split, n and leak badge."""
    return f"{share_words(report.accuracy, report.ci95)} · {split} · n {report.n:,} · {leak}"


def dataset_picker(prefer: str | None = None) -> Dataset | None:
    """The dataset that all pages act on, newest first; None if there is none.

    Args:
        prefer: The one to begin with, if there is one of that name and none was chosen yet; otherwise the newest that
            can be trained on.
    """
    folders = {folder.name: folder for folder in Workspace.default().list_datasets()}
    if not folders:
        return None
    prefer = prefer or next((name for name, folder in folders.items() if _trainable(folder)), None)
    name = choose("Dataset", sorted(folders, key=lambda name: name != prefer), key="dataset")
    with errors_shown():
        return caching.dataset(folders[name])
    return None


def _trainable(folder: Path) -> bool:
    try:
        return caching.dataset(folder).info.trainable
    except (FerError, OSError):
        return False  # damaged: told where it is chosen


def without_train(dataset: Dataset) -> bool:
    """Whether a dataset has nothing to train on, which is told, with where it is of use."""
    try:
        dataset.check_trainable()
    except FerError as error:
        finding(str(error))
        page_link("evaluate", "Score a model on it", dataset=dataset.name, split="test")
        return True
    return False


def adopt_prepared() -> None:
    """The dataset that this visitor has just had prepared or balanced becomes the chosen one."""
    name = st.session_state.get("prepared")
    if name and (Workspace.default().datasets / name / "dataset.json").is_file():
        settle("dataset", st.session_state.pop("prepared"))


def model_picker(prefer: str | None = None, more: Sequence[ServedModel] = ()) -> ServedModel | None:
    """The model that all pages act on: those of runs, newest first, then the imported and bundled ones.

    None if even the bundled ones are gone.

    Args:
        prefer: The one to begin with where none was chosen yet.
        more: What else can be chosen here.
    """
    models = by_name([*list_models(Workspace.default()), *more])
    if not models:
        return None
    return models[choose("Model", sorted(models, key=lambda name: name != prefer), key="model")]


def by_name(models: Sequence[ServedModel]) -> dict[str, ServedModel]:
    """Models by name; of two of one name the first, which commands find by it."""
    found: dict[str, ServedModel] = {}
    for model in models:
        found.setdefault(model.name, model)
    return found


def choose(label: str, options: list[str], key: str) -> str:
    """A picker whose choice stands in the URL and holds on every page.

    Args:
        label: Its name.
        options: At least one; the first is chosen where nothing was.
        key: Of the widget and of the URL's parameter.
    """
    handed = f"{_HANDED}{key}"
    linked = st.query_params.get(handed) or st.query_params.get(key)
    # What a page was opened with by a link, Streamlit forgets on the way to the next.
    arrived = st.session_state.get("page") != st.session_state.get(f"{key}_page")
    st.session_state[f"{key}_page"] = st.session_state.get("page")
    settled = st.session_state.get(f"{key}_settled")
    # Of what a callback has just chosen, the address does not know yet.
    behind = handed not in st.query_params and st.session_state.get(key, "") in (None, *options)
    if handed in st.query_params:
        st.query_params.pop(handed)
        st.session_state[key] = linked
    elif arrived and linked is None and settled in options:
        st.session_state[key] = settled
    # A choice that was deleted, or a link to something that never was, must not break the page.
    if linked is not None and linked not in options:
        if not behind:
            sentence = f"There is no {label.lower()} named {plain(linked[:64])}."
            st.toast(sentence, icon=":material/link_off:", duration="long")
    elif linked is not None:
        st.session_state[f"{key}_settled"] = linked
    if st.session_state.get(key) not in options:
        # The browser goes on showing the old choice if it is only removed here.
        st.session_state[key] = next((name for name in (linked, settled) if name in options), options[0])
    # The address leaves out a default, and what is the newest today is not tomorrow: so there is none.
    stand_in_address(key)
    chosen = st.selectbox(
        label,
        options,
        index=None,
        required=True,
        key=key,
        bind="query-params",
        width=280,
        on_change=_settle_chosen,
        args=(key,),
    )
    if chosen is None:  # "Back", to an address that did not name it yet
        st.rerun()
    return chosen


def choose_view(views: Iterable[str], key: str = "view", first: str | None = None) -> str:
    """The switch between the views of a page, bound to the URL; only the open one's code is to run.

    Args:
        views: At least one.
        key: Of the widget and of the URL's parameter.
        first: The one to begin with; None for the first of them.
    """
    names = list(views)
    return st.segmented_control(
        "View",
        names,
        default=first or names[0],
        required=True,
        key=key,
        bind="query-params",
        label_visibility="collapsed",
    )


def let_go(key: str) -> None:
    """Makes a picker begin anew whose choice was just deleted; only in a callback."""
    st.session_state[key] = None
    with contextlib.suppress(StreamlitAPIException):  # bound: then the picker writes what is chosen next
        st.query_params.pop(key, None)


def _settle_chosen(key: str) -> None:
    """Keeps what was chosen, unless the page was left while its picker changed: its value is gone by then."""
    if key in st.session_state:
        settle(key, st.session_state[key])


def settle(key: str, value: str) -> None:
    """Makes a value the choice of a picker, on this page and on those to come."""
    st.session_state[key] = st.session_state[f"{key}_settled"] = value


def duration(seconds: float) -> str:
    """``40 s``, ``3 min``, ``1 h 20 min``."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def job_command(arguments: list[str]) -> str:
    """The command line that a button runs, to copy."""
    return "python -m fer_core " + shlex.join(arguments)


def all_jobs() -> list[Job]:
    """Jobs and runs, newest first."""
    space = Workspace.default()
    jobs = [*list_jobs(space.jobs), *list_jobs(space.runs)]
    return [Job(file.parent) for file in newest_first(job.folder / "job.json" for job in jobs)]


def may_be_seen(job: Job) -> bool:
    """Whether this visitor may see a job: an uploaded video only who uploaded it, or has the link to it."""
    if not is_upload(job):
        return True
    return job.name in st.session_state.get(OWN_VIDEOS, {}) or job.name == st.query_params.get("video")


def is_upload(job: Job) -> bool:
    """Whether it reads a video that was uploaded for it, and so lay in its folder, wherever the workspace was then."""
    with contextlib.suppress(JobError):
        spec = job.spec()
        return spec.kind == "video" and Path(spec.arguments[1]).parent.name == job.name
    return False


def newest_job(kind: str) -> Job | None:
    """The newest job of a kind, in whatever state."""
    return next((job for job in all_jobs() if job.kind == kind), None)


def dataset_job_cards(*kinds: str) -> None:
    """The newest job of each kind that is not done, pinned: its button can be anywhere on a long page."""
    for kind in kinds:
        job = newest_job(kind)
        if job and job.state() is not JobState.DONE:
            with st.bottom:
                job_card(job)


def job_card(job: Job) -> None:
    """A job as everyone sees it: phase, share, time left, stop; ends with a sentence. Refreshes itself."""
    alive = job.state().alive

    @st.fragment(run_every=REFRESH_SECONDS if alive else None)
    def card() -> None:
        if not job.exists():
            st.rerun()
        state, status = job.state(), job.status()
        if alive and not state.alive:
            st.rerun()
        with st.container(border=True):
            with st.container(horizontal=True, vertical_alignment="center"):
                state_badge(state)
                st.markdown(f"**{job.name}**")
                said = status.message if state.alive else ""
                st.caption(plain(" · ".join(filter(None, (status.phase or "Starting worker", said)))))
                st.space("stretch")
                if state.alive:
                    stop_button(job, state)
                elif state is not JobState.DONE and job.kind in _KEEPS_NOTHING:
                    st.button("Dismiss", key=f"dismiss-{job.name}", type="tertiary", on_click=_dismiss, args=(job,))
            if state.alive:
                share = min(1.0, status.done / status.total) if status.total else 0.0
                st.progress(share, text=_progress_text(status))
            else:
                st.markdown(plain(summary(state, status.message, job.log_tail(), goes_on=job.kind in _GO_ON)))

    card()


def resumable_card(job: Job, resume: Callable[[], object]) -> None:
    """The card of a job that goes on where it ended, with the button for that, and one that deletes what it keeps."""
    job_card(job)
    if not job.state().resumable:
        return
    with st.container(horizontal=True):
        if st.button("Resume", icon=":material/play_arrow:", key=f"resume-{job.name}"):
            with errors_shown():
                resume()
                st.rerun()
        if job.kind not in _KEEPS_NOTHING:
            _delete_kept(job)


def _delete_kept(job: Job) -> None:
    with st.popover("Delete", icon=":material/delete:", key=f"delete-of-{job.name}"):
        st.markdown(f"**{plain(job.name)}** goes with all that it has learnt so far. It cannot be undone.")
        if st.button("Delete it", icon=":material/delete:", key=f"delete-{job.name}"):
            with errors_shown():
                supervisor.delete(job)
                st.rerun()


def _dismiss(job: Job) -> None:
    with contextlib.suppress(FerError, OSError):  # another tab was faster
        supervisor.delete(job)


def _progress_text(status: JobStatus) -> str:
    if not status.total:
        return "about to begin"
    left = status.result.get("seconds_left")
    told = f" · about {duration(left)} left" if left else ""
    return f"{status.done:,} of {status.total:,} · {duration(time.time() - status.started)} so far{told}"


def stop_button(job: Job, state: JobState) -> None:
    """Stop, for a run also the other ways to stop; after the grace time, and for a silent worker, force."""
    silent = silence(state, job.status().updated, time.time())
    if state is not JobState.STOPPING:
        st.button(
            "Stop",
            icon=":material/stop:",
            help="Keeps everything, to go on later." if job.kind in _GO_ON else None,
            key=f"stop-{job.name}",
            on_click=supervisor.request_stop,
            args=(job,),
        )
        if job.kind == KIND:
            _other_stops(job)
    elif time.time() - _asked(job) < supervisor.GRACE_SECONDS or (_finishing(job) and not silent):
        st.caption("Finishing with the best epoch" if _finishing(job) else "Stopping after this step")
        return
    elif not silent:
        _force_stop(job)
    if silent:
        st.caption(silent)
        _force_stop(job)


def _asked(job: Job) -> float:
    """When it was asked to stop, seconds since the epoch; 0 where that is over already."""
    try:
        return (job.folder / "stop").stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _finishing(job: Job) -> bool:
    return job.stop_wish() is StopWish.KEEP_BEST


def _other_stops(job: Job) -> None:
    """The ways to stop a run that are not undone by resuming it."""
    epochs = len(Run(job).epoch_events)
    finished = f"{epochs} finished epoch" + ("" if epochs == 1 else "s")
    with st.popover("Finish or discard", key=f"stops-{job.name}"):
        st.button(
            "Finish with the best epoch",
            icon=":material/check:",
            disabled=not epochs,
            help="No epoch is finished yet." if not epochs else None,
            key=f"best-{job.name}",
            on_click=supervisor.request_stop,
            args=(job, StopWish.KEEP_BEST),
        )
        st.caption("Ends training now; the best epoch so far becomes the model, with its scores.")
        sure = st.checkbox("Delete this run for good", key=f"sure-{job.name}")
        st.button(
            "Discard",
            icon=":material/delete:",
            disabled=not sure,
            key=f"discard-{job.name}",
            on_click=supervisor.request_stop,
            args=(job, StopWish.DISCARD),
        )
        st.caption(f"Ends training and deletes the run's folder with {finished}. The dataset stays.")


def _force_stop(job: Job) -> None:
    with st.popover("Force stop"):
        st.markdown("It has not ended by itself. Ending it now loses what was done since the last checkpoint.")
        st.button("End it now", key=f"kill-{job.name}", on_click=_kill, args=(job,))


def _kill(job: Job) -> None:
    supervisor.terminate(job, force=True)


def sidebar_status() -> None:
    """One line for the job that runs, one for the workspace; the tab's title follows the job.

    Of a stranger's upload it says nothing: the name of its job is the link to it.
    """
    alive = [job for job in all_jobs()[:20] if job.state().alive and may_be_seen(job)]
    current = next((job for job in alive if job.state() is not JobState.QUEUED), next(iter(alive), None))

    @st.fragment(run_every=REFRESH_SECONDS if current else None)
    def line() -> None:
        if current is not None:
            state = current.state()
            if not state.alive:
                st.toast(f"{current.name}: {state if current.exists() else 'discarded'}.")
                st.rerun()
            page, share = _where_and_how_far(current)
            query = {"predict": "Video" if current.kind == "video" else "Folder"} if page == "predict" else None
            label = f"{current.name} {share}"
            st.page_link(PAGES / f"{page}.py", label=label, icon=":material/play_arrow:", query_params=query)
            st.set_page_config(page_title=f"{share} · {current.name} · FER".removeprefix(" · "))
        space = Workspace.default()
        st.caption(f"{space.root.name} · {space.free_bytes() / 2**30:.0f} GB free")

    line()


def _where_and_how_far(job: Job) -> tuple[str, str]:
    """The page that shows a job, and its progress in a few characters."""
    status = job.status()
    if job.kind == "train":
        run = Run(job)
        return "train", f"{len(run.epoch_events)}/{run.total_epochs}" if status.total else ""
    pages = {"tour": "overview", "measure": "train", "video": "predict", "before-after": "labels"}
    page = pages.get(job.kind, job.kind if job.kind in ("evaluate", "balance", "predict", "labels") else "data")
    return page, f"{100 * status.done / status.total:.0f} %" if status.total else ""
