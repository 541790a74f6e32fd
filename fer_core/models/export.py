"""A trained network -> one ONNX file, refused unless it answers as Keras does."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import keras
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from fer_core.errors import ModelError
from fer_core.jobs.store import write_atomically
from fer_core.models.architectures import build
from fer_core.models.serving import OUTPUTS, ServingModel
from fer_core.training.config import RunConfig

TOLERANCE: Final = 1e-4
"""How far an answer of the file may be from Keras': absolute up to values of 1, relative above."""


def as_float32(config: RunConfig, model: keras.Model) -> keras.Model:
    """The network to serve: the same weights computing in float32, where it was trained in mixed precision.

    Args:
        config: Settings of the run.
        model: Built from them.
    """
    if config.policy == "float32":
        return model
    single = build(config.model_copy(update={"precision": "float32"}), tuple(model.inputs[0].shape[1:]))
    single.set_weights(model.get_weights())
    return single


def export_onnx(model: keras.Model, temperature: float, file: Path, sample: NDArray[np.uint8]) -> None:
    """Writes the served graph of a network, replacing ``file`` at once or not at all.

    Args:
        model: Built by ``architectures.build`` in float32, with the weights to serve.
        temperature: See ``ServingModel``.
        file: Where to.
        sample: Pictures to compare on, uint8 ``[N, H, W, C]``; one is enough.

    Raises:
        ModelError: The file answers otherwise than Keras on ``sample``.
    """
    serving = ServingModel(model, temperature)
    expected = serving.predict_on_batch(sample)  # also builds it, without which it cannot be exported
    export_graph(serving, serving.image_shape, OUTPUTS, file, sample, expected)


def export_graph(
    serving: keras.Model,
    shape: tuple[int, ...],
    names: Sequence[str],
    file: Path,
    sample: NDArray[np.uint8],
    expected: Sequence[NDArray[np.float32]],
) -> None:
    """Writes a model that reads pictures as an ONNX file, replacing ``file`` at once or not at all.

    Args:
        serving: Called at least once, from ``image``, uint8 ``[N, *shape]``.
        shape: Height, width and channels.
        names: Of its outputs, in order.
        file: Where to.
        sample: Pictures to compare on, uint8 ``[N, *shape]``; one is enough.
        expected: What each output must be for ``sample``.

    Raises:
        ModelError: The file answers otherwise.
    """
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "model.onnx"
        signature = [keras.InputSpec(shape=(None, *shape), dtype="uint8", name="image")]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # Keras probes np.object to mend tf2onnx
            serving.export(str(raw), format="onnx", input_signature=signature, verbose=False)
        graph = onnx.load(raw)
    _name_outputs(graph, names, expected)
    content = graph.SerializeToString()
    check_parity(content, names, sample, expected)
    write_atomically(file, content)


def check_parity(
    content: bytes, names: Sequence[str], sample: NDArray[np.uint8], expected: Sequence[NDArray[np.float32]]
) -> None:
    """Raises ModelError unless ONNX Runtime gives what Keras gave in inference mode, within ``TOLERANCE``."""
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        answers = session.run(list(names), {"image": sample})
    except Exception as error:  # ONNX Runtime's own kinds have no base in common
        reason = str(error).splitlines()[0][:200]
        raise ModelError(f"The exported model does not run ({reason}). Nothing was written.") from error
    for name, answer, wanted in zip(names, answers, expected, strict=True):
        # Where values are large, so are the sums that the small ones among them come from, and their rounding.
        size = np.sqrt(np.square(wanted).mean(axis=tuple(range(1, wanted.ndim)), keepdims=True))
        distance = np.abs(answer - wanted) / np.maximum(np.maximum(1, size), np.abs(wanted))
        # Written so that NaN fails too.
        if not distance.max() <= TOLERANCE:
            raise ModelError(
                f"The exported model differs from the trained one: {name} by {distance.max():.1e}, where "
                f"{TOLERANCE:.0e} is allowed. Nothing was written."
            )


def _name_outputs(graph: onnx.ModelProto, wanted: Sequence[str], expected: Sequence[NDArray[np.float32]]) -> None:
    """Gives the outputs the names (``Identity:0`` and so on) and shapes that tf2onnx lost."""
    names = dict(zip((output.name for output in graph.graph.output), wanted, strict=True))
    for node in graph.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    for output, array in zip(graph.graph.output, expected, strict=True):
        output.name = names[output.name]
        batch, *rest = output.type.tensor_type.shape.dim
        batch.dim_param = "N"
        for dimension, size in zip(rest, array.shape[1:], strict=True):
            dimension.dim_value = size
