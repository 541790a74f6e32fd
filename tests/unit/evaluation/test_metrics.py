"""Our scores against scikit-learn's and against hand-made cases."""

import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from fer_core.evaluation import metrics

CASES = {
    "all classes": (np.arange(700) % 7, 0.6),
    "two classes only": (np.arange(50) % 2 + 3, 0.5),  # five classes have no support
    "always right": (np.arange(70) % 7, 1.0),
    "always wrong": (np.arange(70) % 7, 0.0),
    "one image": (np.array([6]), 1.0),
}


def _predicted(labels, share):
    random = np.random.default_rng(0)
    other = (labels + random.integers(1, 7, len(labels))) % 7
    return np.where(random.random(len(labels)) < share, labels, other)


@pytest.mark.parametrize(("labels", "share"), CASES.values(), ids=CASES)
def test_scores_equal_those_of_scikit_learn(labels, share):
    predicted = _predicted(labels, share)
    matrix = metrics.confusion_matrix(labels, predicted)
    scores = metrics.class_scores(matrix)
    expected = sk.precision_recall_fscore_support(labels, predicted, labels=range(7), zero_division=0)
    assert np.array_equal(matrix, sk.confusion_matrix(labels, predicted, labels=range(7)))
    for ours, theirs in zip((scores.precision, scores.recall, scores.f1, scores.support), expected, strict=True):
        np.testing.assert_allclose(ours, theirs)
    assert metrics.accuracy(labels, predicted) == pytest.approx(sk.accuracy_score(labels, predicted))
    macro = sk.f1_score(labels, predicted, labels=range(7), average="macro", zero_division=0)
    assert metrics.macro_f1(labels, predicted) == pytest.approx(macro)


def test_loss_equals_that_of_scikit_learn():
    probabilities = np.random.default_rng(1).dirichlet(np.ones(7), 200)
    labels = np.arange(200) % 7
    assert metrics.cross_entropy(probabilities, labels) == pytest.approx(
        sk.log_loss(labels, probabilities, labels=range(7))
    )


def test_a_certain_and_wrong_answer_has_a_finite_loss():
    assert np.isfinite(metrics.cross_entropy(np.eye(7)[[0]], np.array([1])))


def test_no_images_give_zeros_without_warnings():
    none = np.zeros(0, np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metrics.accuracy(none, none) == 0
        assert metrics.macro_f1(none, none) == 0
        assert metrics.cross_entropy(np.zeros((0, 7)), none) == 0


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),  # the textbook values of Wilson's interval
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (2253, 3589, 0.6118, 0.6434),
        (0, 0, 0.0, 1.0),  # nothing known
    ],
)
def test_wilson_interval(correct, n, low, high):
    assert metrics.wilson_interval(correct, n) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(
    ("correct", "n", "words"),
    [
        (929, 1340, "69.3 % ± 2.5"),
        (150, 152, "98.7 % (95.3 to 99.6)"),  # with half its width added, it would pass 100 %
        (1, 70, "1.4 % (0.3 to 7.7)"),
        (70, 70, "100.0 % (94.8 to 100.0)"),
    ],
)
def test_an_interval_that_is_far_from_symmetric_is_told_by_its_ends(correct, n, words):
    assert metrics.share_words(correct / n, metrics.wilson_interval(correct, n)) == words
