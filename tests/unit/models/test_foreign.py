"""Files of strangers: what is converted answers as Keras does, what could do harm is refused unopened."""

import json
import shutil
import sys
import zipfile

import h5py
import numpy as np
import onnxruntime
import pytest

from fer_core.emotions import EMOTIONS
from fer_core.errors import ModelError
from fer_core.evaluation.orders import ORDERS
from fer_core.models import foreign
from fer_core.models.convert import Request, convert
from tests.unit.served_models import CENTRES

ALPHABETICAL = ORDERS["alphabetical"]


def network(*before, shape=(48, 48, 1), outputs=7, activation="softmax", functional=False):
    """A tiny network; ``before`` are layers ahead of its convolution."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    chain = [*before, layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.5)]
    chain += [layers.GlobalAveragePooling2D(), layers.Dense(outputs, activation=activation)]
    if not functional:
        model = keras.Sequential([keras.Input(shape), *chain])
    else:
        image = x = keras.Input(shape)
        for layer in chain:
            x = layer(x)
        model = keras.Model(image, x)
    # Answers that differ from class to class.
    *rest, kernel, bias = model.get_weights()
    model.set_weights([*rest, kernel * 8, bias + np.arange(outputs) / 5])
    return model


def rescaling():
    from keras import layers

    return layers.Rescaling(1 / 255)


def normalisation():
    """As after training on values up to 255."""
    from keras import initializers, layers

    means, variances = initializers.Constant(127), initializers.Constant(4000)
    return layers.BatchNormalization(moving_mean_initializer=means, moving_variance_initializer=variances)


def resizing():
    from keras import layers

    return layers.Resizing(32, 32)


def augmentation():
    from keras import layers

    return [layers.RandomFlip(), layers.RandomRotation(0.4), layers.RandomContrast(0.9), layers.GaussianNoise(0.9)]


def nested():
    import keras

    return keras.Sequential([resizing(), *augmentation()])


def mixed():
    import keras

    keras.config.set_dtype_policy("mixed_float16")
    try:
        return network()
    finally:
        keras.config.set_dtype_policy("float32")


def arithmetic(prepare, channels=1, nest=False):
    """A network whose pixels go through plain arithmetic first, in a model of its own if ``nest``."""
    import keras

    image = keras.Input((48, 48, channels))
    if nest:
        inner = keras.Input((48, 48, channels))
        return keras.Model(image, network(shape=(48, 48, channels))(keras.Model(inner, prepare(inner))(image)))
    return keras.Model(image, network(shape=(48, 48, channels))(prepare(image)))


def preprocessed(name):
    """As tutorials do it with networks of Keras' own zoo: its preparation is inside the model."""
    import keras

    return arithmetic(getattr(keras.applications, name).preprocess_input, channels=3)


def separable():
    import keras

    image = keras.Input((48, 48, 1))
    x = keras.layers.SeparableConv2D(4, 3)(image)
    return keras.Model(image, network(shape=(46, 46, 4))(x / 100))


def compiled_inside():
    """A part that was trained by itself before it was built in."""
    import keras

    part = keras.Sequential([keras.Input((48, 48, 1)), keras.layers.Conv2D(4, 3)])
    part.compile("adam", "mse")
    image = keras.Input((48, 48, 1))
    return keras.Model(image, network(shape=(46, 46, 4))(part(image)))


