"""Weights stored in half precision: an ONNX file of half the size, which computes in float32 as before."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fer_core.errors import ModelError

HALF_TOLERANCE: Final = 5e-3
"""How far a probability of a file in half precision may be from Keras', absolute: 7e-4 is what FER2013's test images
show of the compact network. It may decide between classes that are as likely, not more."""

HALF_NOTE: Final = "The file stores its weights in half precision; it computes in float32."
"""Stands on the card of such a file."""

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
