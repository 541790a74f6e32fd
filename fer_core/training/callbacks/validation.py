"""Scores on the validation split at every epoch's end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fer_core.emotions import EMOTIONS
from fer_core.evaluation import metrics
from fer_core.training.predict import predict_probabilities


class Validation(keras.callbacks.Callback):
    """Predicts the validation split and adds its scores to the epoch's logs.

    These are ``val_loss``, ``val_accuracy`` and ``val_macro_precision``, ``_recall`` and ``_f1``, computed by the
    functions that ``evaluate`` uses, so the two agree.

    Args:
        images: uint8 ``[N, H, W, C]``, or whatever the model in training reads.
        labels: int64 ``[N]``.
        label_smoothing: That of the training loss, so that the two losses of a chart compare.
        tick: Told how many steps are done.

    Attributes:
        probabilities: float32 ``[N, 7]`` of the last epoch.
        recall: Of the last epoch, by emotion; None for an emotion that the split does not hold.
    """

    def __init__(
        self,
        images: NDArray[Any],
        labels: NDArray[np.int64],
        *,
        label_smoothing: float,
        tick: Callable[[int], None],
    ) -> None:
        super().__init__()
        self._images = images
        self._labels = labels
        self._label_smoothing = label_smoothing
        self._tick = tick
        self.probabilities: NDArray[np.float32] = np.zeros((0, len(EMOTIONS)), np.float32)
        self.recall: dict[str, float | None] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.probabilities = predict_probabilities(self.model, self._images, self._tick)
        predicted = self.probabilities.argmax(axis=1)
        scores = metrics.class_scores(metrics.confusion_matrix(self._labels, predicted))
        self.recall = {
            emotion: float(recall) if support else None
            for emotion, recall, support in zip(EMOTIONS, scores.recall, scores.support, strict=True)
        }
        assert logs is not None  # Keras passes the epoch's own dictionary, the one that later callbacks get
        logs["val_loss"] = smoothed_cross_entropy(self.probabilities, self._labels, self._label_smoothing)
        logs["val_accuracy"] = metrics.accuracy(self._labels, predicted)
        logs["val_macro_precision"] = float(scores.precision.mean())
        logs["val_macro_recall"] = float(scores.recall.mean())
        logs["val_macro_f1"] = float(scores.f1.mean())


def smoothed_cross_entropy(probabilities: NDArray[np.float32], labels: NDArray[np.int64], smoothing: float) -> float:
    """Mean cross-entropy, in nats, against labels whose share ``smoothing`` is spread over the classes."""
    logs = np.log(np.clip(np.asarray(probabilities, np.float64), 1e-7, 1))
    true = logs[np.arange(len(labels)), labels]
    return float(-((1 - smoothing) * true + smoothing * logs.mean(axis=1)).mean())
