"""``tour``: the whole loop on drawn faces in about a minute, without any data."""

from __future__ import annotations

import shutil
import time
from typing import Final

from fer_core.cli.console import DetachOption, JsonOption, note, print_json, progress_bar, start_detached
from fer_core.data.dataset import Dataset
from fer_core.errors import JobError, Stopped
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState, summary
from fer_core.jobs.store import Job
from fer_core.jobs.worker import Worker, work
from fer_core.training import runs
from fer_core.training.config import apply_overrides, load_preset
from fer_core.workspace import Workspace

DATASET: Final = "demo"
PRESET: Final = "compact"
EPOCHS: Final = 10
BATCH_SIZE: Final = 16


def tour(detach: DetachOption = False, as_json: JsonOption = False) -> None:
    """Draws a demo set, prepares it and trains a small model on it: the whole loop in about a minute."""
    space = Workspace.default()
    name = space.new_name(space.jobs, "tour")
    if detach:
        start_detached(space, "tour", name, ["tour"], as_json)
        return
    with progress_bar() as bar, work(space.jobs, "tour", name, ["tour"], listener=bar) as worker:
        _prepare_demo(space, worker)
        run = _train_demo(space, worker)
    if as_json:
        print_json({"dataset": DATASET, "run": run.name, "message": run.status().message})
    else:
        note(f"{run.name}: {run.status().message}")


def _prepare_demo(space: Workspace, worker: Worker) -> None:
    """Draws and prepares the demo set, unless an earlier tour did."""
    from fer_core.data.demo import draw_demo
    from fer_core.data.prepare import PrepareConfig, prepare

    if (space.datasets / DATASET / "dataset.json").is_file():
        return
    folder = space.sources / "demo"
    shutil.rmtree(folder, ignore_errors=True)  # an earlier tour may have been stopped between two archives
    archives = draw_demo(folder, progress=worker)
    prepare([str(path) for path in archives], space.datasets / DATASET, PrepareConfig(), worker)


def _train_demo(space: Workspace, worker: Worker) -> Job:
    name, data = space.new_name(space.runs, "demo"), Dataset.open(space.datasets / DATASET)
    # Some 450 training images: small batches give the optimizer enough steps.
    settings = [f"phases.0.epochs={EPOCHS}", f"phases.0.batch_size={BATCH_SIZE}"]
    config = runs.complete(apply_overrides(load_preset(PRESET), settings), data)
    (run,) = runs.create_all(space, runs.plan(config, str(data.folder), PRESET, settings, name))
    runs.start(run)
    try:
        while run.lock_held():
            status = run.status()
            worker(f"Training {name}: {status.phase}", status.done, status.total)
            time.sleep(0.5)
    except Stopped:
        supervisor.stop(run)
        raise
    state = run.state()
    if state is not JobState.DONE:
        raise JobError(summary(state, run.status().message, run.log_tail()))
    worker.say(f"The loop is closed. {run.status().message}", run=name)
    return run
