"""The best epoch of a finished run, written in another format: from ``best.keras``, so that no dataset is needed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final, Literal

import keras
import numpy as np

import fer_core.models.layers  # noqa: F401 a saved network may hold them
from fer_core.errors import JobError, ModelError
from fer_core.inference.served import CARD_FILE, MODEL_FILE
from fer_core.jobs.store import write_atomically
from fer_core.models.export import TOLERANCE, export_onnx
from fer_core.models.serving import ServingModel
from fer_core.training.runs import KERAS_FILE, Run

Format = Literal["onnx", "keras", "litert"]

_SAMPLE: Final = 8  # made-up pictures on which the written model must answer as Keras does


def export_run(run: Run, kind: Format, out: Path | None) -> Path:
    """Writes a run's model; as ONNX into the run itself, with its size on the card, unless told where to.

    Args:
        run: It has finished.
        kind: ``onnx`` and ``litert`` read pictures as they are stored and give probabilities with the temperature in
            them; ``keras`` gives logits.
        out: The file to write. None is for ``onnx`` alone.

    Raises:
        JobError: The run has not finished.
        ModelError: Its network cannot be read, or what was written answers otherwise.
    """
    card, file = run.card, run.folder / KERAS_FILE
    if card is None or not file.is_file():
        raise JobError(f"{run.name} has no finished model yet. Let it end, or go on with `train --resume {run.name}`.")
    target = out or run.folder / MODEL_FILE
    if kind == "keras":
        write_atomically(target, file.read_bytes())
        return target
    try:
        model = keras.saving.load_model(file, compile=False)
    except Exception as error:  # Keras, h5py and zipfile raise whatever a damaged file leads to
        raise ModelError(f"{file}: damaged ({str(error).splitlines()[0][:160]}). Restore it from a copy.") from error
    sample = np.random.default_rng(0).integers(0, 256, (_SAMPLE, *model.inputs[0].shape[1:])).astype(np.uint8)
    if kind == "litert":
        _export_litert(model, card.temperature, target, sample)
    else:
        export_onnx(model, card.temperature, target, sample)
    if out is None:
        card.size_mib = round(target.stat().st_size / 2**20, 2)
        write_atomically(run.folder / CARD_FILE, card.model_dump_json(indent=2))
    return target


class _Probabilities(keras.Model):
    """What a phone needs of a served model: pictures, uint8 ``[N, H, W, C]``, to probabilities ``[N, 7]``."""

    def __init__(self, serving: ServingModel) -> None:
        super().__init__(name="serving")
        self.serving = serving

    def call(self, image: keras.KerasTensor) -> keras.KerasTensor:
        return self.serving(image)[0]


def _export_litert(model: keras.Model, temperature: float, target: Path, sample: np.ndarray) -> None:
    import tensorflow as tf

    serving = ServingModel(model, temperature)
    answering = _Probabilities(serving)
    expected = answering.predict_on_batch(sample)
    signature = [keras.InputSpec(shape=(None, *serving.image_shape), dtype="uint8", name="image")]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.tflite"
        answering.export(str(file), format="litert", input_signature=signature, verbose=False)
        content = file.read_bytes()
    reader = tf.lite.Interpreter(model_content=content)
    place = reader.get_input_details()[0]["index"]
    reader.resize_tensor_input(place, sample.shape)
    reader.allocate_tensors()
    reader.set_tensor(place, sample)
    reader.invoke()
    distance = np.abs(reader.get_tensor(reader.get_output_details()[0]["index"]) - expected).max()
    if not distance <= TOLERANCE:
        raise ModelError(f"The LiteRT model differs from the trained one by {distance:.1e}. Nothing was written.")
    write_atomically(target, content)
