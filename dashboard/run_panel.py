"""One training run as the Train page shows it: state, scores, live curves, faces, log, and what to do next."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard import caching, charts, drawings
from dashboard.components import (
    REFRESH_SECONDS,
    accuracy,
    duration,
    errors_shown,
    finding,
    leak_badge,
    page_link,
    show_error,
    state_badge,
    stop_button,
    theme,
)
from fer_core.data.dataset import Dataset
from fer_core.errors import FerError
from fer_core.inference.card_text import leak_words
from fer_core.jobs.state import JobState, summary
from fer_core.jobs.store import Job
from fer_core.preprocessing import decode
from fer_core.training import runs
from fer_core.training.runs import Run
from fer_core.workspace import Workspace


def watch(name: str) -> None:
    """One run, refreshed while it is at work."""
    alive = Run(Job(Workspace.default().run(name))).state.alive

    @st.fragment(run_every=REFRESH_SECONDS if alive else None)
    def live() -> None:
        run = Run(Job(Workspace.default().run(name)))
        if alive and not run.state.alive:
            st.rerun()
        with errors_shown():
            with st.container(horizontal=True, vertical_alignment="center"):
                state_badge(run.state)
                if dataset := _dataset_of(run):
                    leak_badge(dataset)
                phase = f" · {run.status.phase}" if run.state.alive else ""
                on = f" on {run.config.dataset.name}" if run.config.dataset else ""
                st.caption(f"{run.config.preset}{on}{phase}")
                st.space("stretch")
                if run.state.alive:
                    stop_button(run.job, run.state)
            if not run.state.alive:
                _ended(run)
            _scores(run, dataset)
            _curves(run, dataset)
            with st.expander("Log", icon=":material/article:"):
                st.code(run.job.log_tail(30) or "Nothing yet.", language=None)

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
    st.caption("Eight validation faces after the last epoch; the bar is the probability of the true label.")
    with st.grid(4, min_column_width=72):
        for sample, data in zip(run.samples, faces, strict=True):
            with st.container(gap="xsmall"):
                said = f"{sample['true']}, read as {sample['guess']}"
                st.image(drawings.face(decode(data)), width="stretch", alt=said)
                right = sample["true"] == sample["guess"]
                st.caption(sample["true"] if right else f"{sample['true']} :gray[→ {sample['guess']}]")
                st.progress(sample["probability_true"])


def _curves(run: Run, dataset: Dataset | None) -> None:
    if run.batches.empty and run.history.empty:
        if run.state is JobState.QUEUED:
            st.markdown("Another run is on; this one starts by itself when it ends. Stop takes it out of the queue.")
        elif run.state.alive:
            st.markdown(f"*{run.status.phase or 'Starting worker'}* · the first batches come in about 10 s")
            st.skeleton(height=430)
        return
    left, right = st.columns([5, 3], gap="medium")
    phases = [(phase.name, phase.epochs) for phase in run.config.phases]
    figure = charts.training_curves(run.history, run.batches, theme(), total_epochs=run.total_epochs, phases=phases)
    best = run.best
    alt = f"Best validation accuracy {100 * best['val_accuracy']:.1f} %" if best else "The first epoch is under way"
    left.plotly_chart(figure, config=charts.CONFIG, key=f"curves-{run.name}", alt=alt)
    with right:
        if run.samples:
            _board(run, dataset)
        else:
            st.caption("Eight validation faces appear here after the first epoch.")


def _ended(run: Run) -> None:
    """What became of a run that is not at work, and the next step."""
    message = summary(run.state, run.status.message, run.job.log_tail())
    card = run.card
    if run.state is JobState.DONE and card and "validation" in card.metrics:
        report, leak = card.metrics["validation"], leak_words(card, "validation")
        finding(f"Done: {accuracy(report, 'validation', leak)}")
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
