"""Overview: the five steps from raw archives to a number you can defend, and the next one."""

import psutil
import streamlit as st

from dashboard import caching
from dashboard.components import (
    REFRESH_SECONDS,
    errors_shown,
    finding,
    job_card,
    newest_job,
    page_link,
    plain,
    state_badge,
)
from dashboard.overview import dataset_state, hero, next_step, sources_state, step, validation_accuracy
from fer_core.inference.served import default_model, list_models
from fer_core.jobs.state import JobState
from fer_core.machine import usable_cores
from fer_core.training.runs import list_runs
from fer_core.workspace import Workspace

space = Workspace.default()
archives = caching.archives(caching.archive_folders())
datasets = space.list_datasets()
runs = list_runs(space)
models = list_models(space)
own = next((model for model in models if model.run), None)  # of the newest finished run
box = default_model(space) if models else None
tour = newest_job("tour")
busy = tour is not None and tour.state().alive


@st.fragment(run_every=REFRESH_SECONDS if busy else None)
def follow_tour() -> None:
    """Brings the cards up to date when the tour has made something."""
    if (len(space.list_datasets()), len(list_runs(space))) != (len(datasets), len(runs)):
        st.rerun()


if tour and (busy or tour.state() is not JobState.DONE):
    job_card(tour)
    if busy and runs and runs[0].state.alive:
        page_link("train", "Watch it train", run=runs[0].name)
    follow_tour()
elif tour and own and tour.status().result.get("run") == own.name:
    finding(tour.status().message)
elif own:
    finding(f"{own.name}: {validation_accuracy(own)}")
elif box:
    finding(f"The model in the box, {box.name}: {validation_accuracy(box)}")
if box:
    with errors_shown():
        hero(box)

with st.grid(5, min_column_width=160):
    step("1 Sources", sources_state(archives), "data", "Find my data")
    step("2 Dataset", dataset_state(), "data", "Prepare")
    step("3 Run", f"{runs[0].name}, {runs[0].state}" if runs else "none yet", "train", "Train")
    scored = own or box
    step("4 Evaluation", validation_accuracy(scored) if scored else "no number yet", "evaluate", "Evaluate")
    step("5 Prediction", f"model {box.name}" if box else "no model yet", "predict", "Predict")
next_step(own is not None, bool(datasets), bool(archives), busy)

if runs:
    st.markdown("**Last runs**")
    for run in runs[:3]:
        with st.container(horizontal=True, vertical_alignment="center"):
            state_badge(run.state)
            page_link("train", run.name, run=run.name)
            st.caption(plain(run.status.message or run.status.phase))
memory = psutil.virtual_memory().total / 2**30
disk = space.free_bytes() / 2**30
st.caption(f"This machine: {usable_cores()} cores · {memory:.0f} GB memory · {disk:.0f} GB disk free")
