"""What a network computes from prepared pixels to the features before global pooling, by name.

A network of ``keras.applications`` is added by one line in ``BACKBONES`` and its name in ``RunConfig.architecture``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import keras
from keras import layers

from fer_core.models.layers import ChannelAttention
from fer_core.training.config import RunConfig

FEATURES: Final = "features"
"""The layer that gives the tensor before global pooling."""

_COMPACT_WIDTHS: Final = (32, 64, 128, 256)

_MOMENTUM: Final = 0.9
"""Of the running statistics: with Keras' 0.99 they are still those of random weights after a few dozen steps."""


@dataclass(frozen=True)
class Backbone:
    """A network without its head.

    Attributes:
        title: What messages call it.
        smallest: The smallest side that it reads, in pixels.
        colour: Whether it reads three channels, and nothing else.
        connect: Puts its layers after a float ``[N, H, W, C]``; the last one is called ``FEATURES``.
    """

    title: str
    smallest: int
    colour: bool
    connect: Callable[[keras.KerasTensor, RunConfig], keras.KerasTensor]


def compact(x: keras.KerasTensor, config: RunConfig) -> keras.KerasTensor:
    """A residual network of 1.23 million parameters, made for two processor cores.

    A 3x3 stem, pooled at once because most of the cost would be at full size, then one residual block of two
    3x3 convolutions (He et al. 2016, arXiv:1512.03385) at each of four widths, each of the last three halving
    the map. At 48x48 the last map is 3x3.
    """
    x = _convolution(x, _COMPACT_WIDTHS[0], 3, 1, "stem")
    x = layers.ReLU(name="stem_relu")(x)
    x = layers.MaxPooling2D(2, name="stem_pool")(x)
    last = len(_COMPACT_WIDTHS) - 1
    for stage, width in enumerate(_COMPACT_WIDTHS):
        out = FEATURES if stage == last else f"block{stage + 1}"
        x = _residual_block(x, width, 1 if stage == 0 else 2, config.attention, f"block{stage + 1}", out)
    return x


def _residual_block(
    x: keras.KerasTensor, width: int, stride: int, attention: int, name: str, out: str
) -> keras.KerasTensor:
    shortcut = x
    if stride != 1 or x.shape[-1] != width:
        shortcut = _convolution(x, width, 1, stride, f"{name}_shortcut")
    x = _convolution(x, width, 3, stride, f"{name}_first")
    x = layers.ReLU(name=f"{name}_relu")(x)
    x = _convolution(x, width, 3, 1, f"{name}_second")
    if attention:
        x = ChannelAttention(attention, name=f"{name}_attention")(x)
    return layers.ReLU(name=out)(layers.Add(name=f"{name}_add")([x, shortcut]))


def _convolution(x: keras.KerasTensor, width: int, size: int, stride: int, name: str) -> keras.KerasTensor:
    """A convolution without bias, which the normalisation after it would cancel."""
    convolve = layers.Conv2D(
        width, size, stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )
    return layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_bn")(convolve(x))


def _application(title: str, make: Callable[..., keras.Model], **options: Any) -> Backbone:
    """A network of ``keras.applications``, which takes three channels and sides from 32 pixels."""

    def connect(x: keras.KerasTensor, config: RunConfig) -> keras.KerasTensor:
        network = make(include_top=False, weights=None, input_tensor=x, **options)
        # Its own layers keep their names, and so does what they are called in files of weights.
        return layers.Identity(name=FEATURES)(network.output)

    return Backbone(title, smallest=32, colour=True, connect=connect)


BACKBONES: Final = {
    "compact": Backbone("The compact network", smallest=16, colour=False, connect=compact),
    "resnet50v2": _application("ResNet50V2", keras.applications.ResNet50V2),
    "resnet50": _application("ResNet50", keras.applications.ResNet50),
    "efficientnetv2b0": _application(
        "EfficientNetV2-B0", keras.applications.EfficientNetV2B0, include_preprocessing=False
    ),
}
"""By ``RunConfig.architecture``."""
