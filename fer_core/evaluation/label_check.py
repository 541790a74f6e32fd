"""A label check on disk: which labels of a dataset's training images are doubtful, and what mending them bought.

Only reads and writes its files, so pages may use it; ``label_issues`` finds the doubtful labels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import BaseModel, Field, StrictInt, ValidationError

from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError
from fer_core.evaluation.predictions import PROBABILITY_COLUMNS, probabilities_of, read_predictions, write_table
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job, list_jobs, write_atomically
from fer_core.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from fer_core.data.dataset import Dataset

KIND: Final = "labels"
"""Of the job that checks labels."""

MEASURE_KIND: Final = "before-after"
"""Of the job that trains before and after decisions."""

SCHEMA_VERSION: Final = 1
INFO_FILE: Final = "label_check.json"
ISSUES_FILE: Final = "label-issues.parquet"
OUT_OF_FOLD_FILE: Final = "out-of-fold.parquet"
BEFORE_AFTER_FILE: Final = "before_after.json"

ALIKE: Final = 3
"""How many images that look alike are named for each doubtful one, at most."""

NOT_LEARNT: Final = (
    "The networks agree with the labels no more often than chance, so this says nothing: give more epochs."
)

ONE_TRAINING: Final = (
    "One training each: the luck of training is not in this interval. Train on both datasets with several seeds "
    "(`train DATASET --seeds 1,2,3`) to see how large it is."
)
"""What is to be known about the numbers of a ``BeforeAfter``."""


class Issue(StrEnum):
    """Why a label is doubtful."""

    LIKELY_WRONG = "likely wrong"
    NO_FACE = "not a face"
    AMBIGUOUS = "ambiguous"


ISSUE_COLUMNS: Final = (
    "rank",
    "row",
    "path",
    "source",
    "pixel_sha",
    "label",
    "suggested",
    *PROBABILITY_COLUMNS,
    "quality",
    "issue",
    "alike",
)


class LabelCheckInfo(BaseModel):
    """``label_check.json``.

    Attributes:
        created: When it was finished, seconds since the epoch.
        dataset: Its name.
        fingerprint: Of that dataset.
        preset: What each fold was trained with.
        settings: Those that differ from the preset, as ``key=value``.
        folds: How many.
        seed: Of the folds and of the training.
        n: Images that were asked about: of train, without augmented ones.
        accuracy: How often the networks agree with the label of images that they have not learnt from, 0 to 1.
        ci95: Its 95% interval.
        issues: How many images have each issue.
        noise: For each emotion that train holds, the share of its images whose label is wrong, as confident
            learning estimates it (Northcutt 2021), 0 to 1.
        cleanlab: The version that found them.
    """

    schema_version: StrictInt = SCHEMA_VERSION
    created: float
    dataset: str
    fingerprint: str
    preset: str
    settings: list[str] = []
    folds: int = Field(ge=2)
    seed: int
    n: int = Field(ge=1)
    accuracy: float = Field(ge=0, le=1)
    ci95: tuple[float, float]
    issues: dict[Issue, int]
    noise: dict[str, float]
    cleanlab: str

    @property
    def noise_caveat(self) -> str:
        """What the estimated shares of wrong labels are worth, in one sentence."""
        return (
            f"These shares count the networks' own errors, too: they agree with {100 * self.accuracy:.0f} % of "
            "the labels, so take them for an upper bound rather than a count while the networks are weak."
        )


class Side(BaseModel):
    """A run before or after, and its accuracy on the validation images that both share."""

    run: str
    dataset: str
    fingerprint: str
    accuracy: float
    ci95: tuple[float, float]


class BeforeAfter(BaseModel):
    """``before_after.json``: what decisions bought, on the ``n`` validation images that both datasets share.

    Attributes:
        created: When it was finished, seconds since the epoch.
        automatic: Whether no person decided, but the most suspicious labels were changed as the networks say.
        decisions: How many pictures something was decided about, by action.
        n: Validation images that both runs were asked about.
        chance: How many of them are of the most frequent class, 0 to 1; None in files from before it was noted.
        difference: Accuracy after minus accuracy before, -1 to 1.
        ci95: Its paired 95% interval.
        p_value: Of McNemar's exact test.
        only_before: Images that only the run before reads right.
        only_after: Images that only the run after reads right.
        note: What the interval leaves out.
    """

    schema_version: StrictInt = SCHEMA_VERSION
    created: float
    automatic: bool
    decisions: dict[str, int]
    before: Side
    after: Side
    n: int = Field(ge=1)
    chance: float | None = None
    difference: float
    ci95: tuple[float, float]
    p_value: float
    only_before: int
    only_after: int
    note: str = ONE_TRAINING

    @property
    def warning(self) -> str:
        """Says so where one of the runs is hardly better than always naming the most frequent class; else empty."""
        if self.chance is None or min(self.before.ci95[0], self.after.ci95[0]) > self.chance:
            return ""
        return (
            f"Before or after, the network is near chance ({100 * self.chance:.1f} % are of the most frequent class), "
            "so this difference says nothing about the labels. Check them with more epochs, and measure that."
        )

    @property
    def within_noise(self) -> bool:
        """Whether the interval holds 0: the difference may be chance."""
        low, high = self.ci95
        return low <= 0 <= high


@dataclass(frozen=True)
class LabelCheck:
    """A finished label check. Its tables are read once, when asked for."""

    folder: Path
    info: LabelCheckInfo

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def issues(self) -> pd.DataFrame:
        """The queue, most suspicious first: columns ``ISSUE_COLUMNS``.

        ``rank`` counts from 1. ``row`` and the rows in ``alike`` (at most ``ALIKE``, the most alike first, of other
        photographs) are of the dataset's train. ``label`` and ``suggested`` are indices into ``EMOTIONS``.
        ``quality`` is 0 to 1, low for a label that is hardly right. ``issue`` is a value of ``Issue``.

        Raises:
            FerError: The file is missing or damaged.
        """
        return _read_issues(self.folder / ISSUES_FILE)

    @cached_property
    def out_of_fold(self) -> pd.DataFrame:
        """What networks said of images that they have not learnt from: as ``read_predictions``, and ``fold``.

        Raises:
            FerError: The file is missing or damaged.
        """
        file = self.folder / OUT_OF_FOLD_FILE
        with _damage_told(file):
            table = read_predictions(file)
            if "fold" not in table.columns:
                raise ValueError("it lacks fold")
        return table

    @cached_property
    def quality(self) -> NDArray[np.float64]:
        """Of the labels in ``out_of_fold``, as ``issues`` has it of the doubtful ones: float64 ``[N]``, 0 to 1.

        Raises:
            FerError: As ``out_of_fold``.
        """
        table = self.out_of_fold
        probabilities = probabilities_of(table).astype(np.float64)
        return probabilities[np.arange(len(table)), table["label"]] / probabilities.sum(axis=1)

    @cached_property
    def learnt(self) -> bool:
        """Whether the networks agree with the labels more often than chance; where they do not, the queue says nothing.

        Chance is whoever always names the most frequent label.

        Raises:
            FerError: As ``out_of_fold``.
        """
        most = self.out_of_fold["label"].value_counts().max()
        return self.info.ci95[0] > most / self.info.n

    @cached_property
    def before_after(self) -> BeforeAfter | None:
        """What decisions bought; None until that was measured.

        Raises:
            FerError: The file is damaged.
        """
        file = self.folder / BEFORE_AFTER_FILE
        if not file.is_file():
            return None
        try:
            return BeforeAfter.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as error:
            raise FerError(f"{file}: damaged. Measure again with `labels measure {self.name}`.") from error


def read_label_check(folder: Path) -> LabelCheck:
    """A finished label check.

    Raises:
        FerError: There is none in this folder, it has not finished, or its file is damaged.
    """
    file = folder / INFO_FILE
    try:
        info = LabelCheckInfo.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        raise FerError(
            f"{folder}: no finished label check here. `jobs show {folder.name}` says how far it is."
        ) from None
    except (OSError, ValidationError) as error:
        raise _damaged(file, error) from error
    if info.schema_version != SCHEMA_VERSION:
        raise FerError(
            f"{file}: schema version {info.schema_version}, this program reads {SCHEMA_VERSION}. "
            "Check the labels again."
        )
    return LabelCheck(folder, info)


def list_label_checks(space: Workspace, dataset: Dataset) -> list[LabelCheck]:
    """The finished label checks of just this content of a dataset, newest first; damaged ones are left out."""
    found = []
    for job in list_jobs(space.jobs):
        if job.kind == KIND and job.state() is JobState.DONE:
            with contextlib.suppress(FerError):  # whoever names it is told
                found.append(read_label_check(job.folder))
    mine = [check for check in found if check.info.fingerprint == dataset.info.fingerprint]
    return sorted(mine, key=lambda check: -check.info.created)


def find_label_check(space: Workspace, name: str) -> Job:
    """The job of a label check, finished or not.

    Raises:
        FerError: There is none of that name.
    """
    jobs = {job.name: job for job in list_jobs(space.jobs) if job.kind == KIND}
    if name not in jobs:
        known = ", ".join(sorted(jobs)) or "none yet"
        raise FerError(f"No label check named {name!r}. There are {known}. `labels check DATASET` makes one.")
    return jobs[name]


def delete_label_check(space: Workspace, name: str) -> None:
    """Deletes a label check with the jobs that measured it: the next check of that name is another.

    Raises:
        FerError: There is none of that name, or a worker is at it or measures it.
    """
    check = find_label_check(space, name)
    measured = [job for job in list_jobs(space.jobs) if job.kind == MEASURE_KIND]
    for job in (*(job for job in measured if job.spec().arguments[2:3] == [name]), check):
        supervisor.delete(job)


def write_label_check(folder: Path, info: LabelCheckInfo, issues: pd.DataFrame, out_of_fold: pd.DataFrame) -> None:
    """Writes the results of a label check; what says that it is finished comes last.

    Args:
        folder: Of the job.
        info: What was done and found.
        issues: Columns ``ISSUE_COLUMNS``.
        out_of_fold: A table of predictions with a column ``fold``.
    """
    write_table(folder / OUT_OF_FOLD_FILE, out_of_fold)
    write_table(folder / ISSUES_FILE, issues[list(ISSUE_COLUMNS)])
    write_atomically(folder / INFO_FILE, info.model_dump_json(indent=2))


def write_before_after(folder: Path, found: BeforeAfter) -> None:
    """Writes what decisions bought into the folder of a label check."""
    write_atomically(folder / BEFORE_AFTER_FILE, found.model_dump_json(indent=2))


def _read_issues(file: Path) -> pd.DataFrame:
    import pandas as pd

    with _damage_told(file):
        table = pd.read_parquet(file)
        missing = [column for column in ISSUE_COLUMNS if column not in table.columns]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
        if not table[["label", "suggested"]].isin(range(len(EMOTIONS))).all(axis=None):
            raise ValueError("a label is out of range")
        if not table["issue"].isin(list(Issue)).all() or not table["quality"].between(0, 1).all():
            raise ValueError("values are out of range")
        table["alike"] = pd.Series([np.asarray(rows, np.int64).tolist() for rows in table["alike"]], dtype=object)
    return table


@contextlib.contextmanager
def _damage_told(file: Path) -> Iterator[None]:
    """Takes whatever is raised while a file is read for damage to it: Parquet's reader raises many kinds."""
    try:
        yield
    except Exception as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> FerError:
    reason = " ".join(str(error).split())[:200]
    return FerError(f"{file}: this file of the label check is missing or damaged ({reason}). Check the labels again.")
