"""A look into a stranger's Keras file before Keras does: what it holds, and whether it may be loaded at all.

A model file can carry Python code (Lambda layers hold marshalled bytecode), names of classes to import, links to
other files and sizes that exhaust memory. Keras' own safe mode covers part of that and differs by format and
version, so the description of the network is read here first, and only Keras' built-in classes pass. Nothing
here loads Keras.
"""

from __future__ import annotations

import json
import math
import shutil
import zipfile
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import h5py

from fer_core.archive import read_entry, unsafe
from fer_core.errors import ModelError, from_os_error

MAX_BYTES: Final = 4 * 2**30
"""Of a file, or of what it unpacks to. An ONNX file holds 2 GB at most, and optimizers keep up to twice the weights."""

_MAX_CONFIG_BYTES: Final = 64 * 2**20
_MAX_EXPANSION: Final = 100
"""Weights hardly compress: who declares more than so many times the bytes on disk is no model."""
_HARMLESS: Final = 256 * 2**20  # declared sizes below this do no harm, whatever the ratio

_CONFIG: Final = "config.json"
_LEGACY_CONFIG: Final = "model_config"
_WEIGHTS: Final = "model.weights.h5"
_ENTRIES: Final = {_CONFIG, _WEIGHTS, "metadata.json"}

_CHUNK: Final = 2**20  # bytes

_CODE: Final = ("Lambda", "__lambda__")

_MODELS: Final = "Functional Model Sequential InputLayer"
# Layers of Keras 3 for pictures and features. Not among them: those that read other files (TFSMLayer, lookups,
# TextVectorization), run other frameworks (JaxLayer, FlaxLayer, TorchModuleWrapper) or code (Lambda).
_LAYERS: Final = """
    Activation ActivityRegularization Add AdditiveAttention AlphaDropout Attention Average AveragePooling1D
    AveragePooling2D BatchNormalization Bidirectional CenterCrop Concatenate Conv1D Conv2D Conv2DTranspose
    Cropping2D Dense DepthwiseConv2D Dot Dropout ELU EinsumDense Embedding Flatten GRU GRUCell GaussianDropout
    GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D GlobalMaxPooling1D GlobalMaxPooling2D
    GroupNormalization GroupQueryAttention Identity LSTM LSTMCell LayerNormalization LeakyReLU Masking MaxPooling1D
    MaxPooling2D Maximum Minimum MultiHeadAttention Multiply Normalization PReLU Permute RMSNormalization RNN
    RandomBrightness RandomColorJitter RandomContrast RandomCrop RandomErasing RandomFlip RandomGrayscale
    RandomGaussianBlur RandomHue RandomInvert RandomPerspective RandomRotation RandomSaturation RandomSharpness
    RandomShear RandomTranslation RandomZoom ReLU RepeatVector Rescaling Reshape Resizing SeparableConv1D
    SeparableConv2D SimpleRNN SimpleRNNCell Softmax SpatialDropout1D SpatialDropout2D SpectralNormalization
    StackedRNNCells Subtract TimeDistributed UnitNormalization UpSampling1D UpSampling2D
    ZeroPadding2D
"""
_PARTS: Final = """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer LecunNormal LecunUniform
    Ones Orthogonal OrthogonalInitializer RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros
    L1 L1L2 L2 OrthogonalRegularizer MaxNorm MinMaxNorm NonNeg UnitNorm DTypePolicy FloatDTypePolicy Policy
    __keras_tensor__ __tuple__ __numpy__ __tensor__ __ellipsis__ __slice__
"""
_ALLOWED: Final = frozenset(f"{_MODELS} {_LAYERS} {_PARTS}".split())

_OPERATIONS: Final = ("keras.src.ops.numpy", "keras.src.ops.nn")
"""Modules whose every class is arithmetic on tensors (``x / 255`` in a functional model becomes one of them)."""

_ACTIVATIONS: Final = """
    celu elu exponential gelu glu hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear log_softmax mish
    relu relu6 selu sigmoid silu softmax softplus softsign swish tanh
"""

_TRAINING: Final = "compile_config"
"""Optimizer, loss and metrics of a model or a part of it. They are left out, so what they name does not matter."""


