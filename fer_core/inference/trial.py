"""A first look at a stranger's ONNX file, in a process of its own that ``adopt`` starts and may have to stop.

``python -m fer_core.inference.trial FILE`` prints one JSON document: what the model reads, or one sentence that says
why it is refused.

Such a file can name other files to read, ask for more memory than there is, or never come to an end. Here memory is
bounded, and so is time by who waits; what a classifier of pictures has no need of is refused before it is run.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import BaseModel

from fer_core.errors import FerError, ModelError
from fer_core.inference.predictor import BATCH, Predictor
from fer_core.inference.served import ModelInput, ParameterCounts, ServedModel
from fer_core.machine import limit_memory

if TYPE_CHECKING:
    import onnx

MEMORY_LIMIT: Final = 2 * 2**30
"""Bytes of private memory for this process: ResNet50V2 on 64 faces takes half of it."""

LARGEST_SIDE: Final = 1024
"""Of the pictures a model reads, in pixels. ImageNet's networks read 224 to 600."""

_STANDARD: Final = ("", "ai.onnx", "ai.onnx.ml")
"""Domains of the operations that the ONNX standard defines."""

_OPEN_ENDED: Final = ("Loop", "Scan")
"""Operations that may run for ever, on some pictures if not on all."""

_SIZES: Final = {
    # Operations whose results have a size that is computed, and the first of their inputs that may decide it.
    **dict.fromkeys(("ConstantOfShape", "Range", "If", "SequenceMap", "ImageDecoder"), 0),
    **dict.fromkeys(("Compress", "NonZero", "NonMaxSuppression", "Unique", "SplitToSequence", "StringSplit"), 0),
    **dict.fromkeys(("BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix"), 0),
    **dict.fromkeys(("Reshape", "Expand", "Tile", "Resize", "Upsample", "Pad", "Slice", "CenterCropPad", "Col2Im"), 1),
    **dict.fromkeys(("OneHot", "TopK", "Split", "Squeeze", "Unsqueeze", "AffineGrid", "DFT", "STFT"), 1),
    **dict.fromkeys(("SequenceAt", "SequenceErase"), 1),
    **dict.fromkeys(("MaxUnpool", "SequenceInsert"), 2),
}
_REDUCED: Final = "Reduce"  # operations whose names begin so read axes, which decide sizes too, as second input
_RANDOM: Final = ("Random", "Multinomial", "Bernoulli", "Dropout")  # and these, once in a while, give anything
_SHAPES: Final = ("Shape", "Size")  # what these give comes of sizes, and no size comes of pixels in what is taken

_ALONE: Final = 16  # pictures that are also asked about one by one
_ROUNDING: Final = 1e-3  # how far sums of probabilities, and answers in batches of another size, may be off


class Outcome(BaseModel):
    """What was found: either the first two, and sentences for the model card, or why the file is refused."""

    input: ModelInput | None = None
    parameters: ParameterCounts | None = None
    notes: list[str] = []
    error: str = ""


def examine(file: Path) -> Outcome:
    """Looks into a file, opens it and asks it about made-up pictures.

    Raises:
        ModelError: It is no model that can be served, or not one to be trusted.
    """
    weights = look_into(file)
    predictor = Predictor.load(ServedModel(file, None, name=str(file)))  # its messages then name the file
    height, width, channels = predictor.input_shape
    check_side(file, height, width)
    _try_out(file, predictor)
    return Outcome(
        input=ModelInput(height=height, width=width, channels=channels),
        parameters=ParameterCounts(total=weights, trainable=0, non_trainable=weights),
    )


def check_side(file: Path, height: int, width: int) -> None:
    """Raises ModelError where pictures of this size are too large to be served."""
    if max(height, width) > LARGEST_SIDE:
        raise ModelError(f"{file}: it reads pictures of {height} x {width}; at most {LARGEST_SIDE} pixels are served.")


