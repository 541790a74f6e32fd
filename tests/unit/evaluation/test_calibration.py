"""Temperature scaling."""

import numpy as np
import pytest

from fer_core.evaluation.calibration import HIGHEST, LOWEST, apply_temperature, fit_temperature
from fer_core.evaluation.confidence import reliability_bins
from fer_core.evaluation.metrics import cross_entropy


def _softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.fixture(scope="module")
def honest():
    """Logits whose softmax is the true distribution of the labels."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 1.5, (20_000, 7))
    labels = (_softmax(logits).cumsum(1) > random.random((20_000, 1))).argmax(1)
    return logits, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_finds_the_temperature_that_was_undone(honest, temperature):
    logits, labels = honest
    overconfident = _softmax(logits * temperature)
    assert fit_temperature(overconfident, labels) == pytest.approx(temperature, rel=0.03)


def test_lowers_loss_and_calibration_error_and_changes_no_answer(honest):
    logits, labels = honest
    before = _softmax(logits * 3)
    after = apply_temperature(before, fit_temperature(before, labels))
    assert cross_entropy(after, labels) < cross_entropy(before, labels)
    assert reliability_bins(after, labels).ece < 0.02 < reliability_bins(before, labels).ece
    assert np.array_equal(after.argmax(1), before.argmax(1))


def test_can_be_undone():
    before = np.random.default_rng(2).dirichlet(np.ones(7), 50)
    assert apply_temperature(apply_temperature(before, 1.7), 1 / 1.7) == pytest.approx(before, abs=1e-5)


def test_equals_a_softmax_of_divided_logits_also_for_extreme_values():
    logits = np.array([[0.0, 1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0, 100]])
    np.testing.assert_allclose(apply_temperature(_softmax(logits)[:1], 2), _softmax(logits / 2)[:1], atol=1e-6)
    assert np.isfinite(apply_temperature(_softmax(logits).astype(np.float32), 0.3)).all()


@pytest.mark.parametrize(
    ("probabilities", "labels", "low", "high"),
    [
        (np.zeros((0, 7)), np.zeros(0, int), 1, 1),  # nothing to fit
        (np.full((7, 7), 0.01) + np.eye(7) * 0.93, np.arange(7), LOWEST, LOWEST * 1.01),  # separable
        (np.roll(np.full((7, 7), 0.01) + np.eye(7) * 0.93, 1, 0), np.arange(7), HIGHEST * 0.99, HIGHEST),
    ],
    ids=["no images", "always right", "always wrong"],
)
def test_stays_within_bounds(probabilities, labels, low, high):
    assert low <= fit_temperature(probabilities, labels) <= high
