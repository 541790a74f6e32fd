"""How an ONNX file stores its weights: as they were trained, in half precision, or as whole numbers of eight bits."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fer_core.errors import ModelError
from fer_core.preprocessing import Pixels

Storage = Literal["float32", "float16", "int8"]
"""Of the weights of an ONNX file."""


@dataclass(frozen=True)
class Rounding:
    """What storing weights in fewer bits may do.

    Attributes:
        tolerance: How far a probability may be from the network's own, absolute.
        on_average: Whether that is the mean of all probabilities; otherwise the largest.
        note: Stands on the card of such a file.
    """

    tolerance: float
    on_average: bool
    note: str


ROUNDINGS: Final[dict[Storage, Rounding]] = {
    # 7e-4 is what FER2013's test images show of the compact network: it may decide between classes that are as likely.
    "float16": Rounding(5e-3, False, "The file stores its weights in half precision; it computes in float32."),
    # 4e-3 on average, 0.11 at most and another top class in one of a hundred, on validation by the bundled network.
    "int8": Rounding(
        1e-2,
        True,
        "The file stores the weights of its convolutions as whole numbers of eight bits, and computes them so.",
    ),
}
"""By storage; float32 rounds nothing."""

CALIBRATION: Final = 512
"""Pictures that show which values the layers give."""

_CALIBRATION_BATCH: Final = 64

_FEW: Final = 512  # numbers: biases and normalisation have no more, cost little and keep all their digits
_LARGEST: Final = float(np.finfo(np.float16).max)


def in_half_precision(content: bytes) -> bytes:
    """Stores the weights of an ONNX model as float16, each followed by a cast back to float32.

    ONNX Runtime does the casts once, when a session is made. Names, inputs and outputs stay as they are, and so does
    every tensor that holds few numbers or is none of float32.

    Args:
        content: A serialized ``ModelProto``.

    Raises:
        ModelError: A weight is no number, or beyond what float16 can hold.
    """
    model = onnx.load_from_string(content)
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or math.prod(weight.dims) <= _FEW:
            continue
        values = numpy_helper.to_array(weight)
        largest = np.abs(values).max()
        # Written so that NaN fails too.
        if not largest <= _LARGEST:
            raise ModelError(
                f"The weights {weight.name} hold {largest:.3g}, where half precision ends at {_LARGEST:,.0f}. "
                "This model can only be stored in full precision. Nothing was written."
            )
        name, stored = weight.name, f"{weight.name}/float16"
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]  # a node stands after those whose output it reads
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model.SerializeToString()


def in_int8(content: bytes, images: Pixels) -> bytes:
    """Has the convolutions of an ONNX model computed in whole numbers of eight bits, the first one excepted.

    About a quarter of the bytes, and half of the time where the processor has instructions for it. Weights are scaled
    by channel and use seven of the bits: with eight, processors without such instructions cut off sums. The first
    convolution reads the pixels and costs nothing.

    Args:
        content: A serialized ``ModelProto`` that reads pictures as ``image``.
        images: Of the training split, uint8 ``[N, H, W, C]``; the ranges of what each layer gives are read off them.

    Raises:
        ModelError: It has no convolution beside the first.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    convolutions = [node.name for node in onnx.load_from_string(content).graph.node if node.op_type == "Conv"]
    if len(convolutions) < 2:
        raise ModelError("This model has no convolutions to store in eight bits. Choose another --storage.")
    with tempfile.TemporaryDirectory() as folder:
        given, prepared, made = (Path(folder) / name for name in ("given.onnx", "prepared.onnx", "made.onnx"))
        given.write_bytes(content)
        quant_pre_process(given, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            made,
            _Batches(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Relu", "Add", "MaxPool"],
            nodes_to_exclude=convolutions[:1],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return made.read_bytes()


class _Batches:
    """What the quantizer asks for pictures."""

    def __init__(self, images: Pixels) -> None:
        starts = range(0, len(images), _CALIBRATION_BATCH)
        self._batches: Iterator[Pixels] = (images[start : start + _CALIBRATION_BATCH] for start in starts)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"image": batch}


def calibration_pictures(images: Pixels) -> Pixels:
    """A fixed choice of a training split, for ``in_int8``."""
    return images[np.random.default_rng(0).permutation(len(images))[:CALIBRATION]]
