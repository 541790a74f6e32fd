"""What ``evaluate`` says of a model: official and leak-free accuracy, scores by class, calibration."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError, ModelError
from fer_core.evaluation import metrics
from fer_core.evaluation.bootstrap import BootstrapIntervals, bootstrap_intervals
from fer_core.evaluation.calibration import apply_temperature
from fer_core.evaluation.confidence import reliability_bins
from fer_core.evaluation.curves import class_curves
from fer_core.evaluation.metrics import Floats, Interval, Ints
from fer_core.evaluation.predictions import origin_of, probabilities_of, seen_of

if TYPE_CHECKING:
    import pandas as pd


class ClassReport(BaseModel):
    """Scores of one class; the last two are those of its curve (``curves``), None where it has none."""

    precision: float
    recall: float
    f1: float
    support: int
    average_precision: float | None = None  # a card of before it was noted
    roc_auc: float | None = None


class Averages(BaseModel):
    """Scores of the seven classes in one figure each; a class that does not occur counts as in ``metrics``.

    The last two are of the classes that have them; None where none has.
    """

    precision: float
    recall: float
    f1: float
    average_precision: float | None
    roc_auc: float | None


class LeakFree(BaseModel):
    """Accuracy over the images without an exact, near or mirrored copy in the model's training data."""

    n: int
    accuracy: float | None
    ci95: Interval | None
    note: str


class EvaluationReport(BaseModel):
    """What an evaluation found, as cards keep it; ``ci95`` are 95% Wilson intervals, losses are in nats.

    What follows from the counts is made of them when it is asked for, so reports of older cards tell it, too.
    """

    n: int
    accuracy: float
    ci95: Interval
    macro_f1: float
    loss: float
    loss_uncalibrated: float
    ece: float
    per_class: dict[str, ClassReport]
    confusion_matrix: list[list[int]]
    labels: list[str]
    leak_free: LeakFree
    tta: str | None = None
    """Which views of a picture were averaged, as in ``predictions.Origin``."""

    @cached_property
    def macro(self) -> Averages:
        """Means over the classes, each counting the same however rare it is."""
        return self._averages(np.ones(len(self.per_class)))

    @cached_property
    def weighted(self) -> Averages:
        """Means over the classes, each counting as often as it occurs."""
        return self._averages(np.array([scores.support for scores in self.per_class.values()]))

    @cached_property
    def intervals(self) -> BootstrapIntervals:
        """95% bootstrap intervals of accuracy, macro-F1, macro recall and the recall of every class."""
        return bootstrap_intervals(np.asarray(self.confusion_matrix, np.int64))

    def document(self) -> dict[str, Any]:
        """The document of ``evaluate --json``: all fields, then ``macro``, ``weighted`` and ``intervals``."""
        derived = {"macro": self.macro, "weighted": self.weighted, "intervals": self.intervals}
        return self.model_dump(mode="json") | {key: part.model_dump(mode="json") for key, part in derived.items()}

    def _averages(self, weights: NDArray[np.number[Any]]) -> Averages:
        def mean(name: str) -> float | None:
            values = np.array([getattr(each, name) for each in self.per_class.values()], float)  # None becomes NaN
            known = ~np.isnan(values)
            return float(np.average(values[known], weights=weights[known])) if known.any() else None

        return Averages.model_validate({name: mean(name) for name in Averages.model_fields})


