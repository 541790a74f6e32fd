"""Views of a picture, and the mean of what a model says of them."""

import numpy as np
import pytest

from fer_core.inference.tta import Tta, classify, views


@pytest.fixture
def pictures():
    """Two smooth pictures, brighter to the right and to the bottom."""
    rise = np.add.outer(np.arange(48) * 2, np.arange(48) * 3)
    return np.stack([rise, rise // 2])[..., None].astype(np.uint8)


def test_flip_is_the_picture_and_its_mirror_image(pictures):
    plain, mirrored = views(pictures, Tta.FLIP)
    assert np.array_equal(plain, pictures)
    assert np.array_equal(mirrored[:, :, ::-1], pictures)


@pytest.mark.parametrize(("size", "channels"), [((48, 48), 1), ((16, 16), 3), ((30, 48), 3)])
def test_ten_crops_have_the_models_size_and_type(size, channels):
    images = np.random.default_rng(0).integers(0, 255, (3, *size, channels), np.uint8)
    found = list(views(images, Tta.TEN_CROP))
    assert len(found) == 10
    assert all(view.shape == images.shape and view.dtype == np.uint8 for view in found)
    assert all(np.array_equal(found[i], found[i - 1][:, :, ::-1]) for i in range(1, 10, 2))


def test_ten_crops_are_the_corners_and_the_middle(pictures):
    corners = [view[0].astype(int).mean() for view in list(views(pictures, Tta.TEN_CROP))[::2]]
    steps = np.subtract(corners, corners[0])  # of 4 pixels: 3 gray levels each to the right, 2 to the bottom
    assert steps == pytest.approx([0, 12, 8, 20, 10], abs=0.3)


@pytest.mark.parametrize("tta", Tta)
def test_answers_are_the_mean_of_the_probabilities(predictor, tta):
    images = np.random.default_rng(1).integers(0, 255, (5, 16, 16, 1), np.uint8)
    images[0, :, :8] = 0
    expected = np.mean([predictor.classify(view) for view in views(images, tta)], axis=0)
    found = classify(predictor, images, tta)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    assert found.dtype == np.float32


def test_without_augmentation_the_model_is_asked_once(predictor):
    images = np.random.default_rng(1).integers(0, 255, (5, 16, 16, 1), np.uint8)
    assert np.array_equal(classify(predictor, images, None), predictor.classify(images))


@pytest.mark.parametrize("tta", Tta)
def test_no_pictures_are_no_answers(predictor, tta):
    assert classify(predictor, np.zeros((0, 16, 16, 1), np.uint8), tta).shape == (0, 7)
