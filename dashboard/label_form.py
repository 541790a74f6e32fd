"""Starting a label check: what it does, its few settings, how long it takes here; and its job while it is at work."""

from __future__ import annotations

from typing import Final

import streamlit as st

from dashboard.components import all_jobs, errors_shown, finding, job_command, plain
from dashboard.preset_cards import estimate_words
from fer_core.data.dataset import Dataset
from fer_core.evaluation.label_check import KIND, read_label_check
from fer_core.jobs.store import Job
from fer_core.training import label_plan
from fer_core.training.config import list_presets, load_preset
from fer_core.training.label_plan import USUAL_FOLDS
from fer_core.training.speeds import Pictures, read_speeds
from fer_core.workspace import Workspace

_MOST_FOLDS: Final = 20


def job_of(dataset: Dataset) -> Job | None:
    """The newest label check of a dataset, in whatever state."""
    for job in all_jobs():
        if job.kind == KIND and job.spec().arguments[2] in (dataset.name, str(dataset.folder)):
            return job
    return None


def show_why_not(job: Job) -> None:
    """Why a label check that is done is not among those of the dataset."""
    with errors_shown():
        check = read_label_check(job.folder)
        st.info(
            f"{plain(check.name)} checked an earlier version of {plain(check.info.dataset)}, whose rows were others. "
            "Check the labels again.",
            icon=":material/history:",
        )


def explain() -> None:
    """What a label check is, where there is none yet."""
    finding("No label of this dataset has been checked yet.")
    st.markdown(
        "A label check splits train into folds. For each, a network learns from the other folds and then reads the "
        "images that it has never seen. Where it is sure of another expression, the label is probably wrong. You look "
        "at the most suspicious first and decide; nothing changes before you create a dataset with your decisions."
    )


def start_form(dataset: Dataset, *, busy: bool) -> None:
    """The settings of a label check, what it will take on this machine, and the button that starts it.

    Args:
        dataset: Whose labels.
        busy: Whether one is at work on it already.
    """
    space = Workspace.default()
    presets = [name for name in list_presets() if not any(phase.teachers for phase in load_preset(name).phases)]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        folds = st.number_input(
            "Folds", 2, _MOST_FOLDS, USUAL_FOLDS, key="labels_folds", width=120,
            help="The more, the more images each network learns from, and the longer.",
        )  # fmt: skip
        preset = st.selectbox("Recipe", presets, key="labels_preset", help="Of each fold's network.", width=200)
        config, settings = load_preset(preset), []
        if len(config.phases) == 1:
            usual = config.phases[0].epochs
            epochs = st.number_input("Epochs", 1, None, usual, key=f"labels_epochs_{preset}", width=120)
            settings = [f"phases.0.epochs={epochs}"] * (epochs != usual)
        start = st.button(
            "Start label check",
            type="primary",
            icon=":material/play_arrow:",
            disabled=busy,
            help="One is at work on this dataset." if busy else None,
        )
    with errors_shown():
        plan = label_plan.plan_check(dataset, preset, settings, int(folds))
        found = label_plan.estimate_check(plan, Pictures.of(dataset), read_speeds(space))
        words = estimate_words(found) if found else "not known yet; Measure on Train tells"
        st.caption(f"{folds} trainings, one after the other. On this machine: {words}. It can be stopped and resumed.")
        name = space.new_name(space.jobs, KIND)
        with st.expander("The same as a command", icon=":material/terminal:"):
            command = label_plan.arguments(plan, dataset.name, name)
            st.code(job_command(command), language="bash", wrap_lines=True)
        if start:
            label_plan.start_check(space, plan, dataset.name, name)
            st.rerun()
