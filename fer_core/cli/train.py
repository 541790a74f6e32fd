"""``train``: trains a network on a prepared dataset, as a job that survives being stopped or killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from fer_core.cli.console import DetachOption, JsonOption, note, print_json, progress_bar
from fer_core.data.dataset import Dataset
from fer_core.errors import FerError
from fer_core.inference.served import check_unused
from fer_core.jobs.store import Job
from fer_core.jobs.worker import Worker, work
from fer_core.training import backend, runs
from fer_core.training.cluster import JOB_KIND, Cluster
from fer_core.training.config import DEFAULT_PRESET, RunConfig, apply_overrides, load_config, read_config
from fer_core.training.runs import Run
from fer_core.training.tracking.follow import followed
from fer_core.workspace import Workspace, check_name, expand

Setting = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, as phases.0.epochs=1. Repeatable."),
]


def train(
    context: typer.Context,
    dataset: Annotated[
        str | None, typer.Argument(metavar="DATASET", help="A prepared dataset, by name or path.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE.yaml", help=f"A preset, or settings in a file; {DEFAULT_PRESET} unless told."),
    ] = None,
    settings: Setting = [],  # noqa: B006 Typer makes a new list for every call
    name: Annotated[str | None, typer.Option(metavar="RUN", help="What to call the run.")] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped or killed.")
    ] = None,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Train although evaluation photographs are in train.")
    ] = False,
    hosts: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT,HOST...",
            help="Train in several processes, one at each address: give the same command on every host, with the "
            "--process-id of its place in the list. The first one keeps the run. Needs KERAS_BACKEND=jax.",
        ),
    ] = None,
    process_id: Annotated[
        int | None, typer.Option("--process-id", metavar="N", help="Which of --hosts this process is, from 0.")
    ] = None,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Trains a network on a prepared dataset, or goes on with a run."""
    space = Workspace.default()
    if hosts is None and process_id is not None:
        raise FerError("--process-id goes with --hosts: give the addresses of all processes, too.")
    cluster = Cluster.from_options(hosts, process_id) if hosts else None
    if resume is not None and (dataset or preset or settings or name or allow_leaks):
        raise FerError("--resume goes on with a run's own settings: give no dataset, preset, --set or --name.")
    if cluster and not cluster.first:
        _join(space, cluster, resume or name or "run", dataset, as_json)
        return
    if resume is not None:
        _resume(context, space, Job.open(space.run(resume)), cluster, detach=detach, as_json=as_json)
        return
    if dataset is None:
        raise FerError("Name a dataset, as `train DATASET`; or a run to go on with, as `train --resume RUN`.")
    preset = preset or DEFAULT_PRESET
    config = apply_overrides(load_config(preset), settings)
    data = Dataset.open(space.dataset(dataset))
    asked = config.phases
    config = runs.complete(config, data, allow_leaks=allow_leaks)
    if left_out := [phase.name for phase in asked if phase not in config.phases]:
        note(f"Left out: {', '.join(left_out)}. Without initial weights the head would learn from noise.")
    if allow_leaks and data.info.contaminated:
        note(f"{data.name} is leaky, and you allowed it: the run's scores will be too high. The card says so.")
    name = check_name(name or space.new_name(space.runs, config.preset), "run")
    check_unused(name, space)
    in_workspace = data.folder == space.datasets / dataset
    arguments = _arguments(dataset if in_workspace else str(data.folder), preset, settings, name, allow_leaks)
    if detach:
        _refuse_detached(cluster)
        job = runs.create(space, name, config, arguments)
        runs.start(job)
        _report_start(job, as_json)
        return
    with progress_bar() as bar, work(space.runs, runs.KIND, name, arguments, listener=bar) as worker:
        runs.write_config(worker.job, config)
        config = _train(context, space, config, data, worker, cluster)
    _finish(config, data, worker.job, as_json)


def _resume(
    context: typer.Context, space: Workspace, job: Job, cluster: Cluster | None, *, detach: bool, as_json: bool
) -> None:
    runs.check_resumable(job)
    config = read_config(job.folder / runs.CONFIG_FILE)
    data = runs.open_dataset(config)
    runs.check_leaks(data, allow_leaks=config.allow_leaks)
    if detach:
        _refuse_detached(cluster)
        runs.start(job)
        _report_start(job, as_json)
        return
    parent, arguments = job.folder.parent, job.spec().arguments
    with (
        progress_bar() as bar,
        work(parent, runs.KIND, job.name, arguments, listener=bar, resume=True) as worker,
    ):
        config = _train(context, space, config, data, worker, cluster)
    _finish(config, data, job, as_json)


def _refuse_detached(cluster: Cluster | None) -> None:
    if cluster:
        raise FerError("--detach does not go with --hosts: start each process in a terminal, or with nohup.")


