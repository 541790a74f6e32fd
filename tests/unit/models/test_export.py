"""The served graph answers as the network does, and its gradient is the one that backpropagation gives."""

import numpy as np
import onnxruntime
import pytest

from fer_core.errors import ModelError
from fer_core.training.config import load_preset

SHAPE = (24, 24, 1)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, *SHAPE)).astype(np.uint8)


def trained_look(model):
    """Statistics and weights that are not those of the start."""
    rng = np.random.default_rng(0)
    model.set_weights([w * (1 + 0.1 * rng.standard_normal(w.shape)) for w in model.get_weights()])
    return model


def network(chain=None):
    """A network with a trained look."""
    import keras
    from keras import layers

    from fer_core.models.architectures import build

    keras.utils.set_random_seed(0)
    if chain is None:
        model = build(load_preset("compact"), SHAPE)
    else:
        image = keras.Input(SHAPE, dtype="uint8", name="image")
        x = layers.Conv2D(6, 3, activation="relu", name="features")(layers.Rescaling(1 / 255)(image))
        x = layers.GlobalAveragePooling2D(name="pooled")(x)
        for layer in chain():
            x = layer(x)
        model = keras.Model(image, x)
    return trained_look(model)


def published_head():
    """The chain of the recipe `resnet50v2`, smaller."""
    from keras import layers

    return [
        layers.BatchNormalization(),
        layers.Dense(16, activation="relu"),
        layers.Dropout(0.5),
        layers.BatchNormalization(),
        layers.Dense(8, activation="relu"),
        layers.Dropout(0.3),
        layers.Dense(7),
    ]


def second_published_head():
    """The chain of the recipe `resnet50`, smaller."""
    from keras import layers

    return [layers.Dense(8, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.4), layers.Dense(7)]


def attentive_head():
    from keras import layers

    from fer_core.models.layers import ChannelAttention

    return [ChannelAttention(2), layers.Dense(8, activation="relu"), ChannelAttention(4), layers.Dense(7)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory, images):
    from fer_core.models.export import export_onnx

    model, file = network(), tmp_path_factory.mktemp("export") / "model.onnx"
    export_onnx(model, 1.7, file, images)
    return model, onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


def test_the_file_has_the_names_and_shapes_of_the_contract(exported):
    _, session = exported
    (image,) = session.get_inputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(uint8)", ["N", *SHAPE])
    shapes = {output.name: output.shape for output in session.get_outputs()}
    assert shapes == {"probabilities": ["N", 7], "features": ["N", 2, 2, 256], "gradient": ["N", 7, 256]}


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_file_answers_as_the_network(exported, images, n):
    model, session = exported
    logits = model.predict_on_batch(images[:n]) / 1.7
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    (probabilities,) = session.run(["probabilities"], {"image": images[:n]})
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("chain", [None, published_head, second_published_head, attentive_head])
def test_the_gradient_is_the_one_of_backpropagation(images, chain):
    import keras
    import tensorflow as tf

    from fer_core.models.architectures import POOLED, head
    from fer_core.models.serving import ServingModel

    model = network(chain)
    pooled = tf.convert_to_tensor(keras.Model(model.inputs, model.get_layer(POOLED).output).predict_on_batch(images))
    with tf.GradientTape() as tape:
        tape.watch(pooled)
        x = pooled
        for layer in head(model):
            x = layer(x)
    expected = tape.batch_jacobian(x, pooled)
    _, _, gradient = ServingModel(model, temperature=2.0).predict_on_batch(images)
    np.testing.assert_allclose(gradient, expected, atol=2e-6, rtol=1e-5)


def test_a_head_whose_gradient_is_not_known_is_refused(images):
    from keras import layers

    from fer_core.models.serving import ServingModel

    model = network(lambda: [layers.Dense(7, activation="tanh", name="curved")])
    with pytest.raises(ModelError, match=r"'curved' \(Dense\) is not known"):
        ServingModel(model)(images)


def grad_cam(model, picture, index):
    """By backpropagation to the features, as Selvaraju et al. 2017 write it: float32 ``[h, w]``, 1 where it is most."""
    import keras
    import tensorflow as tf

    from fer_core.models.architectures import POOLED, head
    from fer_core.models.backbones import FEATURES

    features = keras.Model(model.inputs, model.get_layer(FEATURES).output)([picture[None]], training=False)
    with tf.GradientTape() as tape:
        tape.watch(features)
        x = model.get_layer(POOLED)(features)
        for layer in head(model):
            x = layer(x, training=False)
        logit = x[0, index]
    weights = tf.reduce_mean(tape.gradient(logit, features), axis=(1, 2))
    heat = np.maximum((features[0] @ weights[0][:, None])[..., 0], 0)
    return heat / heat.max() if heat.any() else heat


