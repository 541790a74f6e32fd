"""A served model at work: uint8 faces in, seven probabilities out, through ONNX Runtime."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fer_core import limits
from fer_core.emotions import EMOTIONS
from fer_core.errors import ModelError
from fer_core.machine import usable_cores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, NodeArg

    from fer_core.inference.served import ServedModel
    from fer_core.preprocessing import Pixels

BATCH: Final = 64
"""Images per call of the model: enough to use all cores, few enough for a 224-pixel network."""

_IMPORT: Final = (
    "A model made elsewhere is taken when you say in which order its outputs stand: "
    "python -m fer_core models import FILE --labels ORDER"
)

_TOO_NEW: Final = ("Unsupported model IR version", "is under development")  # in what ONNX Runtime says of a file

_ERRORS_ONLY: Final = 3  # exported graphs make ONNX Runtime warn at every call (tf2onnx infers 223 for 224)


class Predictor:
    """An open model. May be used from several threads at once: ONNX Runtime's sessions are safe for that.

    Example:
        predictor = Predictor.load(find_model("compact-1", Workspace.default()))
        predictor.classify(faces).argmax(axis=1)
    """

    def __init__(self, session: InferenceSession, name: str) -> None:
        """Takes over a session that ``load`` has checked."""
        self._session = session
        self._input = session.get_inputs()[0]
        self.name = name

    @classmethod
    def load(cls, model: ServedModel | Path, threads: int | None = None) -> Predictor:
        """Opens a model file and checks that it answers as a served model must.

        Args:
            model: Which one.
            threads: Processor threads to use; None for all that this process may.

        Raises:
            ModelError: The file is missing, damaged, or has other inputs or outputs than DESIGN 3.4 asks for.
        """
        import onnxruntime

        path, name = (model, _called(model)) if isinstance(model, Path) else (model.path, model.name)
        if not path.is_file():
            raise ModelError(f"{path}: no such model file. Check the path.")
        _bound_memory()
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.intra_op_num_threads = threads or usable_cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        try:
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own kinds have no base in common
            if any(word in str(error) for word in _TOO_NEW):
                raise ModelError(
                    f"{path}: written in a newer version of ONNX than ONNX Runtime {onnxruntime.__version__} reads. "
                    f"Export it with an older one (opset_version=18 in PyTorch). {_IMPORT}"
                ) from error
            raise ModelError(
                f"{path}: ONNX Runtime cannot open it; the file is damaged, cut short or no ONNX model. "
                "Export or copy it again."
            ) from error
        _check_input(path, session.get_inputs())
        _check_output(path, session.get_outputs())
        return cls(session, name)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the pictures it reads."""
        _, height, width, channels = self._input.shape
        return height, width, channels

    def classify(self, images: Pixels) -> NDArray[np.float32]:
        """Probabilities of the seven classes.

        Args:
            images: uint8 ``[N, H, W, C]`` at the model's native size (see ``preprocessing.to_native``).

        Returns:
            float32 ``[N, 7]``, in the order of ``emotions.py``.

        Raises:
            ModelError: The images have another shape, or the model fails or answers with something else.
        """
        self._check(images)
        result = np.empty((len(images), len(EMOTIONS)), np.float32)
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            result[start : start + len(batch)] = self._answer(batch)
        return result

    @property
    def explains(self) -> bool:
        """Whether the model also answers with what Grad-CAM is made of; imported ones do not."""
        return {"features", "gradient"} <= {output.name for output in self._session.get_outputs()}

    def explain(self, images: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What Grad-CAM is made of.

        Args:
            images: As for ``classify``; few, since all are asked about at once.

        Returns:
            features: float32 ``[N, h, w, F]``, before global pooling.
            gradient: float32 ``[N, 7, F]``, of each logit by the pooled features.

        Raises:
            ModelError: The model has no such outputs, or see ``classify``.
        """
        self._check(images)
        if not self.explains:
            raise ModelError(
                f"{self.name}: this model gives probabilities alone, so Grad-CAM is not possible. Use occlusion, which "
                "needs nothing else."
            )
        features, gradient = self._run(["features", "gradient"], images)
        if not (np.isfinite(features).all() and np.isfinite(gradient).all()):
            raise ModelError(f"{self.name}: the model answered with what are no numbers. Export it again.")
        return features, gradient

    def embed(self, images: Pixels) -> NDArray[np.float32]:
        """What the network sees in pictures: the mean of its features over the picture, float32 ``[N, F]``.

        Args:
            images: As for ``explain``.

        Raises:
            ModelError: The model has no output ``features``, or see ``classify``.
        """
        self._check(images)
        if not self.explains:
            raise ModelError(f"{self.name}: this model gives probabilities alone, so its features are not known.")
        (features,) = self._run(["features"], images)
        return features.mean(axis=(1, 2))

    def _check(self, images: Pixels) -> None:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self.input_shape:
            raise ModelError(
                f"{self.name} reads uint8 images of {_times(self.input_shape)}, "
                f"not {images.dtype} of {_times(images.shape[1:])}. Bring them to its size first."
            )

    def _run(self, outputs: list[str], batch: Pixels) -> list[NDArray[np.float32]]:
        try:
            answers = self._session.run(outputs, {self._input.name: np.ascontiguousarray(batch)})
        except Exception as error:  # as above
            reason = str(error).splitlines()[0][:200]
            raise ModelError(f"{self.name}: the model failed ({reason}). Export it again.") from error
        return [np.asarray(answer) for answer in answers]

    def _answer(self, batch: Pixels) -> NDArray[np.float32]:
        (values,) = self._run(["probabilities"], batch)
        if values.shape != (len(batch), len(EMOTIONS)) or not np.isfinite(values).all():
            raise ModelError(
                f"{self.name}: the model answered with {_times(values.shape)} values, or not all numbers; "
                f"expected {len(batch)} x {len(EMOTIONS)} probabilities. Export it again."
            )
        return values.astype(np.float32, copy=False)


def _called(path: Path) -> str:
    """What to call a model of which only the file is known: in a folder of ours the folder has its name."""
    return path.absolute().parent.name if path.stem == "model" else path.stem


_bounding: Final = threading.Lock()
_bounded = False


def _bound_memory() -> None:
    """Gives all models of this process one pool of memory, beyond which a model fails instead of the server.

    How large a model's values become may depend on the pictures and on their number, so trying it does not tell.
    """
    global _bounded
    import onnxruntime

    with _bounding:
        if not _bounded:  # the pool belongs to the process and cannot be made twice
            pool = onnxruntime.OrtMemoryInfo(
                "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
            )
            most = onnxruntime.OrtArenaCfg({"max_mem": limits.MODEL_MEMORY_MB * 2**20})
            onnxruntime.create_and_register_allocator(pool, most)
            _bounded = True


def _check_input(path: Path, inputs: list[NodeArg]) -> None:
    found = ", ".join(f"{entry.name} {entry.type} {entry.shape}" for entry in inputs) or "none"
    if len(inputs) == 1 and inputs[0].type == "tensor(uint8)" and len(inputs[0].shape) == 4:
        batch, height, width, channels = inputs[0].shape
        sizes_known = isinstance(height, int) and isinstance(width, int) and channels in (1, 3)
        if sizes_known and not isinstance(batch, int):
            return
    raise ModelError(
        f"{path}: its input is {found}; expected one input, uint8 [N, height, width, 1 or 3] with any number "
        f"of images N. {_IMPORT}"
    )


def _check_output(path: Path, outputs: list[NodeArg]) -> None:
    shapes: dict[str, list[Any]] = {entry.name: entry.shape for entry in outputs}
    if "probabilities" not in shapes:
        raise ModelError(f"{path}: no output is named 'probabilities' (but {', '.join(shapes)}). {_IMPORT}")
    shape = shapes["probabilities"]
    # A symbolic size is checked when the model answers.
    if len(shape) != 2 or (isinstance(shape[1], int) and shape[1] != len(EMOTIONS)):
        raise ModelError(
            f"{path}: its output 'probabilities' is {shape}; expected [N, {len(EMOTIONS)}], one for each of "
            f"{', '.join(EMOTIONS)}. It was made for other classes."
        )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
