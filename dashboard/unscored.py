"""Evaluate, where a model has not been scored on a split yet; a test split is sealed until it is asked for."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard import caching
from dashboard.components import errors_shown, finding, newest_job
from fer_core.data.dataset import Dataset
from fer_core.evaluation.reveals import reveals
from fer_core.inference.served import ServedModel
from fer_core.jobs import supervisor
from fer_core.workspace import Workspace


def _start(arguments: list[str], split: str, file: Path, drawn: float) -> None:
    """Starts an evaluation, unless another tab did so since this page was drawn: a look must not count twice."""
    job = newest_job("evaluate")
    if _written(file) != drawn or (job and job.state().alive and job.spec().arguments == arguments):
        return
    with errors_shown():
        space = Workspace.default()
        supervisor.launch(space.jobs, "evaluate", space.new_name(space.jobs, f"evaluate-{split}"), arguments)


def _written(file: Path) -> float:
    """When a file was written; 0 where there is none."""
    return file.stat().st_mtime if file.is_file() else 0.0


def times_revealed(dataset: Dataset) -> str:
    """How often the test split was looked at, in words."""
    count = reveals(Workspace.default(), caching.table(dataset, "test")["pixel_sha"])
    return {0: "have never been looked at", 1: "have been looked at once"}.get(
        count, f"have been looked at {count} times"
    )


def not_evaluated(
    model: ServedModel, dataset: Dataset, split: str, arguments: list[str], file: Path, busy: bool
) -> None:
    """What to do where there are no predictions yet; a test split is sealed until it is asked for."""
    n = sum(dataset.counts()[split].values())
    if not n:
        finding(f"{dataset.name} has no {split} images. Choose another split or dataset.")
        return
    label, icon = "Evaluate now", ":material/play_arrow:"
    if split == "test":
        finding("The test result is sealed.")
        st.markdown(
            "A test set that is looked at again and again becomes a validation set: what is chosen by it is no longer "
            f"measured by it. These {n:,} test images {times_revealed(dataset)} in this workspace. "
            "Each look is counted, and a run's card says how often."
        )
        label, icon = "Reveal test result", ":material/lock_open:"
    else:
        finding(f"{model.name} has not been scored on the {n:,} {split} images of {dataset.name} yet.")
    st.button(
        label, type="primary", icon=icon, disabled=busy, on_click=_start, args=(arguments, split, file, _written(file))
    )
