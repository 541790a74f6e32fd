"""Each class against the other six: how precision falls as more of it is found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_core.emotions import EMOTIONS
from fer_core.evaluation.metrics import Floats, Ints


@dataclass(frozen=True)
class ClassCurve:
    """The images by their probability of a class, one point for each value that occurs.

    Attributes:
        threshold: The lowest probability that counts as the class, float64 ``[K]``, falling.
        precision: Share of the images from there on that are of the class, float64 ``[K]``.
        recall: Share of the class that is among them, float64 ``[K]``, rising to 1.
        average_precision: Mean precision over the recall, not interpolated; without skill it is the share of the class.
        roc_auc: How often an image of the class has a higher probability of it than one of another class (area under
            the ROC curve); without skill it is 0.5.
        support: Images of the class.
    """

    threshold: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    average_precision: float
    roc_auc: float
    support: int


def class_curves(probabilities: Floats, labels: Ints) -> dict[str, ClassCurve | None]:
    """The curve of every emotion, in their order; None for one that no image, or every image, is of.

    Source: Davis and Goadrich 2006, ICML, for curve and area; as scikit-learn's ``average_precision_score`` and
    ``roc_auc_score`` reckon them.

    Args:
        probabilities: float ``[N, 7]``.
        labels: int ``[N]``.
    """
    scores, truth = np.asarray(probabilities), np.asarray(labels)
    return {emotion: _curve(scores[:, index], truth == index) for index, emotion in enumerate(EMOTIONS)}


def _curve(scores: Floats, is_class: NDArray[np.bool_]) -> ClassCurve | None:
    support = int(is_class.sum())
    others = len(is_class) - support
    if not support or not others:
        return None
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # of the images that share a probability
    found = is_class[order].cumsum()[last]
    precision, recall = found / (last + 1), found / support
    false_alarms = (last + 1 - found) / others
    return ClassCurve(
        threshold=ranked[last].astype(np.float64),
        precision=precision,
        recall=recall,
        average_precision=float(np.diff(recall, prepend=0) @ precision),
        roc_auc=float(np.trapezoid(np.append(0, recall), np.append(0, false_alarms))),
        support=support,
    )
