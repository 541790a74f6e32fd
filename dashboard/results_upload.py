"""Predictions made elsewhere on the Evaluate page: a CSV is scored as a job, and then chosen like a model."""

from __future__ import annotations

from typing import Final

import numpy as np
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from dashboard import caching
from dashboard.components import (
    errors_kept,
    errors_shown,
    finding,
    job_card,
    newest_job,
    plain,
    settle,
    show_kept_error,
)
from dashboard.evaluation import View
from dashboard.model_upload import choose_training, model_form
from dashboard.uploads import let_go_of_others
from fer_core import limits
from fer_core.data.dataset import Dataset
from fer_core.errors import FerError
from fer_core.evaluation.leaks import never_seen
from fer_core.evaluation.matching import Matches
from fer_core.evaluation.orders import ORDERS, fit_orders, misfit, order_text
from fer_core.evaluation.predictions import origin_of
from fer_core.evaluation.results_csv import Results, taken_for
from fer_core.evaluation.reveals import record_reveal
from fer_core.inference.adopt import suggest_name
from fer_core.inference.kept_results import KeptResults, delete_results, results_in
from fer_core.inference.served import ServedModel, list_models
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job
from fer_core.workspace import Workspace, check_name

KIND: Final = "evaluate"

_ADDED, _ROUND, _LOOKED = "added_results", "results_round", "results_looked_at_test"
_WIDTH: Final = 500  # pixels: it stays as it is while sentences come and go
_REFUSED, _UPLOADS_KEPT = "results_refused", "results_uploads_kept"


def choose_added_results() -> None:
    """What this visitor has just added becomes the chosen model when it is scored. Call it before the model picker."""
    space = Workspace.default()
    job = Job(space.jobs / st.session_state.get(_ADDED, ""))
    if _ADDED not in st.session_state or job.state().alive:
        return
    if not job.exists():
        del st.session_state[_ADDED]  # it failed, and was dismissed
    elif job.state() is not JobState.DONE:
        job_card(job)
    else:
        del st.session_state[_ADDED]
        if kept := results_in(space.evaluations / job.status().result["kept"], space):  # not removed meanwhile
            settle("model", kept.name)
            st.toast(f"Added {plain(kept.name)}.", icon=":material/check:")


def add_model_or_results(dataset: Dataset | None, split: str) -> None:
    """The popover: a model, or predictions on the split that is chosen on the page."""
    number = st.session_state.setdefault(_ROUND, 0)  # another one is closed, and its form empty
    adding = st.popover("Add model or predictions", icon=":material/add:", key=f"add-{number}")
    with adding, st.container(width=_WIDTH):
        what = st.segmented_control(
            "What to add",
            ("Model", "Predictions"),
            default="Model",
            required=True,
            label_visibility="collapsed",
            key="add_what",
        )
        if what == "Model":
            model_form()
        elif dataset is None:
            st.caption("Prepare a dataset first: predictions are scored on its validation or test images.")
        else:
            _results_form(dataset, split, number)


def _results_form(dataset: Dataset, split: str, number: int) -> None:
    n = sum(dataset.counts()[split].values())
    upload = st.file_uploader(
        "CSV: a column `file`, and one for each class",
        type=["csv", "tsv", "txt"],
        max_upload_size=limits.RESULTS_MB,
        help="Probabilities, scores or logits of each of the seven classes. Files are found by how their path ends.",
        key=f"results_file_{number}",
    )
    let_go_of_others([upload] if upload else [], _UPLOADS_KEPT)
    where = f"{split} of {plain(dataset.name)} · n {n:,}"
    ready, labels = False, None
    if upload is None:
        st.caption(f"They are scored on {where}, as chosen on the page.")
    else:
        with errors_shown():
            if upload.size > limits.RESULTS_MB * 2**20:  # the browser's check can be passed by
                raise FerError(f"{upload.name}: larger than {limits.RESULTS_MB} MB. Score it by the command line.")
            results, matches = caching.results(upload, dataset, split)
            rest = n - len(matches.files)
            without = f" The other {rest:,} images have no result and are not scored." if rest else ""
            st.caption(f"{len(matches.files):,} of its {len(results.files):,} files are images of {where}.{without}")
            if not results.named and len(matches.files):
                labels = _ask_order(upload, dataset, split, results, matches)
            ready = len(matches.files) > 0 and (results.named or labels is not None)
    left, right = st.columns(2)
    with left:
        training = choose_training(key=f"results_trained_on_{number}")
    with right:
        name = st.text_input("Name", placeholder="The file's name", max_chars=64, key=f"results_name_{number}")
    job = newest_job(KIND)
    test = split == "test"
    st.button(
        "Reveal test result" if test else "Evaluate",
        type="primary",
        icon=":material/lock_open:" if test else ":material/play_arrow:",
        help="Each look at test is counted." if test else None,
        disabled=not ready or bool(job and job.state().alive),
        on_click=_start,
        args=(upload, name, dataset, split, labels, training),
    )
    show_kept_error(_REFUSED)


