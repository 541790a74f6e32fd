"""Networks as a run's settings describe them.

Every network is a flat Keras model from ``uint8 [N, H, W, C]`` pixels to logits ``[N, 7]`` that follows one
convention, on which serving, freezing and Grad-CAM rely: the layer ``rescale`` is the last before the backbone,
``features`` gives the tensor before global pooling, ``pooled`` pools it, and the layers after ``pooled`` (the head)
form a chain.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import keras
from keras import layers, ops

from fer_core.emotions import EMOTIONS
from fer_core.errors import ConfigError, ModelError
from fer_core.inference.conventions import SCALES
from fer_core.inference.served import ParameterCounts
from fer_core.models.backbones import BACKBONES, FEATURES
from fer_core.models.layers import ChannelAttention, Resize
from fer_core.training.config import HeadLayer, PhaseConfig, RunConfig, parse_head
from fer_core.training.speeds import Shape

POOLED: Final = "pooled"
_RESCALE: Final = "rescale"

_SUFFIXES: Final = (".keras", ".h5", ".hdf5")


def build(config: RunConfig, shape: Shape) -> keras.Model:
    """Builds a run's network with random weights, drawn from the seed of ``keras.utils.set_random_seed``.

    It computes in ``config.policy``, whatever Keras' global policy is; the logits are float32 in any case.

    Args:
        config: Its settings of network, pixels, head and precision count.
        shape: Height, width and channels of the pictures it reads.

    Raises:
        ConfigError: The backbone cannot read pictures that small.
    """
    backbone = BACKBONES[config.architecture]
    _check_size(config, shape)
    penalty = keras.regularizers.L2(config.head_l2) if config.head_l2 else None
    with _precision(config.policy):
        image = keras.Input(shape, dtype="uint8", name="image")
        x = backbone.connect(_prepare(image, config), config)
        x = layers.GlobalAveragePooling2D(name=POOLED)(x)
        seen: Counter[str] = Counter()
        for word in parse_head(config.head):
            seen[word.kind] += 1
            name = word.kind if seen[word.kind] == 1 else f"{word.kind}_{seen[word.kind]}"
            x = _head_layer(word, penalty, name)(x)
        logits = layers.Dense(len(EMOTIONS), kernel_regularizer=penalty, dtype="float32", name="logits")(x)
        return keras.Model(image, logits, name=config.architecture)


@contextlib.contextmanager
def _precision(policy: str) -> Iterator[None]:
    """Layers made meanwhile compute in ``policy``; those of ``keras.applications`` can be told in no other way."""
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(usual)


def _check_size(config: RunConfig, shape: Shape) -> None:
    backbone = BACKBONES[config.architecture]
    smallest, reads = backbone.smallest, f"{backbone.title} reads pictures of {backbone.smallest}x{backbone.smallest}"
    if config.side is not None:
        if config.side < smallest:
            raise ConfigError(f"{reads} pixels and more; side is {config.side}. Use --set side={smallest} or more.")
    elif min(shape[:2]) < smallest:
        raise ConfigError(
            f"{reads} pixels and more; the dataset's are {shape[0]}x{shape[1]}. Prepare it with a larger --size, or "
            f"use --set side={smallest} or more."
        )


def _prepare(image: keras.KerasTensor, config: RunConfig) -> keras.KerasTensor:
    """From stored pixels to what the backbone reads, in float32: a narrower type would round them.

    Layers of Keras' own wherever they do it, so that a saved compact network opens without this package.
    """
    x, scale = image, SCALES[config.pixels]
    if config.side and x.shape[1:3] != (config.side, config.side):
        x = Resize(config.side, dtype="float32", name="resize")(x)
    # Values by channel mean nothing to a single one, so they ask for three as well.
    if x.shape[-1] == 1 and (BACKBONES[config.architecture].colour or not scale.gray):
        x = layers.Concatenate(dtype="float32", name="to_colour")([x, x, x])
    if scale.reverse:
        x = ops.flip(x, axis=-1)
    # After the flip: in the order in which the network reads the channels.
    factors, offsets = ((values[0] if scale.gray else _ordered(values, scale.reverse)) for values in scale[:2])
    return layers.Rescaling(factors, offset=offsets, dtype="float32", name=_RESCALE)(x)


def _ordered(values: tuple[float, float, float], reverse: bool) -> list[float]:
    return list(reversed(values)) if reverse else list(values)


def _head_layer(word: HeadLayer, penalty: keras.Regularizer | None, name: str) -> keras.Layer:
    match word.kind:
        case "norm":
            return layers.BatchNormalization(name=name)
        case "dense":
            return layers.Dense(int(word.value), activation="relu", kernel_regularizer=penalty, name=name)
        case "dropout":
            return layers.Dropout(word.value, name=name)
        case "attention":
            return ChannelAttention(int(word.value), name=name)


def head(model: keras.Model) -> list[keras.Layer]:
    """The layers after global pooling, in order: a chain from the pooled ``[N, F]`` to the logits."""
    names = [layer.name for layer in model.layers]
    return model.layers[names.index(POOLED) + 1 :]


def backbone_layers(model: keras.Model) -> list[keras.Layer]:
    """The layers between preparation and pooling, as the backbone's own model lists them."""
    names = [layer.name for layer in model.layers]
    found = model.layers[names.index(_RESCALE) + 1 : names.index(POOLED)]
    return [layer for layer in found if not isinstance(layer, layers.Identity)]  # which is how we mark the features


