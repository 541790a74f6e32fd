from __future__ import annotations

import numpy as np

from fer_core.data.balance import BalanceConfig, Recipe, balance
from fer_core.data.config import AugmentConfig
from fer_core.data.families import CHILDREN, preview_family, stored_family

from ..training.conftest import make_dataset


def test_the_preview_is_what_balancing_makes(leak_free, place):
    before = leak_free.counts()["train"]["disgust"]
    strengths = AugmentConfig(flip=0.2, rotation=33, contrast=0)
    config = BalanceConfig(recipe=Recipe.NONE, target_of={"disgust": 4 * before}, augment=strengths)
    balanced = balance(leak_free, place / "grown", config)
    stored = stored_family(balanced, balanced.table("train"), "disgust", 0)
    table = leak_free.table("train")
    previews = [preview_family(leak_free, table, "disgust", n, config.seed, strengths) for n in range(before)]
    assert len({family.path for family in previews}) == before  # every face is reached before one comes again
    preview = next(family for family in previews if family.path == stored.path)
    np.testing.assert_array_equal(preview.original, stored.original)
    assert len(preview.children) == CHILDREN
    assert len(stored.children) == 3
    for made, shown in zip(stored.children, preview.children[:3], strict=True):
        np.testing.assert_array_equal(made, shown)
    assert preview.seconds > 0


def test_a_class_without_images_or_children_has_no_family(tmp_path):
    dataset = make_dataset(tmp_path / "tiny", {"train": [0, 0, 1]})
    table = dataset.table("train")
    assert preview_family(dataset, table, "happy", 0, 42) is None
    assert stored_family(dataset, table, "angry", 0) is None
    assert len(preview_family(dataset, table, "disgust", 5, 42).children) == CHILDREN
