"""``evaluate RESULTS.csv``: answers of a model that we do not have, scored like those of one that we have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from fer_core.cli.console import note, print_json, progress_bar, start_detached
from fer_core.cli.evaluate import (
    KIND,
    EvaluationSplit,
    Material,
    choose_data,
    count_look,
    document,
    find_other,
    keep,
    print_report,
    read_material,
    with_interval,
)
from fer_core.errors import FerError
from fer_core.jobs.worker import work
from fer_core.workspace import Workspace, expand, printable

if TYPE_CHECKING:
    import pandas as pd

    from fer_core.cli.evaluate_further import Further
    from fer_core.data.dataset import Dataset
    from fer_core.evaluation.matching import Matches
    from fer_core.evaluation.report import EvaluationReport
    from fer_core.evaluation.results_csv import Results

_SHAPE: Final = (48, 48, 1)  # of FER2013: without a model, pictures of a raw source may be read at any size
_TOLD: Final = 3  # of the files that mean no image


@dataclass(frozen=True)
class Asked:
    """What is to be scored on what, as it was typed."""

    file: str
    source: str
    split: EvaluationSplit | None
    labels: str | None
    trained_on: str | None


@dataclass(frozen=True)
class _Scored:
    """What came of it; ``material`` is of all images, ``table`` of those with a result.

    ``kept`` is the folder among the evaluations; empty where the images are of a raw source.
    """

    name: str
    results: Results
    material: Material
    matches: Matches
    report: EvaluationReport
    table: pd.DataFrame
    finding: str
    warning: str
    kept: str


def run(
    asked: Asked, against: str | None, further: Further | None, *, details: bool, detach: bool, as_json: bool
) -> None:
    """Scores results, or starts the job that does, and prints what was found.

    Args:
        asked: What on what.
        against: A model whose kept predictions they are compared with.
        further: What else to tell.
        details: Whether to tell the images that only one of the two reads right.
        detach: Whether to return at once.
        as_json: Whether to print one JSON document.

    Raises:
        FerError: The results or the images cannot be read, or none of one is among the other.
    """
    space = Workspace.default()
    if detach:
        start_detached(space, KIND, *_job(asked, space), as_json)
        return
    other = find_other(against, asked.source, asked.split, space) if against else None
    found = _score(asked, space)
    compared = other.pair(found.table) if other else None
    if as_json:
        told = further.find(found.material, found.table) if further else None
        matched = {
            "read_as": found.results.read_as,
            "files_without_image": [*found.matches.unknown, *found.matches.unclear],
            "images_without_result": len(found.material.split) - found.report.n,
            "warning": found.warning or None,
        }
        said = document(found.name, found.material, found.report, compared, told, details=details)
        print_json({**said, "trained_on": asked.trained_on, "results": matched, "finding": found.finding})
        return
    print_report(found.name, found.material, found.report)
    if compared:
        compared.show(found.name, details=details)
    if further:
        further.find(found.material, found.table).show()
    typer.echo(f"\n{found.finding}")


def _job(asked: Asked, space: Workspace) -> tuple[str, list[str]]:
    """Name and command line of the job that scores results."""
    _, split, place = choose_data(asked.source, asked.split, space)
    arguments = ["evaluate", str(expand(asked.file).absolute()), place, "--split", split.value]
    if asked.labels is not None:
        arguments += ["--labels", asked.labels]
    if asked.trained_on is not None:
        arguments += ["--trained-on", str(space.dataset(asked.trained_on))]
    return space.new_name(space.jobs, f"evaluate-{split.value}"), arguments


def _score(asked: Asked, space: Workspace) -> _Scored:
    from fer_core.data.dataset import Dataset
    from fer_core.evaluation.matching import match
    from fer_core.evaluation.orders import parse_order
    from fer_core.evaluation.results_csv import read_results

    file = expand(asked.file)
    results = read_results(file, parse_order(asked.labels) if asked.labels else None)
    dataset, split, _ = choose_data(asked.source, asked.split, space)
    training = Dataset.open(space.dataset(asked.trained_on)) if asked.trained_on else None
    name, arguments = _job(asked, space)
    with progress_bar() as bar, work(space.jobs, KIND, name, arguments, listener=bar) as worker:
        try:
            shape = (training.info.height, training.info.width, training.info.channels) if training else _SHAPE
            material = read_material(asked.source, split, dataset, shape, worker)
            matches = match(results.files, material.split.table["path"].tolist())
            _tell(file, results, material, matches)
            if not results.named:
                raise _unnamed(space, file, results, material, matches, looks=asked.labels is not None)
            worker("Looking for photographs seen in training", 0, 0)
            found = _keep(space, asked, results, material, matches, training)
            if found.warning:
                note(found.warning)
            told = f"{split.value}: {with_interval(found.report.accuracy, found.report.ci95)}"
            words = (f"{found.name} on {material.name}, {told}.", found.finding, found.warning)
            worker.say(" ".join(filter(None, words)), kept=found.kept)
        finally:
            if file.absolute().parent == worker.job.folder.absolute():  # an upload: nobody else knows of it
                file.unlink(missing_ok=True)
    return found


def _tell(file: Path, results: Results, material: Material, matches: Matches) -> None:
    """Says which results are of no image, how many images have none, and what the numbers were taken for.

    Raises:
        FerError: No result is of an image.
    """
    from fer_core.evaluation.matching import check_some
    from fer_core.evaluation.results_csv import taken_for

    images = material.split.table["path"].tolist()
    where = f"{material.name}, {material.split_name}"
    check_some(matches, str(file), images, where)
    if matches.unknown:
        note(f"Files that are no image of {where}: {len(matches.unknown):,} ({_some(matches.unknown)}).")
    if matches.unclear:
        note(f"Files that may be several images of {where}: {len(matches.unclear):,} ({_some(matches.unclear)}).")
    if missing := len(images) - len(matches.images):
        note(f"Images of {where} without a result, which are not scored: {missing:,} of {len(images):,}.")
    if told := taken_for(results.read_as):
        note(told)


def _unnamed(
    space: Workspace, file: Path, results: Results, material: Material, matches: Matches, *, looks: bool
) -> FerError:
    """Why columns without classes are not scored, with how well the orders in use fit, and what to say to go on.

    Args:
        space: Where a look at test is counted.
        file: Of the results.
        results: With their columns as they stand in the file.
        material: The images.
        matches: Which result is of which image.
        looks: Whether test may be looked at for it.
    """
    from fer_core.evaluation.orders import fit_orders, order_text

    if material.split_name == EvaluationSplit.TEST:
        if not looks:
            return FerError(
                f"{file}: no column says which class it is of. State the order: --labels fer2013, alphabetical or "
                "angry,disgust,...; --labels detect finds it out, a look at test that is counted."
            )
        count_look(space, file.stem, material)
    fits = fit_orders(results.probabilities[matches.files].argmax(axis=1), material.split.labels[matches.images])
    evidence = f"{fits.words} of {fits.n:,} {material.split_name} images of {material.name}"
    if doubt := fits.doubt(evidence):
        return FerError(
            f"{file}: no column says which class it is of. {doubt} State {fits.option} if you know the order."
        )
    assert fits.order is not None  # there is no doubt
    return FerError(
        f"{file}: no column says which class it is of. {evidence[0].upper()}{evidence[1:]}: if that is right, say "
        f"--labels {order_text(fits.order)}."
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(printable, names[:_TOLD])) + (", ..." if len(names) > _TOLD else "")


def _keep(
    space: Workspace, asked: Asked, results: Results, material: Material, matches: Matches, training: Dataset | None
) -> _Scored:
    """Scores the images that have a result, counts a look at test, and keeps the answers to a dataset."""
    from fer_core.data.dataset import Split
    from fer_core.evaluation.leaks import never_seen, seen_in_training
    from fer_core.evaluation.orders import misfit
    from fer_core.evaluation.predictions import Origin, evaluation_folder, predictions_table
    from fer_core.evaluation.report import report_of

    file = expand(asked.file)
    rows, whole = matches.images, material.split
    split = Split(whole.images[rows], whole.labels[rows], whole.table.iloc[rows].reset_index(drop=True))
    seen = seen_in_training(split, training, None)
    table = predictions_table(
        paths=split.table["path"].tolist(),
        labels=split.labels,
        probabilities=results.probabilities[matches.files],
        seen=seen.mask,
        origin=Origin(
            model=printable(file.stem),
            dataset=material.name,
            note=seen.note,
            file=printable(file.name),
            labels=asked.labels or "",
            read_as=results.read_as,
            trained_on=training.name if training else "",
        ),
        rows=rows,
    )
    report = report_of(table)
    folder = None
    if material.dataset is not None:
        folder = evaluation_folder(space.evaluations, file, material.dataset.info.fingerprint)
    keep(space, folder, file.stem, material, table)
    warning = misfit(table["predicted"].to_numpy(), split.labels)
    kept = folder.name if folder else ""
    return _Scored(file.stem, results, material, matches, report, table, never_seen(report), warning, kept)
