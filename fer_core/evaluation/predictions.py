"""``predictions-<split>.parquet``: what a model said of every image of a split; scores are made from it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError
from fer_core.evaluation.metrics import Floats, Ints
from fer_core.jobs.store import write_atomically

if TYPE_CHECKING:
    import pandas as pd

PROBABILITY_COLUMNS: Final = tuple(f"p_{emotion}" for emotion in EMOTIONS)
"""Columns of the probabilities, in class order."""

COLUMNS: Final = ("row", "path", "label", "predicted", "seen", *PROBABILITY_COLUMNS)

DIGEST_DIGITS: Final = 16
"""Hexadecimal digits of a hash in a folder's name: 64 bits."""


class Origin(BaseModel):
    """Where predictions come from; travels inside their file.

    ``note`` says how the column ``seen`` was found out, ``temperature`` is the one inside the served model, ``tta``
    which views of a picture were averaged (``inference.tta``): None for the pictures alone. ``file`` is the CSV of
    answers made elsewhere, ``labels`` the order of its columns where that was stated, ``read_as`` what its numbers were
    taken for (``results_csv.Results``), and ``trained_on`` the dataset that was named as the model's training data;
    empty where there is no such thing.
    """

    model: str = ""
    dataset: str = ""
    note: str = ""
    temperature: float = 1.0
    tta: str | None = None
    file: str = ""
    labels: str = ""
    read_as: str = ""
    trained_on: str = ""


def evaluation_folder(evaluations: Path, model: Path, fingerprint: str) -> Path:
    """Where the predictions of a model on a dataset other than its own, or results made elsewhere, are kept.

    It is named by content, so a model or dataset that gets another name keeps its results, and one that takes
    over an old name does not inherit any.

    Args:
        evaluations: The workspace's folder of evaluations.
        model: The ``.onnx`` file, or the CSV of results.
        fingerprint: Of the dataset.
    """
    digest = _digest(model, model.stat().st_mtime_ns)
    return evaluations / f"{digest[:DIGEST_DIGITS]}-{fingerprint[:DIGEST_DIGITS]}"


@lru_cache(maxsize=128)  # a page asks at every rerun, and a file of a hundred megabytes takes a while
def _digest(file: Path, stamp: int) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def predictions_file(folder: Path, split: str, tta: str | None = None) -> Path:
    """The file of the predictions on a split, in the folder of a run or an evaluation.

    Those with test-time augmentation have one of their own: they neither replace the model's own answers nor are taken
    for them.
    """
    return folder / (f"predictions-{split}-{tta}.parquet" if tta else f"predictions-{split}.parquet")


def write_predictions(
    file: Path,
    *,
    paths: Sequence[str],
    labels: Ints,
    probabilities: Floats,
    seen: NDArray[np.bool_] | None = None,
    origin: Origin | None = None,
) -> None:
    """Writes the predictions of a whole split; the arguments are those of ``predictions_table`` and ``write_table``."""
    table = predictions_table(paths=paths, labels=labels, probabilities=probabilities, seen=seen, origin=origin)
    write_table(file, table)


def predictions_table(
    *,
    paths: Sequence[str],
    labels: Ints,
    probabilities: Floats,
    seen: NDArray[np.bool_] | None = None,
    origin: Origin | None = None,
    rows: Ints | None = None,
) -> pd.DataFrame:
    """Predictions as a table.

    Args:
        paths: Of the ``N`` images.
        labels: int ``[N]``.
        probabilities: float ``[N, 7]``, as the served model gives them.
        seen: bool ``[N]``, whether a copy of the photograph was trained on; None where that is not known.
        origin: Which model, which data, how ``seen`` was found out.
        rows: Where the images stand in the split, int ``[N]``; None where they are all of it, in its order.

    Returns:
        Columns ``COLUMNS``, the origin in its attributes.
    """
    import pandas as pd

    table = pd.DataFrame(
        {
            "row": np.arange(len(labels)) if rows is None else np.asarray(rows, np.int64),
            "path": list(paths),
            "label": np.asarray(labels, np.int64),
            "predicted": np.asarray(probabilities).argmax(axis=1),
            "seen": pd.array([pd.NA] * len(labels) if seen is None else seen, dtype="boolean"),
        }
    )
    for index, column in enumerate(PROBABILITY_COLUMNS):
        table[column] = np.asarray(probabilities)[:, index].astype(np.float32)
    table.attrs.update((origin or Origin()).model_dump())  # pandas keeps it in the file's metadata
    return table


def write_table(file: Path, table: pd.DataFrame) -> None:
    """Writes a table of predictions, replacing the file at once or not at all."""
    write_atomically(file, table.to_parquet(None, index=False))


def read_predictions(file: Path) -> pd.DataFrame:
    """Reads what ``write_predictions`` wrote: columns ``COLUMNS``, ``seen`` nullable.

    Raises:
        FerError: It is missing, damaged or has other columns.
    """
    import pandas as pd

    try:
        table = pd.read_parquet(file)
    except FileNotFoundError:
        raise FerError(f"{file}: no predictions here. Make them with `python -m fer_core evaluate`.") from None
    except (OSError, ValueError) as error:
        raise FerError(f"{file}: the predictions are damaged ({error}). Evaluate again.") from error
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise FerError(f"{file}: not a file of predictions, it lacks {', '.join(missing)}. Evaluate again.")
    whole = (table[["row", "label", "predicted"]].dtypes == np.int64).all()
    classes = table[["label", "predicted"]]
    numbers = all(table[column].dtype.kind == "f" for column in PROBABILITY_COLUMNS)
    if not numbers or not whole or not classes.isin(range(len(EMOTIONS))).all(axis=None):
        raise FerError(f"{file}: the predictions are damaged (values out of range). Evaluate again.")
    probabilities = probabilities_of(table)
    said = probabilities[np.arange(len(table)), table["predicted"].to_numpy()]
    if (said < probabilities.max(axis=1)).any():  # else scores and pictures would tell two stories
        raise FerError(
            f"{file}: what is predicted is not the class of the highest probability, so its classes are in another "
            "order. Evaluate again."
        )
    return table


def read_origin(file: Path) -> Origin:
    """Where the predictions in a file come from, without reading them; empty fields for one that does not say."""
    return _origin(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=256)  # a page that lists them asks at every rerun
def _origin(file: Path, stamp: int) -> Origin:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return Origin.model_validate((pq.read_schema(file).pandas_metadata or {}).get("attributes", {}))
    except (OSError, pa.ArrowInvalid, ValidationError):
        return Origin()


def probabilities_of(table: pd.DataFrame) -> NDArray[np.float32]:
    """The probabilities of a table of predictions, float32 ``[N, 7]``."""
    return table[list(PROBABILITY_COLUMNS)].to_numpy(np.float32)


def origin_of(table: pd.DataFrame) -> Origin:
    """Where a table of predictions comes from; empty fields for a file that does not say."""
    try:
        return Origin.model_validate(table.attrs)
    except ValidationError:
        return Origin()


def seen_of(table: pd.DataFrame) -> NDArray[np.bool_] | None:
    """The column ``seen`` as bool ``[N]``; None where it is not known."""
    return None if table["seen"].isna().any() else table["seen"].to_numpy(np.bool_)
