import cv2
import numpy as np
import pytest

from fer_core.training.config import AugmentationConfig, PhaseConfig
from fer_core.training.data import TrainingBatches, augment, class_weights, draw_moves, move, retouch

NOTHING = AugmentationConfig(flip=False, rotate=0, scale_min=1, scale_max=1, shift=0)


def images(n, shape=(12, 12, 1), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape)).astype(np.uint8)


def batches(n=10, epoch=0, *, index=0, seed=1, **phase):
    phase = PhaseConfig(**{"batch_size": 4, **phase})
    data = TrainingBatches(images(n), np.arange(n) % 7, phase, index=index, seed=seed)
    data.epoch = epoch
    return data


def everything(data):
    return np.concatenate([data[i][0] for i in range(len(data))])


def test_an_epoch_holds_every_image_once():
    data = batches(augmentation=NOTHING)
    assert [len(data[i][0]) for i in range(len(data))] == [data.size_of(i) for i in range(3)] == [4, 4, 2]
    assert sorted(everything(data).tolist()) == sorted(images(10).tolist())


def test_labels_follow_their_images():
    data = batches(augmentation=NOTHING)
    originals = images(10).tolist()
    for batch in (data[i] for i in range(len(data))):
        for image, target in zip(*batch, strict=True):
            assert target.tolist() == np.eye(7)[originals.index(image.tolist()) % 7].tolist()


def test_batches_depend_on_seed_phase_and_epoch_alone():
    first, again = batches(epoch=3), batches(epoch=3)
    again[2]  # asking in another order changes nothing
    np.testing.assert_array_equal(first[1][0], again[1][0])
    for other in (batches(epoch=4), batches(epoch=3, seed=2), batches(epoch=3, index=1)):
        assert not np.array_equal(everything(first), everything(other))


def test_fewer_images_than_a_batch():
    data = batches(n=3, batch_size=64)
    assert len(data) == 1
    assert data[0][0].shape == (3, 12, 12, 1)


@pytest.mark.parametrize("shape", [(12, 12, 1), (12, 16, 1), (12, 16, 3), (8,)])  # last: features, not pictures
def test_augmentation_of_nothing_changes_nothing(shape):
    before = images(5, shape)
    np.testing.assert_array_equal(augment(before, NOTHING, np.random.default_rng(0)), before)


@pytest.mark.parametrize("shape", [(12, 12, 1), (12, 16, 3)])
def test_flip_mirrors_about_half(shape):
    before = images(200, shape)
    after = augment(before, NOTHING.model_copy(update={"flip": True}), np.random.default_rng(0))
    flipped = np.array([np.array_equal(a, b[:, ::-1]) for a, b in zip(after, before, strict=True)])
    kept = np.array([np.array_equal(a, b) for a, b in zip(after, before, strict=True)])
    assert (flipped ^ kept).all()
    assert 60 < flipped.sum() < 140


@pytest.mark.parametrize(
    "change",
    [{"rotate": 12}, {"scale_min": 0.8}, {"scale_max": 1.2}, {"shift": 4}],
    ids=lambda c: next(iter(c)),
)
def test_each_change_moves_the_pixels_a_little(change):
    before = np.full((20, 48, 48, 1), 20, np.uint8)
    before[:, 14:34, 18:30] = 220  # a face-like block, away from the edges
    after = augment(before, NOTHING.model_copy(update=change), np.random.default_rng(0))
    moved = (np.abs(after.astype(int) - before).reshape(20, -1) > 100).mean(axis=1)
    assert (moved > 0).mean() > 0.5
    assert moved.max() < 0.15


