"""A foreign Keras model -> one served ONNX file. Runs in a process of its own, started by ``importing``.

``python -m fer_core.models.convert FOLDER`` reads ``request.json`` there and leaves ``model.onnx`` and
``result.json``, or ``error.txt`` with one sentence.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError, ModelError
from fer_core.inference.conventions import SCALES, Stated, find_convention, other_classes, possible_scales
from fer_core.inference.served import MODEL_FILE, ModelInput, ParameterCounts
from fer_core.machine import limit_memory
from fer_core.models.foreign import copy_network, inspect

if TYPE_CHECKING:
    import keras

REQUEST_FILE: Final = "request.json"
RESULT_FILE: Final = "result.json"
ERROR_FILE: Final = "error.txt"

MEMORY_LIMIT: Final = 12 * 2**30
"""Bytes of private memory for this process, of which loading TensorFlow and a large network takes about 2 GB."""

LARGEST_NATIVE: Final = 96
"""A model's own picture size up to which it is served at that size, in pixels; larger ones are resized inside."""

_FER2013_SIDE: Final = 48
_PARITY_SAMPLE: Final = 8
_BATCH: Final = 32


class Request(Stated):
    """What to do."""

    file: Path


class Result(BaseModel):
    """What came out. ``input`` is that of the served file, ``notes`` are sentences for the model card."""

    input: ModelInput
    parameters: ParameterCounts
    order: tuple[str, ...]
    scale: str
    notes: list[str]


def convert(request: Request, folder: Path) -> Result:
    """Loads the file, finds out what it does not say, and writes ``model.onnx`` into a folder.

    Raises:
        ModelError: It is refused, cannot be loaded, or does not classify pictures into seven classes.
    """
    kind = inspect(request.file)
    from fer_core.training import backend

    backend.load()
    from fer_core.models.export import export_graph
    from fer_core.models.foreign_serving import ForeignServing, own_shape, prepare, rescales, to_float32

    network = folder / f"network{kind.value}"  # Keras tells the format from the suffix, which may be wrong
    copy_network(request.file, kind, network)
    model = to_float32(_load(request.file, network))
    network.unlink()
    own = own_shape(model, request.file)
    samples = np.load(request.samples) if request.samples else None
    native = _native(own, samples["images"].shape[1:] if samples else None)
    logits = _gives_logits(model, own, request.file)

    def answers(images: NDArray[np.uint8], scale: str) -> NDArray[np.float32]:
        batches = (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))
        return np.concatenate([model.predict_on_batch(prepare(batch, own, SCALES[scale])) for batch in batches])

    shown = (_fit(samples["images"], native), samples["labels"]) if samples else None
    found = find_convention(request, shown, answers, possible_scales(own[2]), rescales=rescales(model))
    order, scale, notes = found.order, found.scale, found.notes
    if own[:2] not in (native[:2], (None, None)):
        notes.append(f"Pictures are enlarged inside the model to the {own[0]} x {own[1]} pixels that it reads.")
    if own[2] > native[2]:
        notes.append("It reads three channels; gray pictures are repeated in each.")

    sample = np.random.default_rng(0).integers(0, 256, (_PARITY_SAMPLE, *native)).astype(np.uint8)
    if shown:
        sample = shown[0][:_PARITY_SAMPLE]
    expected = answers(sample, scale)
    if logits:
        expected = np.exp(expected - expected.max(axis=1, keepdims=True))
        expected /= expected.sum(axis=1, keepdims=True)
    positions = [order.index(emotion) for emotion in EMOTIONS]
    serving = ForeignServing(model, own, SCALES[scale], positions, softmax=logits)
    serving(sample)  # it cannot be exported before it was called
    export_graph(serving, native, ["probabilities"], folder / MODEL_FILE, sample, [expected[:, positions]])
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    return Result(
        input=ModelInput(height=native[0], width=native[1], channels=native[2]),
        parameters=ParameterCounts(
            total=model.count_params(), trainable=trainable, non_trainable=model.count_params() - trainable
        ),
        order=order,
        scale=scale,
        notes=notes,
    )


def _load(file: Path, network: Path) -> keras.Model:
    import keras

    try:
        return keras.models.load_model(network, compile=False, safe_mode=True)
    except Exception as error:  # Keras and h5py raise whatever a damaged file leads to
        words = str(error).strip().splitlines() or [type(error).__name__]
        if isinstance(error, MemoryError) or "OOM when allocating" in str(error):
            raise ModelError(f"{file}: its network needs more than {MEMORY_LIMIT >> 30} GB of memory.") from error
        raise ModelError(
            f"{file}: Keras {keras.__version__} cannot load it ({words[0][:200]}). "
            "Load it where it was made and save it anew with model.save('model.keras')."
        ) from error


def _native(own: tuple[int | None, int | None, int], given: tuple[int, ...] | None) -> tuple[int, int, int]:
    """The size of the served input: the model's own where it is small, else that of the data."""
    height, width, channels = given or (_FER2013_SIDE, _FER2013_SIDE, 1)
    if own[0] and own[1] and max(own[0], own[1]) <= LARGEST_NATIVE:
        height, width = own[0], own[1]
    return height, width, min(channels, own[2])


def _fit(images: NDArray[np.uint8], native: tuple[int, int, int]) -> NDArray[np.uint8]:
    from fer_core.preprocessing import to_native

    return np.stack([to_native(image, native[:2], native[2]) for image in images])


def _gives_logits(model: keras.Model, own: tuple[int | None, int | None, int], file: Path) -> bool:
    """Whether the outputs still need a softmax, judged by what the model answers to noise.

    Raises:
        ModelError: They are not seven, not numbers, or neither probabilities nor logits.
    """
    from fer_core.models.foreign_serving import last_activation

    shape = (own[0] or _FER2013_SIDE, own[1] or _FER2013_SIDE, own[2])
    noise = np.random.default_rng(1).random((4, *shape)).astype(model.inputs[0].dtype)
    try:
        answer = np.asarray(model.predict_on_batch(noise))
    except Exception as error:
        words = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"{file}: the model fails on a picture ({words[0][:200]}).") from error
    if answer.shape != (4, len(EMOTIONS)):
        raise other_classes(file, answer.shape[1:])
    if not np.isfinite(answer).all():
        raise ModelError(f"{file}: the model answers with values that are not numbers. Train it again.")
    if (answer >= 0).all() and np.allclose(answer.sum(axis=1), 1, atol=1e-3):
        return False
    activation = last_activation(model)
    if activation != "linear":
        raise ModelError(
            f"{file}: its last layer's activation is {activation}, so it gives neither probabilities that add up "
            "to one nor logits. Train it with a softmax."
        )
    return True


def main(folder: Path) -> int:
    """The process's work; returns its exit code."""
    limit_memory(MEMORY_LIMIT)
    request = Request.model_validate_json((folder / REQUEST_FILE).read_bytes())
    try:
        with contextlib.redirect_stdout(sys.stderr):
            result = convert(request, folder)
    except FerError as error:
        (folder / ERROR_FILE).write_text(str(error), encoding="utf-8")
        return 2
    (folder / RESULT_FILE).write_text(result.model_dump_json(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
