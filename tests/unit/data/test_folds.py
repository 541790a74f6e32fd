from __future__ import annotations

import numpy as np
import pytest

from fer_core.data.folds import folds
from fer_core.emotions import EMOTIONS
from fer_core.errors import ConfigError


def photographs(seed: int, n: int = 900) -> tuple[np.ndarray, list[str]]:
    """Labels and photographs like FER2013's: uneven classes, copies, some of them with two labels."""
    random = np.random.default_rng(seed)
    photo = random.integers(0, n, n)
    own = random.choice(len(EMOTIONS), n, p=[0.14, 0.02, 0.14, 0.25, 0.17, 0.11, 0.17])
    labels = np.where(random.random(n) < 0.05, random.integers(0, len(EMOTIONS), n), own[photo])
    return labels.astype(np.int64), [f"photo-{number}" for number in photo]


@pytest.mark.parametrize("k", [2, 5, 10])
@pytest.mark.parametrize("seed", range(4))
def test_every_image_is_in_one_fold_and_every_photograph_too(k, seed):
    labels, photos = photographs(seed)
    fold = folds(labels, photos, k, seed)
    assert fold.dtype == np.int64
    assert fold.shape == labels.shape
    assert set(fold.tolist()) == set(range(k))
    assert len(set(zip(photos, fold.tolist(), strict=True))) == len(set(photos))


@pytest.mark.parametrize("k", [2, 5, 10])
@pytest.mark.parametrize("seed", range(4))
def test_folds_are_even_in_size_and_in_every_class(k, seed):
    labels, photos = photographs(seed)
    fold = folds(labels, photos, k, seed)
    sizes = np.bincount(fold, minlength=k)
    assert sizes.max() - sizes.min() <= 4
    for label in range(len(EMOTIONS)):
        share = np.bincount(fold[labels == label], minlength=k)
        assert share.max() - share.min() <= 4, EMOTIONS[label]


def test_the_seed_decides_and_the_order_of_the_rows_does_not():
    labels, photos = photographs(0)
    fold = folds(labels, photos, 5, 42)
    np.testing.assert_array_equal(fold, folds(labels, photos, 5, 42))
    assert (fold != folds(labels, photos, 5, 43)).any()
    order = np.random.default_rng(9).permutation(len(labels))
    np.testing.assert_array_equal(fold[order], folds(labels[order], [photos[row] for row in order], 5, 42))


def test_augmented_images_stay_with_their_photograph(leak_free, place):
    from fer_core.data.balance import BalanceConfig, balance

    table = balance(leak_free, place / "even", BalanceConfig()).table("train")
    fold = folds(table["label"].to_numpy(), table["photo_id"], 5, 0)
    assert table["parent_id"].notna().any()
    assert table.assign(fold=fold).groupby("photo_id")["fold"].nunique().max() == 1


@pytest.mark.parametrize("k", [0, 1, 4])
def test_there_are_no_folds_without_a_photograph_for_each(k):
    with pytest.raises(ConfigError, match="3 photographs"):
        folds(np.zeros(6, np.int64), ["a", "a", "b", "b", "c", "c"], k, 0)