# name, model, suffix, compiled, input served, pixel values
CASES = [
    ("sequential", network, ".keras", False, (48, 48, 1), "0-1"),
    ("legacy with optimizer state", network, ".h5", True, (48, 48, 1), "0-1"),
    ("resizes", lambda: network(rescaling(), resizing(), functional=True), ".keras", True, (48, 48, 1), "0-255"),
    ("legacy, resizes", lambda: network(rescaling(), resizing()), ".h5", False, (48, 48, 1), "0-255"),
    ("augments inside", lambda: network(*augmentation()), ".keras", False, (48, 48, 1), "0-1"),
    ("augments in a nested model", lambda: network(nested(), functional=True), ".keras", False, (48, 48, 1), "0-1"),
    ("legacy, augments in a nested model", lambda: network(nested()), ".h5", False, (48, 48, 1), "0-1"),
    ("logits", lambda: network(activation=None), ".keras", False, (48, 48, 1), "0-1"),
    ("three channels", lambda: network(shape=(64, 64, 3)), ".h5", False, (64, 64, 1), "0-1"),
    ("large", lambda: network(shape=(112, 112, 3)), ".keras", False, (48, 48, 1), "0-1"),
    ("large, gray", lambda: network(shape=(112, 100, 1)), ".keras", False, (48, 48, 1), "0-1"),
    ("any size", lambda: network(shape=(None, None, 3)), ".keras", False, (48, 48, 1), "0-1"),
    ("mixed precision", mixed, ".keras", False, (48, 48, 1), "0-1"),
    ("divides", lambda: arithmetic(lambda x: x / 255), ".keras", False, (48, 48, 1), "0-255"),
    ("divides, nested", lambda: arithmetic(lambda x: x / 255, nest=True), ".keras", False, (48, 48, 1), "0-255"),
    ("multiplies", lambda: arithmetic(lambda x: x * (1 / 127.5) - 1), ".keras", False, (48, 48, 1), "0-255"),
    ("as MobileNetV2", lambda: preprocessed("mobilenet_v2"), ".keras", False, (48, 48, 1), "0-255"),
    ("as ResNet", lambda: preprocessed("resnet"), ".keras", False, (48, 48, 1), "0-255"),
    ("as DenseNet", lambda: preprocessed("densenet"), ".keras", False, (48, 48, 1), "0-255"),
    ("reverses channels", lambda: arithmetic(lambda x: x[..., ::-1], channels=3), ".keras", False, (48, 48, 1), "0-1"),
    ("standardises", lambda: arithmetic(lambda x: (x - 0.5) * 2), ".keras", False, (48, 48, 1), "0-1"),
    ("arithmetic after a kernel", separable, ".keras", False, (48, 48, 1), "0-1"),
    ("nested and compiled", compiled_inside, ".keras", True, (48, 48, 1), "0-1"),
    ("legacy, nested and compiled", compiled_inside, ".h5", True, (48, 48, 1), "0-1"),
    ("normalises", lambda: network(normalisation()), ".keras", False, (48, 48, 1), "0-255"),
]  # fmt: skip


def save(model, file, compiled=False):
    if compiled:
        model.compile("adam", "categorical_crossentropy")
        model.train_on_batch(np.zeros((2, *model.input_shape[1:])), np.eye(7)[:2])
    model.save(file)
    return file


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "suffix", "compiled", "shape", "scale"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_converted_file_answers_as_keras_does(tmp_path, make, suffix, compiled, shape, scale):
    import keras

    model = make()
    file = save(model, tmp_path / f"model{suffix}", compiled)
    result = convert(Request(file=file, order=ALPHABETICAL, scale=None), tmp_path)
    assert (result.input.height, result.input.width, result.input.channels) == shape
    assert result.scale == scale
    assert result.parameters.total == model.count_params()

    images = np.random.default_rng(3).integers(0, 256, (5, *shape)).astype(np.uint8)
    pixels = images.astype(np.float32) / (255 if scale == "0-1" else 1)
    height, width, channels = model.input_shape[1:]
    if height and height != shape[0]:
        pixels = keras.ops.convert_to_numpy(keras.ops.image.resize(pixels, (height, width)))
    answers = model.predict(pixels.repeat(channels, axis=-1), verbose=0).astype(np.float64)
    if make is CASES[7][1]:
        answers = np.exp(answers) / np.exp(answers).sum(axis=1, keepdims=True)
    expected = answers[:, [ALPHABETICAL.index(emotion) for emotion in EMOTIONS]]
    tolerance = 2e-3 if make is mixed else 1e-4  # Keras itself rounds to 16 bits there

    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    assert (entry.name, entry.type, entry.shape) == ("image", "tensor(uint8)", ["N", *shape])
    assert [output.name for output in session.get_outputs()] == ["probabilities"]
    (found,) = session.run(None, {"image": images})
    np.testing.assert_allclose(found, expected, atol=tolerance)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("order", [None, EMOTIONS])
