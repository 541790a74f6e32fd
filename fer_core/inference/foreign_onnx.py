"""A stranger's ONNX file of any make -> one that follows the contract. Runs in a process of its own, like ``trial``.

``python -m fer_core.inference.foreign_onnx FILE STATED`` puts a graph in the place of FILE that brings pictures to
what its network reads, and its answers to probabilities in our order; then that is tried out, and the outcome printed.
STATED is the JSON of ``conventions.Stated``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fer_core.emotions import EMOTIONS
from fer_core.errors import ModelError
from fer_core.inference import trial
from fer_core.inference.conventions import SCALES, SHRINKS, Stated, find_convention, other_classes, possible_scales
from fer_core.inference.predictor import BATCH, Predictor
from fer_core.inference.served import ParameterCounts, ServedModel
from fer_core.preprocessing import Pixels, to_native

_FER2013_SIDE: Final = 48  # what networks are handed that read any size

_FLOATS: Final = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)

_OLDEST: Final = 7  # of the versions of ONNX' operations: before, arithmetic did not broadcast

_BOUNDED: Final = ("HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus", "Softsign", "Tanh")
"""Operations whose answers are no logits."""

_PASSED: Final = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze")  # they leave numbers as they are

_KERNELS: Final = ("Conv", "Gemm", "MatMul")

Step = tuple[str, Sequence[NDArray[Any]], dict[str, Any]]
"""An operation on what came before: its name, what else it reads, and its attributes."""


class Interface(NamedTuple):
    """What a network reads and gives; sizes are None where it takes any."""

    input: str
    kind: int  # of the numbers it reads, a data type of TensorProto
    batch: int | None
    height: int | None
    width: int | None
    channels: int
    first: bool  # whether channels stand before height and width
    output: str


def adapt(file: Path, stated: Stated) -> trial.Outcome:
    """Replaces a file by one that follows the contract, unless it does so already, and tries that out.

    Raises:
        ModelError: It is refused, or does not classify pictures into seven classes.
    """
    weights = trial.look_into(file)
    notes = _bring_to_contract(file, stated)
    found = trial.examine(file)  # which counts what was put around the network, too
    counts = ParameterCounts(total=weights, trainable=0, non_trainable=weights)
    return trial.Outcome(input=found.input, parameters=counts, notes=notes)


def _bring_to_contract(file: Path, stated: Stated) -> list[str]:
    """Replaces a file that does not follow the contract, and says how, in sentences for the model card."""
    model = onnx.load(file, load_external_data=False)
    if stated.order == EMOTIONS and stated.scale is None and _is_ours(model):
        return []
    _check_version(file, model)
    face = _interface(file, model)
    samples = np.load(stated.samples) if stated.samples else None
    given = samples["images"].shape[1:3] if samples else (_FER2013_SIDE, _FER2013_SIDE)
    height, width = face.height or given[0], face.width or given[1]
    trial.check_side(file, height, width)
    shape = (height, width, face.channels)
    face = _with_free_names(model, face)
    if face.batch is not None:
        _free_batch(file, model, face)

    def opened(scale: str) -> Predictor:
        _write(file, _wrapped(model, face, shape, scale))
        return Predictor.load(ServedModel(file, None, name=str(file)))

    def answers(images: Pixels, scale: str) -> NDArray[np.float32]:
        try:
            return opened(scale).classify(images)
        except ModelError as error:
            if error.__cause__ is not None:  # it did not run
                raise
            return np.full((len(images), len(EMOTIONS)), np.nan, np.float32)  # roots of values below zero, say

    bytes_read = face.kind == TensorProto.UINT8
    scales = ["0-255"] if bytes_read else possible_scales(face.channels)
    if bytes_read and stated.scale not in (None, *scales):
        raise ModelError(f"{file}: it reads whole numbers, so its pixel values are 0-255, not {stated.scale}.")
    logits = _gives_logits(file, model, face, opened(stated.scale or scales[0]))
    shown = None
    if samples:
        images = np.stack([to_native(image, shape[:2], shape[2]) for image in samples["images"]])
        shown = (images, samples["labels"])
    rescales = bytes_read or _rescales(file, model, face)
    found = find_convention(stated, shown, answers, scales, rescales=rescales)
    positions = [found.order.index(emotion) for emotion in EMOTIONS]
    _write(file, _wrapped(model, face, shape, found.scale, positions, softmax=logits))
    notes = found.notes
    if logits:
        notes.append("Its outputs are logits: a softmax makes probabilities of them.")
    if face.channels == 3:
        notes.append("It reads three channels; gray pictures are repeated in each.")
    if face.height is None:
        notes.append(f"It reads pictures of any size; they are handed over at {height} x {width} pixels.")
    return notes


def _is_ours(model: onnx.ModelProto) -> bool:
    """Whether a model reads bytes as the contract says and has an output of that name; ``trial`` checks the rest."""
    if [entry.type.tensor_type.elem_type for entry in _inputs(model.graph)] != [TensorProto.UINT8]:
        return False
    sizes = _sizes(_inputs(model.graph)[0])
    named = any(entry.name == "probabilities" for entry in model.graph.output)
    return named and len(sizes) == 4 and sizes[0] is None and sizes[3] in (1, 3)


def _check_version(file: Path, model: onnx.ModelProto) -> None:
    version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if version < _OLDEST:
        raise ModelError(f"{file}: it is written in opset {version} of ONNX. Export it with opset 13 or newer.")


def _inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """What a graph reads. Old files list its weights there, too."""
    constants = {entry.name for entry in graph.initializer}
    return [entry for entry in graph.input if entry.name not in constants]


def _sizes(entry: onnx.ValueInfoProto) -> list[int | None]:
    """The sizes of an input or output, None for any."""
    return [size if (size := part.dim_value) > 0 else None for part in entry.type.tensor_type.shape.dim]


def _interface(file: Path, model: onnx.ModelProto) -> Interface:
    """Raises ModelError unless it reads one picture, of which it is clear where the channels are, and gives seven."""
    inputs, outputs = _inputs(model.graph), list(model.graph.output)
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            f"{file}: the model has {_count(inputs, 'input')} and {_count(outputs, 'output')}; expected one picture "
            "and one output. Export the part that classifies alone."
        )
    kind, sizes = inputs[0].type.tensor_type.elem_type, _sizes(inputs[0])
    known = kind in (*_FLOATS, TensorProto.UINT8) and len(sizes) == 4
    places = [place for place in (1, 3) if known and sizes[place] in (1, 3)]
    rest = [size for place, size in enumerate(sizes) if place and place not in places[:1]]
    if len(places) != 1 or rest.count(None) == 1:
        problem = "which of its axes the channels are is not clear" if len(places) == 2 else "expected one picture"
        raise ModelError(
            f"{file}: the model reads {_shown(inputs[0])}; {problem}. Export it for float32 [N, 1 or 3, height, width] "
            "or [N, height, width, 1 or 3]."
        )
    if outputs[0].type.tensor_type.HasField("shape"):
        _, *answer = _sizes(outputs[0]) or [None]
        if len(answer) != 1:
            raise ModelError(
                f"{file}: the model gives {_shown(outputs[0])}; expected [N, {len(EMOTIONS)}]. Export it with one row "
                "for each picture."
            )
        if answer[0] not in (None, len(EMOTIONS)):
            raise other_classes(file, answer)
    channels = sizes[places[0]]
    assert channels is not None  # it is one or three
    batch, height, width = sizes[0], rest[0], rest[1]
    return Interface(inputs[0].name, kind, batch, height, width, channels, places == [1], outputs[0].name)


def _count(entries: Sequence[object], word: str) -> str:
    return f"{len(entries)} {word}{'s'[: len(entries) != 1]}"


def _shown(entry: onnx.ValueInfoProto) -> str:
    kind = entry.type.tensor_type.elem_type
    name = TensorProto.DataType.Name(kind).lower() if kind in TensorProto.DataType.values() else "something unknown"
    return f"{name} [{', '.join('any' if size is None else str(size) for size in _sizes(entry)[:6])}]"


def _graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The graph and those inside its operations."""
    pending = [model.graph]
    while pending:
        graph = pending.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                pending.extend((attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs)


def _with_free_names(model: onnx.ModelProto, face: Interface) -> Interface:
    """Renames what has a name that the graph around it gives to something else."""

    def named(name: str) -> str:
        return f"own/{name}" if name.startswith(("image", "probabilities", "serving/", "own/")) else name

    for graph in _graphs(model):
        for node in graph.node:
            node.input[:] = [named(name) for name in node.input]
            node.output[:] = [named(name) for name in node.output]
        sparse = [entry.values for entry in graph.sparse_initializer]
        for entry in (*graph.initializer, *sparse, *graph.input, *graph.output, *graph.value_info):
            entry.name = named(entry.name)
    return face._replace(input=named(face.input), output=named(face.output))


def _constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Numbers that a graph holds, by name."""
    found = {entry.name: entry for entry in graph.initializer}
    for node in graph.node:
        if node.op_type != "Constant" or not node.output or not node.attribute:
            continue
        name, given = node.output[0], node.attribute[0]
        if given.name == "value":
            found[name] = given.t
        elif given.name in ("value_float", "value_floats"):
            found[name] = numpy_helper.from_array(np.array(given.floats or given.f, np.float32))
        elif given.name in ("value_int", "value_ints"):
            found[name] = numpy_helper.from_array(np.array(given.ints or given.i, np.int64))
    return found


def _numbers(file: Path, constant: onnx.TensorProto) -> NDArray[Any]:
    try:
        return numpy_helper.to_array(constant)
    except Exception as error:  # of many kinds, for sizes and contents that do not go together
        raise ModelError(f"{file}: damaged or cut short. Export or copy it again.") from error


def _free_batch(file: Path, model: onnx.ModelProto, face: Interface) -> None:
    """Makes a network read any number of pictures that was exported for a fixed one, PyTorch's default.

    Where it reshapes to that number of rows, it keeps as many as there are instead.
    """
    graph, constants, made, touched = model.graph, _constants(model.graph), 0, {face.input}
    for node in graph.node:  # in order, as the standard demands
        if node.op_type == "Shape" or touched.isdisjoint(node.input):
            continue
        touched.update(node.output)
        if node.op_type != "Reshape" or len(node.input) < 2 or node.input[1] not in constants:
            continue
        shape = _numbers(file, constants[node.input[1]]).copy()
        if shape.ndim == 1 and len(shape) and shape[0] == face.batch and (shape[1:] != 0).all():
            shape[0] = 0  # as in what is reshaped, unless ``allowzero`` says otherwise
            kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(kept)
            graph.initializer.append(numpy_helper.from_array(shape, f"serving/shape{made}"))
            node.input[1] = f"serving/shape{made}"
            made += 1


def _wrapped(
    model: onnx.ModelProto,
    face: Interface,
    shape: tuple[int, int, int],
    scale: str,
    positions: Sequence[int] | None = None,
    *,
    softmax: bool = False,
) -> onnx.ModelProto:
    """A model of bytes ``image`` ``[N, *shape]`` whose ``probabilities`` are the outputs, or those at ``positions``."""
    values, channels = SCALES[scale], face.channels
    factors, offsets = (np.asarray(part[:channels], np.float32) for part in (values.factors, values.offsets))
    before: list[Step] = [("Cast", [], {"to": TensorProto.FLOAT}), ("Mul", [factors], {}), ("Add", [offsets], {})]
    if values.reverse:
        before.append(("Gather", [np.arange(channels)[::-1].copy()], {"axis": 3}))
    if face.first:
        before.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    before.append(("Cast", [], {"to": face.kind}))
    after: list[Step] = [("Cast", [], {"to": TensorProto.FLOAT})]
    if softmax:
        after.append(("Softmax", [], {"axis": 1}))
    if positions is not None:
        after.append(("Gather", [np.asarray(positions)], {"axis": 1}))

    constants = list(model.graph.initializer)
    first = _chain("image", before, face.input, constants)
    last = _chain(face.output, after, "probabilities", constants)
    graph = helper.make_graph(
        [*first, *model.graph.node, *last],
        "serving",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", *shape])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(EMOTIONS)])],
        constants,
        sparse_initializer=model.graph.sparse_initializer,
    )
    # The oldest format that knows the operations: ONNX writes a newer one than ONNX Runtime reads, unless told. Before
    # version 4, files list their weights as inputs, too.
    oldest = helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=max(4, oldest))


def _chain(start: str, steps: Sequence[Step], end: str, constants: list[onnx.TensorProto]) -> list[onnx.NodeProto]:
    """Operations one after the other; what they read besides is added to ``constants``."""
    nodes, name = [], start
    for number, (kind, others, attributes) in enumerate(steps):
        given = end if number == len(steps) - 1 else f"serving/{start}{number}"
        names = [f"serving/{start}{number}/{place}" for place in range(len(others))]
        constants += [
            numpy_helper.from_array(other, other_name) for other, other_name in zip(others, names, strict=True)
        ]
        nodes.append(helper.make_node(kind, [name, *names], [given], **attributes))
        name = given
    return nodes


def _write(file: Path, model: onnx.ModelProto) -> None:
    file.write_bytes(model.SerializeToString())


def _gives_logits(file: Path, model: onnx.ModelProto, face: Interface, predictor: Predictor) -> bool:
    """Whether the outputs still need a softmax, judged by what the model answers to noise.

    Raises:
        ModelError: They are not seven, not numbers, neither probabilities nor logits, or the number of pictures is
            fixed for good.
    """
    fixed = face.batch or 1
    told = (
        f"{file}: it reads {fixed} picture{'s'[: fixed != 1]} at a time, and that number is built in. Export it for "
        "any number of pictures (dynamic_axes or dynamic_shapes in PyTorch)."
    )
    if fixed > BATCH:
        raise ModelError(told)
    noise = np.random.default_rng(1).integers(0, 256, (fixed + 3, *predictor.input_shape)).astype(np.uint8)
    try:
        answer = predictor.classify(noise)
    except ModelError as error:
        if face.batch is None or error.__cause__ is None:  # it ran, but gave something else than seven numbers
            raise
        raise ModelError(told) from error
    sums = answer.sum(axis=1)
    if (answer >= 0).all() and np.allclose(sums, 1, atol=1e-3):
        return False
    if (answer >= 0).all() and np.allclose(sums, sums[0], rtol=1e-3):  # percent, say
        raise ModelError(f"{file}: its outputs always add up to {sums[0]:.3g}, not one. Export it with a softmax.")
    makers = {name: node for node in model.graph.node for name in node.output}
    last = makers.get(face.output)
    while last is not None and last.op_type in _PASSED and last.input:
        last = makers.get(last.input[0])
    if last is not None and last.op_type in _BOUNDED:
        raise ModelError(
            f"{file}: its last operation is {last.op_type}, so it gives neither probabilities that add up to one nor "
            "logits. Train it with a softmax."
        )
    return True


def _rescales(file: Path, model: onnx.ModelProto, face: Interface) -> bool:
    """Whether what stands ahead of the first operation with a kernel expects pixel values up to 255."""
    constants, touched = _constants(model.graph), {face.input}
    for node in model.graph.node:
        if touched.isdisjoint(node.input):
            continue
        if node.op_type in _KERNELS:
            return False
        touched.update(node.output)
        numbers = [_numbers(file, constants[name]) for name in node.input if name in constants]
        if node.op_type == "BatchNormalization" and len(numbers) == 4:  # scale, offset, mean and variance
            return bool(np.max(numbers[2], initial=0) > 1)
        largest = max((float(np.abs(array).max(initial=0)) for array in numbers if array.dtype.kind == "f"), default=0)
        if not largest:
            continue
        if node.op_type == "Div":
            return largest > 1 / SHRINKS
        if node.op_type == "Mul":
            return largest < SHRINKS
        if node.op_type in ("Add", "Sub") and largest > 1:  # the mean of bytes
            return True
    return False


if __name__ == "__main__":
    told = Stated.model_validate_json(sys.argv[2])
    trial.tell(lambda file: adapt(file, told), Path(sys.argv[1]))
