"""Paired comparison: the interval against published examples, and which images count."""

import pandas as pd
import pytest
from scipy.stats import binomtest

from fer_core.evaluation.compare import PairedDifference, compare, mcnemar, pair, paired_interval


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        # Fagerland, Lydersen and Laake 2017, Statistical Analysis of Contingency Tables, chapter 8
        ((59, 6, 16, 80), -0.1186, -0.0046),  # complete response, Cavo et al. 2012
        ((1, 1, 7, 12), -0.507, -0.026),  # airway hyper-responsiveness, Bentur et al. 2009
        ((36, 12, 2, 0), 0.0569, 0.3404),  # Newcombe 1998, method 10: an example with an empty cell
    ],
)
def test_the_interval_is_the_published_one(table, low, high):
    assert paired_interval(*table) == pytest.approx((low, high), abs=6e-4)


@pytest.mark.parametrize(
    "table", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 5, 0), (0, 0, 0, 9), (500, 0, 0, 500), (0, 7, 7, 0), (1, 5, 0, 2)]
)
def test_the_interval_holds_the_difference_and_stays_in_range(table):
    low, high = paired_interval(*table)
    _, first, second, _ = table
    assert -1 <= low <= (first - second) / sum(table) <= high <= 1


def test_the_interval_turns_round_with_the_models():
    low, high = paired_interval(50, 12, 4, 20)
    assert paired_interval(50, 4, 12, 20) == pytest.approx((-high, -low))


def test_pairs_tell_more_than_two_separate_intervals():
    much_alike = PairedDifference(both=600, only_a=5, only_b=25, neither=370)
    assert much_alike.difference == pytest.approx(0.02)
    assert not much_alike.within_noise
    assert PairedDifference(both=400, only_a=205, only_b=225, neither=170).within_noise


@pytest.mark.parametrize("only", [(0, 0), (0, 1), (0, 6), (5, 5), (9, 2), (101, 59), (700, 612), (0, 3000)])
def test_mcnemar_is_a_binomial_test_of_the_disagreements(only):
    expected = binomtest(only[0], sum(only)).pvalue if sum(only) else 1
    assert mcnemar(*only) == mcnemar(*reversed(only)) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_mcnemar_by_hand():
    assert PairedDifference(both=3, only_a=1, only_b=5, neither=1).p_value == 2 * (1 + 6) / 2**6


def answers(right, labels=None, paths=None):
    labels = [0] * len(right) if labels is None else labels
    paths = [f"{i}.png" for i in range(len(right))] if paths is None else paths
    said = [label if hit else (label + 1) % 7 for label, hit in zip(labels, right, strict=True)]
    return pd.DataFrame({"path": paths, "label": labels, "predicted": said})


def test_who_is_right_where():
    a, b = answers([True, True, False, False, True]), answers([True, False, True, False, True])
    assert compare(a, b) == PairedDifference(both=2, only_a=1, only_b=1, neither=1)


def test_where_they_differ_and_on_which_images():
    a = pd.DataFrame({"path": list("wxyz"), "label": [0, 1, 2, 2], "predicted": [0, 3, 2, 4]})
    b = pd.DataFrame({"path": list("zyxw"), "label": [2, 2, 1, 0], "predicted": [5, 2, 1, 6]})
    found = pair(a, b)
    assert found.only_one_right().to_dict("list") == {
        "path": ["w", "x"], "label": [0, 1], "predicted_a": [0, 3], "predicted_b": [6, 1],
    }  # fmt: skip
    changed = {(0, 0): -1, (0, 6): 1, (1, 3): -1, (1, 1): 1, (2, 4): -1, (2, 5): 1}
    assert {cell: found.confusion_difference[cell] for cell in changed} == changed
    assert (found.confusion_difference != 0).sum() == len(changed)


@pytest.mark.parametrize(
    ("other", "n"),
    [
        (answers([True, False, True], paths=["2.png", "0.png", "9.png"]), 2),  # another split: the shared images
        (answers([True] * 3, labels=[0, 5, 0]), 2),  # relabelled in between
        (answers([True] * 3, paths=["0.png", "1.png", "1.png"]), 1),  # a path that says too little
        (answers([True] * 3, paths=["x", "y", "z"]), None),
        (answers([]), None),
    ],
)
def test_only_the_same_images_are_compared(other, n):
    found = compare(answers([True, True, False]), other)
    assert (found.n if found else None) == n


def test_pictures_of_one_name_and_other_pixels_are_two_pictures():
    a, b = answers([True, True]), answers([True, False])
    assert compare(a.assign(pixel_sha=["p", "q"]), b.assign(pixel_sha=["p", "r"])).n == 1
