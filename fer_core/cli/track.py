"""``runs track``: a run in TensorBoard and MLflow, also afterwards."""

from __future__ import annotations

import os
import select
import sys
from typing import Annotated

import typer

from fer_core.cli.console import JsonOption, note, print_json
from fer_core.errors import FerError
from fer_core.jobs.store import Job
from fer_core.training.config import apply_overrides, read_config
from fer_core.training.runs import CONFIG_FILE, KIND
from fer_core.training.tracking.follow import follow
from fer_core.training.tracking.follow import track as track_run
from fer_core.training.tracking.places import TENSORBOARD_FOLDER, check_trackable, mlflow_place
from fer_core.workspace import Workspace


def track(
    name: Annotated[str, typer.Argument(metavar="RUN", help="A run, by name.")],
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write its curves into its folder, for TensorBoard.")
    ] = False,
    mlflow: Annotated[
        str | None, typer.Option(metavar="URI", help="Send it to this MLflow server, as http://localhost:5000.")
    ] = None,
    following: Annotated[bool, typer.Option("--follow", hidden=True)] = False,
    as_json: JsonOption = False,
) -> None:
    """Writes what a run has so far to TensorBoard or MLflow; without options, to those that its settings name.

    Calling it again adds what is missing and doubles nothing.
    """
    job = Job.open(Workspace.default().run(name))
    if job.kind != KIND:
        raise FerError(f"{job.name} is no training run.")
    config = read_config(job.folder / CONFIG_FILE)
    if following:
        os.nice(10)  # training goes first
        follow(job, config, _standard_input_ends)
        return
    if tensorboard or mlflow:
        config = apply_overrides(config, [f"tensorboard={str(tensorboard).lower()}", f"mlflow={mlflow or 'null'}"])
    if not (config.tensorboard or config.mlflow):
        raise FerError(f"Say where to write {job.name}: --tensorboard, --mlflow URI, or both.")
    check_trackable(config)
    track_run(job, config)
    folder, place = job.folder / TENSORBOARD_FOLDER, mlflow_place(job.folder) if config.mlflow else None
    if as_json:
        print_json(
            {
                "run": job.name,
                "tensorboard": str(folder) if config.tensorboard else None,
                "mlflow": place.model_dump() if place else None,
            }
        )
        return
    if config.tensorboard:
        note(f"Written for TensorBoard. Look at it: tensorboard --logdir {job.folder.parent}")
    if place:
        note(f"Written to MLflow: {place.link or f'{place.uri}, run {place.run_id}'}")


def _standard_input_ends(seconds: float) -> bool:
    """Whether standard input ends within so many seconds."""
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(readable) and not sys.stdin.buffer.read(1)