def evaluate_predictions(
    probabilities: Floats,
    labels: Ints,
    seen: NDArray[np.bool_] | None,
    note: str,
    temperature: float = 1.0,
    tta: str | None = None,
) -> EvaluationReport:
    """Scores predictions.

    Args:
        probabilities: float ``[N, 7]`` as the served model gives them, its temperature applied.
        labels: int ``[N]``.
        seen: bool ``[N]``, whether the model was trained on a copy of the photograph; None if not known.
        note: How ``seen`` was found out, or why it is not known; stands beside the leak-free figure.
        temperature: The one inside the served model, undone for ``loss_uncalibrated``.
        tta: Which test-time augmentation the probabilities are of, if any; only told.

    Raises:
        FerError: There are no images.
        ModelError: The probabilities are not numbers.
    """
    n = len(labels)
    if n == 0:
        raise FerError("There are no images to evaluate. Choose a split or source that holds some.")
    if not np.isfinite(probabilities).all():
        raise ModelError("The model answers with values that are not numbers; it cannot be evaluated. Train it again.")
    predicted = np.asarray(probabilities).argmax(axis=1)
    matrix = metrics.confusion_matrix(labels, predicted)
    scores = metrics.class_scores(matrix)
    rows = zip(scores.precision, scores.recall, scores.f1, scores.support, strict=True)
    curves = class_curves(probabilities, labels)
    return EvaluationReport(
        n=n,
        accuracy=metrics.accuracy(labels, predicted),
        ci95=metrics.wilson_interval(int(np.trace(matrix)), n),
        macro_f1=float(scores.f1.mean()),
        loss=metrics.cross_entropy(probabilities, labels),
        loss_uncalibrated=metrics.cross_entropy(apply_temperature(probabilities, 1 / temperature), labels),
        ece=reliability_bins(probabilities, labels).ece,
        per_class={
            emotion: ClassReport(
                precision=float(p),
                recall=float(r),
                f1=float(f),
                support=int(s),
                average_precision=curve.average_precision if (curve := curves[emotion]) else None,
                roc_auc=curve.roc_auc if curve else None,
            )
            for emotion, (p, r, f, s) in zip(EMOTIONS, rows, strict=True)
        },
        confusion_matrix=matrix.tolist(),
        labels=list(EMOTIONS),
        leak_free=_leak_free(np.asarray(labels) == predicted, seen, note),
        tta=tta,
    )


def report_of(table: pd.DataFrame) -> EvaluationReport:
    """The scores of stored predictions.

    Args:
        table: As ``read_predictions`` gives it.

    Raises:
        FerError: It holds no images.
    """
    origin = origin_of(table)
    labels = table["label"].to_numpy(np.int64)
    return evaluate_predictions(
        probabilities_of(table), labels, seen_of(table), origin.note, origin.temperature, origin.tta
    )


def _leak_free(hit: NDArray[np.bool_], seen: NDArray[np.bool_] | None, note: str) -> LeakFree:
    if seen is None:
        return LeakFree(n=0, accuracy=None, ci95=None, note=note)
    n = int((~seen).sum())
    if n == 0:
        left = "No image is left: the photographs of all of them were trained on."
        return LeakFree(n=0, accuracy=None, ci95=None, note=f"{left} {note}".strip())
    correct = int(hit[~seen].sum())
    return LeakFree(n=n, accuracy=correct / n, ci95=metrics.wilson_interval(correct, n), note=note)


def interval_table(report: EvaluationReport) -> pd.DataFrame:
    """``report_table`` with the ends of the 95% intervals of recall, and of the F1 of the macro average."""
    table, intervals = report_table(report), report.intervals
    table[["recall_low", "recall_high"]] = [
        intervals.macro_recall if name == "macro avg" else intervals.recall.get(name, (np.nan, np.nan))
        for name in table["class"]
    ]
    table[["f1_low", "f1_high"]] = [
        intervals.macro_f1 if name == "macro avg" else (np.nan, np.nan) for name in table["class"]
    ]
    return table


def report_table(report: EvaluationReport) -> pd.DataFrame:
    """The classification report as a table: one row per class, then accuracy, macro and weighted averages.

    Returns:
        Columns ``class``, ``precision``, ``recall``, ``f1``, ``support``, as in scikit-learn's report; the
        row ``accuracy`` has only ``f1`` and ``support``.
    """
    import pandas as pd

    table = pd.DataFrame([{"class": name, **scores.model_dump()} for name, scores in report.per_class.items()])
    averages = pd.DataFrame(
        [
            {"class": "accuracy", "f1": report.accuracy, "support": report.n},
            {"class": "macro avg", **report.macro.model_dump(), "support": report.n},
            {"class": "weighted avg", **report.weighted.model_dump(), "support": report.n},
        ]
    )
    return pd.concat([table, averages], ignore_index=True)[["class", "precision", "recall", "f1", "support"]]
