"""``train``: trains a network on a prepared dataset, as a job that survives being stopped or killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import Annotated, Any

import typer

from fer_core.cli import together
from fer_core.cli.console import DetachOption, JsonOption, note, print_json, progress_bar
from fer_core.data.dataset import Dataset
from fer_core.errors import FerError
from fer_core.jobs.store import Job
from fer_core.jobs.worker import Worker, work
from fer_core.training import backend, runs
from fer_core.training.cluster import Cluster
from fer_core.training.config import (
    DEFAULT_PRESET,
    RunConfig,
    apply_overrides,
    load_config,
    parse_seeds,
    read_config,
)
from fer_core.training.runs import Run
from fer_core.training.tracking.follow import followed
from fer_core.workspace import Workspace

Setting = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, as phases.0.epochs=1. Repeatable."),
]


def train(
    dataset: Annotated[
        str | None, typer.Argument(metavar="DATASET", help="A prepared dataset, by name or path.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE.yaml", help=f"A preset, or settings in a file; {DEFAULT_PRESET} unless told."),
    ] = None,
    settings: Setting = [],  # noqa: B006 Typer makes a new list for every call
    name: Annotated[str | None, typer.Option(metavar="RUN", help="What to call the run.")] = None,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="1,2,3", help="Train one run for each seed, called RUN-seed1 and so on, one at a time."),
    ] = None,
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
    if resume is not None and (dataset or preset or settings or name or allow_leaks or seeds is not None):
        raise FerError("--resume goes on with a run's own settings: give no dataset, preset, --set, --seeds or --name.")
    if cluster and (detach or seeds is not None):
        raise FerError("--hosts goes with neither --detach nor --seeds: start each process by itself, as with nohup.")
    if cluster and not cluster.first:
        together.join(space, cluster, resume or name or "run", dataset, as_json)
        return
    if resume is not None:
        _resume(space, Job.open(space.run(resume)), cluster, detach=detach, as_json=as_json)
        return
    if dataset is None:
        raise FerError("Name a dataset, as `train DATASET`; or a run to go on with, as `train --resume RUN`.")
    each = parse_seeds(seeds) if seeds is not None else []
    if each and any(setting.partition("=")[0].strip() == "seed" for setting in settings):
        raise FerError("--seeds and --set seed=... both give the seed: leave one of them out.")
    preset = preset or DEFAULT_PRESET
    config = apply_overrides(load_config(preset), settings)
    data = Dataset.open(space.dataset(dataset))
    asked = config.phases
    config = runs.complete(config, data, allow_leaks=allow_leaks)
    if left_out := [phase.name for phase in asked if phase not in config.phases]:
        note(f"Left out: {', '.join(left_out)}. Without initial weights the head would learn from noise.")
    if allow_leaks and data.info.contaminated:
        note(f"{data.name} is leaky, and you allowed it: the run's scores will be too high. The card says so.")
    in_workspace = data.folder == space.datasets / dataset
    where = dataset if in_workspace else str(data.folder)
    plans = runs.plan(config, where, preset, settings, name or runs.free_name(space, config.preset), each)
    runs.check_new(space, plans)
    reports = _start(space, plans) if detach else [_foreground(space, plan, data, cluster, as_json) for plan in plans]
    if as_json:
        print_json(reports if each else reports[0])


def _start(space: Workspace, plans: list[runs.Plan]) -> list[dict[str, Any]]:
    """Starts all runs in the background, in order; they train one at a time."""
    jobs = runs.create_all(space, plans)
    for job in jobs:
        runs.start(job)
    return [_started(job) for job in jobs]


def _foreground(
    space: Workspace, plan: runs.Plan, data: Dataset, cluster: Cluster | None, as_json: bool
) -> dict[str, Any]:
    with contextlib.ExitStack() as trackers:
        with progress_bar() as bar, work(space.runs, runs.KIND, plan.name, plan.arguments, listener=bar) as worker:
            runs.write_config(worker.job, plan.config)
            config = _train(space, plan.config, data, worker, cluster, trackers)
        return _finish(config, data, worker.job, as_json)


def _resume(space: Workspace, job: Job, cluster: Cluster | None, *, detach: bool, as_json: bool) -> None:
    runs.check_resumable(job)
    config = read_config(job.folder / runs.CONFIG_FILE)
    data = runs.open_dataset(config)
    runs.check_leaks(data, allow_leaks=config.allow_leaks)
    if detach:
        runs.start(job)
        report = _started(job)
        if as_json:
            print_json(report)
        return
    parent, arguments = job.folder.parent, job.spec().arguments
    with contextlib.ExitStack() as trackers:
        with progress_bar() as bar, work(parent, runs.KIND, job.name, arguments, listener=bar, resume=True) as worker:
            config = _train(space, config, data, worker, cluster, trackers)
        report = _finish(config, data, job, as_json)
    if as_json:
        print_json(report)


def _train(
    space: Workspace,
    config: RunConfig,
    data: Dataset,
    worker: Worker,
    cluster: Cluster | None,
    trackers: contextlib.ExitStack,
) -> RunConfig:
    """Waits for the device, which one run at a time may use, and trains.

    Args:
        space: Where the device's lock is.
        config: Complete settings of the run.
        data: What it trains on.
        worker: The run's job.
        cluster: The processes that train together, if there are several.
        trackers: Follow the run until this is closed, so that they also get what comes after the training.

    Returns:
        The settings, with what was chosen on this machine.
    """
    lock = worker.wait_for_device(space)
    try:
        trackers.enter_context(followed(worker.job, config))
        with together.leaving_others():
            together.load(config, worker, cluster)
            config = backend.settled(config)
            runs.write_config(worker.job, config)
            backend.told(config.model_dump_json())
            together.check("")
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


def _started(job: Job) -> dict[str, Any]:
    note(f"Started {job.name}. Watch it: python -m fer_core runs show {job.name}")
    return {"run": job.name, "state": str(job.state()), "folder": str(job.folder)}


def _finish(config: RunConfig, data: Dataset, job: Job, as_json: bool) -> dict[str, Any]:
    """Reveals the test result where the recipe does, unless its user ended it before its time, and reports."""
    if config.reveal_test and job.stop_wish() is None and Run(job).model:
        from fer_core.cli.evaluate import EvaluationSplit, score

        score(str(job.folder), str(data.folder), EvaluationSplit.TEST)
    run = Run(job)
    if not as_json:
        typer.echo(f"{run.name}: {run.status.message}")
    return {"run": run.name, "state": str(run.state), "folder": str(run.folder), "metrics": run.metrics}