def check_grad_cam(model, file, picture):
    """For every class, from the outputs of the file alone."""
    from fer_core.emotions import EMOTIONS
    from fer_core.inference.explain import heat_map
    from fer_core.inference.predictor import Predictor

    predictor = Predictor.load(file)
    maps = [heat_map(predictor, picture, emotion) for emotion in EMOTIONS]
    assert sum(heat.any() for heat in maps) > 2
    for index, heat in enumerate(maps):
        np.testing.assert_allclose(heat, grad_cam(model, picture, index), atol=1e-4)


@pytest.mark.parametrize("chain", [published_head, attentive_head])
def test_grad_cam_of_the_file_is_the_one_of_keras(tmp_path, images, chain):
    from fer_core.models.export import export_onnx

    model, file = network(chain), tmp_path / "model.onnx"
    export_onnx(model, 1.7, file, images)
    check_grad_cam(model, file, images[0])


def answers(file, images):
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"image": images})[0]


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("compact", {"attention": 16, "head": "attention 16, dropout 0.3"}),
        ("bundled", {"attention": 16}),
        # The others take up to half a minute each: tests/full/test_every_network.py
    ],
)
def test_every_network_is_exported_from_native_pictures(tmp_path, preset, changes):
    import keras

    from fer_core.models.architectures import build
    from fer_core.models.export import export_onnx
    from fer_core.models.serving import OUTPUTS, ServingModel

    keras.utils.set_random_seed(0)
    model = build(load_preset(preset).model_copy(update=changes), (32, 32, 1))
    pictures = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 1)).astype(np.uint8)
    export_onnx(model, 1.0, tmp_path / "model.onnx", pictures)
    expected = softmax(model.predict_on_batch(pictures))
    np.testing.assert_allclose(answers(tmp_path / "model.onnx", pictures), expected, atol=1e-4)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    served = session.run(list(OUTPUTS), {"image": pictures})
    for ours, theirs in zip(served, ServingModel(model).predict_on_batch(pictures), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=1e-4)
    check_grad_cam(model, tmp_path / "model.onnx", pictures[0])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_network_of_mixed_precision_is_served_in_float32(tmp_path, images, policy):
    from fer_core.models.architectures import build, set_trainable
    from fer_core.models.export import as_float32, export_onnx

    config = load_preset("compact").model_copy(update={"precision": policy, "attention": 16, "head": "norm, dense 8"})
    mixed = trained_look(build(config, SHAPE))
    set_trainable(mixed, config.phases[0].model_copy(update={"trainable": "head"}))  # as a frozen phase leaves it
    single = as_float32(config, mixed)
    for ours, theirs in zip(single.weights, mixed.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert all(layer.compute_dtype == "float32" for layer in single.layers)
    np.testing.assert_allclose(single.predict_on_batch(images), mixed.predict_on_batch(images), atol=0.2)
    export_onnx(single, 1.0, tmp_path / "model.onnx", images)
    np.testing.assert_allclose(
        answers(tmp_path / "model.onnx", images), softmax(single.predict_on_batch(images)), atol=1e-4
    )


def test_a_network_of_float32_is_served_as_it_is():
    from fer_core.models.export import as_float32

    model = network()
    assert as_float32(load_preset("compact"), model) is model


def test_a_file_that_answers_otherwise_is_not_written(tmp_path, images, monkeypatch):
    from fer_core.models import export

    def forget_a_weight(graph, names, expected):
        name_outputs(graph, names, expected)
        weight = max(graph.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        weight.raw_data = bytes(len(weight.raw_data))

    name_outputs = export._name_outputs
    monkeypatch.setattr(export, "_name_outputs", forget_a_weight)
    file = tmp_path / "model.onnx"
    file.write_bytes(b"the previous model")
    with pytest.raises(ModelError, match="differs from the trained one"):
        export.export_onnx(network(), 1.0, file, images)
    assert file.read_bytes() == b"the previous model"
    assert list(tmp_path.iterdir()) == [file]
