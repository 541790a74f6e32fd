"""``evaluate``: how good a model is on a dataset or raw pictures, in all and on photographs it never met."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fer_core.cli import pairs
from fer_core.cli.console import (
    DetachOption,
    JsonOption,
    absolute_source,
    dataset_or_none,
    note,
    print_json,
    progress_bar,
    start_detached,
)
from fer_core.errors import DatasetError, FerError, from_os_error
from fer_core.inference.tta import Tta
from fer_core.jobs.progress import Progress
from fer_core.jobs.worker import work
from fer_core.workspace import Workspace, expand

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from fer_core.cli.evaluate_further import Told
    from fer_core.data.dataset import Dataset, Split
    from fer_core.evaluation.compare import PairedAnswers
    from fer_core.evaluation.report import EvaluationReport
    from fer_core.inference.predictor import Predictor
    from fer_core.inference.served import ServedModel

KIND: Final = "evaluate"
SEALED: Final = "The test split was not looked at"
"""How a note on the card of a new run begins, until it is no longer so."""


class EvaluationSplit(StrEnum):
    """Splits that a model is not trained on."""

    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True)
class Material:
    """What is evaluated on; ``dataset`` is None for a raw source."""

    name: str
    split_name: str
    split: Split
    dataset: Dataset | None


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|RESULTS.csv",
            help="A run, an .onnx file or a bundled model; or results made elsewhere: a column `file` and one for each "
            "class.",
        ),
    ],
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE|DATASET", help="A prepared dataset, or pictures in class folders."),
    ],
    split: Annotated[
        EvaluationSplit | None,
        typer.Option(help="Default: validation of a dataset, test of a source. Looking at test is counted."),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET",
            help="Keep a source as a new dataset, nothing of which is trained on: a name in the workspace, or a path. "
            "Evaluate then shows the pictures behind each figure.",
        ),
    ] = None,
    tta: Annotated[
        Tta | None,
        typer.Option(
            help="Test-time augmentation: mean of two or ten views of each picture. Its numbers are kept apart and "
            "named so; it takes as many times as long."
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL|RESULTS",
            help="Compare with the predictions of another model, or of a CSV, that are kept of the same split, picture "
            "by picture.",
        ),
    ] = None,
    details: Annotated[
        bool, typer.Option("--details", help="With --against: also the images that only one of the two reads right.")
    ] = False,
    uncertain_below: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="P",
            help="Also: how many images are left, and how right the model is on them, where a lower top probability "
            "counts as uncertain (`predict --threshold`); and its calibration error without its temperature.",
        ),
    ] = None,
    slice_by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE.csv",
            help="Also: accuracy of parts of the images against the rest, by brightness, contrast, blur, source, flags "
            "or all of these; or by the columns of a CSV with a column `file`. Can be given several times.",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="ORDER",
            help="For results whose columns do not name their classes: fer2013, alphabetical, or seven names in order; "
            "`detect` tells how well the known ones fit, on test as a counted look.",
        ),
    ] = None,
    trained_on: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET",
            help="What the model was trained on, to tell leaks: for results, or a model whose card does not say it.",
        ),
    ] = None,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Scores a model, or results made elsewhere: official and leak-free accuracy, by class, with calibration."""
    space = Workspace.default()
    if details and not against:
        raise FerError("--details tells where two models differ: name the other one with --against.")
    further = None
    if uncertain_below is not None or slice_by:
        from fer_core.cli.evaluate_further import Further

        further = Further.asked(uncertain_below, slice_by or [])
    if detach and (against or further):
        raise FerError(
            "What --against, --uncertain-below and --slice-by find is printed and not kept: leave --detach out."
        )
    if is_results(model):
        from fer_core.cli import evaluate_results

        if keep or tta:
            raise FerError(f"{model} holds answers, not a model that could be asked: leave --keep and --tta out.")
        asked = evaluate_results.Asked(model, source, split, labels, trained_on)
        evaluate_results.run(asked, against, further, details=details, detach=detach, as_json=as_json)
        return
    if labels:
        raise FerError("--labels is for a CSV of results: a model says itself what it answers.")
    if detach:
        plan = _plan(model, source, split, keep, tta, space, trained_on)
        start_detached(space, KIND, plan.job, plan.arguments, as_json)
        return
    other = find_other(against, source, split, space) if against else None
    served, material, report, table = score(model, source, split, keep, tta, trained_on)
    compared = other.pair(table) if other else None
    if as_json:
        told = further.find(material, table) if further else None
        found = document(served.name, material, report, compared, told, details=details)
        print_json({**found, "trained_on": trained_on} if trained_on else found)
        return
    chosen = material.dataset is not None and served.chosen_on(material.dataset.info.fingerprint, material.split_name)
    print_report(served.name, material, report, chosen=chosen)
    if compared:
        compared.show(f"{served.name}{_tta_words(tta)}", details=details)
    if further:
        further.find(material, table).show()


