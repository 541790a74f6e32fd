"""Confidence against accuracy: known answers, and scikit-learn's where it has them."""

import warnings

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from fer_core.evaluation.calibration import apply_temperature
from fer_core.evaluation.confidence import answered_at, coverage_curve, reliability_bins

NOTHING = np.zeros((0, 7), np.float32), np.zeros(0, np.int64)


def said(*tops, dtype=np.float64):
    """Probabilities whose top class is the first, with these values."""
    answers = np.repeat((1 - np.array(tops, dtype)[:, None]) / 6, 7, axis=1)
    answers[:, 0] = tops
    return answers.astype(dtype)


@pytest.fixture(scope="module")
def answers():
    random = np.random.default_rng(4)
    probabilities = random.dirichlet(np.full(7, 0.4), 2000)
    labels = np.where(random.random(2000) < 0.5, probabilities.argmax(1), random.integers(0, 7, 2000))
    return probabilities, labels


def test_bins_by_hand():
    found = reliability_bins(said(0.35, 0.4, 0.45, 0.95), np.array([0, 1, 0, 1]), bins=5)
    assert found.edges.tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert found.counts.tolist() == [0, 2, 1, 0, 1]  # 0.4 belongs to the bin that it closes
    np.testing.assert_allclose(found.confidence, [np.nan, 0.375, 0.45, np.nan, 0.95])
    np.testing.assert_allclose(found.accuracy, [np.nan, 0.5, 1, np.nan, 0])
    assert found.ece == pytest.approx((2 * 0.125 + 0.55 + 0.95) / 4)


def test_bins_equal_those_of_scikit_learn(answers):
    probabilities, labels = answers
    found = reliability_bins(probabilities, labels, bins=10)
    filled = found.counts > 0
    shares, means = calibration_curve(probabilities.argmax(1) == labels, probabilities.max(1), n_bins=10)
    np.testing.assert_allclose(found.accuracy[filled], shares)
    np.testing.assert_allclose(found.confidence[filled], means)
    assert found.counts.sum() == 2000


def test_a_temperature_moves_images_between_bins_and_none_out_of_them(answers):
    probabilities, labels = answers
    before = reliability_bins(apply_temperature(probabilities, 1 / 1.8), labels)
    after = reliability_bins(probabilities, labels)
    assert before.counts.sum() == after.counts.sum()
    assert np.nansum(before.counts * before.accuracy) == pytest.approx(np.nansum(after.counts * after.accuracy))
    assert np.nansum(before.counts * before.confidence) > np.nansum(after.counts * after.confidence)


def test_calibration_error_is_the_gap_between_what_is_said_and_what_holds():
    labels = np.where(np.arange(100) < 60, 0, 1)  # right in 60 of 100
    assert reliability_bins(said(*[0.8] * 100), labels).ece == pytest.approx(0.2)


def test_a_model_that_is_certain_and_right_is_calibrated():
    assert reliability_bins(np.eye(7), np.arange(7)).ece == 0


def test_coverage_by_hand():
    found = coverage_curve(said(0.5, 0.9, 0.6, 0.5, 0.7), np.array([0, 0, 1, 1, 0]))
    assert found.threshold.tolist() == [0.9, 0.7, 0.6, 0.5]  # the two of 0.5 come together
    assert found.coverage.tolist() == pytest.approx([0.2, 0.4, 0.6, 1])
    assert found.accuracy.tolist() == pytest.approx([1, 1, 2 / 3, 3 / 5])


def test_every_point_of_the_curve_is_the_price_of_its_threshold(answers):
    curve = coverage_curve(*answers)
    for at in (0, 10, 500, len(curve.threshold) - 1):
        found = answered_at(*answers, curve.threshold[at])
        assert (found.coverage, found.accuracy) == pytest.approx((curve.coverage[at], curve.accuracy[at]))
    assert curve.coverage[-1] == 1
    assert curve.accuracy[-1] == (answers[0].argmax(1) == answers[1]).mean()


@pytest.mark.parametrize(
    ("threshold", "n", "accuracy"), [(0.0, 4, 0.5), (0.5, 4, 0.5), (0.51, 3, 2 / 3), (0.8, 1, 1), (1.0, 0, None)]
)
def test_the_price_of_a_threshold(threshold, n, accuracy):
    found = answered_at(said(0.5, 0.6, 0.7, 0.8), np.array([1, 1, 0, 0]), threshold)
    assert (found.n, found.coverage, found.accuracy) == (n, n / 4, accuracy)
    if n:
        assert found.ci95[0] < accuracy <= found.ci95[1]


def test_a_threshold_means_what_it_means_to_predict():
    answer = said(0.7, dtype=np.float32)
    assert not answer[0, 0] < 0.7  # so `predict` calls it certain, although it is 0.69999999 as a float64
    assert answered_at(answer, np.array([0]), 0.7).n == 1


def test_no_images_are_defined_values_without_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reliability_bins(*NOTHING).ece == 0
        assert reliability_bins(*NOTHING).counts.sum() == 0
        assert len(coverage_curve(*NOTHING).coverage) == 0
        assert (answered_at(*NOTHING, 0.5).coverage, answered_at(*NOTHING, 0.5).accuracy) == (0, None)


def test_the_price_of_a_threshold_in_words():
    probabilities, labels = said(*[0.9] * 60, *[0.4] * 40), np.where(np.arange(100) < 54, 0, 1)
    assert (
        answered_at(probabilities, labels, 0.5).said
        == "90.0 % (79.9 to 95.3) right on 60.0 % of images; 40.0 % uncertain."
    )
    assert answered_at(probabilities, labels, 0.3).said == "54.0 % ± 9.6 right on all images; none is uncertain."
    assert answered_at(probabilities, labels, 0.95).said == "No image is answered: all are uncertain."
