"""Evaluate: where the model is right, where it is wrong, and on which images."""

import contextlib

import streamlit as st

from dashboard import caching
from dashboard.components import (
    accuracy,
    choose_view,
    dataset_picker,
    errors_shown,
    finding,
    job_card,
    model_picker,
    newest_job,
    page_link,
    plain,
)
from dashboard.confidence_view import confidence
from dashboard.evaluate_command import copy_as_command
from dashboard.evaluation import View, choose_tta, classes, confusion_finding, downloads, leak_words, read_view, scores
from dashboard.matrix_view import matrix_and_faces
from dashboard.model_upload import choose_added
from dashboard.models_view import models
from dashboard.results_upload import (
    about_results,
    add_model_or_results,
    choose_added_results,
    no_results,
    remove_results,
)
from dashboard.slices_view import slices
from dashboard.unscored import not_evaluated, times_revealed
from fer_core.errors import FerError
from fer_core.evaluation.predictions import predictions_file
from fer_core.inference.kept_results import KeptResults, list_results
from fer_core.inference.served import CHOSEN_ON, ServedModel
from fer_core.jobs.state import JobState
from fer_core.workspace import Workspace

SPLITS = ("validation", "test")
VIEWS = {
    "Matrix": matrix_and_faces,
    "Classes": classes,
    "Confidence": confidence,
    "Slices": slices,
    "Models": models,
}

space = Workspace.default()


def dataset_of(model: ServedModel) -> str | None:
    """The name of the dataset to look at a model on: its own, or else the newest that it has predictions on."""
    own = model.card.dataset.name if model.card else None
    for folder in sorted(space.list_datasets(), key=lambda folder: folder.name != own):
        with contextlib.suppress(FerError, OSError):  # damaged: told where it is chosen
            kept = model.results(space.evaluations, caching.dataset(folder).info.fingerprint)
            if any(predictions_file(kept, split).is_file() for split in SPLITS):
                return folder.name
    return own


def show(view: View) -> None:
    finding(confusion_finding(view.report))
    st.markdown(accuracy(view.report, view.where, leak_words(view.table, view.report)))
    about_results(view)
    scores(view)
    if view.model.chosen_on(view.dataset.info.fingerprint, view.split):
        st.caption(CHOSEN_ON)
    if view.report.n < (total := len(caching.table(view.dataset, view.split))):
        st.caption(f"Partial: {view.report.n:,} of the {total:,} {view.split} images were answered.")
    if view.split == "test":
        st.caption(f"These test images {times_revealed(view.dataset)} in this workspace.")
    chosen = choose_view(VIEWS)
    VIEWS[chosen](view)


choose_added()
choose_added_results()
with st.container(horizontal=True, vertical_alignment="bottom"):
    model, split, tta = model_picker(more=list_results(space)), SPLITS[0], None
    dataset = dataset_picker(prefer=dataset_of(model) if model else None)
    if model and dataset:
        split = st.segmented_control(
            "Split",
            SPLITS,
            default=SPLITS[0] if any(dataset.counts()[SPLITS[0]].values()) else SPLITS[1],
            required=True,
            key="split",
            bind="query-params",
        )
        with errors_shown():
            tta = choose_tta(model.results(space.evaluations, dataset.info.fingerprint), split)
    add_model_or_results(dataset, split)
if (training := newest_job("train")) and training.state().alive:
    st.caption(f"{plain(training.name)} is still training: its model can be chosen when training ends.")
if model is None:
    st.info("There is no model yet. Train one first.", icon=":material/model_training:")
    page_link("train", "Go to Train")
elif dataset is None:
    st.info("Prepare a dataset first: a model is scored on its validation or test images.", icon=":material/database:")
    page_link("data", "Go to Data")
else:
    arguments = ["evaluate", str(model.path), str(dataset.folder), "--split", split, *(["--tta", tta] if tta else [])]
    job = newest_job("evaluate")
    mine = job is not None and job.spec().arguments == arguments
    if job and (job.state().alive or (mine and job.state() is not JobState.DONE)):
        job_card(job)
    with errors_shown():
        file = predictions_file(model.results(space.evaluations, dataset.info.fingerprint), split, tta)
        view = None
        if file.is_file():
            with errors_shown():  # damaged predictions are told, and can be made again
                view = read_view(model, dataset, split, file)
        if view:
            show(view)
            with st.container(horizontal=True):
                downloads(view)
                copy_as_command(view)
                remove_results(model)
        elif isinstance(model, KeptResults):
            no_results(model, dataset, split)
        else:
            not_evaluated(model, dataset, split, arguments, file, busy=bool(job and job.state().alive))
