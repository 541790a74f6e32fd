"""Which evaluated images a model has met in training: exact from its dataset, or by fingerprints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer_core.data.copies import fingerprint, seen_by_fingerprint
from fer_core.data.info import SPLITS

if TYPE_CHECKING:
    from fer_core.data.dataset import Dataset, Split
    from fer_core.evaluation.report import EvaluationReport

EXACT: Final = "Exact, by the copy rule of the dataset that the model was trained on."
APPROXIMATE: Final = "Approximate, by fingerprints of the photographs that the model was trained on."
UNKNOWN: Final = "Not known: neither the training dataset of the model nor its fingerprints are at hand."


@dataclass(frozen=True)
class Seen:
    """Whose photographs were trained on, bool ``[N]`` (None: not known), and how that was found out."""

    mask: NDArray[np.bool_] | None
    note: str


def seen_in_training(split: Split, training: Dataset | None, fingerprints: Path | None) -> Seen:
    """Looks for the photographs of evaluated images among those that a model was trained on.

    Args:
        split: The evaluated images.
        training: The dataset that the model was trained on, if it is at hand.
        fingerprints: The model's ``fingerprints.npy``, uint8 ``[M, 32]``, if there is one.
    """
    if training is not None:
        mask = _by_photograph(split.table["pixel_sha"], training)
        if mask is not None:
            return Seen(mask, EXACT)
    if fingerprints is not None:
        known = _read(fingerprints)
        if known is None:
            return Seen(None, f"Not known: {fingerprints} is damaged. Train the model again.")
    elif training is not None:
        known = training_fingerprints(training)
    else:
        return Seen(None, UNKNOWN)
    return Seen(seen_by_fingerprint(split.images, known), APPROXIMATE)


def training_fingerprints(training: Dataset) -> NDArray[np.uint8]:
    """Of the photographs in the train split of a dataset, without their augmented children: uint8 ``[M, 32]``."""
    split = training.split("train")
    return fingerprint(split.images[split.table["parent_id"].isna().to_numpy()])


def never_seen(report: EvaluationReport, how: str = "with --trained-on DATASET") -> str:
    """What is left of an accuracy on images that were not trained on, in a sentence.

    Args:
        report: The scores.
        how: Where it can be said what was trained on.
    """
    free = report.leak_free
    if free.accuracy is not None:
        return (
            f"{report.accuracy:.1%} is {free.accuracy:.1%} on images never seen in training "
            f"({free.n:,} of {report.n:,}). {free.note}"
        )
    if free.note != UNKNOWN:
        return free.note
    return (
        "What it was trained on is not known, and so neither is its accuracy on images never seen in training: "
        f"name it {how}."
    )


def _by_photograph(pixel_sha: pd.Series[str], training: Dataset) -> NDArray[np.bool_] | None:
    """Looks each picture's photograph up in the training dataset; None if one of the pictures is not in it.

    Equal pixels are one photograph, so this holds for any other source of the same pictures, too.
    """
    tables = {name: training.table(name) for name in SPLITS}
    rows = pd.concat(tables.values()).drop_duplicates("pixel_sha")
    photographs = pixel_sha.map(rows.set_index("pixel_sha")["photo_id"])
    if photographs.isna().any():
        return None
    return photographs.isin(tables["train"]["photo_id"]).to_numpy()


def _read(file: Path) -> NDArray[np.uint8] | None:
    try:
        known = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return known if known.dtype == np.uint8 and known.ndim == 2 and known.shape[1] == 32 else None