class Format(StrEnum):
    """File formats of Keras; the value is the suffix by which Keras tells them apart."""

    LEGACY = ".h5"
    KERAS = ".keras"


def inspect(file: Path) -> Format:
    """Looks into a model file; what ``copy_network`` makes of it may then be handed to Keras' safe loader.

    Raises:
        ModelError: It is no Keras model, is damaged, or holds something that must not be loaded.
    """
    try:
        kind = _format(file)
        config = _legacy_config(file) if kind is Format.LEGACY else _keras_config(file)
    except OSError as error:
        raise from_os_error(error, file) from error
    _check_config(file, config)
    return kind


def copy_network(file: Path, kind: Format, to: Path) -> None:
    """Copies an inspected file with the description of its network as it was inspected, so without ``_TRAINING``.

    Keras leaves that of the whole model out when told so, but would compile the parts of it.

    Raises:
        ModelError: The file is damaged.
        FerError: The disk is full.
    """
    try:
        if kind is Format.LEGACY:
            shutil.copyfile(file, to)
            with h5py.File(to, "r+") as content:
                content.attrs[_LEGACY_CONFIG] = json.dumps(_parse(file, content.attrs[_LEGACY_CONFIG]))
            return
        with zipfile.ZipFile(file) as old, zipfile.ZipFile(to, "w") as new:
            new.writestr(_CONFIG, json.dumps(_parse(file, old.read(_CONFIG))))
            with old.open(_WEIGHTS) as source, new.open(_WEIGHTS, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target, _CHUNK)
    except OSError as error:
        raise from_os_error(error, file) from error
    except zipfile.BadZipFile as error:  # the checksum of the weights shows only when they are read to their end
        raise _damaged(file) from error


def check_size(file: Path) -> None:
    """Refuses what is no file, and files that no model is as large as.

    Raises:
        ModelError: It is a folder, a device, empty or larger than ``MAX_BYTES``.
        OSError: It cannot be looked at.
    """
    if file.is_dir():
        raise ModelError(
            f"{file}: a folder. SavedModel folders are not read: load it where it was made and save it as one file "
            "with model.save('model.keras')."
        )
    if not file.is_file():  # reading a device or a pipe may never end
        raise ModelError(f"{file}: not a file. Name an .h5 or .keras file.")
    size = file.stat().st_size
    if size == 0:
        raise ModelError(f"{file}: the file is empty. Copy it again.")
    if size > MAX_BYTES:
        raise ModelError(f"{file}: {size / 2**30:.1f} GB; models of up to {MAX_BYTES >> 30} GB are read.")


def _format(file: Path) -> Format:
    """The format by content: suffixes are often wrong."""
    check_size(file)
    with file.open("rb") as content:
        start = content.read(8)
    if start == b"\x89HDF\r\n\x1a\n":
        return Format.LEGACY
    if start.startswith(b"PK\x03\x04"):
        return Format.KERAS
    raise ModelError(
        f"{file}: neither an .h5 nor a .keras nor an .onnx file. Save the model with model.save('model.keras')."
    )


def _legacy_config(file: Path) -> Any:
    try:
        content = h5py.File(file, "r")
    except OSError as error:
        raise _damaged(file) from error
    with content:
        try:
            _check_tree(file, content, file.stat().st_size)
            config = content.attrs.get(_LEGACY_CONFIG)
            weights_only = "layer_names" in content.attrs or "layers" in content
        except ModelError:
            raise
        except Exception as error:  # h5py raises many kinds for damaged files
            raise _damaged(file) from error
    if config is None and weights_only:
        raise ModelError(
            f"{file}: it holds weights only, not the network they belong to. "
            "Build the network where it was made, load them and save all with model.save('model.keras')."
        )
    if not isinstance(config, (str, bytes)):
        raise ModelError(f"{file}: an HDF5 file, but no Keras model. Save the model with model.save('model.keras').")
    return _parse(file, config)


