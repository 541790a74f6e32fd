"""What an experiment with a model came to, as ``benchmarks.experiments`` keeps it, and how it is found in files."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from benchmarks.batch_making import BatchTimes, batch_times
from benchmarks.measured import trained_on
from fer_core.data.dataset import Dataset
from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError
from fer_core.evaluation.calibration import apply_temperature
from fer_core.evaluation.compare import PairedDifference
from fer_core.evaluation.metrics import Floats, Interval, wilson_interval
from fer_core.evaluation.predictions import predictions_file, probabilities_of, read_predictions
from fer_core.evaluation.report import EvaluationReport, evaluate_predictions
from fer_core.inference.predictor import Predictor
from fer_core.inference.served import find_model
from fer_core.jobs.store import Job
from fer_core.training.runs import Run, open_dataset
from fer_core.workspace import Workspace

TAUS: Final = tuple(step / 10 for step in range(11))
OFFSETS: Final = tuple(step / 5 for step in range(11))
"""Nats that are added to a class's logit."""

_SPLITS: Final = ("validation", "test")

PACE: Final = 10
"""Epochs that two runs are compared over: one alone moves by more than a point from the next."""


class Entry(BaseModel, extra="forbid"):
    """One experiment of ``experiments.yaml``: what was thought, and where its result is found.

    Attributes:
        kind: ``run`` is a run of that name; ``mean`` that of several runs' stored answers, ``mean-mirrored`` likewise
            with those to mirrored pictures; ``served`` asks a served model about each picture, and ``mirrored`` about
            its mirror image, too;
            ``prior`` and ``offset`` change the stored answers of a run; ``batches`` times how batches are made.
        of: Names of runs.
        model: For ``served`` and ``mirrored``: the served model; ``of`` names the run whose dataset it is asked about.
        classes: For ``offset``: those that get it.
        against: Name of the experiment that it is compared with, image by image where both know the same images.
        pace_of: Name of a run that its curve is compared with, where it did not come to its end.
    """

    name: str
    kind: Literal["run", "mean", "mean-mirrored", "served", "mirrored", "prior", "offset", "batches"]
    of: list[str] = []
    model: str = ""
    classes: list[str] = []
    against: str = ""
    pace_of: str = ""
    prediction: str
    change: str
    decision: str


class Scores(BaseModel):
    """Of one split. Recall and precision by class; precision and ``ece`` are not known of a run without a model."""

    n: int
    accuracy: float
    ci95: Interval
    macro_f1: float
    ece: float | None
    recall: dict[str, float]
    precision: dict[str, float] = {}

    @property
    def weakest(self) -> str:
        """The class with the lowest recall."""
        return min(self.recall, key=self.recall.__getitem__)


class Training(BaseModel):
    """How a training went.

    Attributes:
        epochs: That were trained; all epochs count from 1.
        planned: What the settings ask for.
        best_epoch: By accuracy on validation.
        scored_epoch: What the model was made of: the best, unless its weights were not kept.
        best_accuracy: On validation, like the two next, and the losses.
        train_accuracy: Of the last epoch, on images as they were augmented and blended.
        seconds: Median of an epoch.
        device: What the last epoch was trained on.
        gpu_percent: How busy it was with all that ran on it, median; None where that is not known.
    """

    epochs: int
    planned: int
    best_epoch: int
    scored_epoch: int
    best_accuracy: float
    last_accuracy: float
    last_loss: float
    lowest_loss: float
    lowest_loss_epoch: int
    train_accuracy: float
    seconds: float
    device: str
    gpu_percent: float | None


class Difference(BaseModel):
    """Accuracy minus that of another experiment on the same ``n`` images, with its 95% interval."""

    value: float
    ci95: Interval
    n: int


class Pace(BaseModel):
    """Accuracy on validation of the last epochs that two runs have in common, the first of them counted from 1."""

    first: int
    ours: list[float]
    theirs: list[float]


class Outcome(BaseModel):
    """What is known of an experiment.

    Attributes:
        validation: Its scores; with a ``sweep`` those of the step that was chosen.
        test: Where it was looked at.
        differences: To the experiment that it is compared with, by split.
        sweep: By the strength of a change, of which 0 is none.
        chosen: The step with the highest macro-F1 of those whose accuracy is no lower than without the change.
    """

    validation: Scores | None = None
    test: Scores | None = None
    training: Training | None = None
    differences: dict[str, Difference] = {}
    pace: Pace | None = None
    sweep: dict[str, Scores] = {}
    chosen: str = ""
    batches: BatchTimes | None = None


class Answers(NamedTuple):
    """Probabilities, float ``[N, 7]``, of the images of a split, and their labels, int ``[N]``."""

    probabilities: Floats
    labels: NDArray[np.integer[Any]]


