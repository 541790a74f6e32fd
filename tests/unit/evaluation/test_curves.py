"""A class against the others: scikit-learn's answers, also where probabilities are tied, and classes without any."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from fer_core.emotions import EMOTIONS
from fer_core.evaluation.curves import class_curves


@pytest.mark.parametrize("decimals", [2, 9])  # with many ties, and with none
def test_curves_equal_those_of_scikit_learn(decimals):
    random = np.random.default_rng(6)
    probabilities = random.dirichlet(np.full(7, 0.4), 1500).round(decimals).astype(np.float32)
    labels = np.where(random.random(1500) < 0.5, probabilities.argmax(1), random.integers(0, 7, 1500))
    for index, curve in enumerate(class_curves(probabilities, labels).values()):
        truth, scores = labels == index, probabilities[:, index]
        precision, recall, threshold = precision_recall_curve(truth, scores)
        np.testing.assert_allclose(curve.precision, precision[-2::-1])  # theirs rises, and ends in a point of no image
        np.testing.assert_allclose(curve.recall, recall[-2::-1])
        np.testing.assert_allclose(curve.threshold, threshold[::-1])
        assert curve.average_precision == pytest.approx(average_precision_score(truth, scores))
        assert curve.roc_auc == pytest.approx(roc_auc_score(truth, scores))
        assert curve.support == truth.sum()


@pytest.mark.parametrize("labels", [[], [3], [3, 3, 3]], ids=["no image", "one", "of one class"])
def test_a_class_that_cannot_be_told_from_others_has_no_curve(labels):
    curves = class_curves(np.full((len(labels), 7), 1 / 7), np.array(labels, np.int64))
    assert curves == dict.fromkeys(EMOTIONS)
    assert not any(class_curves(np.full((4, 7), 1 / 7), np.array([0, 0, 1, 1]))[name] for name in EMOTIONS[2:])
