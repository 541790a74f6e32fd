"""What decisions about labels bought: the same training before and after, and the job that measures it."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import streamlit as st

from dashboard.components import accuracy, all_jobs, errors_shown, page_link, plain, resumable_card
from dashboard.preset_cards import estimate_words
from dashboard.run_table import NOISE, points
from fer_core.data.dataset import Dataset
from fer_core.data.decisions import Pending
from fer_core.errors import FerError
from fer_core.evaluation.compare import p_words
from fer_core.evaluation.label_check import MEASURE_KIND, ONE_TRAINING, BeforeAfter, LabelCheck
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job
from fer_core.training.before_after import check_measurable
from fer_core.training.estimate import estimate
from fer_core.training.facts import Score
from fer_core.training.label_plan import read_plan
from fer_core.training.speeds import Pictures, read_speeds
from fer_core.workspace import Workspace


def before_and_after(dataset: Dataset, check: LabelCheck) -> None:
    """The result where there is one, the job while it is at work, and the button that starts it.

    Args:
        dataset: That was checked.
        check: Whose decisions are measured.
    """
    st.markdown("**Before and after**")
    found = None
    with errors_shown():
        found = check.before_after
    if found:
        _result(found)
    job = job_measuring(check)
    if job and job.state() is not JobState.DONE:
        resumable_card(job, lambda: supervisor.start(job, job.spec().arguments))
    st.caption(
        f"Trains {plain(check.info.preset)} twice, with the labels as they were and with your decisions, and compares "
        f"both on the same validation images. Runs that are there already are not trained again.{_time(dataset, check)}"
    )
    if st.button(
        "Measure again" if found else "Measure before and after",
        icon=":material/compare_arrows:",
        disabled=bool(job and job.state().alive),
    ):
        with errors_shown():
            _start(dataset, check)


def _time(dataset: Dataset, check: LabelCheck) -> str:
    """How long both trainings take here, as a sentence; none where the settings are gone, which starting them says."""
    with contextlib.suppress(FerError):
        config, speeds = read_plan(Job(check.folder)).config, read_speeds(Workspace.default())
        found = estimate(config, Pictures.of(dataset), speeds)
        # The dataset with decisions holds nearly as many images.
        told = estimate_words(replace(found, seconds=2 * found.seconds)) if found else "not known yet"
        return f" Both on this machine: {told}."
    return ""


def job_measuring(check: LabelCheck) -> Job | None:
    """The newest job that measures what decisions about a check bought, in whatever state."""
    jobs = (job for job in all_jobs() if job.kind == MEASURE_KIND)
    return next((job for job in jobs if job.spec().arguments[2] == check.name), None)


def _start(dataset: Dataset, check: LabelCheck) -> None:
    space, pending = Workspace.default(), Pending(dataset.folder)
    check_measurable(read_plan(Job(check.folder)), pending.read())
    arguments = ["labels", "measure", check.name, "--decisions", str(pending.frozen())]
    supervisor.launch(space.jobs, MEASURE_KIND, space.new_name(space.jobs, f"{check.name[:50]}-measure"), arguments)
    st.rerun()


def _result(found: BeforeAfter) -> None:
    noise = f", {NOISE}" if found.within_noise else ""
    st.markdown(
        f"**{points(found)} points{noise}** after {_decisions(found)} · validation · n {found.n:,} · "
        f"{p_words(found.p_value)} · only the run after reads {found.only_after:,} rightly, only the one before "
        f"{found.only_before:,}"
    )
    st.caption(ONE_TRAINING)
    if found.warning:
        st.warning(found.warning, icon=":material/warning:")
    for word, side in (("Before", found.before), ("After", found.after)):
        with st.container(horizontal=True, vertical_alignment="center"):
            score = accuracy(Score(side.accuracy, side.ci95, found.n), "validation", "Clean")
            st.caption(f"{word}: {score}", width="content")
            page_link("train", plain(side.run), run=side.run)


def _decisions(found: BeforeAfter) -> str:
    told = ", ".join(f"{n:,} {action}" for action, n in found.decisions.items())
    n = sum(found.decisions.values())
    who = "changes that nobody looked at" if found.automatic else f"decision{'s' * (n != 1)}"
    return f"{n:,} {who} ({told})"
