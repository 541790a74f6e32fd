"""One training run as the Train page shows it: state, scores, live curves, faces, log, and what to do next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard import caching, charts, drawings
from dashboard.components import (
    REFRESH_SECONDS,
    accuracy,
    choose_view,
    duration,
    errors_shown,
    finding,
    leak_badge,
    page_link,
    plain,
    show_error,
    state_badge,
    stop_button,
    theme,
)
from dashboard.tracking_line import tracking_line
from fer_core.data.dataset import Dataset
from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError
from fer_core.inference.card_text import leak_words
from fer_core.jobs.state import JobState, summary
from fer_core.jobs.store import Job
from fer_core.machine import usable_cores
from fer_core.preprocessing import decode
from fer_core.training import runs
from fer_core.training.runs import Run
from fer_core.workspace import Workspace

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

VIEWS: Final = ("Curves", "Classes", "Rates", "Machine", "Log")

_EVENTS_A_CHART: Final = 10  # batch events, of which there are at most two a second

_HEIGHT: Final = 460  # pixels of every view, so that nothing jumps


def watch(name: str) -> None:
    """One run, refreshed while it is at work."""
    job = Job(Workspace.default().run(name))
    alive = job.state().alive

    @st.fragment(run_every=REFRESH_SECONDS if alive else None)
    def live() -> None:
        run = Run(job)
        if alive and not run.state.alive:
            st.rerun()  # also where the run was discarded: the page then shows another
        with errors_shown():
            with st.container(horizontal=True, vertical_alignment="center"):
                state_badge(run.state)
                if dataset := _dataset_of(run):
                    leak_badge(dataset)
                phase = f" · {plain(run.status.phase)}" if run.state.alive else ""
                on = f" on {plain(run.config.dataset.name)}" if run.config.dataset else ""
                st.caption(f"{plain(run.config.preset)}{on}{phase}")
                st.space("stretch")
                if run.state.alive:
                    stop_button(run.job, run.state)
            if not run.state.alive:
                _ended(run)
            _scores(run, dataset)
            _view(run, dataset)
            tracking_line(run)

    live()


def _dataset_of(run: Run) -> Dataset | None:
    """What a run trains on, if it is still there; its curves do not need it."""
    try:
        return caching.dataset(Path(run.config.dataset.path)) if run.config.dataset else None
    except (FerError, OSError):
        return None


def _scores(run: Run, dataset: Dataset | None) -> None:
    progress, best = run.progress, run.best
    speed = f", {progress.images_per_second:,.0f} images/s" if progress.images_per_second else ""
    current = min(progress.epochs + 1, progress.total) if run.batch and run.state.alive else progress.epochs
    working = run.state in (JobState.RUNNING, JobState.STOPPING)
    left = duration(progress.seconds_left) if progress.seconds_left and working else "—"
    n = f", n {sum(dataset.counts()['validation'].values()):,}" if dataset else ""
    with st.grid(4, min_column_width=150):
        st.metric("Epoch", f"{current} of {progress.total}", border=True, height="stretch")
        shown = f"{100 * best['val_accuracy']:.1f} % at {best['global_epoch'] + 1}" if best else "—"
        told = "Accuracy of the best epoch so far on the validation split; the best epoch becomes the model."
        st.metric(f"Validation{n}", shown, border=True, height="stretch", help=told)
        f1 = f"{best['val_macro_f1']:.2f}" if best else "—"
        st.metric("Macro-F1", f1, border=True, height="stretch", help="Of the same epoch, on validation.")
        st.metric("Time left", left, border=True, height="stretch", help=f"{progress.share:.0%} done{speed}")


def _board(run: Run, dataset: Dataset | None) -> None:
    """The same eight validation faces every epoch: one watches the network learn them."""
    if dataset is None:
        st.caption("The dataset of this run is no longer there, so its faces cannot be shown.")
        return
    try:
        faces = dataset.encoded("validation", [sample["row"] for sample in run.samples])
    except FerError as error:
        show_error(str(error))
        return
    st.caption(
        "Eight validation faces: the true label, and under it what they were read as after the last epoch. The bar is "
        "the probability of the true label."
    )
    with st.grid(4, min_column_width=72):
        for sample, data in zip(run.samples, faces, strict=True):
            with st.container(gap="xsmall"):
                said = f"{sample['true']}, read as {sample['guess']}"
                st.image(drawings.face(decode(data)), width="stretch", alt=said)
                st.caption(f"{sample['true']}  \n:gray[→ {sample['guess']}]")  # always two lines, so that nothing jumps
                st.progress(sample["probability_true"])


def _view(run: Run, dataset: Dataset | None) -> None:
    """The open view of the run; the others cost nothing."""
    chosen = choose_view(VIEWS, "run_view")
    if chosen == "Log":
        st.code(run.job.log_tail(100) or "Nothing yet.", language=None, height=_HEIGHT)
    elif not (run.epoch_events or len(run.events.batches)):
        _not_begun(run)
    elif chosen == "Machine":
        _machine(run)
    elif chosen == "Curves":
        _curves(run, dataset)
    elif run.history.empty:
        st.markdown("It begins when the first epoch is over.")
        st.skeleton(height=_HEIGHT - 30)
    elif chosen == "Classes":
        _classes(run)
    else:
        _rates(run)


def _drawn(run: Run, view: str, draw: Callable[[], Figure]) -> Figure:
    """The chart of a view, drawn anew after an epoch and every few seconds within one: drawing is what an update costs.

    The browser, too, does nothing where it gets the same chart again.
    """
    batches = len(run.events.batches)
    if batches > _EVENTS_A_CHART:  # before, each of them is a visible step
        batches -= batches % _EVENTS_A_CHART
    shown = (len(run.epoch_events), batches, len(run.changes), tuple(run.phases))
    return caching.figure((view, theme(), str(run.folder), run.status.started, *shown), draw)


def _not_begun(run: Run) -> None:
    if run.state is JobState.QUEUED:
        st.markdown(f"{plain(run.status.phase)}. It starts by itself. *Stop* takes it out of the queue.")
    elif run.state.alive:
        st.markdown(f"*{run.status.phase or 'Starting worker'}* · the first batches come in about 10 s")
        st.skeleton(height=_HEIGHT - 30)
    else:
        st.caption("It ended before the first batch. The log says how far it came.")


def _curves(run: Run, dataset: Dataset | None) -> None:
    left, right = st.columns([5, 3], gap="medium")
    figure = _drawn(
        run,
        "curves",
        lambda: charts.training_curves(run.history, run.batches, theme(), phases=run.phases, events=_ticks(run)),
    )
    best = run.best
    alt = f"Best validation accuracy {100 * best['val_accuracy']:.1f} %" if best else "The first epoch is under way"
    with left:
        st.plotly_chart(figure, config=charts.CONFIG, key=f"curves-{run.name}", alt=alt)
        if run.gap is not None:
            last = run.epoch_events[-1]
            st.caption(
                f"Generalisation gap {100 * run.gap:+.1f} points after epoch {last['global_epoch'] + 1}: "
                f"{100 * last['accuracy']:.1f} % on training images, {100 * last['val_accuracy']:.1f} % on validation.",
                help="Training images count while the network learns from them, with augmentation and dropout on, so "
                "a small gap can be below zero. A gap that grows while validation stands still is overfitting.",
            )
    with right:
        if run.samples:
            _board(run, dataset)
        else:
            st.caption("Eight validation faces appear here after the first epoch.")


def _ticks(run: Run) -> dict[str, list[tuple[float, str]]]:
    """Rows of ticks under the curves: those that this run's settings can bring about, from its start on."""
    rows: dict[str, list[tuple[float, str]]] = {
        "New best": [
            (event["global_epoch"] + 1, f"new best {100 * event['val_accuracy']:.1f} %")
            for event in run.epoch_events
            if event["best"]
        ]
    }
    phases = run.config.phases
    if any(phase.schedule == "plateau" for phase in phases):
        rows["Rate lowered"] = _told(run, "learning_rate", "learning rate")
    if any(phase.decay_raise > 1 for phase in phases):
        rows["Decay raised"] = _told(run, "weight_decay", "weight decay")
    return rows


