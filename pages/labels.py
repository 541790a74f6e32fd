"""Labels: images whose label is probably wrong, most suspicious first."""

from pathlib import Path

import streamlit as st

from dashboard import caching
from dashboard.components import (
    accuracy,
    choose,
    dataset_job_cards,
    dataset_picker,
    errors_shown,
    finding,
    leak_badge,
    newest_job,
    page_link,
    resumable_card,
    without_train,
)
from dashboard.label_delete import delete_check
from dashboard.label_form import explain, job_of, show_why_not, start_form
from dashboard.label_gain import before_and_after
from dashboard.label_quality import label_quality
from dashboard.label_queue import label_queue
from dashboard.sentences import issues_finding
from fer_core.data.dataset import Dataset
from fer_core.evaluation.label_check import KIND, NOT_LEARNT, LabelCheck, list_label_checks
from fer_core.jobs.state import JobState
from fer_core.training.label_plan import resume_check
from fer_core.workspace import Workspace


def show(dataset: Dataset, check: LabelCheck) -> None:
    """What a check found, and its queue."""
    finding(issues_finding(check.info))
    # No network was asked about a photograph that it has learnt from: folds are grouped by photograph.
    told = accuracy(check.info, "train, out of fold", "Clean")
    st.caption(f"{check.info.folds} folds of {check.info.preset} agree with the labels: {told}")
    if not check.learnt:
        st.warning(NOT_LEARNT, icon=":material/warning:")
    noise = " · ".join(f"{emotion} {share:.0%}" for emotion, share in check.info.noise.items())
    st.caption(f"Estimated share of wrong labels: {noise}. {check.info.noise_caveat}")
    label_queue(dataset, check)
    label_quality(check)
    before_and_after(dataset, check)


def show_labels(dataset: Dataset, checks: list[LabelCheck], name: str) -> None:
    job = job_of(dataset)
    if job and job.state() is not JobState.DONE:
        resumable_card(job, lambda: resume_check(job))
    elif job and job.name not in [check.name for check in checks]:
        show_why_not(job)
    busy = bool(job and job.state().alive)
    check = next((check for check in checks if check.name == name), None)
    if check:
        with errors_shown():
            show(dataset, caching.label_check(check.folder))
        again = st.expander("Check the labels again", icon=":material/rule:", key="check_again", on_change="rerun")
        if again.open:
            with again:
                start_form(dataset, busy=busy)
        delete_check(check)
    elif not busy:
        explain()
        start_form(dataset, busy=False)


dataset_job_cards("prepare")
checks: list[LabelCheck] = []
name = ""
with st.container(horizontal=True, vertical_alignment="bottom"):
    newest = newest_job(KIND)
    dataset = dataset_picker(prefer=Path(newest.spec().arguments[2]).name if newest else None)
    if dataset is not None:
        checks = list_label_checks(Workspace.default(), dataset)
        names = [check.name for check in checks]
        name = choose("Label check", names, key="check") if len(names) > 1 else next(iter(names), "")
        leak_badge(dataset)
if dataset is None:
    st.info("Prepare a dataset first.", icon=":material/database:")
    page_link("data", "Go to Data")
elif not without_train(dataset):
    show_labels(dataset, checks, name)
