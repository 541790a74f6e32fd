"""Networks have the sizes that are published, follow the convention, and survive being saved."""

import subprocess
import sys

import numpy as np
import pytest

from fer_core.errors import ConfigError
from fer_core.training.config import PhaseConfig, apply_overrides, load_preset
from tests.conftest import ROOT


def configure(preset="compact", **changes):
    return load_preset(preset).model_copy(update=changes)


def build(shape=(48, 48, 1), preset="compact", **changes):
    from fer_core.models.architectures import build

    return build(configure(preset, **changes), shape)


def pictures(shape, n=3):
    return np.random.default_rng(0).integers(0, 256, (n, *shape)).astype(np.uint8)


@pytest.fixture(scope="module")
def resnet50v2():
    return build((16, 16, 1), "resnet50v2", side=32)


@pytest.mark.parametrize("shape", [(48, 48, 1), (48, 48, 3), (64, 48, 1), (96, 96, 3), (16, 16, 1)])
def test_compact_fits_any_size_and_channels(shape):
    model = build(shape)
    assert model.predict_on_batch(pictures(shape)).shape == (3, 7)
    assert model.get_layer("features").output.shape[-1] == 256


@pytest.mark.parametrize(
    ("architecture", "features", "total"),
    [
        ("wide", (3, 3, 288), 2_157_255),
        ("vgg", (6, 6, 512), 4_693_575),
        ("resnet18", (6, 6, 512), 11_180_871),
    ],
)
def test_our_larger_networks_read_native_pictures(architecture, features, total):
    model = build(architecture=architecture)
    assert model.get_layer("features").output.shape[1:] == features
    assert model.count_params() == total
    assert build((16, 16, 3), architecture=architecture).predict_on_batch(pictures((16, 16, 3))).shape == (3, 7)


def test_compact_has_the_size_that_the_card_states():
    from fer_core.models.architectures import count_parameters

    parameters = count_parameters(build())
    assert (parameters.total, parameters.trainable) == (1_230_503, 1_227_623)


@pytest.mark.parametrize(
    ("preset", "shape", "side", "message"),
    [
        ("compact", (12, 48, 1), None, r"16x16 pixels and more; the dataset's are 12x48"),
        ("bundled", (12, 48, 1), None, r"The wide network reads pictures of 16x16 pixels and more"),
        ("teacher", (48, 15, 1), None, r"The wide network reads pictures of 16x16 pixels and more"),
        ("resnet50", (28, 28, 3), None, r"ResNet50 reads pictures of 32x32 pixels and more; the dataset's are 28x28"),
        ("resnet50v2", (48, 48, 1), 16, r"32x32 pixels and more; side is 16. Use --set side=32"),
    ],
)
def test_tiny_pictures_are_refused(preset, shape, side, message):
    with pytest.raises(ConfigError, match=message):
        build(shape, preset, side=side)


def test_freezing_leaves_the_head():
    from fer_core.models.architectures import count_parameters, set_trainable

    model = build()
    before = count_parameters(model)
    set_trainable(model, PhaseConfig(trainable="head"))
    assert count_parameters(model).trainable == 256 * 7 + 7
    set_trainable(model, PhaseConfig(trainable="all"))
    assert count_parameters(model) == before


def test_same_seed_same_weights():
    import keras

    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        weights.append(build((16, 16, 1)).get_weights())
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("preset", "total", "head", "top", "top_without_norm"),
    [
        ("resnet50v2", 24_757_255, 1_187_335, 17_539_591, 17_516_039),
        ("resnet50", 23_653_639, 65_863, 17_016_391, 16_988_231),
    ],
)
def test_each_phase_trains_the_published_number_of_parameters(preset, total, head, top, top_without_norm):
    from fer_core.models.architectures import count_parameters, set_trainable

    model = build((16, 16, 1), preset, side=32)
    first, second = load_preset(preset).phases
    cases = ((first, head), (second, top_without_norm), (second.model_copy(update={"freeze_norm": False}), top))
    for phase, trainable in cases:
        set_trainable(model, phase)
        counts = count_parameters(model)
        assert (counts.total, counts.trainable, counts.non_trainable) == (total, trainable, total - trainable)


def test_top_layers_are_those_of_the_backbones_own_model(resnet50v2):
    import keras

    from fer_core.models.architectures import backbone_layers

    own = keras.applications.ResNet50V2(include_top=False, weights=None, input_shape=(32, 32, 3))
    ours = [(type(layer), layer.count_params()) for layer in backbone_layers(resnet50v2)]
    assert ours == [(type(layer), layer.count_params()) for layer in own.layers[1:]]


