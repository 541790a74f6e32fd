"""Opening served models and what they answer."""

import numpy as np
import pytest
from onnx import TensorProto

from fer_core.errors import ModelError
from fer_core.inference.predictor import BATCH, Predictor
from tests.unit.served_models import CENTRES, write_brightness_model


def _faces(levels, shape=(16, 16, 1)):
    return np.broadcast_to(np.asarray(levels, np.uint8)[:, None, None, None], (len(levels), *shape)).copy()


def test_answers_in_class_order_for_more_images_than_a_batch(predictor):
    labels = np.arange(2 * BATCH + 5) % 7
    probabilities = predictor.classify(_faces(CENTRES[labels]))
    assert probabilities.dtype == np.float32
    assert probabilities.argmax(1).tolist() == labels.tolist()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


def test_says_what_it_reads(predictor):
    assert predictor.input_shape == (16, 16, 1)
    assert predictor.classify(_faces([])).shape == (0, 7)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 48, 48, 1), np.uint8),  # another size
        np.zeros((1, 16, 16, 3), np.uint8),  # colour for a gray model
        np.zeros((1, 16, 16, 1), np.float32),  # already rescaled
        np.zeros((16, 16, 1), np.uint8),  # no batch
    ],
    ids=["size", "channels", "dtype", "no batch"],
)
def test_refuses_images_of_another_shape(predictor, images):
    with pytest.raises(ModelError, match="reads uint8 images of 16 x 16 x 1"):
        predictor.classify(images)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": TensorProto.FLOAT}, r"tensor\(float\).*expected one input, uint8"),
        ({"shape": ("H", "W", 1)}, "expected one input, uint8"),  # no native size
        ({"shape": (16, 16, 4)}, "expected one input, uint8"),
        ({"batch": 1}, "any number of images"),
        ({"classes": 5}, r"\[N, 7\].*other classes"),
        ({"output": "dense_7"}, "no output is named 'probabilities' .*dense_7"),
    ],
    ids=["input type", "no size", "four channels", "fixed batch", "five classes", "output name"],
)
def test_refuses_a_model_that_answers_otherwise(tmp_path, changes, message):
    file = write_brightness_model(tmp_path / "other.onnx", **changes)
    with pytest.raises(ModelError, match=message) as caught:
        Predictor.load(file)
    assert str(caught.value).startswith(str(file))


@pytest.mark.parametrize("content", ["cut", b"", b"not a model at all"], ids=["cut short", "empty", "text"])
def test_refuses_a_file_that_is_no_model(tmp_path, content):
    file = write_brightness_model(tmp_path / "model.onnx")
    file.write_bytes(file.read_bytes()[:-200] if content == "cut" else content)
    with pytest.raises(ModelError, match="damaged, cut short or no ONNX model"):
        Predictor.load(file)


def test_refuses_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match="no such model file"):
        Predictor.load(tmp_path / "model.onnx")


def test_answers_that_are_not_numbers_are_an_error(tmp_path):
    broken = Predictor.load(write_brightness_model(tmp_path / "nan.onnx", softness=float("nan")))
    with pytest.raises(ModelError, match="not all numbers"):
        broken.classify(_faces([100]))
