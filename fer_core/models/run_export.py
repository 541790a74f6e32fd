"""The best epoch of a finished run, written in another format, measured beside the run's own network."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import keras
import numpy as np
import onnxruntime
from numpy.typing import NDArray

import fer_core.models.layers  # noqa: F401 a saved network may hold them
from fer_core.errors import FerError, JobError, ModelError
from fer_core.evaluation.calibration import apply_temperature
from fer_core.inference.predictor import Predictor
from fer_core.inference.served import CARD_FILE, MODEL_FILE
from fer_core.jobs.progress import Progress, silent
from fer_core.jobs.store import write_atomically
from fer_core.machine import usable_cores
from fer_core.models.export import TOLERANCE, export_onnx
from fer_core.models.export_report import Candidate, Classify, ExportReport, Pictures, compare
from fer_core.models.serving import ServingModel
from fer_core.models.storage import ROUNDINGS, Storage, calibration_pictures, in_half_precision, in_int8
from fer_core.preprocessing import Pixels
from fer_core.training.predict import predict_probabilities
from fer_core.training.runs import KERAS_FILE, Run, open_dataset

Format = Literal["onnx", "keras", "litert"]

_SAMPLE: Final = 8  # pictures on which all outputs of an ONNX file are compared; the probabilities are on all
_MADE_UP: Final = 256  # pictures to compare on where the dataset is gone


def export_run(
    run: Run, kind: Format, out: Path | None, progress: Progress = silent, *, storage: Storage = "float32"
) -> tuple[Path, ExportReport]:
    """Writes a run's model; as ONNX into the run itself, with its size on the card, unless told where to.

    Args:
        run: It has finished.
        kind: ``onnx`` and ``litert`` read pictures as they are stored and give probabilities with the temperature in
            them; ``keras`` gives logits.
        out: The file to write. None is for ``onnx`` alone.
        progress: Told what is done.
        storage: Of the weights; other than float32 for ``onnx`` alone. Each has a tolerance of its own.

    Returns:
        The file, and what it is like beside the run's own network on the run's validation split.

    Raises:
        JobError: The run has not finished.
        ModelError: Its network cannot be read, or what would be written answers otherwise: nothing is written then.
    """
    card, file = run.card, run.folder / KERAS_FILE
    if card is None or not file.is_file():
        raise JobError(f"{run.name} has no finished model yet. Let it end, or go on with `train --resume {run.name}`.")
    model = _load(file)
    pictures = _pictures(run, tuple(model.inputs[0].shape[1:]), progress)
    target = out or run.folder / MODEL_FILE
    progress("Exporting", 0, 0)
    with tempfile.TemporaryDirectory() as folder:
        made, exported = _WRITERS[kind](model, card.temperature, Path(folder), pictures.images[:_SAMPLE], file)
        if rounding := ROUNDINGS.get(storage):  # what rounding does is told from what the export itself does
            made.write_bytes(_stored(made.read_bytes(), storage, run, progress))
            exported = _of_onnx(made)
        content = made.read_bytes()
        original = Candidate(f"Keras {keras.__version__}", file.stat().st_size, _of_network(model, card.temperature))
        tolerance = rounding.tolerance if rounding else TOLERANCE
        on_average = rounding is not None and rounding.on_average
        report = compare(original, exported, pictures, tolerance, progress, on_average=on_average)
    if not report.within_tolerance:
        raise ModelError(
            f"The exported model's probabilities differ from the run's by {'a mean of' if on_average else 'up to'} "
            f"{report.difference:.1e} on "
            f"{report.n:,} {report.pictures}, where {report.tolerance:.0e} is allowed. Nothing was written."
        )
    write_atomically(target, content)
    if out is None:
        card.size_mib = round(len(content) / 2**20, 2)
        others = {each.note for each in ROUNDINGS.values()}
        card.notes = [*(note for note in card.notes if note not in others), *([rounding.note] if rounding else [])]
        write_atomically(run.folder / CARD_FILE, card.model_dump_json(indent=2))
    return target, report


def _load(file: Path) -> keras.Model:
    try:
        return keras.saving.load_model(file, compile=False)
    except Exception as error:  # Keras, h5py and zipfile raise whatever a damaged file leads to
        raise ModelError(f"{file}: damaged ({str(error).splitlines()[0][:160]}). Restore it from a copy.") from error


def _pictures(run: Run, shape: tuple[int, ...], progress: Progress) -> Pictures:
    """The run's validation split; made-up pictures where it is gone, as of a run that was made elsewhere."""
    try:
        dataset = open_dataset(run.config)
        split = dataset.split("validation", progress)
        if len(split) and split.images.shape[1:] == shape:
            return Pictures(split.images, split.labels, f"validation images of {dataset.name}")
        reason = f"{dataset.name} has no validation images of the run's size."
    except FerError as error:
        reason = str(error)
    noise = np.random.default_rng(0).integers(0, 256, (_MADE_UP, *shape)).astype(np.uint8)
    return Pictures(noise, None, f"made-up pictures, because the run's own are not at hand: {reason}")