def _keras_config(file: Path) -> Any:
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise _damaged(file) from error
    with archive:
        names = archive.namelist()
        if _CONFIG not in names:
            raise ModelError(
                f"{file}: a zip archive, but no Keras model. Save the model with model.save('model.keras')."
            )
        extra = sorted(set(names) - _ENTRIES)
        if extra or len(names) != len(set(names)):
            found = _quoted(extra[0]) if extra else "entries twice"
            raise ModelError(
                f"{file}: besides a network and its weights it holds {found}, "
                "which is not loaded from strangers. Save the model anew with model.save('model.keras')."
            )
        for info in archive.infolist():
            limit = MAX_BYTES if info.filename == _WEIGHTS else _MAX_CONFIG_BYTES
            if reason := unsafe(info, limit):
                raise ModelError(f"{file}: its entry {info.filename} must not be read: {reason}.")
            _check_size(file, info.file_size, info.compress_size)
        try:
            config = _parse(file, read_entry(archive, archive.getinfo(_CONFIG)))
            if _WEIGHTS not in names:
                raise ModelError(f"{file}: it holds no weights ({_WEIGHTS} is missing). Save the model again.")
            with archive.open(_WEIGHTS) as entry, h5py.File(entry, "r") as weights:
                _check_tree(file, weights, archive.getinfo(_WEIGHTS).file_size)
        except ModelError:
            raise
        except Exception as error:  # as above; zipfile and every compressor raise their own
            raise _damaged(file) from error
    return config


def _parse(file: Path, text: str | bytes) -> Any:
    if len(text) > _MAX_CONFIG_BYTES:
        raise ModelError(f"{file}: the description of its network is too long to be one.")
    try:
        return json.loads(text, object_hook=_as_loaded)
    except (ValueError, RecursionError) as error:
        raise _damaged(file) from error


def _as_loaded(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("class_name") == "__tensor__":  # a constant; tf2onnx takes tensors outside the graph for inputs
        part["class_name"] = "__numpy__"
    return {key: value for key, value in part.items() if key != _TRAINING}


def _check_tree(file: Path, group: h5py.Group, stored: int) -> None:
    """Refuses HDF5 content that leads to other files or unpacks to far more than is stored."""
    declared, pending = 0, [group]
    seen: set[int] = set()
    while pending:
        current = pending.pop()
        for name in current:
            link = current.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise ModelError(f"{file}: it holds a link to another place ({_quoted(name)}), which is not followed.")
            item = current[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:  # one thing under several names
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                pending.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise ModelError(f"{file}: its weights {_quoted(name)} lie in another file, which is not read.")
                declared += math.prod(item.shape or ()) * item.dtype.itemsize
    _check_size(file, declared, stored)


def _check_size(file: Path, declared: int, stored: int) -> None:
    if declared > MAX_BYTES or (declared > _HARMLESS and declared > _MAX_EXPANSION * stored):
        raise ModelError(
            f"{file}: claims to unpack to {declared / 2**30:.1f} GB from {stored / 2**20:.1f} MB. "
            "That is a decompression bomb, not a model."
        )


def _check_config(file: Path, config: Any) -> None:
    """Refuses a network that is made of anything but Keras' own classes."""
    if not isinstance(config, dict) or config.get("class_name") is None:
        raise ModelError(f"{file}: no Keras model is described in it. Save the model with model.save('model.keras').")
    pending: list[Any] = [config]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                _check_class(file, value)
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)


def _check_class(file: Path, entry: dict[str, Any]) -> None:
    name, module, registered = entry["class_name"], entry.get("module"), entry.get("registered_name")
    if name in _CODE:
        raise ModelError(
            f"{file}: it holds a Lambda layer, which is Python code, and code of strangers is not run. "
            "Replace it by Keras' own layers (Rescaling, Resizing, ...) and save the model again."
        )
    if name == "function":
        known = module in (None, "builtins", "keras.activations") and entry.get("config") in _ACTIVATIONS.split()
    elif module in _OPERATIONS:
        known = isinstance(name, str) and name.isidentifier()
    else:
        ours = not module or module == "keras" or str(module).startswith("keras.")
        known = ours and isinstance(name, str) and name in _ALLOWED
    if not known or registered not in (None, "", name):
        shown = ".".join(str(part) for part in (module, name) if part)
        raise ModelError(
            f"{file}: it holds {_quoted(shown)}, which is not one of Keras' own layers for pictures; custom code is "
            "not loaded. Build the network of Keras' layers, load its weights and save it again."
        )


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _damaged(file: Path) -> ModelError:
    return ModelError(f"{file}: damaged or cut short. Copy it again, or save the model again.")