def is_results(model: str) -> bool:
    """Whether what is to be scored is a file of results, by its name."""
    return expand(model).suffix.lower() == ".csv"


@dataclass(frozen=True)
class Compared:
    """A model that was compared with, and what it and the scored one said of the same pictures."""

    name: str
    answers: PairedAnswers

    def show(self, scored: str, *, details: bool) -> None:
        """Prints how what was scored differs from it."""
        typer.echo(f"\nAgainst {self.name}: {pairs.difference_words(self.answers.difference, self.name)}")
        if details:
            pairs.print_details(self.answers, self.name, scored)


@dataclass(frozen=True)
class Other:
    """A model to compare with, and what it said of the same split."""

    name: str
    predictions: pd.DataFrame

    def pair(self, table: pd.DataFrame) -> Compared | None:
        """Brings its answers together with those of a table of predictions; says so where they share no picture."""
        from fer_core.evaluation.compare import pair

        answers = pair(self.predictions, table)
        if answers is None:
            note(f"Nothing to compare: {self.name} answered other images of this split.")
            return None
        return Compared(self.name, answers)


def document(
    name: str,
    material: Material,
    report: EvaluationReport,
    compared: Compared | None,
    told: Told | None,
    *,
    details: bool,
) -> dict[str, Any]:
    """What ``--json`` prints; ``against``, ``confidence`` and ``slices`` only where they were asked for."""
    found = {"model": name, "data": material.name, "split": material.split_name, **report.document()}
    if compared:
        found["against"] = {"model": compared.name, **pairs.document(compared.answers, details=details)}
    return found | (told.document() if told else {})


def find_other(model: str, source: str, split: EvaluationSplit | None, space: Workspace) -> Other:
    """What another model said of the split; looked for first, so that a long evaluation does not end with an error."""
    from fer_core.evaluation.predictions import predictions_file, read_predictions

    served = _kept_of(model, space)
    dataset, split, _ = choose_data(source, split, space)
    if dataset is None:
        raise FerError("Predictions are kept of a prepared dataset alone: give one, or leave --against out.")
    file = predictions_file(served.results(space.evaluations, dataset.info.fingerprint), split.value)
    if not file.is_file():
        raise FerError(
            f"No predictions of {served.name} are kept of this split. Evaluate it first: "
            f"python -m fer_core evaluate {model} {dataset.name} --split {split.value}"
        )
    return Other(served.name, read_predictions(file))


def _kept_of(model: str, space: Workspace) -> ServedModel:
    """A model, or results by their CSV or by the name under which they are kept."""
    from fer_core.inference.kept_results import list_results, results_of
    from fer_core.inference.served import find_model

    if is_results(model):
        try:
            return results_of(expand(model), space)
        except OSError as error:
            raise from_os_error(error, expand(model)) from error
    return next((kept for kept in list_results(space) if kept.name == model), None) or find_model(model, space)


