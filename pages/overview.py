"""Overview: the five steps from raw archives to a number you can defend, and the next one."""

import os

import psutil
import streamlit as st

from dashboard import caching
from dashboard.components import (
    PAGES,
    REFRESH_SECONDS,
    accuracy,
    errors_shown,
    finding,
    job_card,
    newest_job,
    page_head,
    page_link,
    plain,
    state_badge,
)
from fer_core.errors import FerError
from fer_core.inference.card_text import leak_words
from fer_core.inference.images import UNCERTAIN_BELOW
from fer_core.inference.served import ServedModel, default_model, list_models
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState
from fer_core.training.runs import list_runs
from fer_core.workspace import Workspace

page_head("Overview", "From raw archives to a number you can defend.")
space = Workspace.default()
archives = caching.archives(caching.archive_folders())
datasets = space.list_datasets()
runs = list_runs(space)
models = list_models(space)
own = next((model for model in models if model.run), None)  # of the newest finished run
box = default_model(space) if models else None
tour = newest_job("tour")
busy = tour is not None and tour.state().alive


def start_tour() -> None:
    with errors_shown():
        supervisor.launch(space.jobs, "tour", space.new_name(space.jobs, "tour"), ["tour"])


@st.fragment(run_every=REFRESH_SECONDS if busy else None)
def follow_tour() -> None:
    """Brings the cards up to date when the tour has made something."""
    if (len(space.list_datasets()), len(list_runs(space))) != (len(datasets), len(runs)):
        st.rerun()


def next_step() -> None:
    """The one primary button: what comes next; the demo stands beside it for whoever wants to see the loop."""
    follow = None
    if own:
        follow = ("See where it is wrong", "evaluate", ":material/grid_on:")
    elif datasets:
        follow = ("Train a model", "train", ":material/model_training:")
    elif archives:
        follow = ("Find my data", "data", ":material/database:")
    with st.container(horizontal=True):
        if follow and st.button(follow[0], type="primary", icon=follow[2]):
            st.switch_page(PAGES / f"{follow[1]}.py")
        st.button(
            "Draw a demo set and run the loop",
            type="secondary" if follow else "primary",
            icon=":material/play_arrow:",
            on_click=start_tour,
            disabled=busy,
            help="Draws some hundred faces, prepares them and trains a small model, in about a minute.",
        )


def step(title: str, state: str, page: str, link: str) -> None:
    with st.container(border=True, height="stretch", gap="xsmall"):
        st.markdown(f"**{title}**")
        st.caption(plain(state).replace(" n ", " n\u00a0"))  # the number stays with its letter
        st.space("stretch")
        page_link(page, link)


def dataset_state() -> str:
    if not datasets:
        return "none prepared"
    try:
        dataset = caching.dataset(datasets[0])
    except FerError as error:
        return str(error)
    total = sum(sum(split.values()) for split in dataset.counts().values())
    return f"{dataset.name} · {total:,} images · {'leaky' if dataset.info.contaminated else 'clean'}"


def validation_accuracy(model: ServedModel) -> str:
    """The accuracy on a model's card, in the one way it is written."""
    report = model.card.metrics.get("validation") if model.card else None
    if model.card is None or report is None:
        return "no number yet"
    return accuracy(report, "validation", leak_words(model.card, "validation"))


def hero(model: ServedModel) -> None:
    """A photograph read on the spot by the model in the box: nothing has to be clicked or loaded first."""
    from dashboard.faces import read, sample, show_reading  # charts and ONNX Runtime: the heading stands before

    data, name, detector = sample(model)
    show_reading(data, read(data, name, model, detector, UNCERTAIN_BELOW), model)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"Read just now by {plain(model.name)}, the model in the box.")
        page_link("predict", "Try your own photo", model=model.name)


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
    found = ", ".join(archive.path.name for archive in archives[:3])
    step(
        "1 Sources",
        f"{len(archives)} found: {found}" if archives else "no archive found",
        "data",
        "Find my data",
    )
    step("2 Dataset", dataset_state(), "data", "Prepare")
    step("3 Run", f"{runs[0].name}, {runs[0].state}" if runs else "none yet", "train", "Train")
    scored = own or box
    step("4 Evaluation", validation_accuracy(scored) if scored else "no number yet", "evaluate", "Evaluate")
    step("5 Prediction", f"model {box.name}" if box else "no model yet", "predict", "Predict")
next_step()

if runs:
    st.markdown("**Last runs**")
    for run in runs[:3]:
        with st.container(horizontal=True, vertical_alignment="center"):
            state_badge(run.state)
            page_link("train", run.name, run=run.name)
            st.caption(plain(run.status.message or run.status.phase))
memory = psutil.virtual_memory().total / 2**30
st.caption(
    f"This machine: {os.cpu_count()} cores · {memory:.0f} GB memory · {space.free_bytes() / 2**30:.0f} GB disk free"
)
