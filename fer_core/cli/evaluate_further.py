"""What ``evaluate`` tells besides its report where it is asked: the price of being sure, and slices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import typer

from fer_core.cli.console import note
from fer_core.data.quality import measure_images
from fer_core.errors import FerError
from fer_core.evaluation.calibration import apply_temperature
from fer_core.evaluation.compare import p_words
from fer_core.evaluation.confidence import Answered, answered_at, reliability_bins
from fer_core.evaluation.csv_rows import read_bytes
from fer_core.evaluation.predictions import origin_of, probabilities_of
from fer_core.evaluation.slices import (
    IMAGE_DIMENSIONS,
    Columns,
    Dimension,
    Slice,
    column_dimensions,
    finding,
    image_dimensions,
    read_columns,
    score,
)
from fer_core.workspace import expand

if TYPE_CHECKING:
    import pandas as pd

    from fer_core.cli.evaluate import Material

_ALL: Final = "all"


@dataclass(frozen=True)
class Confidence:
    """What calling answers uncertain costs, and what the temperature brought (None: of a mean it cannot be undone)."""

    answered: Answered
    temperature: float
    ece: float
    ece_uncalibrated: float | None


@dataclass(frozen=True)
class Told:
    """What was found; ``slices`` by the name of their dimension, None where none were asked for."""

    confidence: Confidence | None
    slices: dict[str, list[Slice]] | None

    def document(self) -> dict[str, Any]:
        """Its part of what ``--json`` prints."""
        found: dict[str, Any] = {}
        if self.confidence:
            found["confidence"] = asdict(self.confidence)
        if self.slices is not None:
            found["slices"] = {
                name: {"finding": finding(name, slices), "slices": [_fields(each) for each in slices]}
                for name, slices in self.slices.items()
            }
        return found

    def show(self) -> None:
        """Prints it."""
        if self.confidence:
            typer.echo(f"\n{_confidence_words(self.confidence)}")
        for name, slices in (self.slices or {}).items():
            typer.echo(f"\n{finding(name, slices)}")
            width = max(len(each.name) for each in slices)
            for each in slices:
                p = "" if each.p_value is None else f", {p_words(each.p_value)}"
                few = ", few images" if each.few else ""
                f1 = "-" if each.macro_f1 is None else f"{each.macro_f1:.3f}"
                typer.echo(f"  {each.name:<{width}}  {each.said}, macro-F1 {f1}; {each.against_rest}{p}{few}")
        if self.slices:
            typer.echo("\np: Fisher's exact test against the rest, corrected for the number of slices (Holm).")


@dataclass(frozen=True)
class Further:
    """What is asked for: a threshold, names of dimensions, and the columns of files."""

    uncertain_below: float | None
    names: list[str]
    columns: dict[Path, Columns]

    @classmethod
    def asked(cls, uncertain_below: float | None, slice_by: Sequence[str]) -> Further:
        """Reads what was typed, before a long evaluation begins.

        Raises:
            FerError: There is no such dimension, a CSV cannot be read, or two have the same column.
        """
        files = [expand(word) for word in slice_by if expand(word).suffix.lower() == ".csv"]
        names = [word for word in slice_by if expand(word) not in files]
        unknown = [word for word in names if word not in (_ALL, *IMAGE_DIMENSIONS)]
        if unknown:
            raise FerError(
                f"Cannot slice by {unknown[0]!r}: give {', '.join(IMAGE_DIMENSIONS)}, {_ALL}, or a .csv file."
            )
        wanted = list(IMAGE_DIMENSIONS) if _ALL in names else list(dict.fromkeys(names))
        columns = {file: read_columns(read_bytes(file), str(file)) for file in files}
        titles = Counter(title for each in columns.values() for title in each.values)
        if twice := [title for title, n in titles.items() if n > 1]:
            raise FerError(f"Several files have a column {twice[0]!r}: give each a title of its own.")
        return cls(uncertain_below, wanted, columns)

    def find(self, material: Material, table: pd.DataFrame) -> Told:
        """Answers it for the predictions on some images.

        Args:
            material: All images.
            table: What was said of them, or of some, whose ``row`` tells where they stand among all.
        """
        labels, predicted = (table[column].to_numpy(np.int64) for column in ("label", "predicted"))
        confidence = None
        if self.uncertain_below is not None:
            confidence = _confidence(table, self.uncertain_below)
        if not self.names and not self.columns:
            return Told(confidence, None)
        slices = {each.name: score(each, labels, predicted) for each in self._dimensions(material, table)}
        return Told(confidence, {name: found for name, found in slices.items() if found})

    def _dimensions(self, material: Material, table: pd.DataFrame) -> list[Dimension]:
        rows = table["row"].to_numpy(np.int64)
        found: list[Dimension] = []
        if self.names:
            split = material.split
            known = image_dimensions(split.table.iloc[rows], measure_images(split.images[rows]))
            found += [each for each in known if each.name in self.names]
        for file, columns in self.columns.items():
            where = f"{material.name}, {material.split_name}"
            added = column_dimensions(columns, str(file), table["path"].tolist(), where)
            for line in added.notes():
                note(line)
            found += added.dimensions
        return found


def _confidence(table: pd.DataFrame, threshold: float) -> Confidence:
    probabilities, labels = probabilities_of(table), table["label"].to_numpy(np.int64)
    origin, before = origin_of(table), None
    if origin.tta is None:
        before = reliability_bins(apply_temperature(probabilities, 1 / origin.temperature), labels).ece
    return Confidence(
        answered_at(probabilities, labels, threshold),
        origin.temperature,
        reliability_bins(probabilities, labels).ece,
        before,
    )


def _confidence_words(found: Confidence) -> str:
    before = ""
    if found.temperature != 1 and found.ece_uncalibrated is not None:
        before = f" Without its temperature of {found.temperature:.3f}: {found.ece_uncalibrated:.3f}."
    answered = found.answered
    told = f"Called uncertain below {answered.threshold:g}: {answered.said} ({answered.n:,} images are answered)"
    return f"{told}\nCalibration error {found.ece:.3f}.{before}"


def _fields(each: Slice) -> dict[str, Any]:
    return {
        "name": each.name,
        "n": each.n,
        "accuracy": each.accuracy,
        "ci95": each.ci95,
        "macro_f1": each.macro_f1,
        "difference": each.difference,
        "difference_ci95": each.difference_ci95,
        "p_value": each.p_value,
        "within_noise": each.noise,
        "few": each.few,
    }
