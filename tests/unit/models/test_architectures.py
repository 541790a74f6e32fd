import numpy as np
import pytest

from fer_core.errors import ConfigError


def build(shape=(48, 48, 1)):
    from fer_core.models.architectures import build

    return build("compact", shape, dropout=0.3)


@pytest.mark.parametrize("shape", [(48, 48, 1), (48, 48, 3), (64, 48, 1), (96, 96, 3), (16, 16, 1)])
def test_compact_fits_any_size_and_channels(shape):
    model = build(shape)
    images = np.random.default_rng(0).integers(0, 256, (3, *shape)).astype(np.uint8)
    assert model.predict_on_batch(images).shape == (3, 7)
    assert model.get_layer("features").output.shape[-1] == 256


def test_compact_has_the_size_that_the_card_states():
    from fer_core.models.architectures import count_parameters

    parameters = count_parameters(build())
    assert (parameters.total, parameters.trainable) == (1_230_503, 1_227_623)


def test_compact_refuses_tiny_pictures():
    with pytest.raises(ConfigError, match=r"16x16 pixels and more; the dataset's are 12x48"):
        build((12, 48, 1))


def test_freezing_leaves_the_head():
    from fer_core.models.architectures import count_parameters, set_trainable

    model = build()
    before = count_parameters(model)
    set_trainable(model, "head")
    assert count_parameters(model).trainable == 256 * 7 + 7
    set_trainable(model, "all")
    assert count_parameters(model) == before


def test_same_seed_same_weights():
    import keras

    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        weights.append(build((16, 16, 1)).get_weights())
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)
