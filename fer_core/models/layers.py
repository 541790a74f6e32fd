"""Layers that Keras lacks. A saved network that holds them loads wherever this module was imported."""

from __future__ import annotations

from typing import Any, Final

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

_PACKAGE: Final = "fer_core"


@keras.saving.register_keras_serializable(package=_PACKAGE)
class Resize(layers.Layer):
    """Pictures ``[N, H, W, C]`` of any type -> float ``[N, side, side, C]``, bilinear.

    ``keras.layers.Resizing`` would leave training on for the layers after it, and round integers.
    """

    def __init__(self, side: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.side = side

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return resize(ops.cast(x, self.compute_dtype), self.side, self.side)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "side": self.side}


@keras.saving.register_keras_serializable(package=_PACKAGE)
class ChannelAttention(layers.Layer):
    """Squeeze-excitation (Hu et al. 2018, arXiv:1709.01507): weighs each channel by what all of them say.

    Maps ``[N, F]`` or ``[N, H, W, F]`` to the same shape.

    Args:
        reduction: The gates are computed from so many times fewer values than there are channels.
    """

    def __init__(self, reduction: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reduction = reduction

    def build(self, shape: tuple[int | None, ...]) -> None:
        width = shape[-1]
        assert width is not None
        units = max(1, width // self.reduction)
        self.narrow = layers.Dense(units, activation="relu", name="narrow", dtype=self.dtype_policy)
        self.widen = layers.Dense(width, activation="sigmoid", name="widen", dtype=self.dtype_policy)
        self.narrow.build((None, width))
        self.widen.build((None, units))

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        if len(x.shape) == 2:
            return x * self.widen(self.narrow(x))
        gates = self.widen(self.narrow(ops.mean(x, axis=(1, 2))))
        return x * ops.expand_dims(gates, (1, 2))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "reduction": self.reduction}


def resize(x: keras.KerasTensor, height: int, width: int) -> keras.KerasTensor:
    """Bilinear resizing of a float ``[N, H, W, C]`` as two matrix products.

    Equal to ``keras.ops.image.resize``, which tf2onnx exports with a wrong size where the ratio is no float (it
    infers 111 for 112 pixels from 48), so that ONNX Runtime fails.
    """
    rows, columns = (_bilinear(size, to) for size, to in zip(x.shape[1:3], (height, width), strict=True))
    x = ops.matmul(ops.cast(rows, x.dtype), ops.transpose(x, (0, 3, 1, 2)))
    return ops.transpose(ops.matmul(x, ops.cast(columns.T, x.dtype)), (0, 2, 3, 1))


def _bilinear(size: int, to: int) -> NDArray[np.float32]:
    """The weights of ``size`` pixels in each of ``to``, float32 ``[to, size]``; pixel centres are at .5."""
    position = np.clip((np.arange(to) + 0.5) * size / to - 0.5, 0, size - 1)
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(size))).astype(np.float32)
