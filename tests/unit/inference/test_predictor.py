"""Opening served models and what they answer."""

import os
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto

from fer_core.errors import ModelError
from fer_core.inference.predictor import BATCH, Predictor
from tests.unit.inference.test_adopt import as_large_as_the_batch
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


def test_a_model_that_wants_too_much_memory_fails_and_not_the_server(tmp_path):
    """Its values are of 40 MB times the number of pictures: no trial with a few would tell."""
    (tmp_path / "greedy.onnx").write_bytes(as_large_as_the_batch(10_000_000))
    script = """
import sys
from pathlib import Path
import numpy as np
from fer_core.errors import ModelError
from fer_core.inference.predictor import Predictor
greedy, modest = (Predictor.load(Path(file)) for file in sys.argv[1:])
pictures = np.zeros((64, 16, 16, 1), np.uint8)
print(greedy.classify(pictures[:1]).shape)
try:
    greedy.classify(pictures)
except ModelError as error:
    print(error)
print(modest.classify(pictures).shape)
"""
    modest = write_brightness_model(tmp_path / "modest.onnx")
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "greedy.onnx", modest],
        env={**os.environ, "FER_MAX_MODEL_MEMORY_MB": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    first, refused, *others = done.stdout.splitlines()
    assert (first, *others) == ("(1, 7)", "(64, 7)"), done.stderr
    assert refused.startswith("greedy: the model failed")
