"""What decisions about labels buy: the same training before and after them, compared on the same validation images.

Loads no training framework: the two runs are ordinary ones, in processes of their own.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from fer_core.data.config import PrepareConfig
from fer_core.data.dataset import Dataset
from fer_core.data.decisions import Action, Decision, Picture
from fer_core.emotions import EMOTIONS
from fer_core.errors import ConfigError, DatasetError, FerError, JobError, LeakError, Stopped
from fer_core.evaluation.compare import pair
from fer_core.evaluation.label_check import (
    MEASURE_KIND,
    NOT_LEARNT,
    BeforeAfter,
    Issue,
    LabelCheck,
    Side,
    write_before_after,
)
from fer_core.evaluation.metrics import wilson_interval
from fer_core.evaluation.predictions import predictions_file, read_predictions
from fer_core.jobs import supervisor
from fer_core.jobs.progress import Pace
from fer_core.jobs.state import JobState, summary
from fer_core.jobs.store import Job, list_jobs
from fer_core.jobs.worker import Worker
from fer_core.training import runs
from fer_core.training.config import DESCRIPTIVE, TRACKING, RunConfig
from fer_core.training.label_plan import LabelPlan
from fer_core.training.runs import Run
from fer_core.training.speeds import Pictures
from fer_core.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

_LOOK: Final = 1.0  # seconds between looks at a run

_MAY_DIFFER: Final = {*DESCRIPTIVE, *TRACKING, "preset", "dataset", "precision", "allow_leaks", "reveal_test"}
"""Fields that runs may differ in which are the same otherwise; dataset and precision are compared by themselves."""


class Automatic(StrEnum):
    """What is done with likely wrong labels where no person decides."""

    DROP = "drop"
    """They leave train."""
    RELABEL = "relabel"
    """They become what the networks say."""


def automatic_decisions(check: LabelCheck, dataset: Dataset, how: Automatic, top: int | None = None) -> list[Decision]:
    """Decisions about likely wrong labels that no person has looked at; their reason says so.

    What was decided when the dataset was made holds: it is left alone.

    Args:
        check: Finished.
        dataset: That was checked.
        how: What is done.
        top: With how many of them, the most suspicious; None for all.

    Raises:
        FerError: There are none, or the networks have learnt nothing.
    """
    if not check.learnt:
        raise FerError(f"{check.name}: {NOT_LEARNT} Nothing is changed automatically by it.")
    queue = check.issues
    decided = [decision["pixel_sha"] for decision in dataset.info.config.get("decisions") or []]
    likely = queue[(queue["issue"] == Issue.LIKELY_WRONG) & (queue["suggested"] != queue["label"])]
    likely = likely[~likely["pixel_sha"].isin(decided)].iloc[:top]
    if not len(likely):
        raise FerError(f"{check.name} found no label that is likely wrong and undecided, so there is nothing to do.")
    # The date of the check: decisions that are made again are the same, and so is the dataset that they make.
    date = datetime.fromtimestamp(check.info.created, UTC).isoformat(timespec="microseconds")
    action = Action.DROP_TRAIN if how is Automatic.DROP else Action.RELABEL
    made = []
    for row in likely.to_dict("records"):
        picture = Picture(row["source"], row["path"], row["pixel_sha"])
        label = EMOTIONS[row["suggested"]] if how is Automatic.RELABEL else ""
        made.append(picture.decision(action, label, f"automatic: {check.name}, rank {row['rank']}", date))
    return made


def check_measurable(plan: LabelPlan, decisions: Sequence[Decision]) -> Dataset:
    """The dataset before the decisions, if before and after can be measured.

    Raises:
        FerError: Nothing is decided, or the dataset is gone or changed.
        LeakError: Its validation images are in train, too.
    """
    dataset = plan.dataset
    if not decisions:
        raise FerError(
            f"Nothing is decided about {dataset.name}. Decide about its images first, on the Labels page or with "
            "`data decide`, or measure what changing them automatically does, with --automatic."
        )
    if dataset.info.contaminated or any(dataset.info.leaked.values()):
        raise LeakError(
            f"{dataset.name} is leaky, so scores on its validation split would be too high before and after. Prepare "
            "it with --policy leak-free, and check the labels of that one."
        )
    return dataset


def measure(
    check: LabelCheck, plan: LabelPlan, decisions: Sequence[Decision], worker: Worker, *, automatic: bool
) -> BeforeAfter:
    """Trains on a dataset and on that with decisions, where such runs are not there yet, and compares them.

    Both runs have the settings and seed of the label check. What an interruption leaves is found again: a dataset that
    was made with the same decisions, runs of the same settings and data, finished or not.

    Args:
        check: Whose folder gets the result.
        plan: That of the check.
        decisions: What is decided.
        worker: The job.
        automatic: Whether no person decided.

    Raises:
        Stopped: The user asked for it; finished epochs are kept.
        FerError: As ``check_measurable``; the decisions change nothing, or the sources did; or a run failed.
    """
    space = Workspace.default()
    before = check_measurable(plan, decisions)
    known = space.list_datasets()
    after = _decided(space, before, decisions, f"{before.name[:40]}-{check.name[:20]}", worker)
    try:
        _check_differs(before, after)
        configs = [runs.complete(plan.config, dataset) for dataset in (before, after)]
    except FerError:
        if after.folder not in known:  # what is refused leaves nothing behind
            shutil.rmtree(after.folder, ignore_errors=True)
        raise
    sizes = [Pictures.of(dataset).train for dataset in (before, after)]
    pace, sides = Pace(sum(sizes)), []
    for place, (word, dataset) in enumerate((("before", before), ("after", after))):

        def report(share: float, phase: str, done: int = sum(sizes[:place]), size: int = sizes[place]) -> None:
            learnt = done + round(share * size)
            worker.say(phase, seconds_left=pace.seconds_left(learnt))
            worker("Training before and after", learnt, sum(sizes))

        run = _trained(space, plan, configs[place], dataset, f"{check.name[:40]}-{word}", report, worker.job)
        sides.append((run, dataset))
    worker("Comparing", 0, 0)
    found = _compared(sides[0], sides[1], decisions, automatic=automatic)
    write_before_after(check.folder, found)
    return found


def _check_differs(before: Dataset, after: Dataset) -> None:
    """Raises FerError where two datasets do not differ by decisions, or by more."""
    if after.info.fingerprint == before.info.fingerprint:
        raise FerError(
            f"These decisions change nothing in {before.name}: its images stay as they are, or they are about others."
        )
    if after.info.counts.get("read") != before.info.counts.get("read"):
        raise FerError(
            f"The sources of {before.name} hold other images than when it was made, so a dataset made from them now "
            "differs by more than decisions. Put them back, or prepare the dataset again and check the labels of that "
            "one."
        )


def _decided(space: Workspace, base: Dataset, decisions: Sequence[Decision], stem: str, worker: Worker) -> Dataset:
    """The dataset with decisions: one that is there, or a new one, made as ``data prepare --add-to`` makes it."""
    from fer_core.data.prepare import prepare, sources_of

    config = PrepareConfig.of_dataset(base.info.config)
    config = config.model_copy(update={"decisions": [*config.decisions, *decisions]})
    wanted = {**base.info.config, **config.model_dump(mode="json")}
    for folder in space.list_datasets():
        with contextlib.suppress(DatasetError):  # a damaged one is told where it is chosen
            dataset = Dataset.open(folder)
            if dataset.info.config == wanted:
                return dataset
    return prepare(sources_of(base), space.datasets / space.new_name(space.datasets, stem), config, worker)


def _trained(
    space: Workspace,
    plan: LabelPlan,
    config: RunConfig,
    dataset: Dataset,
    stem: str,
    report: Callable[[float, str], None],
    measuring: Job,
) -> Run:
    """A finished run of these settings: one that is there, or that goes on, or a new one.

    ``report`` is told of the share of it that is done, 0 to 1, and of its phase; it may raise ``Stopped``. That stops
    the run, too, unless it is somebody else's.
    """
    same = [run for run in runs.list_runs(space) if _is_same(run, config)]
    if finished := next((run for run in same if _is_finished(run)), None):
        return finished
    job = next((run.job for run in same if run.state.alive or run.state.resumable), None)
    if job is None:
        where = dataset.name if dataset.folder == space.datasets / dataset.name else str(dataset.folder)
        settings = [*plan.settings, f"seed={config.seed}"]
        name = runs.free_name(space, stem)
        job = runs.create(space, name, config, runs.arguments(where, plan.preset, settings, name))
    ours = not job.state().alive
    if ours:
        runs.start(job)
    try:
        while not supervisor.wait(job, _LOOK):
            run = Run(job)
            report(run.progress.share, f"{job.name}: {run.status.phase}")
    except Stopped:
        if ours or _left_over(space, job, stem, measuring):
            supervisor.stop(job)
        raise
    run = Run(job)
    if not _is_finished(run):
        said = summary(run.state, run.status.message, job.log_tail()) or "it was ended before its last epoch."
        raise JobError(f"{job.name}: {said}")
    return run


def _left_over(space: Workspace, run: Job, stem: str, measuring: Job) -> bool:
    """Whether a run was begun by a measurement that was killed: it bears the name, and no other one waits for it."""
    waiting = any(job != measuring and job.kind == MEASURE_KIND and job.state().alive for job in list_jobs(space.jobs))
    return re.fullmatch(rf"{re.escape(stem)}-\d+", run.name) is not None and not waiting


def _is_same(run: Run, config: RunConfig) -> bool:
    """Whether a run has, but for words and place, such settings and data."""
    try:
        other = run.config
    except ConfigError:
        return False
    assert config.dataset is not None  # from `complete`
    return (
        other.dataset is not None
        and other.dataset.fingerprint == config.dataset.fingerprint
        and config.precision in ("auto", other.precision)
        and other.model_dump(exclude=_MAY_DIFFER) == config.model_dump(exclude=_MAY_DIFFER)
    )


def _is_finished(run: Run) -> bool:
    whole = run.card is not None and run.card.ended_after is None
    return run.state is JobState.DONE and run.metrics is not None and whole


def _compared(
    before: tuple[Run, Dataset], after: tuple[Run, Dataset], decisions: Sequence[Decision], *, automatic: bool
) -> BeforeAfter:
    answers = pair(*(_predictions(*side) for side in (before, after)))
    if answers is None:
        raise FerError("The datasets before and after share no validation image, so nothing can be compared.")
    found, n = answers.difference, answers.difference.n
    right = {"before": found.both + found.only_a, "after": found.both + found.only_b}
    sides = {
        word: Side(
            run=run.name,
            dataset=dataset.name,
            fingerprint=dataset.info.fingerprint,
            accuracy=right[word] / n,
            ci95=wilson_interval(right[word], n),
        )
        for word, (run, dataset) in (("before", before), ("after", after))
    }
    last = {decision.pixel_sha: str(decision.action) for decision in decisions}
    return BeforeAfter(
        created=time.time(),
        automatic=automatic,
        decisions=dict(Counter(last.values())),
        before=sides["before"],
        after=sides["after"],
        n=n,
        chance=float(np.bincount(answers.labels).max() / n),
        difference=found.difference,
        ci95=found.ci95,
        p_value=found.p_value,
        only_before=found.only_a,
        only_after=found.only_b,
    )


def _predictions(run: Run, dataset: Dataset) -> pd.DataFrame:
    """On validation, with the pixels of each image: sources may call another picture by the same name."""
    table = read_predictions(predictions_file(run.folder, "validation"))
    return table.assign(pixel_sha=dataset.table("validation")["pixel_sha"].to_numpy())
