"""Train: start a run and watch it live."""

import streamlit as st

from dashboard.components import choose, page_link, plain, settle
from dashboard.run_panel import watch
from dashboard.train_form import train_form
from fer_core.jobs import device_queue
from fer_core.jobs.state import JobState
from fer_core.training.runs import list_runs
from fer_core.workspace import Workspace

if "started" in st.session_state:  # the run that this visitor has just started becomes the chosen one
    settle("run", st.session_state.pop("started"))
space = Workspace.default()
runs = list_runs(space)
names = [run.name for run in sorted(runs, key=lambda run: run.state is not JobState.RUNNING)]  # at work first
repeat = st.query_params.get("repeat", "")
if repeat:  # from Runs: the form is the page until the run is started
    train_form(repeat)
    page_link("runs", "Back to Runs")
elif not names:
    train_form()
else:
    chosen = choose("Run", names, key="run")
    if len(queue := device_queue.line(space)) > 1:
        st.caption("In line, in the order of their start: " + " → ".join(plain(job.name) for job in queue))
    watch(chosen)
    # While a run is at work it is the page; otherwise the form is.
    with st.expander("New run", icon=":material/add:", expanded=not any(run.state.alive for run in runs)):
        train_form()
