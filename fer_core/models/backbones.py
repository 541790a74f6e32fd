"""What a network computes from prepared pixels to the features before global pooling, by name.

A network of ``keras.applications`` is added by one line in ``BACKBONES`` and its name in ``RunConfig.architecture``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import keras
from keras import layers

from fer_core.models.layers import ChannelAttention
from fer_core.training.config import RunConfig

FEATURES: Final = "features"
"""The layer that gives the tensor before global pooling."""

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


def _residual(title: str, stem: int, widths: Sequence[int], blocks: Sequence[int], *, pool: bool) -> Backbone:
    """Residual networks for small pictures, from scratch.

    A 3x3 stem, then stages of residual blocks of two 3x3 convolutions (He et al. 2016, arXiv:1512.03385), each stage
    after the first halving the map.

    Args:
        title: What messages call it.
        stem: Channels of the stem, where ``RunConfig.width`` is 1.
        widths: Channels of each stage, likewise.
        blocks: How many blocks each stage has.
        pool: Whether the stem is pooled at once, because most of the cost would be at full size.
    """

    def connect(x: keras.KerasTensor, config: RunConfig) -> keras.KerasTensor:
        x = _convolution(x, _scaled(stem, config), 3, 1, "stem")
        x = layers.ReLU(name="stem_relu")(x)
        if pool:
            x = layers.MaxPooling2D(2, name="stem_pool")(x)
        number, last = 0, sum(blocks)
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for block in range(count):
                number += 1
                name = f"block{number}"
                stride = 2 if stage and not block else 1
                out = FEATURES if number == last else name
                x = _residual_block(x, _scaled(width, config), stride, config.attention, name, out)
        return x

    return Backbone(title, smallest=16, colour=False, connect=connect)


def _vgg(title: str, widths: Sequence[int]) -> Backbone:
    """Plain stages of two 3x3 convolutions, pooled (Simonyan and Zisserman 2015, arXiv:1409.1556), normalised.

    Without the last of VGG13's stages, whose map would be 1x1, and without its dense layers; Khaireddin and Chen 2021
    (arXiv:2105.03588) use four stages for FER2013, too.
    """

    def connect(x: keras.KerasTensor, config: RunConfig) -> keras.KerasTensor:
        for stage, width in enumerate(widths, start=1):
            if stage > 1:
                x = layers.MaxPooling2D(2, name=f"stage{stage}_pool")(x)
            for half in ("first", "second"):
                name = f"stage{stage}_{half}"
                x = _convolution(x, _scaled(width, config), 3, 1, name)
                out = FEATURES if (stage, half) == (len(widths), "second") else f"{name}_relu"
                x = layers.ReLU(name=out)(x)
        return x

    return Backbone(title, smallest=16, colour=False, connect=connect)


def _scaled(channels: int, config: RunConfig) -> int:
    """Channels of a layer in a network of the width that is asked for; a multiple of 8, which processors like."""
    return channels if config.width == 1 else max(8, 8 * round(channels * config.width / 8))


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
    # 1.23 million parameters, made for training on two processor cores; at 48x48 the last map is 3x3.
    "compact": _residual("The compact network", 32, (32, 64, 128, 256), (1, 1, 1, 1), pool=True),
    # 2.1 million, made for a millisecond per face on two cores; too slow to train there.
    "wide": _residual("The wide network", 32, (48, 96, 192, 288), (1, 2, 1, 1), pool=True),
    "vgg": _vgg("The VGG network", (64, 128, 256, 512)),
    "resnet18": _residual("ResNet18", 64, (64, 128, 256, 512), (2, 2, 2, 2), pool=False),
    "resnet50v2": _application("ResNet50V2", keras.applications.ResNet50V2),
    "resnet50": _application("ResNet50", keras.applications.ResNet50),
    "efficientnetv2b0": _application(
        "EfficientNetV2-B0", keras.applications.EfficientNetV2B0, include_preprocessing=False
    ),
}
"""By ``RunConfig.architecture``."""