@dataclass(frozen=True)
class _Plan:
    """What is to be evaluated on what, and the job that does it."""

    served: ServedModel
    dataset: Dataset | None
    split: EvaluationSplit
    keep: Path | None
    tta: Tta | None
    training: Dataset | None
    job: str
    arguments: list[str]


def _plan(
    model: str,
    source: str,
    split: EvaluationSplit | None,
    keep: str | None,
    tta: Tta | None,
    space: Workspace,
    trained_on: str | None = None,
) -> _Plan:
    from fer_core.data.dataset import Dataset, check_free
    from fer_core.inference.served import find_model

    served = find_model(model, space)
    dataset, split, place = choose_data(source, split, space)
    arguments = ["evaluate", str(served.path), place, "--split", split.value]
    folder = None
    if keep is not None:
        if dataset is not None:
            raise FerError(f"{dataset.name} is a dataset already: leave --keep out.")
        if split is not EvaluationSplit.TEST:
            raise FerError("What is kept is a test split: leave --split out, or keep nothing.")
        folder = space.new_dataset(keep)
        check_free(folder)
        arguments += ["--keep", str(folder)]
    if tta is not None:
        arguments += ["--tta", tta.value]
    training = None
    if trained_on is not None:
        if served.card is not None and served.card.dataset.known:
            raise FerError(
                f"{served.name} says itself that it was trained on {served.card.dataset.name}: leave --trained-on out."
            )
        training = Dataset.open(space.dataset(trained_on))
        arguments += ["--trained-on", str(training.folder)]
    job = space.new_name(space.jobs, f"evaluate-{split.value}")
    return _Plan(served, dataset, split, folder, tta, training, job, arguments)


def choose_data(
    source: str, split: EvaluationSplit | None, space: Workspace
) -> tuple[Dataset | None, EvaluationSplit, str]:
    """The dataset, None for a raw source; the split that is meant; and how another process finds the same.

    Raises:
        FerError: There is nothing of that name, or no validation split to be meant.
    """
    dataset = dataset_or_none(source, space)
    if dataset and split is None and not any(dataset.counts()["validation"].values()):
        raise FerError(f"{dataset.name} has no validation images. Give --split test, a look that is counted.")
    split = split or (EvaluationSplit.VALIDATION if dataset else EvaluationSplit.TEST)
    return dataset, split, str(dataset.folder) if dataset else absolute_source(source)


def score(
    model: str,
    source: str,
    split: EvaluationSplit | None = None,
    keep: str | None = None,
    tta: Tta | None = None,
    trained_on: str | None = None,
) -> tuple[ServedModel, Material, EvaluationReport, pd.DataFrame]:
    """Scores a model as a job, with a progress bar, and keeps what it says of a dataset.

    Args:
        model: A run, an ``.onnx`` file or a bundled model.
        source: A prepared dataset, or pictures in class folders.
        split: Of ``source``; None for validation of a dataset, test of a source. A look at test is counted.
        keep: Name of a new dataset that a source is kept as.
        tta: Test-time augmentation, if any.
        trained_on: The dataset that the model was trained on, where its card does not say it.

    Returns:
        The model, the images, the report, and the table of predictions that it was made of.

    Raises:
        FerError: The model or the pictures cannot be read, or there is such a dataset already.
    """
    from fer_core.evaluation.leaks import seen_in_training
    from fer_core.evaluation.predictions import Origin, predictions_table
    from fer_core.evaluation.report import evaluate_predictions
    from fer_core.inference.predictor import Predictor

    space = Workspace.default()
    plan = _plan(model, source, split, keep, tta, space, trained_on)
    served = plan.served
    with progress_bar() as bar, work(space.jobs, KIND, plan.job, plan.arguments, listener=bar) as worker:
        worker("Loading the model", 0, 0)
        predictor = Predictor.load(served)
        dataset = plan.dataset or (_kept(source, plan.keep, predictor.input_shape, worker) if plan.keep else None)
        material = read_material(source, plan.split, dataset, predictor.input_shape, worker)
        probabilities = _classify(predictor, material.split, tta, worker)
        worker("Looking for photographs seen in training", 0, 0)
        training = plan.training or _training_dataset(served, plan.dataset, space)
        seen = seen_in_training(material.split, training, served.fingerprints)
        origin = Origin(
            model=served.name,
            dataset=material.name,
            note=seen.note,
            temperature=served.card.temperature if served.card else 1.0,
            tta=tta,
            trained_on=plan.training.name if plan.training else "",
        )
        labels = material.split.labels
        report = evaluate_predictions(probabilities, labels, seen.mask, origin.note, origin.temperature, tta)
        table = predictions_table(
            paths=material.split.table["path"].tolist(),
            labels=labels,
            probabilities=probabilities,
            seen=seen.mask,
            origin=origin,
        )
        _keep(space, served, material, report, table)
        told = f"{plan.split.value}{_tta_words(tta)}: {with_interval(report.accuracy, report.ci95)}"
        worker.say(f"{served.name} on {material.name}, {told}.")
    return served, material, report, table