def test_frozen_normalisation_keeps_its_statistics_in_training():
    import keras

    from fer_core.models.architectures import set_trainable

    model = build((16, 16, 1), head="norm, dropout 0.3")
    set_trainable(model, PhaseConfig(trainable="all", freeze_norm=True))
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    backbone, own = model.get_layer("stem_bn"), model.get_layer("norm")
    before = [[np.array(weight) for weight in layer.weights] for layer in (backbone, own)]
    model.train_on_batch(pictures((16, 16, 1), 7), np.eye(7))
    after = [[np.array(weight) for weight in layer.weights] for layer in (backbone, own)]
    assert all((a == b).all() for a, b in zip(before[0], after[0], strict=True))
    assert all((a != b).any() for a, b in zip(before[1], after[1], strict=True))  # the head's is never frozen


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pixels", ["0-1", "-1-1", "imagenet-caffe", "imagenet-torch"])
def test_the_backbone_gets_the_pixels_that_keras_would_give_it(pixels, channels):
    import keras

    model = build((16, 16, channels), "efficientnetv2b0", side=33, pixels=pixels)
    images = pictures((16, 16, channels))
    given = keras.Model(model.inputs, model.get_layer("rescale").output).predict_on_batch(images)
    x = np.array(keras.ops.image.resize(images.astype(np.float32), (33, 33)))
    x = np.repeat(x, 3 // channels, axis=-1)
    own = {"imagenet-caffe": "caffe", "imagenet-torch": "torch", "-1-1": "tf"}
    if pixels == "0-1":
        expected = x / 255
    else:
        from keras.src.applications.imagenet_utils import preprocess_input  # its mode is not public

        expected = preprocess_input(x.copy(), mode=own[pixels])
    np.testing.assert_allclose(given, expected, atol=1e-3)  # of values up to 255


def test_gray_pictures_get_channels_where_pixel_values_differ_by_channel():
    assert build((16, 16, 1), pixels="imagenet-caffe").get_layer("rescale").output.shape[-1] == 3
    assert build((16, 16, 1), pixels="-1-1").get_layer("rescale").output.shape[-1] == 1


def test_the_head_is_what_the_setting_says():
    from fer_core.models.architectures import head

    model = build((16, 16, 1), head="attention 8, norm, dense 12, dropout 0.5, norm, dense 5", head_l2=0.01)
    chain = head(model)
    kinds = ["ChannelAttention", "BatchNormalization", "Dense", "Dropout", "BatchNormalization", "Dense", "Dense"]
    assert [type(layer).__name__ for layer in chain] == kinds
    assert [layer.name for layer in chain][-3:] == ["norm_2", "dense_2", "logits"]
    kernels = [np.array(layer.kernel) for layer in chain if type(layer).__name__ == "Dense"]
    assert len(model.losses) == 3
    assert np.sum(model.losses) == pytest.approx(0.01 * sum((kernel**2).sum() for kernel in kernels), rel=1e-5)


def test_attention_is_in_every_block_of_the_compact_network():
    from fer_core.models.layers import ChannelAttention

    model = build((16, 16, 1), attention=16)
    found = {layer.name for layer in model.layers if isinstance(layer, ChannelAttention)}
    assert found == {f"block{n}_attention" for n in (1, 2, 3, 4)}
    units = [2, 4, 8, 16]
    added = sum(2 * w * u + w + u for w, u in zip((32, 64, 128, 256), units, strict=True))
    assert model.count_params() == build((16, 16, 1)).count_params() + added


def test_attention_is_only_for_networks_of_residual_blocks():
    from fer_core.models.layers import ChannelAttention

    for architecture, blocks in (("wide", 5), ("resnet18", 8)):
        model = build((16, 16, 1), architecture=architecture, attention=16)
        assert sum(isinstance(layer, ChannelAttention) for layer in model.layers) == blocks
    for preset, *changes in (["teacher", "architecture=vgg"], ["resnet50"], ["resnet50v2"], ["efficientnetv2b0"]):
        with pytest.raises(ConfigError, match="attention 0: only the blocks of compact, wide, resnet18 take it"):
            apply_overrides(load_preset(preset), [*changes, "attention=16"])


@pytest.mark.parametrize(
    ("architecture", "layers"),
    [("wide", {"stem": 24, "block1_first": 32, "block5_second": 216}), ("vgg", {"stage4_second": 384})],
)
def test_width_multiplies_channels_and_rounds_to_eights(architecture, layers):
    model = build((16, 16, 1), architecture=architecture, width=0.75)
    assert {name: model.get_layer(name).filters for name in layers} == layers


def test_width_is_only_for_networks_from_scratch():
    with pytest.raises(ConfigError, match="width 1: resnet50 has the channels that its ImageNet weights ask for"):
        apply_overrides(load_preset("resnet50"), ["width=0.5"])


@pytest.mark.parametrize("shape", [(4, 8), (4, 3, 5, 8)])
def test_attention_weighs_each_channel(shape):
    from fer_core.models.layers import ChannelAttention

    layer = ChannelAttention(4)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    answer = np.array(layer(x))
    squeezed = x if x.ndim == 2 else x.mean(axis=(1, 2))
    narrow, narrow_bias, widen, widen_bias = layer.get_weights()
    assert narrow.shape == (8, 2)
    gates = 1 / (1 + np.exp(-(np.maximum(0, squeezed @ narrow + narrow_bias) @ widen + widen_bias)))
    np.testing.assert_allclose(answer, x * gates.reshape(4, *[1] * (x.ndim - 2), 8), atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_gives_float32_logits_and_leaves_the_global_policy(policy):
    import keras

    model = build((16, 16, 1), precision=policy, attention=16)
    assert model.dtype_policy.name == policy
    assert model.get_layer("block1_first").compute_dtype == policy.removeprefix("mixed_")
    assert model.outputs[0].dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.slow
def test_a_saved_network_opens_in_a_fresh_process(tmp_path):
    model = build((20, 20, 1), "efficientnetv2b0", side=40, pixels="imagenet-caffe", head="attention 16, dropout 0.3")
    images = pictures((20, 20, 1))
    np.savez(tmp_path / "images.npz", images=images, expected=model.predict_on_batch(images))
    model.save(tmp_path / "model.keras")
    script = (
        "import sys, numpy as np, keras, fer_core.models.architectures\n"
        "model, given = keras.saving.load_model(sys.argv[1]), np.load(sys.argv[2])\n"
        "np.testing.assert_allclose(model.predict_on_batch(given['images']), given['expected'], atol=1e-5)"
    )
    files = [tmp_path / "model.keras", tmp_path / "images.npz"]
    subprocess.run([sys.executable, "-c", script, *files], cwd=ROOT, check=True)
