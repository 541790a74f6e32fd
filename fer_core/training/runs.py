"""Training runs as folders: made, started and read. Loads no training framework, so pages may use it."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import ValidationError

from fer_core.data.dataset import Dataset
from fer_core.emotions import EMOTIONS
from fer_core.errors import ConfigError, DatasetError, FerError, JobError, LeakError
from fer_core.inference.served import CARD_FILE, MODEL_FILE, ModelCard, check_unused
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job, JobStatus, list_jobs, write_atomically
from fer_core.machine import usable_cores
from fer_core.training.config import DatasetReference, PhaseConfig, RunConfig, absolute_preset, read_config
from fer_core.training.run_log import BATCH_COLUMNS, Change, RunEvents, read_events
from fer_core.training.tracking.places import check_trackable
from fer_core.workspace import Workspace, check_name

if TYPE_CHECKING:
    import pandas as pd

KIND: Final = "train"
CONFIG_FILE: Final = "config.yaml"
METRICS_FILE: Final = "metrics.json"
KERAS_FILE: Final = "best.keras"
CHECKPOINTS: Final = "checkpoints"
"""The folder that a run goes on from; only unfinished runs need it."""

TIME_COLUMNS: Final = ("time", "seconds", "images_per_second")
"""Columns of a history that differ between two runs that are otherwise the same."""

_MOST_POINTS: Final = 600  # of a line within epochs: more than a screen shows apart

_USE: Final = ("cpu_percent", "memory_bytes", "gpu_percent", "gpu_memory_bytes")

_SCORES: Final = (
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "val_macro_precision",
    "val_macro_recall",
    "val_macro_f1",
    "learning_rate",
    "weight_decay",
    "best",
)
_COLUMNS: Final = (
    "phase",
    "epoch",
    "global_epoch",
    *_SCORES,
    *(f"recall_{emotion}" for emotion in EMOTIONS),
    *TIME_COLUMNS,
)


def complete(config: RunConfig, dataset: Dataset, *, allow_leaks: bool = False) -> RunConfig:
    """Settings with everything that a run records of itself: dataset, threads, whether leaks are allowed.

    Without initial weights, phases that train only the head are left out: it would learn from noise.

    Raises:
        DatasetError: There is nothing to train on.
        LeakError: Evaluation photographs are in the dataset's training split, and leaks are not allowed.
        ConfigError: No phase is left, or what the run is to be written to is not installed.
    """
    dataset.check_trainable()
    if not any(dataset.counts()["validation"].values()):
        raise DatasetError(f"{dataset.name} has no validation images. Choose another dataset.")
    check_leaks(dataset, allow_leaks=allow_leaks)
    check_trackable(config)
    phases = trained_phases(config)
    if not phases:
        raise ConfigError(
            "All phases train only the head, on a network with random weights: it would learn from noise. "
            "Give --set weights=imagenet or the path of a weights file, or open more layers."
        )
    check_teachers(config, dataset, allow_leaks=allow_leaks)
    reference = DatasetReference(name=dataset.name, path=str(dataset.folder), fingerprint=dataset.info.fingerprint)
    threads = config.threads or usable_cores()
    recorded = {"dataset": reference, "threads": threads, "allow_leaks": allow_leaks, "phases": phases}
    return config.model_copy(update=recorded)


def trained_phases(config: RunConfig) -> list[PhaseConfig]:
    """The phases that are trained: without initial weights, those that train only the head are left out."""
    return [phase for phase in config.phases if config.weights != "none" or phase.trainable != "head"]


def open_dataset(config: RunConfig) -> Dataset:
    """The dataset that a run trains on.

    Raises:
        DatasetError: It is gone or damaged.
        JobError: It is not the one that the run began with.
    """
    assert config.dataset is not None  # written by `complete`
    dataset = Dataset.open(Path(config.dataset.path))
    if dataset.info.fingerprint != config.dataset.fingerprint:
        raise JobError(
            f"{dataset.folder} holds other data than when the run began, so it cannot go on. "
            "Put the dataset back, or start a new run."
        )
    return dataset


def check_leaks(dataset: Dataset, *, allow_leaks: bool) -> None:
    """Refuses a dataset whose evaluation images, or copies of them, would be trained on.

    Raises:
        LeakError: It is such a dataset, and leaks are not allowed.
    """
    leaked = {split: n for split, n in dataset.info.leaked.items() if n}
    if allow_leaks or not (dataset.info.contaminated or leaked):
        return
    counts = dataset.counts()
    found = " and ".join(f"{n:,} of {sum(counts[split].values()):,} {split}" for split, n in leaked.items())
    raise LeakError(
        f"{dataset.name} is leaky: the photographs of {found or 'some'} images are in its train split too, "
        "so scores would be too high. Prepare it with --policy leak-free, or train anyway with --allow-leaks."
    )


def check_teachers(config: RunConfig, dataset: Dataset, *, allow_leaks: bool) -> None:
    """Refuses teachers that are no finished runs, or that may know evaluation photographs of the dataset.

    Raises:
        ConfigError: A teacher is no finished run.
        LeakError: A teacher learnt from another dataset, and leaks are not allowed.
    """
    space = Workspace.default()
    for name in _teachers(config):
        card = teacher_run(space, name).card
        assert card is not None  # or it had not finished
        if card.dataset.fingerprint != dataset.info.fingerprint and not allow_leaks:
            raise LeakError(
                f"The teacher {name} learnt from {card.dataset.name}, and may know evaluation photographs of "
                f"{dataset.name}. Train it on {dataset.name}, or go on anyway with --allow-leaks."
            )


def missing_teachers(space: Workspace, config: RunConfig) -> list[str]:
    """The teachers that a run asks for and that are no finished runs, in its order."""
    missing = []
    for name in _teachers(config):
        try:
            teacher_run(space, name)
        except ConfigError:
            missing.append(name)
    return missing


def _teachers(config: RunConfig) -> list[str]:
    """Those of all phases, each once."""
    return list(dict.fromkeys(name for phase in config.phases for name in phase.teacher_names))


def teacher_run(space: Workspace, name: str) -> Run:
    """A finished run whose network can teach another one.

    Raises:
        ConfigError: There is none of that name, or it has not finished.
    """
    try:
        run = Run(Job.open(space.run(name)))
        finished = run.card is not None and (run.folder / KERAS_FILE).is_file()
    except FerError as error:
        raise ConfigError(f"teachers: {error}") from error
    if not finished:
        raise ConfigError(f"teachers: the run {name} has not finished. Let it end, or go on with `train --resume`.")
    return run


def create(space: Workspace, name: str, config: RunConfig, arguments: list[str]) -> Job:
    """Makes the folder of a new run, with its settings.

    Args:
        space: Where to.
        name: The run's folder name.
        config: From ``complete``.
        arguments: The command line that would do it again.

    Raises:
        FerError: The name cannot be a folder's, or there is a run or model of that name.
    """
    check_unused(check_name(name, "run"), space)
    job = Job.create(space.runs, KIND, name, arguments)
    write_config(job, config)
    return job


@dataclass(frozen=True)
class Plan:
    """A run to be: its name, complete settings, and the command line that does it alone."""

    name: str
    config: RunConfig
    arguments: list[str]


def arguments(
    dataset: str,
    preset: str,
    settings: Sequence[str],
    name: str,
    *,
    allow_leaks: bool = False,
    seeds: Sequence[int] = (),
) -> list[str]:
    """The command line that trains, the same in any folder.

    Args:
        dataset: Name in the workspace, or absolute path.
        preset: A name or a file.
        settings: As ``key=value``.
        name: Of the run; of several seeds, what their names begin with.
        allow_leaks: Whether to train on a leaky dataset.
        seeds: One run for each; none for a single run with the seed of its settings.
    """
    changes = [part for setting in settings for part in ("--set", setting)]
    several = ["--seeds", ",".join(map(str, seeds))] if seeds else []
    leaks = ["--allow-leaks"] if allow_leaks else []
    return ["train", dataset, "--preset", absolute_preset(preset), *changes, "--name", name, *several, *leaks]


def plan(
    config: RunConfig, dataset: str, preset: str, settings: Sequence[str], name: str, seeds: Sequence[int] = ()
) -> list[Plan]:
    """The run of that name, or one for each seed, called ``<name>-seed1`` and so on.

    Args:
        config: From ``complete``.
        dataset: Like the others, as for ``arguments``.
        preset: Where the settings started from.
        settings: Those that differ from it.
        name: Of the run, or the beginning of names.
        seeds: None for a single run.
    """
    leaks = config.allow_leaks
    if not seeds:
        return [Plan(name, config, arguments(dataset, preset, settings, name, allow_leaks=leaks))]
    plans = []
    for seed in seeds:
        own, changed = f"{name}-seed{seed}", [*settings, f"seed={seed}"]
        alone = arguments(dataset, preset, changed, own, allow_leaks=leaks)
        plans.append(Plan(own, config.model_copy(update={"seed": seed}), alone))
    return plans


def check_new(space: Workspace, plans: Sequence[Plan]) -> None:
    """Refuses names before anything is made, so that of several runs none is left half-begun.

    Raises:
        FerError: One cannot be a folder's, or there is a run or model of that name.
    """
    for one in plans:
        check_unused(check_name(one.name, "run"), space)
        if (space.runs / one.name).exists():
            raise JobError(f"There is a run named {one.name!r} already. Choose another name.")


def free_name(space: Workspace, stem: str) -> str:
    """The first ``stem-1``, ``stem-2``, ... that neither a run has, nor the beginning of the runs of several seeds."""
    taken = {re.sub(r"-seed\d+$", "", folder.name) for folder in space.runs.glob("*")}
    taken |= {folder.name for folder in space.runs.glob("*")}
    return next(name for name in (f"{stem}-{number}" for number in itertools.count(1)) if name not in taken)


def create_all(space: Workspace, plans: Sequence[Plan]) -> list[Job]:
    """Makes the folders of all runs, or of none.

    Raises:
        FerError: See ``check_new``.
    """
    check_new(space, plans)
    return [create(space, one.name, one.config, one.arguments) for one in plans]


def write_config(job: Job, config: RunConfig) -> None:
    """Writes the ``config.yaml`` of a run."""
    write_atomically(job.folder / CONFIG_FILE, config.to_yaml())


def start(job: Job) -> None:
    """Starts a new or interrupted run detached from this process.

    Raises:
        JobError: It is running, or finished.
    """
    check_resumable(job)
    supervisor.start(job, ["train", "--resume", str(job.folder)])


def check_resumable(job: Job) -> None:
    """Raises JobError where a job cannot go on: no training run, no settings, or it is finished."""
    if job.spec().kind != KIND:
        raise JobError(f"{job.name} is no training run.")
    if job.state() is JobState.DONE:
        raise JobError(f"{job.name} is finished, there is nothing to resume. Start a new run to train further.")
    if not (job.folder / CONFIG_FILE).is_file():
        command = " ".join(job.spec().arguments)
        raise JobError(
            f"{job.name} ended before its settings were written. Start it again: python -m fer_core {command}"
        )


@dataclass(frozen=True)
class RunProgress:
    """How far a run is.

    Attributes:
        epochs: Finished epochs of all phases.
        total: Epochs of all phases.
        share: Of the work, 0 to 1, the current epoch's batches included.
        seconds_left: Expected until the last epoch ends; None while no speed is known.
        images_per_second: Of training, latest; None while not known.
    """

    epochs: int
    total: int
    share: float
    seconds_left: float | None
    images_per_second: float | None


@dataclass(frozen=True)
class Run:
    """One look at a run: files are read once, when asked for. Make a new one to look again."""

    job: Job

    @property
    def name(self) -> str:
        return self.job.name

    @property
    def folder(self) -> Path:
        return self.job.folder

    @cached_property
    def state(self) -> JobState:
        return self.job.state()

    @cached_property
    def status(self) -> JobStatus:
        return self.job.status()

    @cached_property
    def config(self) -> RunConfig:
        """Its settings.

        Raises:
            ConfigError: The file is missing or damaged.
        """
        return read_config(self.folder / CONFIG_FILE)

    @cached_property
    def events(self) -> RunEvents:
        return read_events(self.folder / "events.jsonl")

    @cached_property
    def epoch_events(self) -> list[dict[str, Any]]:
        """The last ``epoch`` event of every epoch, in order: a repeated epoch counts as it went last."""
        return sorted(self.events.epochs, key=lambda event: (event["phase"], event["epoch"]))

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row per finished epoch: phase and epoch from 0, global_epoch, scores, recall_<emotion>, speed.

        Recall is NaN for an emotion that the validation split does not hold.
        """
        import pandas as pd

        rows = [
            {**event, **{f"recall_{emotion}": r for emotion, r in event["val_recall"].items()}}
            for event in self.epoch_events
        ]
        table = pd.DataFrame(rows, columns=pd.Index(_COLUMNS))
        floats = [column for column in _COLUMNS if column.startswith("recall_") or column in TIME_COLUMNS]
        return table.astype(dict.fromkeys(floats, float))

    @property
    def batch(self) -> dict[str, Any] | None:
        """The latest ``batch`` event of the epoch that is being trained; None between epochs."""
        return self.events.batch

    @cached_property
    def batches(self) -> pd.DataFrame:
        """Running training scores within epochs: ``at`` (epochs since the start), loss, accuracy; at most 600 rows."""
        table = self._within_epochs
        return _thinned(table.loc[~table["early"], ["at", "loss", "accuracy"]])

    @cached_property
    def machine(self) -> pd.DataFrame:
        """What training took: ``at`` (epochs since the start), images_per_second, cpu_percent (100 is one core),
        memory_bytes, gpu_percent and gpu_memory_bytes; at most 600 rows, NaN where nothing is known."""
        table = self._within_epochs
        table["images_per_second"] = table["images_per_second"].where(~table["early"])
        return _thinned(table[["at", "images_per_second", *_USE]])

    @property
    def _within_epochs(self) -> pd.DataFrame:
        """The batch events: ``at`` (epochs since the start), ``early`` in the epoch or not, and their columns."""
        import pandas as pd

        rows = self.events.batches
        rows = rows[rows[:, 0] < len(self.phases)]
        starts = np.cumsum([0, *(epochs for _, epochs in self.phases)])
        table = pd.DataFrame(rows, columns=pd.Index(BATCH_COLUMNS))
        share = (table["batch"] + 1) / table["batches"]
        table["at"] = starts[rows[:, 0].astype(int)] + table["epoch"] + share
        table["early"] = share <= 0.05  # means over an epoch's first batches jump about
        # A resumed run repeats the epoch it was stopped in: what was trained last counts.
        return table[table["at"] == table["at"][::-1].cummin()[::-1]]

    @cached_property
    def changes(self) -> list[tuple[float, Change]]:
        """What the run changed of its own settings, with the end of the epoch (counted from 1) that it followed."""
        starts = np.cumsum([0, *(epochs for _, epochs in self.phases)])
        return [
            (float(starts[change.phase] + change.epoch + 1), change)
            for change in self.events.changes
            if change.phase < len(self.phases)
        ]

    @property
    def gap(self) -> float | None:
        """Accuracy on train minus that on validation after the last epoch, -1 to 1; None before the first."""
        last = self.epoch_events[-1] if self.epoch_events else None
        return last["accuracy"] - last["val_accuracy"] if last else None

    @property
    def samples(self) -> list[dict[str, Any]]:
        """The sample board after the last epoch: row (of validation), true, guess, probability_true."""
        return self.epoch_events[-1]["samples"] if self.epoch_events else []

    @property
    def best(self) -> dict[str, Any] | None:
        """The ``epoch`` event of the best epoch so far, by validation accuracy."""
        best = [event for event in self.epoch_events if event["best"]]
        return best[-1] if best else None

    @cached_property
    def phases(self) -> list[tuple[str, int]]:
        """Name and number of epochs of each phase: what it took, where it is over, else what it may take."""
        current = self.epoch_events[-1]["phase"] if self.epoch_events else 0
        took = Counter(event["phase"] for event in self.epoch_events)
        over = len(self.config.phases) if self.state is JobState.DONE else max(current, self.events.started)
        phases = enumerate(self.config.phases)
        return [(phase.name, took[index] if index < over else phase.epochs) for index, phase in phases]

    @property
    def total_epochs(self) -> int:
        """Epochs of all phases; a phase that ended early counts as long as it was."""
        return sum(epochs for _, epochs in self.phases)

    @property
    def progress(self) -> RunProgress:
        """How far it is, and how long it will still take at the speed so far."""
        done, batch = len(self.epoch_events), self.batch
        current = (batch["batch"] + 1) / batch["batches"] if batch else 0.0
        speed = batch["images_per_second"] if batch else None
        if self.epoch_events:
            recent = self.history["seconds"].tail(5)
            each: float | None = float(recent.median())
            speed = speed or self.epoch_events[-1]["images_per_second"]
        elif batch and speed:
            each = batch["batches"] * self.config.phases[batch["phase"]].batch_size / speed
        else:
            each = None
        left = self.total_epochs - done - current
        return RunProgress(
            epochs=done,
            total=self.total_epochs,
            share=(done + current) / self.total_epochs,
            seconds_left=None if each is None else left * each,
            images_per_second=speed,
        )

    @cached_property
    def metrics(self) -> dict[str, Any] | None:
        """``metrics.json``: best epoch, temperature, report on each split; None until it is finished."""
        try:
            return json.loads((self.folder / METRICS_FILE).read_bytes())
        except (OSError, ValueError):
            return None

    @cached_property
    def card(self) -> ModelCard | None:
        """Its model card; None until the run is finished."""
        try:
            return ModelCard.model_validate_json((self.folder / CARD_FILE).read_bytes())
        except (OSError, ValidationError):
            return None

    @property
    def model(self) -> Path | None:
        """Its ONNX file; None until the run is finished."""
        file = self.folder / MODEL_FILE
        return file if file.is_file() else None


def _thinned(table: pd.DataFrame) -> pd.DataFrame:
    return table.iloc[:: max(1, -(-len(table) // _MOST_POINTS))]


def list_runs(space: Workspace) -> list[Run]:
    """All training runs, newest first; one that died before its settings were written has nothing to show."""
    return [Run(job) for job in list_jobs(space.runs) if (job.folder / CONFIG_FILE).is_file()]