@pytest.mark.parametrize(("divisor", "scale"), [(255, "0-255"), (1, "0-1")])
def test_labelled_pictures_tell_whether_a_model_divides_by_itself(tmp_path, divisor, scale, order):
    import keras

    image = keras.Input((16, 16, 1))
    x = keras.layers.Dense(7, activation="softmax")(keras.layers.GlobalAveragePooling2D()(image / divisor))
    model = keras.Model(image, x)
    model.set_weights([600 * CENTRES[None] / 255, -300 * (CENTRES / 255) ** 2])  # the nearest centre
    labels = np.arange(70) % 7
    images = np.broadcast_to(CENTRES[labels].astype(np.uint8)[:, None, None, None], (70, 16, 16, 1))
    np.savez(tmp_path / "samples.npz", images=images, labels=labels)
    file = save(model, tmp_path / "model.keras")
    result = convert(Request(file=file, order=order, scale=None, samples=tmp_path / "samples.npz"), tmp_path)
    assert (result.scale, result.order) == (scale, EMOTIONS)


def test_a_stated_scale_is_taken_as_it_is(tmp_path):
    file = save(arithmetic(lambda x: x / 255), tmp_path / "model.keras")
    result = convert(Request(file=file, order=EMOTIONS, scale="-1-1"), tmp_path)
    assert result.scale == "-1-1"
    assert result.notes[-1] == "Pixel values as stated: -1-1."


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: network(outputs=8), "gives 8 outputs; expected 7"),
        (lambda: network(activation="sigmoid"), "activation is sigmoid"),
        (lambda: network(shape=(48, 48, 2)), "reads 48 x 48 x 2"),
        (lambda: _poisoned(), "values that are not numbers"),
        (lambda: _two_inputs(), "reads 48 x 48 x 1 and 48 x 48 x 1"),
    ],
)
def test_what_is_no_classifier_of_pictures_into_seven_is_told(tmp_path, make, message):
    file = save(make(), tmp_path / "model.keras")
    with pytest.raises(ModelError, match=message):
        convert(Request(file=file, order=EMOTIONS, scale=None), tmp_path)
    assert not (tmp_path / "model.onnx").exists()


def _poisoned():
    model = network()
    model.set_weights([weight * np.nan for weight in model.get_weights()])
    return model


