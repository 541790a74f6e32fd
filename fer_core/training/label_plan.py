"""A label check to be: its settings, its folder, and how long it takes. Loads no training framework."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ValidationError

from fer_core.data.dataset import Dataset
from fer_core.emotions import EMOTIONS
from fer_core.errors import ConfigError, DatasetError, JobError
from fer_core.evaluation.label_check import KIND
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job, write_atomically
from fer_core.training import runs
from fer_core.training.config import RunConfig, absolute_preset, apply_overrides, load_config
from fer_core.training.estimate import Estimate, estimate
from fer_core.training.speeds import Pictures, Speeds
from fer_core.workspace import Workspace

USUAL_FOLDS: Final = 5
SEED: Final = 42
PLAN_FILE: Final = "plan.json"
FOLDS: Final = "folds"
"""In the folder of a label check that is not finished: the runs of its folds."""


class LabelPlan(BaseModel):
    """``plan.json``, in the job's folder: what it goes on with after an interruption.

    Attributes:
        preset: What the settings started from.
        settings: Those that differ from it, as ``key=value``.
        folds: How many.
        config: Complete settings with which each fold is trained.
    """

    preset: str
    settings: list[str]
    folds: int
    config: RunConfig

    @property
    def dataset(self) -> Dataset:
        """What is checked.

        Raises:
            DatasetError: It is gone or damaged.
            JobError: It is not the one that the check began with.
        """
        return runs.open_dataset(self.config)


def plan_check(
    dataset: Dataset, preset: str, settings: Sequence[str] = (), folds: int = USUAL_FOLDS, seed: int = SEED
) -> LabelPlan:
    """The plan of a label check.

    A leaky dataset may be checked, too: the folds are grouped by photograph, so no network is asked about a
    photograph that it has learnt from.

    Args:
        dataset: Whose labels of train are in question.
        preset: A name or a file.
        settings: Those that differ from the preset, as ``key=value``.
        folds: How many.
        seed: Of the folds and of the training.

    Raises:
        DatasetError: Train or validation has no images, or a class has fewer photographs in train than folds.
        ConfigError: The preset or a setting is unknown, or the networks would know the labels from elsewhere.
    """
    if any(setting.partition("=")[0].strip() == "seed" for setting in settings):
        raise ConfigError("--set seed=... gives the seed, which is that of the folds, too: use --seed.")
    if folds < 2:
        raise ConfigError(f"{folds} folds: give at least 2, so that each image is left out of some training.")
    base = load_config(preset)
    if base.reveal_test:  # test is not looked at to mend train
        settings = [*settings, "reveal_test=false"]
    config = apply_overrides(base, [*settings, f"seed={seed}"])
    if any(phase.teachers for phase in config.phases):
        raise ConfigError(
            f"{config.preset or preset} has teachers, who may have learnt the labels that are in question. Choose a "
            "preset without, as compact."
        )
    if config.weights not in ("none", "imagenet"):
        raise ConfigError(
            f"weights={config.weights}: such a network may have learnt the labels that are in question. Use none or "
            "imagenet."
        )
    config = runs.complete(config, dataset, allow_leaks=True)
    _check_classes(dataset, folds)
    return LabelPlan(preset=absolute_preset(preset), settings=list(settings), folds=folds, config=config)


def _check_classes(dataset: Dataset, folds: int) -> None:
    table = dataset.table("train")
    table = table[table["parent_id"].isna()]
    photographs = table.groupby("label")["photo_id"].nunique().reindex(range(len(EMOTIONS)), fill_value=0)
    least = int(np.argmin(photographs))
    if (there := int(photographs[least])) < folds:
        raise DatasetError(
            f"{dataset.name} has {there:,} photographs of {EMOTIONS[least]} in train, and {folds} folds need at least "
            f"one each. {f'Use --folds {there}, or choose' if there > 1 else 'Choose'} another dataset."
        )


def arguments(plan: LabelPlan, dataset: str, name: str) -> list[str]:
    """The command line that checks, the same in any folder.

    Args:
        plan: From ``plan_check``.
        dataset: Name in the workspace, or absolute path.
        name: Of the check.
    """
    changes = [part for setting in plan.settings for part in ("--set", setting)]
    how = ["--folds", str(plan.folds), "--preset", plan.preset, *changes, "--seed", str(plan.config.seed)]
    return ["labels", "check", dataset, *how, "--name", name]


def start_check(space: Workspace, plan: LabelPlan, dataset: str, name: str) -> Job:
    """Starts a label check detached from this process.

    Args:
        space: Where to.
        plan: From ``plan_check``.
        dataset: As for ``arguments``.
        name: Of the check; it must be new.

    Raises:
        JobError: There is a job of that name.
    """
    job = Job.create(space.jobs, KIND, name, arguments(plan, dataset, name))
    write_plan(job, plan)
    resume_check(job)
    return job


def resume_check(job: Job) -> None:
    """Goes on with a label check, detached from this process.

    Raises:
        JobError: It is running or finished, or its plan is missing.
    """
    check_resumable(job)
    supervisor.start(job, ["labels", "check", "--resume", job.name])


def check_resumable(job: Job) -> LabelPlan:
    """The plan of a label check that can go on.

    Raises:
        JobError: It is finished, or its plan is missing or damaged.
    """
    if job.state() is JobState.DONE:
        raise JobError(f"{job.name} is finished, there is nothing to resume. See it with `labels show {job.name}`.")
    return read_plan(job)


def write_plan(job: Job, plan: LabelPlan) -> None:
    """Writes what a label check goes on with."""
    write_atomically(job.folder / PLAN_FILE, plan.model_dump_json(indent=2))


def read_plan(job: Job) -> LabelPlan:
    """What a label check was asked to do.

    Raises:
        JobError: It is missing or damaged.
    """
    try:
        return LabelPlan.model_validate_json((job.folder / PLAN_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise JobError(
            f"{job.folder / PLAN_FILE}: missing or damaged, so {job.name} cannot go on. Check the labels again under "
            "another name."
        ) from error


def fold_folder(folder: Path, fold: int) -> Path:
    """The run of a fold, counted from 0, in the folder of a label check that is not finished."""
    return folder / FOLDS / f"fold-{fold + 1}"


def estimate_check(plan: LabelPlan, pictures: Pictures, speeds: Speeds) -> Estimate | None:
    """What a label check will take; None where one of its phases was not measured on this machine.

    Args:
        plan: Its settings.
        pictures: Of its dataset.
        speeds: What was measured.
    """
    each = pictures._replace(train=pictures.train * (plan.folds - 1) // plan.folds)
    found = estimate(plan.config, each, speeds)
    return found and replace(found, seconds=plan.folds * found.seconds)
