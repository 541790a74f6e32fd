"""Trains the folds of a label check, one after the other, and ranks the labels by what they say."""

from __future__ import annotations

import contextlib
import io
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import keras
import numpy as np
from numpy.typing import NDArray

from fer_core.data.dataset import Dataset, Split
from fer_core.data.folds import folds
from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError, JobError, ModelError
from fer_core.evaluation.label_check import INFO_FILE, LabelCheck, LabelCheckInfo, read_label_check, write_label_check
from fer_core.evaluation.label_issues import find_issues
from fer_core.evaluation.metrics import wilson_interval
from fer_core.evaluation.predictions import Origin, predictions_table
from fer_core.inference.predictor import BATCH, Predictor
from fer_core.inference.served import MODEL_FILE
from fer_core.jobs.progress import Pace, Progress, silent
from fer_core.jobs.store import Job, write_atomically
from fer_core.jobs.worker import Worker, work
from fer_core.preprocessing import Pixels
from fer_core.training import backend, runs
from fer_core.training.label_plan import FOLDS, LabelPlan, fold_folder
from fer_core.training.loop import train
from fer_core.training.runs import Run

_ANSWERS: Final = "out-of-fold.npy"  # in the folder of a fold: what its network says of the images left out
_LOOK: Final = 2.0  # seconds between looks at how far a fold is, for which its events are read


@dataclass(frozen=True)
class _Fold(Dataset):
    """A dataset without some rows of its train."""

    left_out: NDArray[np.bool_]

    def split(self, name: str, progress: Progress = silent) -> Split:
        whole = super().split(name, progress)
        return whole if name != "train" else _some(whole, ~self.left_out)


def _some(split: Split, rows: NDArray[np.bool_]) -> Split:
    return Split(split.images[rows], split.labels[rows], split.table[rows].reset_index(drop=True))


def check_labels(plan: LabelPlan, dataset: Dataset, worker: Worker) -> LabelCheck:
    """Trains what is not trained yet of a label check, and writes its results.

    Each fold is an ordinary run in a folder of its own, on the rest of train; its best epoch and temperature are
    chosen on the dataset's validation split, so of the images left out it has seen nothing. Augmented images are
    trained on in the folds of their originals and never asked about.

    Args:
        plan: What is to be done.
        dataset: That of the plan.
        worker: The job.

    Raises:
        Stopped: The user asked for it; finished epochs are kept.
        FerError: As training, or the files of a fold are damaged.
    """
    folder = worker.job.folder
    if (folder / INFO_FILE).is_file():  # killed when all was done
        shutil.rmtree(folder / FOLDS, ignore_errors=True)
        return read_label_check(folder)
    table = dataset.table("train")
    labels = table["label"].to_numpy(np.int64)
    of_fold = folds(labels, table["photo_id"].tolist(), plan.folds, plan.config.seed)
    original = table["parent_id"].isna().to_numpy()
    answers = np.empty((len(table), len(EMOTIONS)), np.float32)
    progress = _Progress(plan, worker, [int((of_fold != fold).sum()) for fold in range(plan.folds)])
    for fold in range(plan.folds):
        asked = (of_fold == fold) & original
        part = _Fold(dataset.folder, dataset.info, of_fold == fold)
        answers[asked] = _answers(plan, part, fold, asked, worker, progress)
    embeddings = _embeddings(fold_folder(folder, 0), dataset, original, worker)
    worker.say("", seconds_left=None)
    rows = np.flatnonzero(original)
    out_of_fold = predictions_table(
        paths=table["path"].iloc[rows].tolist(),
        labels=labels[rows],
        probabilities=answers[rows],
        seen=np.zeros(len(rows), bool),
        origin=Origin(model=worker.job.name, dataset=dataset.name, note="Exact: folds are grouped by photograph."),
        rows=rows,
    )
    out_of_fold["fold"] = of_fold[rows]
    found = find_issues(out_of_fold, table, embeddings, worker)
    right = int((out_of_fold["predicted"] == out_of_fold["label"]).sum())
    info = LabelCheckInfo(
        created=time.time(),
        dataset=dataset.name,
        fingerprint=dataset.info.fingerprint,
        preset=plan.config.preset,
        settings=plan.settings,
        folds=plan.folds,
        seed=plan.config.seed,
        n=len(rows),
        accuracy=right / len(rows),
        ci95=wilson_interval(right, len(rows)),
        issues=found.counts,
        noise=found.noise,
        cleanlab=found.cleanlab,
    )
    write_label_check(folder, info, found.issues, out_of_fold)
    shutil.rmtree(folder / FOLDS, ignore_errors=True)
    return LabelCheck(folder, info)


