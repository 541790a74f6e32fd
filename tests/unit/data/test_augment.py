"""Augmented pictures: repeatable, different from their parent, and every step by itself."""

import numpy as np
import pytest

from fer_core.data.augment import Augmenter

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
