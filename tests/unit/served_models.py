"""Small ONNX models with known answers, written without any training framework."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CENTRES = np.arange(7) * 34 + 20
"""Mean gray level that the brightness model calls each class."""


def write_brightness_model(
    path,
    *,
    shape=(16, 16, 1),
    classes=7,
    dtype=TensorProto.UINT8,
    output="probabilities",
    batch="N",
    softness=50.0,
):
    """A served model whose class is the brightness of the picture, darkest first."""
    constants = {
        "centres": np.resize(CENTRES, (1, classes)).astype(np.float32),
        "slope": np.float32(-1 / softness),
        "axes": np.array([1, 2, 3], np.int64),
        "flat": np.array([-1, 1], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean4"]),
        helper.make_node("Reshape", ["mean4", "flat"], ["mean"]),
        helper.make_node("Sub", ["mean", "centres"], ["distance"]),
        helper.make_node("Mul", ["distance", "distance"], ["square"]),
        helper.make_node("Mul", ["square", "slope"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [output], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("image", dtype, [batch, *shape])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, classes])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path