def _train(
    context: typer.Context,
    space: Workspace,
    config: RunConfig,
    data: Dataset,
    worker: Worker,
    cluster: Cluster | None = None,
) -> RunConfig:
    """Waits for the device, which one run at a time may use, and trains.

    Returns:
        The settings, with what was chosen on this machine.
    """
    lock = worker.wait_for(space.device_lock, "the training run that is on")
    try:
        context.with_resource(followed(worker.job, config))  # until the command ends, whatever it still does
        with _leaving_others():
            _load(config, worker, cluster)
            if config.precision == "auto":
                config = config.model_copy(update={"precision": backend.usual_precision()})
                runs.write_config(worker.job, config)
            backend.told(config.model_dump_json())
            _check_together("")
            worker.emit("device", name=backend.device(), threads=config.threads, processes=backend.processes())
            from fer_core.training.loop import train as train_run

            train_run(config, data, worker)
            if Run(worker.job).model is None:
                _export_with_tensorflow(worker)
    finally:
        os.close(lock)
    return config


def _export_with_tensorflow(worker: Worker) -> None:
    """Has the model written that is served, which the backend of this process cannot do."""
    if not backend.has_tensorflow():
        note(f"Where TensorFlow is installed, `export {worker.job.name}` writes the model to serve.")
        return
    worker("Exporting the model with TensorFlow", 0, 0)
    command = [sys.executable, "-m", "fer_core", "export", str(worker.job.folder)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        note(f"The model to serve is missing: {done.stderr.strip()}")


def _join(space: Workspace, cluster: Cluster, run: str, dataset: str | None, as_json: bool) -> None:
    """Trains as one of several processes, by the settings that the first one tells; keeps nothing but a log."""
    name = check_name(space.new_name(space.jobs, f"{run}-process{cluster.process}"), "job")
    arguments = ["train", *([dataset] if dataset else []), "--hosts", "...", "--process-id", str(cluster.process)]
    given = Dataset.open(space.dataset(dataset)) if dataset else None
    with progress_bar() as bar, work(space.jobs, JOB_KIND, name, arguments, listener=bar) as worker, _leaving_others():
        _load(None, worker, cluster)
        config = RunConfig.model_validate_json(backend.told(None) or "")
        try:
            data, problem = _same_dataset(space, config, given), ""
        except FerError as error:
            data, problem = None, str(error)
        _check_together(problem)
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


def _check_together(problem: str) -> None:
    """Raises in every process what went wrong in one of them."""
    for process, said in enumerate(backend.all_say(problem)):
        if said:
            raise FerError(said if process == backend.process() else f"Process {process} says: {said}")


def _load(config: RunConfig | None, worker: Worker, cluster: Cluster | None) -> None:
    """Loads the framework; of several processes, waits for the others."""
    framework = {"jax": "JAX", "torch": "PyTorch"}.get(os.environ.get("KERAS_BACKEND", ""), "TensorFlow")
    worker(f"Loading {framework}", 0, 0)
    threads, devices = (config.threads, config.devices) if config else (None, None)
    backend.load(threads, devices, cluster, lambda: worker("Waiting for the other processes", 0, 0))


@contextlib.contextmanager
def _leaving_others() -> Iterator[None]:
    """Where this process ends early, it does not wait for the others of a cluster."""
    try:
        yield
    except BaseException as error:
        backend.leave_at_once(error.exit_code if isinstance(error, FerError) else 1)
        raise


def _arguments(dataset: str, preset: str, settings: list[str], name: str, allow_leaks: bool) -> list[str]:
    """The command line that does the same from any folder."""
    preset = str(expand(preset).absolute()) if Path(preset).suffix.lower() in (".yaml", ".yml") else preset
    changes = [part for setting in settings for part in ("--set", setting)]
    leaks = ["--allow-leaks"] if allow_leaks else []
    return ["train", dataset, "--preset", preset, *changes, "--name", name, *leaks]


def _report_start(job: Job, as_json: bool) -> None:
    if as_json:
        print_json({"run": job.name, "state": str(job.state()), "folder": str(job.folder)})
    else:
        note(f"Started {job.name}. Watch it: python -m fer_core runs show {job.name}")


def _finish(config: RunConfig, data: Dataset, job: Job, as_json: bool) -> None:
    """Reveals the test result where the recipe does, unless its user ended it before its time, and reports."""
    if config.reveal_test and job.stop_wish() is None:
        from fer_core.cli.evaluate import EvaluationSplit, score

        score(str(job.folder), str(data.folder), EvaluationSplit.TEST)
    run = Run(job)
    if as_json:
        print_json({"run": run.name, "state": str(run.state), "folder": str(run.folder), "metrics": run.metrics})
    else:
        typer.echo(f"{run.name}: {run.status.message}")
