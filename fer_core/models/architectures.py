"""Networks by name.

Every network is a flat Keras model from ``uint8 [N, H, W, C]`` pixels to logits ``[N, 7]`` that follows one
convention, on which serving, freezing and Grad-CAM rely: the layer ``features`` gives the tensor before
global pooling, ``pooled`` pools it, and the layers after ``pooled`` (the head) form a chain.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import keras
from keras import layers

from fer_core.emotions import EMOTIONS
from fer_core.errors import ConfigError
from fer_core.inference.served import ParameterCounts

FEATURES: Final = "features"
POOLED: Final = "pooled"

Shape = tuple[int, int, int]

_FER2013_MEAN: Final = 0.508
_FER2013_STD: Final = 0.255
"""Of the pixels of FER2013's train split, from 0 to 1."""

_COMPACT_WIDTHS: Final = (32, 64, 128, 256)

_MOMENTUM: Final = 0.9
"""Of the running statistics: with Keras' 0.99 they are still those of random weights after a few dozen steps."""


def build(name: str, shape: Shape, *, dropout: float) -> keras.Model:
    """Builds a network with random weights, drawn from the seed of ``keras.utils.set_random_seed``.

    Args:
        name: A key of ``ARCHITECTURES``.
        shape: Height, width and channels of the pictures it reads.
        dropout: Share of the pooled features that a training step leaves out.

    Raises:
        ConfigError: It cannot read pictures that small.
    """
    return ARCHITECTURES[name].build(shape, dropout)


def compact(shape: Shape, dropout: float) -> keras.Model:
    """A residual network of 1.23 million parameters, made for two processor cores.

    A 3x3 stem, pooled at once because most of the cost would be at full size, then one residual block of two
    3x3 convolutions (He et al. 2016, arXiv:1512.03385) at each of four widths, each of the last three halving
    the map. At 48x48 the last map is 3x3.

    Raises:
        ConfigError: A side is under 16 pixels.
    """
    if min(shape[:2]) < 16:
        raise ConfigError(
            f"The compact network reads pictures of 16x16 pixels and more; the dataset's are "
            f"{shape[0]}x{shape[1]}. Prepare it with a larger --size."
        )
    image = keras.Input(shape, dtype="uint8", name="image")
    scale = 1 / (255 * _FER2013_STD)
    x = layers.Rescaling(scale, offset=-_FER2013_MEAN / _FER2013_STD, name="rescale")(image)
    x = _convolution(x, _COMPACT_WIDTHS[0], 3, 1, "stem")
    x = layers.ReLU(name="stem_relu")(x)
    x = layers.MaxPooling2D(2, name="stem_pool")(x)
    last = len(_COMPACT_WIDTHS) - 1
    for stage, width in enumerate(_COMPACT_WIDTHS):
        out = FEATURES if stage == last else f"block{stage + 1}"
        x = _residual_block(x, width, 1 if stage == 0 else 2, f"block{stage + 1}", out)
    x = layers.GlobalAveragePooling2D(name=POOLED)(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(image, layers.Dense(len(EMOTIONS), name="logits")(x), name="compact")


def _residual_block(x: keras.KerasTensor, width: int, stride: int, name: str, out: str) -> keras.KerasTensor:
    shortcut = x
    if stride != 1 or x.shape[-1] != width:
        shortcut = _convolution(x, width, 1, stride, f"{name}_shortcut")
    x = _convolution(x, width, 3, stride, f"{name}_first")
    x = layers.ReLU(name=f"{name}_relu")(x)
    x = _convolution(x, width, 3, 1, f"{name}_second")
    return layers.ReLU(name=out)(layers.Add(name=f"{name}_add")([x, shortcut]))


def _convolution(x: keras.KerasTensor, width: int, size: int, stride: int, name: str) -> keras.KerasTensor:
    """A convolution without bias, which the normalisation after it would cancel."""
    convolve = layers.Conv2D(
        width, size, stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )
    return layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_bn")(convolve(x))


@dataclass(frozen=True)
class Architecture:
    """A network that a preset may name.

    Attributes:
        build: Makes it from a shape and a dropout share.
        native: The shape it was designed for.
    """

    build: Callable[[Shape, float], keras.Model]
    native: Shape


ARCHITECTURES: Final = {"compact": Architecture(compact, native=(48, 48, 1))}


def head(model: keras.Model) -> list[keras.Layer]:
    """The layers after global pooling, in order: a chain from the pooled ``[N, F]`` to the logits."""
    names = [layer.name for layer in model.layers]
    return model.layers[names.index(POOLED) + 1 :]


def set_trainable(model: keras.Model, part: str) -> None:
    """Opens a part of a network to training and freezes the rest.

    Frozen batch normalisation keeps its statistics.

    Args:
        model: Built by ``build``.
        part: ``all``, or ``head`` for the layers after global pooling.
    """
    open_layers = {id(layer) for layer in (head(model) if part == "head" else model.layers)}
    for layer in model.layers:
        layer.trainable = id(layer) in open_layers


def count_parameters(model: keras.Model) -> ParameterCounts:
    """Numbers of weights of a network as it is set to train."""
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    total = sum(math.prod(weight.shape) for weight in model.weights)
    return ParameterCounts(total=total, trainable=trainable, non_trainable=total - trainable)
