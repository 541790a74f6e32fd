"""A foreign Keras model wrapped for serving: from stored pictures to probabilities in our order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from fer_core.errors import ModelError
from fer_core.inference.conventions import SHRINKS, Scale
from fer_core.models.layers import resize

OwnShape = tuple[int | None, int | None, int]
"""Height, width (None: any) and channels that a foreign model reads."""


class ForeignServing(keras.Model):
    """Maps ``image``, uint8 ``[N, H, W, C]``, to probabilities, float32 ``[N, 7]``, in the order of ``emotions.py``.

    Args:
        model: Gives seven outputs.
        own: What it reads.
        scale: What it expects of pixel values.
        positions: For each of our classes, the index of the model's output.
        softmax: Whether the outputs are logits.
    """

    def __init__(
        self, model: keras.Model, own: OwnShape, scale: Scale, positions: Sequence[int], *, softmax: bool
    ) -> None:
        super().__init__(name="serving")
        self.inner = model
        self.own = own
        self.scale = scale
        self.positions = list(positions)
        self.softmax = softmax

    def call(self, image: keras.KerasTensor) -> keras.KerasTensor:
        # Resizing and Random* layers take training for granted unless told otherwise.
        answer = self.inner(_prepare(image, self.own, self.scale, self.inner.inputs[0].dtype), training=False)
        if self.softmax:
            answer = ops.softmax(answer, axis=-1)
        return ops.take(answer, self.positions, axis=-1)


def prepare(images: NDArray[np.uint8], own: OwnShape, scale: Scale) -> NDArray[np.float32]:
    """What the serving graph hands to the foreign model, by itself: float32 ``[N, h, w, c]``."""
    return ops.convert_to_numpy(_prepare(images, own, scale, "float32"))


def _prepare(image: Any, own: OwnShape, scale: Scale, dtype: str) -> keras.KerasTensor:
    # To float before resizing: on integers the resizing rounds.
    x = ops.cast(image, "float32")
    height, width, channels = own
    if height and width and (height, width) != tuple(x.shape[1:3]):
        x = resize(x, height, width)
    if channels == 3 and x.shape[-1] == 1:
        x = ops.repeat(x, 3, axis=-1)
    x = x * np.asarray(scale.factors[:channels], np.float32) + np.asarray(scale.offsets[:channels], np.float32)
    if scale.reverse:
        x = ops.flip(x, axis=-1)
    return ops.cast(x, dtype)


def own_shape(model: keras.Model, file: Path) -> OwnShape:
    """What a model reads.

    Raises:
        ModelError: Not one picture of one or three channels, channels last.
    """
    shapes = [tuple(entry.shape[1:]) for entry in (getattr(model, "inputs", None) or [])]
    outputs = len(getattr(model, "outputs", None) or [])
    if len(shapes) == 1 and outputs == 1 and len(shapes[0]) == 3 and shapes[0][2] in (1, 3):
        height, width, channels = shapes[0]
        if (height is None) == (width is None):
            return height, width, channels
    found = " and ".join(" x ".join("any" if size is None else str(size) for size in shape) for shape in shapes)
    raise ModelError(
        f"{file}: the model reads {found or 'nothing known'} and has {outputs} output{'s'[: outputs != 1]}; expected "
        "one picture, height x width x 1 or 3, and one output."
    )


def to_float32(model: keras.Model) -> keras.Model:
    """The same network computing in float32, where it was trained in mixed precision."""
    if all(layer.compute_dtype == "float32" for layer in _flat(model) if isinstance(layer, layers.Layer)):
        return model
    config = model.to_json().replace('"mixed_float16"', '"float32"').replace('"mixed_bfloat16"', '"float32"')
    single = keras.models.model_from_json(json.dumps(json.loads(config)))
    single.set_weights(model.get_weights())
    return single


def rescales(model: keras.Model) -> bool:
    """Whether what stands ahead of the first layer with a kernel, a layer or plain arithmetic, expects up to 255."""
    for step in _flat(model):
        if isinstance(step, layers.Rescaling):
            return float(np.max(step.scale)) < SHRINKS
        if isinstance(step, layers.Normalization):
            return step.mean is not None and float(np.max(ops.convert_to_numpy(step.mean))) > 1
        if isinstance(step, layers.BatchNormalization):
            return float(np.max(ops.convert_to_numpy(step.moving_mean))) > 1
        if isinstance(step, layers.Layer):
            if any(len(weight.shape) > 1 for weight in step.weights):  # a kernel, whatever it is called
                return False
        elif (constant := _constant(step)) is not None:
            name = type(step).__name__
            if name in ("TrueDivide", "Divide"):
                return constant > 1 / SHRINKS
            if name == "Multiply":
                return constant < SHRINKS
            if name in ("Add", "Subtract") and constant > 1:  # the mean of bytes
                return True
    return False


def _constant(operation: keras.Operation) -> float | None:
    """The largest absolute value of the numbers that arithmetic combines with a tensor; None where it has none."""
    # Keras gives no other access to them.
    values = keras.tree.flatten(operation._inbound_nodes[0].arguments.args)
    numbers = [value for value in values if isinstance(value, (int, float, np.ndarray))]
    return max((float(np.max(np.abs(value), initial=0)) for value in numbers), default=None)


def last_activation(model: keras.Model) -> str:
    """Name of the activation of the last layer; ``linear`` where it has none."""
    *_, last = (step for step in _flat(model) if isinstance(step, layers.Layer))
    if isinstance(last, layers.Softmax):
        return "softmax"
    return getattr(getattr(last, "activation", None), "__name__", "linear")


def _flat(model: keras.Model) -> Iterator[keras.Operation]:
    """The layers and the arithmetic between them in order, those of nested models in their place."""
    for step in getattr(model, "operations", model.layers):  # a Sequential has layers only
        if isinstance(step, keras.Model):
            yield from _flat(step)
        else:
            yield step
