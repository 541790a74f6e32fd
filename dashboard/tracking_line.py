"""Where else a run is written to, as one quiet line of the Train page."""

from __future__ import annotations

import streamlit as st

from dashboard.components import plain
from fer_core.training.runs import Run
from fer_core.training.tracking.places import TENSORBOARD_FOLDER, mlflow_place


def tracking_line(run: Run) -> None:
    """How to see the run in TensorBoard and MLflow; nothing for a run that is in neither."""
    said = []
    if any((run.folder / TENSORBOARD_FOLDER).glob("*tfevents*")):
        said.append(f"TensorBoard: `tensorboard --logdir {run.folder.parent}`")
    place = mlflow_place(run.folder)
    if place:
        shown = f"[run {place.run_id[:8]}]({place.link})" if place.link else f"run {place.run_id[:8]}"
        said.append(f"MLflow: {plain(place.uri)} {shown}")
    elif run.config.mlflow:
        said.append(f"MLflow: {plain(run.config.mlflow)}, not reached so far")
    if said:
        st.caption(" · ".join(said))
