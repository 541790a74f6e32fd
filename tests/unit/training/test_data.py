import numpy as np
import pytest

from fer_core.training.config import AugmentationConfig, PhaseConfig
from fer_core.training.data import TrainingBatches, augment, class_weights

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


@pytest.mark.parametrize("shape", [(12, 12, 1), (12, 16, 1), (12, 16, 3)])
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