def _told(run: Run, kind: str, words: str) -> list[tuple[float, str]]:
    return [
        (epoch, f"{words} {change.before:.2g} → {change.after:.2g}")
        for epoch, change in run.changes
        if change.kind == kind
    ]


def _classes(run: Run) -> None:
    recalls = {emotion: run.epoch_events[-1]["val_recall"].get(emotion) for emotion in EMOTIONS}
    known = {emotion: recall for emotion, recall in recalls.items() if recall is not None}
    if not known:
        st.caption("Recall of the classes was not recorded for this run.")
        return
    low, high = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    ends = (
        f"{word} for {emotion} ({100 * known[emotion]:.1f} %)" for word, emotion in (("highest", high), ("lowest", low))
    )
    told = f"Recall on validation is {' and '.join(ends)}"
    figure = _drawn(run, "classes", lambda: charts.recall_curves(run.history, theme(), phases=run.phases))
    st.plotly_chart(figure, config=charts.CONFIG, key=f"classes-{run.name}", alt=told)
    st.caption(f"{told} after epoch {len(run.history)}.")


def _rates(run: Run) -> None:
    changes = {
        kind: [
            charts.Change(epoch, change.before, change.after) for epoch, change in run.changes if change.kind == kind
        ]
        for kind in ("learning_rate", "weight_decay")
    }
    phases = run.config.phases
    peaks = [phase.learning_rate for phase in phases]
    # From the settings, not from the values so far: the scale must not change while the run goes on.
    log = max(peaks) >= 10 * min(peaks) or any(phase.schedule == "plateau" for phase in phases)
    figure = _drawn(
        run,
        "rates",
        lambda: charts.rate_curves(
            run.history,
            theme(),
            phases=run.phases,
            drops=changes["learning_rate"],
            raises=changes["weight_decay"],
            log=log,
        ),
    )
    said = [f"Schedule: {', then '.join(dict.fromkeys(phase.schedule for phase in phases))}."]
    if any(phase.schedule == "plateau" for phase in phases):
        said.append(f"Learning rate lowered on a plateau: {_times(len(changes['learning_rate']))}.")
    if any(phase.decay_raise > 1 for phase in phases):
        said.append(f"Weight decay raised with it: {_times(len(changes['weight_decay']))}.")
    if log:
        said.append("Learning rate on a logarithmic scale.")
    st.plotly_chart(figure, config=charts.CONFIG, key=f"rates-{run.name}", alt=" ".join(said))
    st.caption(" ".join(said))