def _kept(source: str, folder: Path, shape: tuple[int, int, int], progress: Progress) -> Dataset:
    """A source as a dataset of the model's size that is all test."""
    from fer_core.data.config import Policy, PrepareConfig
    from fer_core.data.prepare import prepare

    if shape[0] != shape[1]:
        raise FerError(
            f"The model reads pictures of {shape[1]} x {shape[0]}; only square ones can be kept. Leave --keep out."
        )
    config = PrepareConfig(policy=Policy.EVALUATION_ONLY, size=shape[0], color=shape[2] == 3)
    return prepare([source], folder, config, progress)


def read_material(
    source: str,
    split: EvaluationSplit,
    dataset: Dataset | None,
    shape: tuple[int, int, int],
    progress: Progress,
) -> Material:
    """The images of a split of a prepared dataset, or of a raw source.

    Raises:
        FerError: They cannot be read, or test images of a dataset in the workspace are said to be validation.
    """
    from fer_core.data.sources import parse_spec, read_split

    if dataset is not None:
        return Material(dataset.name, split.value, dataset.split(split.value, progress), dataset)
    name, _ = parse_spec(source)
    material = Material(name, split.value, read_split(source, split.value, shape[:2], shape[2], progress), None)
    if split is not EvaluationSplit.TEST:
        _check_no_test(source, material)
    return material


def _check_no_test(source: str, material: Material) -> None:
    """Class folders do not say which split they are of: a test set among them must not be looked at uncounted.

    A source that has splits does, and copies across its own are no reason to refuse it: FER2013 has many.
    """
    from fer_core.data.dataset import Dataset
    from fer_core.data.sources import open_source

    shas = material.split.table["pixel_sha"]
    for folder in Workspace.default().list_datasets():
        with contextlib.suppress(DatasetError):  # a damaged one is told where it is chosen
            dataset = Dataset.open(folder)
            found = int(shas.isin(dataset.table("test")["pixel_sha"]).sum())
            if found and "" in open_source(source).splits():
                raise FerError(
                    f"{material.name}: {found:,} of its {len(shas):,} pictures are test images of {dataset.name}. Only "
                    "`evaluate --split test` looks at such, which is counted."
                )


def _classify(predictor: Predictor, split: Split, tta: Tta | None, progress: Progress) -> NDArray[np.float32]:
    import numpy as np

    from fer_core.emotions import EMOTIONS
    from fer_core.inference.predictor import BATCH
    from fer_core.inference.tta import classify
    from fer_core.preprocessing import to_native

    height, width, channels = predictor.input_shape
    total = len(split.labels)
    answers = np.empty((total, len(EMOTIONS)), np.float32)
    for start in range(0, total, BATCH):
        images = split.images[start : start + BATCH]
        # The dataset's size is the model's, unless it was trained on another dataset.
        native = np.stack([to_native(image, (height, width), channels) for image in images])
        answers[start : start + BATCH] = classify(predictor, native, tta)
        progress("Classifying", min(start + BATCH, total), total)
    return answers


