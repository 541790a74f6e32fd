"""A file in half precision is half as large, looks the same from outside, and is the same once it is opened."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from fer_core.errors import ModelError
from fer_core.models.storage import CALIBRATION, calibration_pictures, in_half_precision, in_int8

SIDE = 40  # a layer of 1,600 weights
BIAS = np.linspace(0, 1e5, SIDE, dtype=np.float32)  # some are beyond float16


def linear_model(weights):
    """Pictures of floats, ``[N, SIDE]``, through one layer."""
    values = {"weights": weights.astype(np.float32), "bias": BIAS}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["image", "weights"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["answer"]),
        ],
        "linear",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", SIDE])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["N", SIDE])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    opset = [helper.make_opsetid("", 15)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def random_weights():
    return np.random.default_rng(0).standard_normal((SIDE, SIDE))


def answer(content, images):
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"image": images})[0]


def opened(content, file):
    """What ONNX Runtime makes of a model: its operations, and the types of its weights."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(file)
    options.log_severity_level = 3  # that such a file is for this machine alone
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    graph = onnx.load(file).graph
    return Counter(node.op_type for node in graph.node), {weight.data_type for weight in graph.initializer}


def test_large_weights_are_rounded_and_small_ones_keep_all_their_digits():
    weights, images = random_weights(), np.eye(SIDE, dtype=np.float32)
    full = linear_model(weights)
    half = in_half_precision(full)
    assert len(half) < 0.6 * len(full)
    np.testing.assert_array_equal(answer(half, images), weights.astype(np.float16).astype(np.float32) + BIAS)
    before, after = onnx.load_from_string(full), onnx.load_from_string(half)
    onnx.checker.check_model(after)
    assert (after.graph.input, after.graph.output) == (before.graph.input, before.graph.output)
    assert after.opset_import == before.opset_import


def test_once_opened_it_is_the_model_that_it_was(tmp_path):
    full = linear_model(random_weights())
    assert opened(in_half_precision(full), tmp_path / "b.onnx") == opened(full, tmp_path / "a.onnx")


def test_halving_again_changes_nothing():
    half = in_half_precision(linear_model(random_weights()))
    assert in_half_precision(half) == half


@pytest.mark.parametrize(("value", "told"), [(7e4, "7e\\+04"), (-np.inf, "inf"), (np.nan, "nan")])
def test_what_float16_cannot_hold_is_refused(value, told):
    weights = random_weights()
    weights[3, 4] = value
    with pytest.raises(ModelError, match=f"The weights weights hold {told}, where half precision ends at 65,504"):
        in_half_precision(linear_model(weights))


def test_a_model_without_convolutions_is_not_stored_in_eight_bits():
    with pytest.raises(ModelError, match=r"no convolutions to store in eight bits\. Choose another --storage\."):
        in_int8(linear_model(random_weights()), np.zeros((4, SIDE), np.uint8))


def test_calibration_takes_a_fixed_choice_of_pictures():
    images = np.arange(3 * CALIBRATION).reshape(-1, 1, 1, 1)
    chosen = calibration_pictures(images)
    assert len(set(chosen.ravel().tolist())) == CALIBRATION
    np.testing.assert_array_equal(calibration_pictures(images), chosen)
    assert len(calibration_pictures(images[:5])) == 5