def _times(n: int) -> str:
    return {0: "not so far", 1: "once", 2: "twice"}.get(n, f"{n} times")


def _machine(run: Run) -> None:
    machine, threads = run.machine, run.config.threads or usable_cores()
    figure = _drawn(run, "machine", lambda: charts.machine_curves(machine, theme(), phases=run.phases, threads=threads))
    speed, use = machine["images_per_second"].dropna(), machine["cpu_percent"].dropna()
    said = [f"{speed.iloc[-1]:,.0f} images/s"] if len(speed) else []
    if len(use):
        said.append(f"{use.iloc[-1] / 100:.1f} of {threads} core{'s' * (threads > 1)} at work")
        said.append(f"at most {machine['memory_bytes'].max() / 1e9:.2f} GB of memory")
    else:
        said.append("processor and memory were not recorded")
    if len(gpu := machine["gpu_percent"].dropna()):
        said.append(
            f"GPU at {gpu.iloc[-1]:.0f} %, at most {machine['gpu_memory_bytes'].max() / 1e9:.1f} GB of it taken"
        )
    told = f"Last: {', '.join(said)}"
    st.plotly_chart(figure, config=charts.CONFIG, key=f"machine-{run.name}", alt=told)
    st.caption(f"{told}.", help="Of the process that trains; other work on this machine is not counted.")


def _ended(run: Run) -> None:
    """What became of a run that is not at work, and the next step."""
    message = summary(run.state, run.status.message, run.job.log_tail())
    card = run.card
    if run.state is JobState.DONE and card and "validation" in card.metrics:
        report, leak = card.metrics["validation"], leak_words(card, "validation")
        finding(f"Done: {accuracy(report, 'validation', leak)}")
        if run.model is None:
            st.info(
                f"It was trained without TensorFlow. Where that is installed, `python -m fer_core export {run.name}` "
                "writes the model that Evaluate and Predict need.",
                icon=":material/deployed_code:",
            )
            return
        with st.container(horizontal=True, vertical_alignment="center"):
            # A button could not hand the dataset on: its picker on this page holds that part of the address.
            page_link("evaluate", "See where it is wrong", model=run.name, dataset=card.dataset.name)
            page_link("predict", "Try it on a picture", model=run.name)
        return
    finding(message)
    if run.state.resumable:
        with errors_shown():
            if st.button("Resume", type="primary", icon=":material/play_arrow:", key=f"resume-{run.name}"):
                runs.start(run.job)
                st.rerun()
