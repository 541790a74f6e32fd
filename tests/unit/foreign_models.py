"""Small ONNX classifiers as other programs export them, and what they answer by NumPy alone."""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fer_core.emotions import EMOTIONS

PATCH = 8
FILTERS = 3


@dataclass(frozen=True)
class Foreign:
    """A convolution of patches, a rectifier and a dense layer.

    Attributes:
        side: Of its pictures, None for any.
        first: Whether channels stand first, as in PyTorch.
        batch: Number of pictures that it was exported for, None for any.
        last: The operation that makes its answers of the logits, if any.
    """

    side: int | None = 48
    channels: int = 1
    first: bool = True
    batch: int | None = 1
    last: str = ""
    kind: int = TensorProto.FLOAT
    opset: int = 17
    outputs: int = 7
    names: tuple[str, str] = ("input", "logits")
    before: tuple[str, float] | None = None

    def weights(self):
        random = np.random.default_rng(7)
        length = FILTERS * ((self.side or PATCH) // PATCH) ** 2
        kernel = random.normal(size=(FILTERS, self.channels, PATCH, PATCH)) / PATCH
        kernel[0] = np.abs(kernel[0])  # some answer, whatever the scale
        dense = random.normal(size=(length, self.outputs)) * 2 / np.sqrt(length)
        return kernel.astype(np.float32), dense.astype(np.float32)

    def write(self, path):
        kernel, dense = self.weights()
        given, answer = self.names
        kind, shape = self.kind, (self.batch or -1, dense.shape[0])
        constants = {"kernel": kernel, "dense": dense, "rows": np.array(shape)}
        nodes, name = [], given
        if self.before:
            operation, number = self.before
            constants["number"] = np.float32(number)
            nodes.append(helper.make_node(operation, [name, "number"], ["brought"]))
            name = "brought"
        if kind != TensorProto.FLOAT:
            nodes.append(helper.make_node("Cast", [name], ["float"], to=TensorProto.FLOAT))
            name = "float"
        if not self.first:
            nodes.append(helper.make_node("Transpose", [name], ["first"], perm=[0, 3, 1, 2]))
            name = "first"
        nodes += [
            helper.make_node("Conv", [name, "kernel"], ["image"], strides=[PATCH, PATCH]),  # a name of ours
            helper.make_node("Relu", ["image"], ["relu"]),
            helper.make_node("Reshape", ["relu", "rows"], ["flat"], **({"allowzero": 1} if self.batch else {})),
            helper.make_node("MatMul", ["flat", "dense"], ["before_last" if self.last else answer]),
        ]
        if self.last:
            nodes.append(helper.make_node(self.last, ["before_last"], [answer]))
        sides, batch = [self.side or "h", self.side or "w"], self.batch or "batch"
        sizes = [batch, self.channels, *sides] if self.first else [batch, *sides, self.channels]
        graph = helper.make_graph(
            nodes,
            "foreign",
            [helper.make_tensor_value_info(given, kind, sizes)],
            [helper.make_tensor_value_info(answer, TensorProto.FLOAT, [batch, self.outputs])],
            [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)
        return path

    def answers(self, pixels, order):
        """Probabilities in our order for what the network reads, float ``[N, H, W, C]``."""
        kernel, dense = self.weights()
        n, height, width, channels = pixels.shape
        cut = pixels.reshape(n, height // PATCH, PATCH, width // PATCH, PATCH, channels)
        features = np.maximum(0, np.einsum("nyaxbc,fcab->nfyx", cut, kernel))
        logits = features.reshape(n, -1) @ dense
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (exponents / exponents.sum(axis=1, keepdims=True))[:, [order.index(emotion) for emotion in EMOTIONS]]