def _answers(
    plan: LabelPlan, part: _Fold, fold: int, asked: NDArray[np.bool_], worker: Worker, progress: _Progress
) -> NDArray[np.float32]:
    """What a fold's network says of the images left out, float32 ``[n, 7]``; trains it where it is not trained."""
    folder = fold_folder(worker.job.folder, fold)
    file = folder / _ANSWERS
    with contextlib.suppress(OSError, ValueError, EOFError):  # not there, or damaged: asked again
        kept: NDArray[np.float32] = np.load(file)
        if kept.shape == (int(asked.sum()), len(EMOTIONS)):
            return kept
    with _fold_named(folder, worker.job.name):
        _train(plan, part, fold, worker, progress)
        predictor = Predictor.load(folder / MODEL_FILE)
    images = Dataset.split(part, "train").images[asked]
    answers = _in_batches(predictor.classify, images, worker, f"Asking fold {fold + 1} of {plan.folds}")
    content = io.BytesIO()
    np.save(content, answers)
    write_atomically(file, content.getvalue())
    shutil.rmtree(folder / runs.CHECKPOINTS, ignore_errors=True)
    return answers


def _train(plan: LabelPlan, part: _Fold, fold: int, worker: Worker, progress: _Progress) -> None:
    """Trains a fold, or goes on with it; where it is finished, nothing happens."""
    folder = fold_folder(worker.job.folder, fold)
    keras.utils.clear_session()  # nothing of the fold before is kept in memory
    # The data differ from fold to fold, so several devices at once would have to be placed anew for each.
    config = backend.settled(plan.config.model_copy(update={"devices": 1}))
    listener = progress.of_fold(fold, Job(folder))
    if not (resume := Job(folder).exists()):
        shutil.rmtree(folder, ignore_errors=True)  # killed, or the disk was full, when it was made
    with work(folder.parent, runs.KIND, folder.name, [], listener=listener, resume=resume) as learner:
        runs.write_config(learner.job, config)
        train(config, part, learner)


class _Progress:
    """One bar over all folds, in images trained on, and how long the rest will take."""

    def __init__(self, plan: LabelPlan, worker: Worker, sizes: Sequence[int]) -> None:
        self._worker = worker
        self._work = [size * plan.config.total_epochs for size in sizes]
        self._pace = Pace(sum(self._work))

    def of_fold(self, fold: int, job: Job) -> Progress:
        """What a fold's training reports to; it raises ``Stopped`` where the label check is to stop."""
        before = learnt = sum(self._work[:fold])
        next_look = 0.0

        def report(phase: str, done: int, total: int) -> None:
            nonlocal learnt, next_look
            if (now := time.monotonic()) >= next_look:
                next_look = now + _LOOK
                learnt = before + round(Run(job).progress.share * self._work[fold])
                words = f"Fold {fold + 1} of {len(self._work)}: {phase[:1].lower()}{phase[1:]}"
                self._worker.say(words, seconds_left=self._pace.seconds_left(learnt))
            self._worker(f"Training {len(self._work)} folds", learnt, sum(self._work))

        return report


@contextlib.contextmanager
def _fold_named(folder: Path, check: str) -> Iterator[None]:
    """Says of what is wrong with a fold what to do about it in terms of the label check."""
    try:
        yield
    except (JobError, ModelError) as error:
        raise FerError(
            f"{folder}: the files of this fold are damaged ({error}) Delete this folder, then go on with `labels check "
            f"--resume {check}`: the fold is trained again."
        ) from error
    except FerError as error:
        words = str(error).replace(f"`train --resume {folder.name}`", f"`labels check --resume {check}`")
        raise type(error)(words) from error


def _embeddings(folder: Path, dataset: Dataset, rows: NDArray[np.bool_], worker: Worker) -> NDArray[np.float32]:
    """What one fold's network sees in images, float32 ``[n, F]``, each of length 1."""
    with _fold_named(folder, worker.job.name):
        predictor = Predictor.load(folder / MODEL_FILE)
    images = dataset.split("train").images[rows]
    found = _in_batches(predictor.embed, images, worker, "Describing images")
    return found / np.linalg.norm(found, axis=1, keepdims=True).clip(1e-12)


def _in_batches(
    ask: Callable[[Pixels], NDArray[np.float32]], images: Pixels, worker: Worker, phase: str
) -> NDArray[np.float32]:
    parts = []
    for start in range(0, len(images), BATCH):
        worker(phase, start, len(images))
        parts.append(ask(images[start : start + BATCH]))
    return np.concatenate(parts)