def _training_dataset(served: ServedModel, evaluated: Dataset | None, space: Workspace) -> Dataset | None:
    """The very dataset that a model was trained on, if it is at hand and still the same."""
    from fer_core.data.dataset import Dataset

    if served.card is None:
        return None
    trained_on = served.card.dataset
    if evaluated is not None and evaluated.info.fingerprint == trained_on.fingerprint:
        return evaluated
    for folder in _folders(served, trained_on.name, space):
        try:
            dataset = Dataset.open(folder)
        except FerError:
            continue
        if dataset.info.fingerprint == trained_on.fingerprint:
            return dataset
    return None


def _folders(served: ServedModel, name: str, space: Workspace) -> list[Path]:
    """Where the training dataset may lie: where the run says, and under its name in the workspace."""
    from fer_core.jobs.store import Job
    from fer_core.training.runs import Run

    folders = [space.datasets / name]
    if served.run is not None:
        try:
            reference = Run(Job(served.run)).config.dataset
        except FerError:
            reference = None  # the settings are damaged; the name may still do
        if reference is not None:
            folders.insert(0, Path(reference.path))
    return folders


def count_look(space: Workspace, name: str, material: Material) -> int:
    """Counts a look at test images, says so, and returns how many there have been."""
    from fer_core.evaluation.reveals import record_reveal

    count = record_reveal(space, material.split.table["pixel_sha"], name, material.name)
    times = "once" if count == 1 else f"{count} times"
    n, height, width, _ = material.split.images.shape
    note(f"Test result revealed: these {n:,} images of {width} x {height} pixels have now been looked at {times}.")
    return count


def _keep(
    space: Workspace, served: ServedModel, material: Material, report: EvaluationReport, table: pd.DataFrame
) -> None:
    """Keeps the predictions on a dataset: in the run that was made for it, else among the evaluations."""
    folder = served.results(space.evaluations, material.dataset.info.fingerprint) if material.dataset else None
    reveals = keep(space, folder, served.name, material, table)
    if folder is not None and folder == served.run and reveals is not None:
        _keep_reveal(folder, served, material.split_name, report, reveals)


def keep(space: Workspace, folder: Path | None, name: str, material: Material, table: pd.DataFrame) -> int | None:
    """Keeps predictions, and counts a look at test.

    The look is counted between writing them and giving them their name: none goes uncounted, and none is counted whose
    result cannot be kept.

    Args:
        space: The workspace.
        folder: Where to; None for those on a raw source, which are not kept.
        name: Of what was scored.
        material: The images.
        table: The predictions.

    Returns:
        How often these test images have been looked at; None for another split.
    """
    from fer_core.evaluation.predictions import origin_of, predictions_file, write_table

    is_test = material.split_name == EvaluationSplit.TEST
    if folder is None:
        return count_look(space, name, material) if is_test else None
    if folder.is_relative_to(space.evaluations):  # a run that was renamed meanwhile must not appear again
        folder.mkdir(parents=True, exist_ok=True)
    file = predictions_file(folder, material.split_name, origin_of(table).tta)
    unnamed = file.with_name(f".{file.name}.{os.getpid()}.new")  # another process may be keeping the same
    try:
        write_table(unnamed, table)
        reveals = count_look(space, name, material) if is_test else None
        unnamed.replace(file)
    except BaseException:
        unnamed.unlink(missing_ok=True)
        raise
    return reveals