def _two_inputs():
    import keras

    images = [keras.Input((48, 48, 1)), keras.Input((48, 48, 1))]
    return keras.Model(images, network()(keras.layers.Add()(images)))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A harmless model in both formats."""
    folder = tmp_path_factory.mktemp("saved")
    return {suffix: save(network(), folder / f"model{suffix}") for suffix in (".h5", ".keras")}


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_code_in_a_lambda_layer_is_refused_and_does_not_run(tmp_path, suffix):
    import keras

    payload = tmp_path / "payload"
    payload_of_a_stranger = eval(f"lambda x: (open({str(payload)!r}, 'w').write('ran'), x)[1]")
    model = network(keras.layers.Lambda(payload_of_a_stranger, output_shape=(48, 48, 1)))
    file = save(model, tmp_path / f"model{suffix}")
    payload.unlink(missing_ok=True)  # building the model may have run it
    with pytest.raises(ModelError, match="Lambda layer, which is Python code"):
        convert(Request(file=file, order=EMOTIONS, scale=None), tmp_path)
    assert not payload.exists()


HOSTILE = [
    {"class_name": "Lambda", "config": {}},
    {"class_name": "__lambda__", "config": {"value": "x"}},
    {"class_name": "TFSMLayer", "module": "keras.layers", "config": {"filepath": "/tmp"}},
    {"class_name": "TextVectorization", "module": "keras.layers", "config": {"vocabulary": "/etc/passwd"}},
    {"class_name": "Dense", "module": "os", "config": {}},
    {"class_name": "Dense", "module": "keras_hub.layers", "config": {}},
    {"class_name": "Dense", "module": "keras.layers", "registered_name": "Evil>Dense", "config": {}},
    {"class_name": "function", "module": "builtins", "config": "eval"},
    {"class_name": "function", "module": "os", "config": "system"},
    {"class_name": "get_file", "module": "keras.utils", "config": {}},
    {"class_name": "__typespec__", "module": "subprocess", "config": []},
    {"class_name": ["Dense"], "config": {}},
    {"class_name": "TFOpLambda", "config": {"function": "math.truediv"}},
]


@pytest.mark.parametrize("layer", HOSTILE, ids=[f"{entry['class_name']}-{entry.get('module')}" for entry in HOSTILE])
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_classes_that_are_not_keras_own_are_refused(tmp_path, saved, suffix, layer):
    file = tmp_path / f"model{suffix}"
    _edit_config(saved[suffix], file, lambda config: config["config"]["layers"].append({"config": {"deep": [layer]}}))
    with pytest.raises(ModelError, match=r"custom code is not loaded|code of strangers is not run"):
        foreign.inspect(file)


def _edit_config(source, file, edit):
    shutil.copy(source, file)
    if file.suffix == ".h5":
        with h5py.File(file, "r+") as content:
            config = json.loads(content.attrs["model_config"])
            edit(config)
            content.attrs["model_config"] = json.dumps(config)
        return
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                edit(config)
                data = json.dumps(config)
            new.writestr(name, data)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_nothing_of_how_a_part_was_trained_is_loaded(tmp_path, saved, suffix):
    """Keras compiles the parts of a model whatever it is told of the whole, and imports what they name."""
    canary = "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\nclass Loss: pass\n"
    (tmp_path / "canary_of_a_stranger.py").write_text(canary)
    sys.path.insert(0, str(tmp_path))
    loss = {"class_name": "Loss", "module": "canary_of_a_stranger", "config": {}, "registered_name": None}

    def poison(config):
        config["module"] = "keras"
        part = {**json.loads(json.dumps(config)), "registered_name": None}
        layer = part["config"]["layers"][0]
        config["config"] = {"name": "whole", "layers": [layer, part]}
        config["compile_config"] = part["compile_config"] = {"optimizer": "adam", "loss": loss}

    _edit_config(saved[suffix], tmp_path / f"model{suffix}", poison)
    try:
        kind = foreign.inspect(tmp_path / f"model{suffix}")
        foreign.copy_network(tmp_path / f"model{suffix}", kind, tmp_path / f"network{suffix}")
        import keras

        keras.models.model_from_json(json.dumps(_config_of(tmp_path / f"network{suffix}")))
    finally:
        sys.path.remove(str(tmp_path))
    assert not (tmp_path / "ran").exists()


def _config_of(file):
    if file.suffix == ".h5":
        with h5py.File(file) as content:
            return json.loads(content.attrs["model_config"])
    return json.loads(zipfile.ZipFile(file).read("config.json"))


def _truncated(file, source):
    file.write_bytes(source.read_bytes()[: source.stat().st_size // 2])


def _weights_only(file, source):
    network().save_weights(file)


def _legacy_weights_only(file, source):
    shutil.copy(source, file)
    with h5py.File(file, "r+") as content:
        del content.attrs["model_config"]
        content.attrs["layer_names"] = ["conv"]


def _linked(file, source):
    shutil.copy(source, file)
    with h5py.File(file, "r+") as content:
        content["model_weights/more"] = h5py.ExternalLink("/etc/passwd", "/")


def _stored_elsewhere(file, source):
    shutil.copy(source, file)
    with h5py.File(file, "r+") as content:
        content.create_dataset("model_weights/more", (8,), "u1", external=[("/etc/passwd", 0, 8)])


def _shape_bomb(file, source):
    shutil.copy(source, file)
    with h5py.File(file, "r+") as content:
        content.create_dataset("model_weights/more", (2**40,), "f4", chunks=(1024,), compression="gzip")


def _zip_bomb(file, source):
    shutil.copy(source, file)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        with archive.open("model.weights.h5", "w", force_zip64=True) as entry:
            for _ in range(300):
                entry.write(bytes(2**20))


def _further_file(file, source):
    shutil.copy(source, file)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("assets/vocabulary.txt", "x")


def _no_config(file, source):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "x")


def _nested_json(file, source):
    shutil.copy(source, file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", "[" * 200_000)
        archive.writestr("model.weights.h5", "x")


@pytest.mark.parametrize(
    ("suffix", "damage", "message"),
    [
        (".h5", _truncated, "damaged or cut short"),
        (".keras", _truncated, "damaged or cut short"),
        (".h5", lambda file, source: file.write_bytes(b""), "the file is empty"),
        (".h5", lambda file, source: file.write_text("no model"), r"neither an \.h5 nor a \.keras nor an \.onnx file"),
        (".h5", lambda file, source: file.mkdir(), "a folder. SavedModel folders are not read"),
        (".weights.h5", _weights_only, "holds weights only"),
        (".h5", _legacy_weights_only, "holds weights only"),
        (".h5", lambda file, source: h5py.File(file, "w").close(), "an HDF5 file, but no Keras model"),
        (".h5", _linked, "link to another place"),
        (".h5", _stored_elsewhere, "lie in another file"),
        (".h5", _shape_bomb, "decompression bomb"),
        (".keras", _zip_bomb, "decompression bomb"),
        (".keras", _further_file, "'assets/vocabulary.txt', which is not loaded"),
        (".keras", _no_config, "a zip archive, but no Keras model"),
        (".keras", _nested_json, "damaged or cut short"),
    ],
)
def test_damaged_and_hostile_files_are_one_sentence(tmp_path, saved, suffix, damage, message):
    file = tmp_path / f"model{suffix}"
    damage(file, saved[file.suffix])
    with pytest.raises(ModelError, match=message) as told:
        foreign.inspect(file)
    assert "\n" not in str(told.value)


def test_a_file_larger_than_the_limit_is_refused_unread(tmp_path):
    file = tmp_path / "model.h5"
    with file.open("wb") as content:
        content.truncate(foreign.MAX_BYTES + 1)  # sparse: takes no disk
    with pytest.raises(ModelError, match=r"4\.0 GB; models of up to 4 GB are read"):
        foreign.inspect(file)


def test_weights_that_were_damaged_on_the_way_are_told(tmp_path, saved):
    data = bytearray(saved[".keras"].read_bytes())
    with zipfile.ZipFile(saved[".keras"]) as archive:
        info = archive.getinfo("model.weights.h5")
    data[info.header_offset + info.compress_size] ^= 255  # among the last of them
    file = tmp_path / "model.keras"
    file.write_bytes(data)
    with pytest.raises(ModelError, match="damaged or cut short"):
        convert(Request(file=file, order=EMOTIONS, scale=None), tmp_path)


def test_content_counts_not_the_suffix(tmp_path, saved):
    file = shutil.copy(saved[".h5"], tmp_path / "model.keras")
    assert foreign.inspect(file) is foreign.Format.LEGACY
    assert convert(Request(file=file, order=EMOTIONS, scale=None), tmp_path).input.height == 48


def test_every_allowed_name_is_one_of_keras():
    import keras

    known = {
        name
        for place in (keras.layers, keras.initializers, keras.regularizers, keras.constraints)
        for name in dir(place)
    }
    known |= {*dir(keras), *dir(keras.dtype_policies)}
    assert {name for name in foreign._ALLOWED if not name.startswith("__")} - known <= {"Functional", "Policy"}
    assert set(foreign._ACTIVATIONS.split()) <= set(dir(keras.activations)) | {"swish", "hard_swish"}