@pytest.mark.parametrize("shape", [(48, 48, 1), (12, 16, 3)])
def test_moving_is_what_opencv_calls_a_rotation_of_the_mirrored_image(shape):
    height, width, _ = shape
    before, config = images(40, shape), AugmentationConfig(rotate=30, scale_min=0.7, scale_max=1.4, shift=5)
    moves = draw_moves(40, config, np.random.default_rng(3))
    for image, found, flip, angle, scale, shift in zip(before, move(before, moves), *moves, strict=True):
        affine = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, scale)
        affine[:, 2] += shift
        mirrored = np.ascontiguousarray(image[:, ::-1]) if flip else image
        expected = cv2.warpAffine(mirrored, affine, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        # The mirror is part of the map here, so a pixel in hundreds is rounded the other way.
        assert np.abs(found.astype(int) - expected.reshape(shape)).mean() < 0.5


def test_an_image_is_changed_the_same_way_wherever_it_stands():
    """Images are changed many at a time, in parts that a batch does not show."""
    config = AugmentationConfig(rotate=10, shift=3, flip=True)
    before = images(200, (48, 48, 1))
    moves = draw_moves(200, config, np.random.default_rng(1))
    after = move(before, moves)
    for row in (0, 64, 65, 130, 199):
        those = np.array([row])
        np.testing.assert_array_equal(after[those], move(before[those], moves.of(those)))


def test_light_changes_by_a_factor_about_the_mean_and_an_offset():
    before = np.full((300, 8, 8, 3), 100, np.uint8)
    before[:, :4] = 140  # the mean is 120
    after = retouch(before, NOTHING.model_copy(update={"brightness": 0.1, "contrast": 0.5}), np.random.default_rng(0))
    dark, light = after[:, 7, 0, 0].astype(float), after[:, 0, 0, 0].astype(float)
    assert after.shape == before.shape
    assert (after[:, :4] == after[:, :1, :1]).all()
    factors, offsets = (light - dark) / 40, (light + dark) / 2 - 120
    assert 0.48 < factors.min() < 0.6
    assert 1.4 < factors.max() < 1.52
    assert -26 < offsets.min() < -22
    assert 22 < offsets.max() < 26


def test_nothing_gets_darker_than_black_or_lighter_than_white():
    before = np.concatenate([np.zeros((50, 8, 8, 1)), np.full((50, 8, 8, 1), 255)]).astype(np.uint8)
    after = retouch(before, NOTHING.model_copy(update={"brightness": 1.0}), np.random.default_rng(0))
    assert {0} < set(after[:50].ravel().tolist())
    assert {255} < set(after[50:].ravel().tolist())


def test_erasing_fills_a_rectangle_in_a_share_of_the_images():
    before = np.zeros((400, 48, 40, 1), np.uint8)
    after = retouch(before, NOTHING.model_copy(update={"erase": 0.5}), np.random.default_rng(0))
    assert not before.any()  # the images given are left as they are
    touched = after.any(axis=(1, 2, 3))
    assert 0.4 < touched.mean() < 0.6
    for image in after[touched, ..., 0]:
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert 0.015 < height * width / (48 * 40) < 0.22
        assert max(height, width) / min(height, width) < 4
        assert (image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] > 0).mean() > 0.9  # noise is seldom black


def test_batches_are_the_same_however_many_are_made_ahead(monkeypatch):
    settings = {"n": 90, "mixup": 0.2, "augmentation": AugmentationConfig(brightness=0.2, erase=0.5)}
    one = everything(batches(**settings))
    monkeypatch.setattr("fer_core.training.data.usable_cores", lambda: 16)
    many = batches(**settings)
    np.testing.assert_array_equal(everything(many), one)
    many.epoch = 1  # what was made of the epoch before is not given in this one
    np.testing.assert_array_equal(everything(many), everything(batches(epoch=1, **settings)))


def test_mixup_blends_images_and_labels_by_the_same_share():
    data = batches(n=64, batch_size=64, augmentation=NOTHING, mixup=0.4)
    blended, targets = data[0]
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)
    assert blended.dtype == np.uint8
    assert ((targets > 0).sum(axis=1) == 2).mean() > 0.5
    # Images of one grey value each, so that a blend tells its share: the value of class k is 30 k.
    data._images = (np.arange(64) % 7 * 30).astype(np.uint8)[:, None, None, None] * np.ones((1, 12, 12, 1), np.uint8)
    blended, targets = data[0]
    np.testing.assert_allclose(blended[:, 0, 0, 0], targets @ (np.arange(7) * 30), atol=0.51)
    np.testing.assert_array_equal(data[0][0], blended)  # asking again draws the same


@pytest.mark.parametrize("balanced", [[0, 0, 0, 1, 1, 2], [0, 1, 2, 3, 4, 5, 6], [3]])
def test_inverse_class_weights_are_those_of_scikit_learn(balanced):
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array(balanced)
    found = class_weights(PhaseConfig(class_weights="inverse"), labels)
    present = np.unique(labels)
    np.testing.assert_allclose(found[present], compute_class_weight("balanced", classes=present, y=labels), rtol=1e-6)
    assert np.isfinite(found).all()


def test_class_weights_by_hand_count_images_by_their_label():
    data = batches(augmentation=NOTHING, class_weights="1, 5, 1, 1, 1, 1, 0.5")
    for batch in (data[i] for i in range(len(data))):
        _, targets, weights = batch
        assert weights.tolist() == np.array([1, 5, 1, 1, 1, 1, 0.5])[targets.argmax(axis=1)].tolist()
    assert class_weights(PhaseConfig(), np.arange(7)) is None