def _of_network(model: keras.Model, temperature: float) -> Classify:
    """How a network that gives logits is asked for probabilities."""
    return lambda images: apply_temperature(predict_probabilities(model, images), temperature)


def _stored(content: bytes, storage: Storage, run: Run, progress: Progress) -> bytes:
    """An ONNX file with its weights in fewer bits."""
    if storage == "float16":
        return in_half_precision(content)
    return in_int8(content, calibration_pictures(open_dataset(run.config).split("train", progress).images))


_Written = tuple[Path, Candidate]
"""A file in a temporary folder, and how it is asked."""


def _write_onnx(model: keras.Model, temperature: float, folder: Path, sample: Pixels, _: Path) -> _Written:
    file = folder / MODEL_FILE
    export_onnx(model, temperature, file, sample)
    return file, _of_onnx(file)


def _of_onnx(file: Path) -> Candidate:
    return Candidate(f"ONNX Runtime {onnxruntime.__version__}", file.stat().st_size, Predictor.load(file).classify)


def _write_keras(_: keras.Model, temperature: float, folder: Path, __: Pixels, saved: Path) -> _Written:
    file = Path(shutil.copy(saved, folder / KERAS_FILE))
    runtime = f"Keras {keras.__version__}, read again"
    return file, Candidate(runtime, file.stat().st_size, _of_network(_load(file), temperature))


def _write_litert(model: keras.Model, temperature: float, folder: Path, sample: Pixels, _: Path) -> _Written:
    import tensorflow as tf

    serving = ServingModel(model, temperature)
    answering = _Probabilities(serving)
    answering.predict_on_batch(sample)  # builds it, without which it cannot be exported
    signature = [keras.InputSpec(shape=(None, *serving.image_shape), dtype="uint8", name="image")]
    file = folder / "model.tflite"
    answering.export(str(file), format="litert", input_signature=signature, verbose=False)
    runtime = f"LiteRT of TensorFlow {tf.__version__}"
    return file, Candidate(runtime, file.stat().st_size, _LiteRT(file).classify)


_WRITERS: Final[dict[Format, Callable[[keras.Model, float, Path, Pixels, Path], _Written]]] = {
    "onnx": _write_onnx,
    "keras": _write_keras,
    "litert": _write_litert,
}
"""By format: network, temperature, folder to write into, pictures to try it on, the file that the run saved."""


class _Probabilities(keras.Model):
    """What a phone needs of a served model: pictures, uint8 ``[N, H, W, C]``, to probabilities ``[N, 7]``."""

    def __init__(self, serving: ServingModel) -> None:
        super().__init__(name="serving")
        self.serving = serving

    def call(self, image: keras.KerasTensor) -> keras.KerasTensor:
        return self.serving(image)[0]


class _LiteRT:
    """A LiteRT model in the interpreter that TensorFlow brings."""

    def __init__(self, file: Path) -> None:
        import tensorflow as tf

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it will move to a package of its own
            self._reader = tf.lite.Interpreter(model_content=file.read_bytes(), num_threads=usable_cores())
        (self._input,), (self._output,) = self._reader.get_input_details(), self._reader.get_output_details()
        self._shape: tuple[int, ...] = ()

    def classify(self, images: Pixels) -> NDArray[np.float32]:
        if images.shape != self._shape:
            self._reader.resize_tensor_input(self._input["index"], images.shape)
            self._reader.allocate_tensors()
            self._shape = images.shape
        self._reader.set_tensor(self._input["index"], images)
        self._reader.invoke()
        return self._reader.get_tensor(self._output["index"])