def _ask_order(upload: UploadedFile, dataset: Dataset, split: str, results: Results, matches: Matches) -> str | None:
    """Which class each column is of, as ``--labels`` takes it: what fits is told, and the visitor confirms it."""
    options = [order_text(order) for order in ORDERS.values()]
    best = None
    if split == "test" and st.session_state.get(_LOOKED) != (upload.file_id, dataset.info.fingerprint):
        st.markdown("No column says which class it is of.")
        st.button(
            "Find the order out on test",
            help="A look at test, which is counted.",
            on_click=_look_at_test,
            args=(upload, dataset),
        )
    else:
        labels = caching.table(dataset, split)["label"].to_numpy(np.int64)
        fits = fit_orders(results.probabilities[matches.files].argmax(axis=1), labels[matches.images])
        evidence = f"{fits.words} of {fits.n:,} {split} images"
        st.markdown(plain(fits.doubt(evidence) or f"No column says which class it is of: {evidence}."))
        if fits.other:
            options.append(order_text(fits.other[0]))
            best = len(options) - 1
        elif fits.order:
            best = options.index(order_text(fits.order))
    return st.selectbox(
        "Order of its columns",
        options,
        index=best,
        placeholder="Choose the order",
        key=f"results_order_{upload.file_id}_{split}_{best}",
    )


def _look_at_test(upload: UploadedFile, dataset: Dataset) -> None:
    looked = (upload.file_id, dataset.info.fingerprint)
    if st.session_state.get(_LOOKED) == looked:  # a second click: a look must not count twice
        return
    with errors_kept(_REFUSED):
        sha = caching.table(dataset, "test")["pixel_sha"]
        record_reveal(Workspace.default(), sha, suggest_name(upload.name), dataset.name)
        st.session_state[_LOOKED] = looked


def _start(
    upload: UploadedFile, name: str, dataset: Dataset, split: str, labels: str | None, training: Dataset | None
) -> None:
    """The file lies in the job's folder until it is scored."""
    job = newest_job(KIND)
    if job and job.state().alive:  # a second click, or another tab: a look must not count twice
        return
    with errors_kept(_REFUSED):
        space = Workspace.default()
        stem = check_name(name or suggest_name(upload.name), "file of predictions")
        job_name = space.new_name(space.jobs, f"{KIND}-{split}")
        file = space.jobs / job_name / f"{stem}.csv"
        arguments = [KIND, str(file), str(dataset.folder), "--split", split]
        arguments += ["--labels", labels] if labels else []
        arguments += ["--trained-on", str(training.folder)] if training else []
        job = Job.create(space.jobs, KIND, job_name, arguments)
        try:
            supervisor.start(job, arguments, prepare=lambda: file.write_bytes(upload.getvalue()))
        except BaseException:
            file.unlink(missing_ok=True)  # on a full disk, this makes room for the rest
            job.discard()
            raise
        st.session_state[_ADDED] = job_name
        st.session_state[_ROUND] += 1


def no_results(model: KeptResults, dataset: Dataset, split: str) -> None:
    """What to do where predictions were added, but not of this split."""
    finding(f"{model.name} holds no predictions on {split} of {dataset.name}.")
    st.markdown("There is no model behind it that could be asked. Add a CSV of its predictions on these images.")
    remove_results(model)


def about_results(view: View) -> None:
    """What predictions without a model are, what is left of their accuracy, and what speaks against their numbers."""
    if not isinstance(view.model, KeptResults):
        return
    if warning := misfit(view.table["predicted"].to_numpy(), view.table["label"].to_numpy()):
        st.warning(plain(warning), icon=":material/swap_horiz:")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge("Predictions, no model", icon=":material/table_rows:", color="gray")
        st.caption(plain(never_seen(view.report, "when you add the predictions").replace("%", " %")))
    if told := taken_for(origin_of(view.table).read_as):
        st.caption(told)


def remove_results(model: ServedModel) -> None:
    """A popover that lets go of predictions; nothing where there is a model."""
    if not isinstance(model, KeptResults):
        return
    with st.popover("Remove", icon=":material/delete:", type="tertiary"):
        st.markdown(f"Deletes what is kept of {plain(model.name)}, on every dataset. Your own file stays.")
        st.button("Remove these predictions", icon=":material/delete:", on_click=_remove, args=(model,))


def _remove(model: KeptResults) -> None:
    delete_results(model)
    if models := list_models(Workspace.default()):
        settle("model", models[0].name)