@dataclass
class Material:
    """What experiments are read from, and what was read of it.

    Attributes:
        folders: Hold run folders.
        answers: A folder of ``<run>.npz`` with ``<split>_plain`` and ``<split>_flip`` (mirrored pictures), float
            ``[N, 7]`` at temperature 1 in the order of the dataset's rows; None where there is none.
        before: A checkout of the code before batches were made faster; None where there is none.
        said: By experiment and split, what it answers.
    """

    folders: list[Path]
    answers: Path | None = None
    before: Path | None = None
    said: dict[tuple[str, str], Answers] = field(default_factory=dict)

    def run(self, name: str) -> Run:
        """The run of that name.

        Raises:
            FerError: It is in none of the folders.
        """
        for folder in self.folders:
            if (folder / name).is_dir():
                return Run(Job(folder / name))
        raise FerError(f"no run {name} in {', '.join(map(str, self.folders))}")

    def stored(self, name: str, key: str) -> Floats:
        """Stored answers of a run, float32 ``[N, 7]``.

        Raises:
            FerError: There are none.
        """
        file = self.answers / f"{name}.npz" if self.answers else None
        if file is None or not file.is_file():
            raise FerError(f"no stored answers of {name}; name their folder with --answers")
        with np.load(file) as arrays:
            if key not in arrays:
                raise FerError(f"no stored answers of {name} for {key}")
            return arrays[key].astype(np.float32)  # kept in half precision


def find(entry: Entry, material: Material) -> Outcome:
    """What an experiment came to.

    Raises:
        FerError: What it is read from is not at hand, or damaged.
    """
    finders = {
        "run": _of_run,
        "mean": _of_mean,
        "mean-mirrored": _of_mean,
        "served": _of_served,
        "mirrored": _of_mirrored,
        "prior": _of_sweep,
        "offset": _of_sweep,
        "batches": _of_batches,
    }
    outcome = finders[entry.kind](entry, material)
    for split in _SPLITS:
        ours, theirs = (material.said.get((name, split)) for name in (entry.name, entry.against))
        if ours and theirs and np.array_equal(ours.labels, theirs.labels):  # the same rows of the same dataset
            outcome.differences[split] = _difference(theirs, ours)
    return outcome


def _of_run(entry: Entry, material: Material) -> Outcome:
    (name,) = entry.of
    run = material.run(name)
    outcome = Outcome(training=_training(run) if run.epoch_events else None)
    for split in _SPLITS:
        if answers := _answers(run, split, material):
            material.said[entry.name, split] = answers
            setattr(outcome, split, _scores(evaluate_predictions(*answers, None, "")))
        elif run.card and split in run.card.metrics:
            setattr(outcome, split, _scores(run.card.metrics[split]))
    if outcome.validation is None and run.best:
        outcome.validation = _scores_of_epoch(run.best, len(open_dataset(run.config).table("validation")))
    if entry.pace_of:
        outcome.pace = _pace(run, material.run(entry.pace_of))
    return outcome


def _training(run: Run) -> Training:
    history, busy = run.history, run.machine["gpu_percent"].median()
    best, lowest = run.best, history["val_loss"].idxmin()
    assert best is not None  # the first epoch is the best so far
    scored = (run.metrics or {}).get("best", best)
    return Training(
        epochs=len(history),
        planned=run.config.total_epochs,
        best_epoch=best["epoch"] + 1,
        scored_epoch=scored["epoch"] + 1,
        best_accuracy=best["val_accuracy"],
        last_accuracy=history["val_accuracy"].iloc[-1],
        last_loss=history["val_loss"].iloc[-1],
        lowest_loss=history["val_loss"][lowest],
        lowest_loss_epoch=int(history["epoch"][lowest]) + 1,
        train_accuracy=history["accuracy"].iloc[-1],
        seconds=float(history["seconds"].median()),
        device=trained_on(run.job.events()),
        gpu_percent=None if math.isnan(busy) else busy,
    )


def _answers(run: Run, split: str, material: Material) -> Answers | None:
    """What its model answers; that of test may have been asked outside the app, and then has no temperature yet."""
    file = predictions_file(run.folder, split)
    if file.is_file():
        table = read_predictions(file)
        return Answers(probabilities_of(table), table["label"].to_numpy())
    try:
        stored = material.stored(run.name, f"{split}_plain")
    except FerError:
        return None
    assert run.card is not None  # a run that has not finished was asked nothing
    return Answers(apply_temperature(stored, run.card.temperature), open_dataset(run.config).split(split).labels)


def _scores_of_epoch(event: dict[str, Any], n: int) -> Scores:
    """What the event of an epoch says; its network's probabilities were not kept."""
    accuracy = event["val_accuracy"]
    return Scores(
        n=n,
        accuracy=accuracy,
        ci95=wilson_interval(round(accuracy * n), n),
        macro_f1=event["val_macro_f1"],
        ece=None,
        recall=event["val_recall"],
    )


def _pace(ours: Run, theirs: Run) -> Pace:
    last = min(len(ours.history), len(theirs.history))
    first = max(0, last - PACE)
    accuracies = (run.history["val_accuracy"].iloc[first:last].tolist() for run in (ours, theirs))
    return Pace(first=first + 1, ours=next(accuracies), theirs=next(accuracies))


