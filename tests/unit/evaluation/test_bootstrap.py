"""Bootstrap intervals against resampling images one by one, and against what is known exactly."""

import numpy as np
import pytest
from sklearn import metrics as sk

from fer_core.emotions import EMOTIONS
from fer_core.evaluation.bootstrap import bootstrap_intervals
from fer_core.evaluation.metrics import confusion_matrix, wilson_interval


@pytest.fixture(scope="module")
def answers():
    """Labels and predictions of 700 images in unequal classes, two of three right."""
    random = np.random.default_rng(1)
    labels = random.choice(7, 700, p=[0.15, 0.03, 0.15, 0.25, 0.16, 0.1, 0.16])
    return labels, np.where(random.random(700) < 0.65, labels, random.integers(0, 7, 700))


def test_drawing_counts_is_drawing_images(answers):
    labels, predicted = answers
    random = np.random.default_rng(2)
    by_class = [np.flatnonzero(labels == number) for number in range(7)]
    scores = []
    for _ in range(600):
        rows = np.concatenate([random.choice(members, len(members)) for members in by_class])
        recall = sk.recall_score(labels[rows], predicted[rows], average=None)
        f1 = sk.f1_score(labels[rows], predicted[rows], average="macro")
        scores.append([(labels == predicted)[rows].mean(), f1, recall.mean(), *recall])
    expected = np.percentile(scores, [2.5, 97.5], axis=0).T
    found = bootstrap_intervals(confusion_matrix(labels, predicted))
    overall = [found.accuracy, found.macro_f1, found.macro_recall]
    np.testing.assert_allclose(overall, expected[:3], atol=0.012)
    np.testing.assert_allclose(list(found.recall.values()), expected[3:], atol=0.06)  # disgust has some 20 images


def test_one_class_alone_has_the_interval_of_a_proportion():
    matrix = np.zeros((7, 7), np.int64)
    matrix[3, 3], matrix[3, 4] = 1400, 600
    found = bootstrap_intervals(matrix)
    assert found.accuracy == found.recall["happy"] == pytest.approx(wilson_interval(1400, 2000), abs=0.002)
    assert found.macro_recall == pytest.approx([value / 7 for value in found.accuracy])


def test_what_was_asked_for_is_stated_and_comes_again(answers):
    matrix = confusion_matrix(*answers)
    found = bootstrap_intervals(matrix, resamples=300, seed=5)
    assert (found.resamples, found.seed) == (300, 5)
    assert found == bootstrap_intervals(matrix, resamples=300, seed=5)
    assert found != bootstrap_intervals(matrix, resamples=300, seed=6)


def test_classes_without_images_and_without_errors():
    found = bootstrap_intervals(np.diag([5, 0, 5, 5, 5, 5, 5]))
    assert found.accuracy == (1, 1)
    assert found.macro_recall == found.macro_f1 == pytest.approx((6 / 7, 6 / 7))
    assert found.recall == {emotion: (0, 1) if emotion == "disgust" else (1, 1) for emotion in EMOTIONS}
