"""Several processes that train one run, as ``train --hosts`` starts them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import typer

from fer_core.cli.console import print_json, progress_bar
from fer_core.data.dataset import Dataset
from fer_core.errors import FerError
from fer_core.jobs.worker import Worker, work
from fer_core.training import backend
from fer_core.training.cluster import JOB_KIND, Cluster
from fer_core.training.config import RunConfig
from fer_core.workspace import Workspace, check_name


def join(space: Workspace, cluster: Cluster, run: str, dataset: str | None, as_json: bool) -> None:
    """Trains as one of several processes, by the settings that the first one tells; keeps nothing but a log."""
    stem = f"{Path(run).name[:40]}-process{cluster.process}"  # a run may also be given by its path
    name = check_name(space.new_name(space.jobs, stem), "job")
    arguments = ["train", *([dataset] if dataset else []), "--hosts", "...", "--process-id", str(cluster.process)]
    given = Dataset.open(space.dataset(dataset)) if dataset else None
    with progress_bar() as bar, work(space.jobs, JOB_KIND, name, arguments, listener=bar) as worker, leaving_others():
        load(None, worker, cluster)
        config = RunConfig.model_validate_json(backend.told(None) or "")
        try:
            data, problem = _same_dataset(space, config, given), ""
        except FerError as error:
            data, problem = None, str(error)
        check(problem)
        assert data is not None  # or there was a problem
        from fer_core.training.loop import train as train_run

        train_run(config, data, worker)
        said = f"{name}: its part of the training is done. The run is kept by process 0, at {cluster.meeting_point}."
        worker.say(said)
    if as_json:
        print_json({"job": name, "state": "done", "folder": str(space.jobs / name)})
    else:
        typer.echo(said)


def _same_dataset(space: Workspace, config: RunConfig, given: Dataset | None) -> Dataset:
    """This host's copy of the dataset that the first process trains on.

    Raises:
        FerError: There is none, or it holds other data.
    """
    assert config.dataset is not None  # written by `complete`
    found = given or Dataset.open(space.dataset(config.dataset.name))
    if found.info.fingerprint != config.dataset.fingerprint:
        raise FerError(f"{found.folder} holds other data than {config.dataset.name} of the first process. Copy it.")
    return found


def check(problem: str) -> None:
    """Raises in every process what went wrong in one of them."""
    for process, said in enumerate(backend.all_say(problem)):
        if said:
            raise FerError(said if process == backend.process() else f"Process {process} says: {said}")


def load(config: RunConfig | None, worker: Worker, cluster: Cluster | None) -> None:
    """Loads the framework; of several processes, waits for the others."""
    framework = {"jax": "JAX", "torch": "PyTorch"}.get(os.environ.get("KERAS_BACKEND", ""), "TensorFlow")
    worker(f"Loading {framework}", 0, 0)
    threads, devices = (config.threads, config.devices) if config else (None, None)
    backend.load(threads, devices, cluster, lambda: worker("Waiting for the other processes", 0, 0))


@contextlib.contextmanager
def leaving_others() -> Iterator[None]:
    """Where this process ends early, it does not wait for the others of a cluster."""
    try:
        yield
    except BaseException as error:
        backend.leave_at_once(error.exit_code if isinstance(error, FerError) else 1)
        raise