def _of_mean(entry: Entry, material: Material) -> Outcome:
    """The mean of all answers, each at temperature 1."""
    kinds = ("plain", "flip") if entry.kind == "mean-mirrored" else ("plain",)
    dataset = open_dataset(material.run(entry.of[0]).config)
    outcome = Outcome()
    for split in _SPLITS:
        try:
            said = _mean(material.stored(name, f"{split}_{kind}") for name in entry.of for kind in kinds)
        except FerError:
            if split == "validation":
                raise
            continue  # of some, only what they say of validation was kept
        answers = material.said[entry.name, split] = Answers(said, dataset.split(split).labels)
        setattr(outcome, split, _scores(evaluate_predictions(*answers, None, "")))
    return outcome


def _of_served(entry: Entry, material: Material) -> Outcome:
    dataset = open_dataset(material.run(entry.of[0]).config)
    predictor = Predictor.load(find_model(entry.model, Workspace(Path("/nonexistent"))))
    outcome = Outcome()
    for name in _SPLITS:
        split = dataset.split(name)
        answers = material.said[entry.name, name] = Answers(predictor.classify(split.images), split.labels)
        setattr(outcome, name, _scores(evaluate_predictions(*answers, None, "")))
    return outcome


def _of_mirrored(entry: Entry, material: Material) -> Outcome:
    """Of a served model, the mean of what it says of a picture and of its mirror image."""
    split = open_dataset(material.run(entry.of[0]).config).split("validation")
    predictor = Predictor.load(find_model(entry.model, Workspace(Path("/nonexistent"))))
    said = _mean(predictor.classify(images) for images in (split.images, split.images[:, :, ::-1]))
    return _on_validation(entry, material, Answers(said, split.labels))


def _of_sweep(entry: Entry, material: Material) -> Outcome:
    """Stored answers, with the probability of each class multiplied by a factor: its prior to the power of minus tau
    (logit adjustment after training, Menon et al. 2021, arXiv:2007.07314), or one that adds to its logit."""
    run = material.run(entry.of[0])
    table = read_predictions(predictions_file(run.folder, "validation"))
    before, labels = probabilities_of(table), table["label"].to_numpy()
    if entry.kind == "prior":
        prior = class_shares(open_dataset(run.config))
        factors = {f"{tau:g}": prior**-tau for tau in TAUS}
    else:
        given = np.isin(EMOTIONS, entry.classes)
        factors = {f"{offset:g}": np.exp(offset * given) for offset in OFFSETS}
    sweep = {step: _scores(evaluate_predictions(weighted(before, f), labels, None, "")) for step, f in factors.items()}
    chosen = best_without_loss(sweep)
    outcome = _on_validation(entry, material, Answers(weighted(before, factors[chosen]), labels))
    return outcome.model_copy(update={"sweep": sweep, "chosen": chosen})


def _of_batches(entry: Entry, material: Material) -> Outcome:
    if material.before is None:
        raise FerError("no checkout to compare with; name one with --before")
    return Outcome(batches=batch_times(material.before))


def class_shares(dataset: Dataset) -> NDArray[np.float64]:
    """Share of each class in the train split, float64 ``[7]``."""
    counts = dataset.counts()["train"]
    images = np.array([counts[emotion] for emotion in EMOTIONS], np.float64)
    return images / images.sum()


def weighted(probabilities: Floats, factors: Floats) -> Floats:
    """Probabilities ``[N, 7]`` multiplied by a factor for each class ``[7]``; rows sum to one again."""
    product = probabilities * factors
    return product / product.sum(axis=1, keepdims=True)


def best_without_loss(sweep: dict[str, Scores]) -> str:
    """The step with the highest macro-F1 of those whose accuracy is no lower than that of step 0."""
    kept = [step for step, scores in sweep.items() if scores.accuracy >= sweep["0"].accuracy]
    return max(kept, key=lambda step: sweep[step].macro_f1)


def _on_validation(entry: Entry, material: Material, answers: Answers) -> Outcome:
    material.said[entry.name, "validation"] = answers
    return Outcome(validation=_scores(evaluate_predictions(*answers, None, "")))


def _mean(answers: Iterable[Floats]) -> Floats:
    return np.mean(list(answers), axis=0)


def _scores(report: EvaluationReport) -> Scores:
    classes = report.per_class.items()
    return Scores(
        **report.model_dump(include={"n", "accuracy", "ci95", "macro_f1", "ece"}),
        recall={emotion: scores.recall for emotion, scores in classes},
        precision={emotion: scores.precision for emotion, scores in classes},
    )


def _difference(a: Answers, b: Answers) -> Difference:
    """How much more accurate B is than A."""
    right_a, right_b = (answers.probabilities.argmax(axis=1) == answers.labels for answers in (a, b))
    paired = PairedDifference(
        both=int((right_a & right_b).sum()),
        only_a=int((right_a & ~right_b).sum()),
        only_b=int((right_b & ~right_a).sum()),
        neither=int((~right_a & ~right_b).sum()),
    )
    return Difference(value=paired.difference, ci95=paired.ci95, n=paired.n)