def _keep_reveal(run: Path, served: ServedModel, split: str, report: EvaluationReport, reveals: int) -> None:
    """Notes a look at test on the card of its run, and the result there and in the metrics.

    A result with test-time augmentation stays where it is kept: a card's scores are those of the model as it is served.
    """
    from fer_core.evaluation.figures import confusion_matrix_file, write_confusion_matrix
    from fer_core.inference.card_text import leak_words
    from fer_core.inference.served import CARD_FILE
    from fer_core.jobs.store import Job, write_atomically
    from fer_core.training.runs import METRICS_FILE, Run

    assert served.card is not None  # a run without a card is not finished, and has no model to evaluate
    reports = {**served.card.metrics, split: report} if report.tta is None else served.card.metrics
    notes = [kept for text in served.card.notes if (kept := text.partition(SEALED)[0].strip())]
    revealed = served.card.model_copy(update={"metrics": reports, "notes": notes, "test_reveals": reveals})
    write_atomically(run / CARD_FILE, revealed.model_dump_json(indent=2))
    if report.tta is not None:
        return
    metrics = Run(Job(run)).metrics
    if metrics is not None:  # a run that still lacks the file is not finished
        metrics = {**metrics, split: report.document()}
        write_atomically(run / METRICS_FILE, json.dumps(metrics, indent=2, allow_nan=False))
    title = f"{served.name} on {served.card.dataset.name} · {split} · {leak_words(revealed, split)}"
    write_confusion_matrix(report, confusion_matrix_file(run, split), title=title)


def print_report(name: str, material: Material, report: EvaluationReport, *, chosen: bool = False) -> None:
    """Prints what an evaluation found: the figures, a table of the classes, the confusion matrix.

    Args:
        name: Of what was scored.
        material: On what.
        report: The figures.
        chosen: Whether it was chosen and fitted on these very images.
    """
    from fer_core.emotions import CODES
    from fer_core.evaluation.report import report_table
    from fer_core.inference.served import CHOSEN_ON

    typer.echo(f"{name} on {material.name}, {material.split_name}{_tta_words(report.tta)} ({report.n:,} images)")
    typer.echo(f"Accuracy           {with_interval(report.accuracy, report.ci95)}")
    leak_free = report.leak_free
    if leak_free.accuracy is not None and leak_free.ci95 is not None:
        interval = with_interval(leak_free.accuracy, leak_free.ci95)
        typer.echo(f"Never seen in train {interval}, {leak_free.n:,} images")
    else:
        typer.echo("Never seen in train -")
    typer.echo(f"                   {leak_free.note}")
    if chosen:
        typer.echo(f"                   {CHOSEN_ON}")
    intervals = report.intervals
    typer.echo(f"Macro F1           {report.macro_f1:.3f} (95% interval {_range(intervals.macro_f1)})")
    typer.echo(f"Macro recall       {report.macro.recall:.3f} (95% interval {_range(intervals.macro_recall)})")
    typer.echo(f"Loss {report.loss:.4f}, calibration error {report.ece:.3f}\n")
    table = report_table(report)
    table["recall, 95% interval"] = table["class"].map({name: _range(it) for name, it in intervals.recall.items()})
    typer.echo(table.to_string(index=False, na_rep="", float_format="{:.3f}".format))
    typer.echo(
        f"Intervals of macro scores and recall: stratified bootstrap, {intervals.resamples:,} resamples, "
        f"seed {intervals.seed}."
    )
    typer.echo("\nConfusion matrix (rows: true, columns: predicted)")
    typer.echo(" " * 10 + " ".join(f"{CODES[label]:>6}" for label in report.labels))
    for label, row in zip(report.labels, report.confusion_matrix, strict=True):
        typer.echo(f"{label:>8}  {' '.join(f'{n:6d}' for n in row)}")


def _tta_words(tta: str | None) -> str:
    return f", test-time augmentation {tta}" if tta else ""


def with_interval(value: float, interval: tuple[float, float]) -> str:
    """A share with its interval, in percent."""
    return f"{value:.1%} (95% interval {interval[0]:.1%} to {interval[1]:.1%})"


def _range(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}"