def look_into(file: Path) -> int:
    """The number of weights of a file that holds nothing but what a classifier needs.

    Raises:
        ModelError: It is no ONNX model, or holds more.
    """
    import onnx
    from google.protobuf.message import DecodeError
    from onnx.external_data_helper import uses_external_data

    try:
        model = onnx.load(file, load_external_data=False)
    except DecodeError as error:
        raise ModelError(f"{file}: damaged, cut short or no ONNX model. Export or copy it again.") from error
    if model.functions:
        raise ModelError(
            f"{file}: it defines an operation of its own, {model.functions[0].name[:60]}, which is not run. Export it "
            "with standard operations only."
        )
    weights, of = 0, onnx.TensorProto
    kinds = (of.FLOAT, of.FLOAT16, of.BFLOAT16, of.DOUBLE, of.INT8, of.UINT8)  # the last two where it is quantized
    for part in _parts(model):
        if isinstance(part, onnx.TensorProto):
            if uses_external_data(part):
                raise ModelError(
                    f"{file}: weights of it lie in another file, which is not read. Save the model as one file "
                    "(external_data=False in PyTorch)."
                )
            weights += math.prod(part.dims) if part.data_type in kinds else 0
        elif part.domain not in _STANDARD:
            raise ModelError(
                f"{file}: it needs the custom operation {_shown(part)}, which is not run. Export it with standard "
                "operations only."
            )
        elif part.op_type in _OPEN_ENDED:
            raise ModelError(f"{file}: it holds a {part.op_type}, which may never end. Export it without loops.")
    if culprit := _sized_by_pixels(model):
        raise ModelError(
            f"{file}: how much its {culprit} computes depends on what is in a picture, which cannot be bounded. Export "
            "it with fixed sizes."
        )
    return weights


def _sized_by_pixels(model: onnx.ModelProto) -> str | None:
    """The kind of an operation that pixels, or chance, could make huge or tell to do something else; None if none is.

    Names of inner graphs are taken for the same as those outside, which errs on the side of refusing.
    """
    import onnx

    nodes = [part for part in _parts(model) if isinstance(part, onnx.NodeProto)][::-1]
    constants = {part.name for part in model.graph.initializer}
    from_pixels = {entry.name for entry in model.graph.input} - constants
    grown = True
    while grown:  # twice, if nodes stand in order as the standard demands; ``_parts`` gives the last first
        grown = False
        for node in nodes:
            read = [name in from_pixels for name in node.input]
            first = 1 if node.op_type.startswith(_REDUCED) else _SIZES.get(node.op_type, len(read))
            if any(read[first:]):
                return node.op_type
            graphs = [graph for attribute in node.attribute for graph in (attribute.g, *attribute.graphs)]
            given = any(output.name in from_pixels for graph in graphs for output in graph.output)
            touched = given or any(read) or node.op_type.startswith(_RANDOM)
            found = {name for name in node.output if name} - from_pixels
            if touched and found and node.op_type not in _SHAPES:
                from_pixels |= found
                grown = True
    return None


def _parts(model: onnx.ModelProto) -> Iterator[onnx.NodeProto | onnx.TensorProto]:
    """All operations and constants of a model without functions, those in inner graphs too."""
    graphs = [model.graph]
    nodes: list[onnx.NodeProto] = []
    while graphs or nodes:
        while graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes.extend(graph.node)
        while nodes:
            node = nodes.pop()
            yield node
            for attribute in node.attribute:
                graphs.extend((attribute.g, *attribute.graphs))
                yield from (attribute.t, *attribute.tensors)
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)


def _shown(node: onnx.NodeProto) -> str:
    return f"{node.domain}.{node.op_type}"[:60]


def _try_out(file: Path, predictor: Predictor) -> None:
    """Asks about black, white and noisy pictures: as many at once as the server does, and some one by one."""
    pictures = np.random.default_rng(0).integers(0, 256, (BATCH, *predictor.input_shape)).astype(np.uint8)
    pictures[0], pictures[1] = 0, 255
    answers = predictor.classify(pictures)
    if (answers < 0).any() or np.abs(answers.sum(axis=1) - 1).max() > _ROUNDING:
        raise ModelError(f"{file}: its answers are not probabilities that add up to one. Export it with a softmax.")
    alone = np.concatenate([predictor.classify(pictures[n : n + 1]) for n in range(_ALONE)])
    if np.abs(alone - answers[:_ALONE]).max() > _ROUNDING:
        raise ModelError(
            f"{file}: it answers differently for a picture alone than among others. Export it in inference mode."
        )


def tell(find: Callable[[Path], Outcome], file: Path) -> None:
    """The process's work: finds something out about a file, within the limits, and prints it."""
    limit_memory(MEMORY_LIMIT)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # ONNX Runtime prints some of its errors
            outcome = find(file)
    except FerError as error:
        outcome = Outcome(error=str(error))
    except TypeError:  # protobuf hands out bytes for a name that is no text
        outcome = Outcome(error=f"{file}: damaged. Export or copy it again.")
    print(outcome.model_dump_json())


if __name__ == "__main__":
    tell(examine, Path(sys.argv[1]))
