"""Two runs compared on the validation images that both were scored on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fer_core.data.dataset import Dataset
from fer_core.errors import FerError
from fer_core.evaluation.compare import PairedAnswers, PairedDifference, pair, shared_rows
from fer_core.evaluation.predictions import predictions_file, read_predictions
from fer_core.training.config import DatasetReference
from fer_core.training.runs import Run, open_dataset

if TYPE_CHECKING:
    import pandas as pd


def compare_runs(a: Run, b: Run) -> PairedDifference | None:
    """The accuracy of ``b`` against that of ``a``; see ``pair_runs``."""
    answers = pair_runs(a, b)
    return answers.difference if answers else None


def pair_runs(a: Run, b: Run) -> PairedAnswers | None:
    """The answers of two runs to the same validation images; None where ``why_not_compared`` says why.

    Runs on one dataset share all of its validation split. Of runs on two datasets those images count that have
    the same path and the same pixels, for which both datasets must be at hand in one size: ``happy/1.png`` is the
    name of many pictures.

    Raises:
        FerError: A run has no predictions, or they are damaged.
    """
    tables = _comparable(a, b)
    return pair(*tables) if tables else None


def shared_images(a: Run, b: Run) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Where the images that ``pair_runs`` would pair stand in the predictions of each run.

    Returns:
        Positions, int64 ``[N]`` twice, of at least one image; None where ``why_not_compared`` says why.

    Raises:
        FerError: A run has no predictions, or they are damaged.
    """
    tables = _comparable(a, b)
    rows = shared_rows(*tables) if tables else None
    return rows if rows is not None and len(rows[0]) else None


def _comparable(a: Run, b: Run) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """The predictions of two runs, of two datasets with the pixels of each image; None where these are not known."""
    tables = tuple(read_predictions(predictions_file(run.folder, "validation")) for run in (a, b))
    if not _same_data(a, b):
        left, right = _dataset(a), _dataset(b)
        if left is None or right is None or _size(left) != _size(right):
            return None
        tables = _with_pixels(tables[0], left), _with_pixels(tables[1], right)
    return tables[0], tables[1]


def why_not_compared(a: Run, b: Run) -> str:
    """Why ``pair_runs`` finds nothing to compare, in a few words."""
    if _same_data(a, b):
        return "no shared image"
    datasets = [(_reference(run), _dataset(run)) for run in (a, b)]
    for reference, dataset in datasets:
        if reference is None:
            return "cannot be compared: data not known"
        if dataset is None:
            return f"cannot be compared: dataset {reference.name} is gone or changed"
    left, right = (_size(dataset) for _, dataset in datasets if dataset)
    return "no shared image" if left == right else "cannot be compared: pictures of another size"


def _same_data(a: Run, b: Run) -> bool:
    left, right = _reference(a), _reference(b)
    return left is not None and right is not None and left.fingerprint == right.fingerprint


def _reference(run: Run) -> DatasetReference | None:
    try:
        return run.config.dataset
    except FerError:
        return None


def _dataset(run: Run) -> Dataset | None:
    try:
        return open_dataset(run.config) if _reference(run) else None
    except (FerError, OSError):
        return None


def _size(dataset: Dataset) -> tuple[int, int, int]:
    return dataset.info.height, dataset.info.width, dataset.info.channels


def _with_pixels(predictions: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """Predictions with the hash of each picture's pixels, from the rows of the validation split."""
    pixels = dataset.table("validation")["pixel_sha"]
    return predictions.assign(pixel_sha=predictions["row"].map(pixels))
