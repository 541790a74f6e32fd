"""Files of weights go into the backbone, and wrong ones are told apart in one sentence."""

import numpy as np
import pytest

from fer_core.errors import ModelError
from fer_core.training.config import load_preset

SIDE = 32


def backbone(name, seed, **options):
    """A network of keras.applications whose weights and statistics are all random."""
    import keras

    keras.utils.set_random_seed(seed)
    network = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(SIDE, SIDE, 3), **options)
    rng = np.random.default_rng(seed)
    network.set_weights([w + 0.05 * rng.random(w.shape).astype(np.float32) for w in network.get_weights()])
    return network


def build(preset, **changes):
    from fer_core.models.architectures import build

    return build(load_preset(preset).model_copy(update={"side": SIDE, "pixels": "0-1", **changes}), (SIDE, SIDE, 3))


def load(model, file):
    from fer_core.models.architectures import load_weights

    load_weights(model, file)


@pytest.fixture(scope="module")
def efficient():
    # With its preprocessing, as the published files were saved: it has no weights.
    return backbone("EfficientNetV2B0", 1, include_preprocessing=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "name", "suffix"),
    [
        ("resnet50v2", "ResNet50V2", "_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        ("resnet50", "ResNet50", "_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        ("efficientnetv2b0", "EfficientNetV2B0", "_notop.h5"),
        ("efficientnetv2b0", "EfficientNetV2B0", ".weights.h5"),
        ("efficientnetv2b0", "EfficientNetV2B0", ".keras"),
    ],
)
def test_a_file_of_the_backbone_gives_its_features(tmp_path, preset, name, suffix):
    import keras
    from keras.src.legacy.saving import legacy_h5_format

    options = {"include_preprocessing": False} if preset.startswith("efficient") else {}
    source, file = backbone(name, 1, **options), tmp_path / f"{preset}{suffix}"
    if suffix == ".keras":
        source.save(file)
    elif suffix == ".weights.h5":
        source.save_weights(file)
    else:  # the layout of the published files, which Keras no longer writes publicly
        import h5py

        with h5py.File(file, "w") as group:
            legacy_h5_format.save_weights_to_hdf5_group(group, source)
    model = build(preset)
    head = [np.array(weight) for weight in model.get_layer("logits").weights]
    load(model, file)
    images = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.uint8)
    features = keras.Model(model.inputs, model.get_layer("features").output).predict_on_batch(images)
    np.testing.assert_allclose(features, source.predict_on_batch(images / np.float32(255)), rtol=1e-4, atol=1e-4)
    for before, after in zip(head, model.get_layer("logits").weights, strict=True):
        np.testing.assert_array_equal(before, after)


def test_published_weights_were_saved_with_preprocessing_layers(tmp_path, efficient):
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    file = tmp_path / "efficientnetv2-b0_notop.h5"
    with h5py.File(file, "w") as group:
        legacy_h5_format.save_weights_to_hdf5_group(group, efficient)
    model = build("efficientnetv2b0")
    load(model, file)
    np.testing.assert_array_equal(
        model.get_layer("top_conv").get_weights()[0], efficient.get_layer("top_conv").get_weights()[0]
    )


def test_a_run_goes_on_from_the_network_of_another(tmp_path):
    first, second = build("compact"), build("compact", head="norm, dense 8")
    first.save(tmp_path / "best.keras")
    load(second, tmp_path / "best.keras")
    for name in ("stem", "block4_second_bn"):
        for ours, theirs in zip(second.get_layer(name).weights, first.get_layer(name).weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def wrong_network(folder, efficient):
    file = folder / "network.weights.h5"
    backbone("MobileNetV2", 1).save_weights(file)
    return file


def wrong_network_of_old_format(folder, efficient):
    file = folder / "network.h5"
    backbone("MobileNetV2", 1).save(file)
    return file


def truncated(folder, efficient):
    file = folder / "cut.weights.h5"
    efficient.save_weights(file)
    file.write_bytes(file.read_bytes()[:1_000_000])
    return file


def truncated_archive(folder, efficient):
    file = folder / "cut.keras"
    efficient.save(file)
    file.write_bytes(file.read_bytes()[:1_000_000])
    return file


def text(folder, efficient):
    file = folder / "page.h5"
    file.write_text("<html>404</html>")
    return file


@pytest.mark.parametrize("make", [wrong_network, wrong_network_of_old_format, truncated, truncated_archive, text])
def test_other_files_are_refused_in_one_sentence(tmp_path, efficient, make):
    file = make(tmp_path, efficient)
    with pytest.raises(ModelError, match="these are no weights of EfficientNetV2-B0") as refused:
        load(build("efficientnetv2b0"), file)
    message = str(refused.value)
    assert message.startswith(f"{file}: ")
    assert "\n" not in message
    assert "Copy it again" in message


def test_a_missing_file_and_an_unknown_suffix_are_refused(tmp_path):
    model = build("compact")
    with pytest.raises(ModelError, match="no such weights file"):
        load(model, tmp_path / "none.h5")
    (tmp_path / "weights.pt").write_bytes(b"torch")
    with pytest.raises(ModelError, match=r"ends in \.h5, \.weights\.h5 or \.keras"):
        load(model, tmp_path / "weights.pt")
