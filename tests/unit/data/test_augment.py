"""Augmented pictures: repeatable, different from their parent, and every step by itself."""

import hashlib
import random

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from fer_core.data.augment import Augmenter
from fer_core.data.config import USUAL, AugmentConfig
from fer_core.errors import ConfigError

from .pictures import face

DARK, BRIGHT = 60, 180


@pytest.fixture(scope="module")
def augment():
    return Augmenter(1)


@pytest.fixture(scope="module")
def halves():
    """Left half dark, right half bright."""
    picture = np.full((48, 48, 1), DARK, np.uint8)
    picture[:, 24:] = BRIGHT
    return picture


def test_the_same_seed_gives_the_same_picture(augment, halves):
    first = augment(halves, 7)
    augment(halves, 8)  # whatever else was asked for in between
    assert np.array_equal(first, augment(halves, 7))
    assert np.array_equal(first, Augmenter(1)(halves, 7))


def test_flip_and_light_are_drawn_apart(augment, halves):
    """Were all steps seeded alike, no flipped picture would keep its light."""
    seen = set()
    for seed in range(60):
        child = augment(halves, seed)
        left, right = (int(child[24, column, 0]) for column in (8, 40))
        seen.add((left > right, {left, right} == {DARK, BRIGHT}))
    assert seen == {(flipped, kept) for flipped in (False, True) for kept in (False, True)}


@pytest.mark.parametrize("channels", [1, 3])
def test_the_usual_children_are_those_of_datasets_made_before_strengths_could_be_chosen(channels):
    import albumentations as alb

    steps = [
        alb.HorizontalFlip(p=0.5),
        alb.Affine(rotate=(-15, 15), shear=(-8, 8), border_mode=cv2.BORDER_REFLECT_101, p=1.0),
        alb.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.8),
    ]
    if channels == 3:
        steps.append(alb.HueSaturationValue(hue_shift_limit=10, sat_shift_limit=20, val_shift_limit=0, p=0.5))
    pipeline = alb.Compose(steps)
    parent = np.repeat(face(3)[:, :, None], channels, axis=2)
    parent[..., 0] //= channels  # not gray where it is in colour
    augment = Augmenter(channels)
    for number in range(40):
        seed = int.from_bytes(hashlib.sha256(f"42 abc {number}".encode()).digest()[:4], "big")
        pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        expected = pipeline(image=parent)["image"].reshape(parent.shape)
        assert np.array_equal(augment.child(parent, "abc", number, 42), expected)


def no(**but):
    """All strengths 0, but for some."""
    return AugmentConfig(**{name: but.get(name, 0) for name in AugmentConfig.model_fields})


def test_each_strength_does_what_it_says(halves):
    def children(**but):
        return [Augmenter(1, no(**but))(halves, seed) for seed in range(20)]

    def edge(child, row):
        """Where dark becomes bright in a row."""
        return int(np.argmax(child[row, :, 0] > (DARK + BRIGHT) // 2))

    for name in ("rotation", "shear"):
        leaning = [edge(child, 8) - edge(child, 40) for child in children(**{name: 20})]
        assert min(leaning) < 0 < max(leaning)
        assert max(map(abs, leaning)) <= 32 * np.tan(np.deg2rad(20)) + 1
    assert all(child[24, 2] > child[24, -3] for child in children(flip=1, shear=5))
    lighter = [child.astype(int) - halves for child in children(brightness=0.2)]
    assert all(np.ptp(change) == 0 and 0 < abs(change[0, 0, 0]) <= 51 for change in lighter)
    ratios = [child / halves for child in children(contrast=0.2)]
    assert all(np.ptp(ratio) < 0.02 and 0.79 < ratio.mean() < 1.21 for ratio in ratios)


def test_a_changed_strength_leaves_what_the_others_do(halves):
    """Sliders would otherwise deal all children anew."""
    plain = [Augmenter(1, no(flip=0.5, shear=3, brightness=0.3))(halves, seed) for seed in range(20)]
    turned = [Augmenter(1, no(flip=0.5, shear=3, brightness=0.3, rotation=4))(halves, seed) for seed in range(20)]
    assert all(abs(int(a[24, 4, 0]) - int(b[24, 4, 0])) <= 1 for a, b in zip(plain, turned, strict=True))


@pytest.mark.parametrize("strengths", [no(rotation=0.3), no(flip=0.5, brightness=0.01), no(shear=0.3)])
def test_no_child_equals_its_parent(strengths):
    parent = face(1)[:, :, None]
    augment = Augmenter(1, strengths)
    assert not any(np.array_equal(augment(parent, seed), parent) for seed in range(100))


def test_a_black_picture_has_children_by_light_alone():
    black = np.zeros((48, 48, 1), np.uint8)
    assert all(Augmenter(1)(black, seed).any() for seed in range(50))
    with pytest.raises(ConfigError, match=r"stays as it is .* brightness for a picture of one colour"):
        Augmenter(1, no(rotation=15, contrast=0.2))(black, 0)


@pytest.mark.parametrize(("strengths", "channels"), [(no(), 1), (no(flip=1), 3), (no(flip=0.5, hue=20), 1)])
def test_strengths_that_vary_nothing_are_refused(strengths, channels):
    with pytest.raises(ConfigError, match="children would equal their original or its mirror image"):
        Augmenter(channels, strengths)


def test_strengths_have_bounds():
    for name in AugmentConfig.model_fields:
        largest = AugmentConfig.largest(name)
        assert getattr(AugmentConfig(**{name: largest}), name) == largest
        for value in (-0.01, largest + 0.01, float("nan")):
            with pytest.raises(ValidationError):
                AugmentConfig(**{name: value})
    assert USUAL.changed() == {}
    assert AugmentConfig(shear=3).changed() == {"shear": 3}