def load_weights(model: keras.Model, file: Path) -> None:
    """Gives the backbone the weights of a file; the head stays as it is.

    Args:
        model: Built by ``build``.
        file: Of the same backbone without its classifier: an ``.h5`` file as ``keras.applications`` publishes them,
            or a ``.weights.h5`` or ``.keras`` file; also the ``best.keras`` of a run.

    Raises:
        ModelError: It cannot be read, or it is of another network.
    """
    if not file.is_file():
        raise ModelError(f"{file}: no such weights file. Check the path in the setting weights.")
    if file.suffix not in _SUFFIXES:
        raise ModelError(f"{file}: a weights file ends in .h5, .weights.h5 or .keras; give one that Keras saved.")
    backbone = keras.Model(model.inputs, model.get_layer(FEATURES).output)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a wrong network it complains layer by layer first
            backbone.load_weights(file)
    except Exception as error:  # Keras, h5py and zipfile raise whatever a damaged file leads to
        words = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"{file}: these are no weights of {BACKBONES[model.name].title} without its classifier, or the file is "
            f"damaged ({words[0][:160].rstrip('.:')}). Copy it again, or choose the network that it was saved from."
        ) from error


def set_trainable(model: keras.Model, phase: PhaseConfig) -> None:
    """Opens the part of a network that a phase trains, and freezes the rest.

    Frozen batch normalisation keeps its statistics, in training too. The top layers are counted as the backbone's
    own Keras model lists them, those without weights included, from the last one back.

    Args:
        model: Built by ``build``.
        phase: What it trains; ``freeze_norm`` is about the backbone, never about the head.
    """
    backbone = backbone_layers(model)
    first_open = {"all": 0, "head": len(backbone), "top": max(0, len(backbone) - phase.top_layers)}[phase.trainable]
    closed = {
        id(layer)
        for i, layer in enumerate(backbone)
        if i < first_open or (phase.freeze_norm and isinstance(layer, layers.BatchNormalization))
    }
    for layer in model.layers:
        layer.trainable = id(layer) not in closed


def count_parameters(model: keras.Model) -> ParameterCounts:
    """Numbers of weights of a network as it is set to train."""
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    total = sum(math.prod(weight.shape) for weight in model.weights)
    return ParameterCounts(total=total, trainable=trainable, non_trainable=total - trainable)
