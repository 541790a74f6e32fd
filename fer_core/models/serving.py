"""The served graph: a trained network, and around it what lets one file answer for itself."""

from __future__ import annotations

from typing import Final

import keras
from keras import layers, ops

from fer_core.emotions import EMOTIONS
from fer_core.errors import ModelError
from fer_core.models.architectures import POOLED, head
from fer_core.models.backbones import FEATURES
from fer_core.models.layers import ChannelAttention

OUTPUTS: Final = ("probabilities", "features", "gradient")
"""Names of the outputs, in the order in which ``ServingModel`` gives them."""


class ServingModel(keras.Model):
    """A network wrapped for serving; the weights are shared, not copied.

    Maps ``image``, uint8 ``[N, H, W, C]``, to a tuple in the order of ``OUTPUTS``: probabilities ``[N, 7]``,
    features ``[N, h, w, F]`` before global pooling, and the gradient ``[N, 7, F]`` of each logit (at
    temperature 1) by the pooled features. All float32.

    A subclass rather than a functional model, because it reads weights as values, and a functional model
    would keep those of the moment at which it was built.

    Args:
        model: Built by ``architectures.build``.
        temperature: What the logits are divided by before the softmax, above 0; a constant of the graph.
    """

    def __init__(self, model: keras.Model, temperature: float = 1.0) -> None:
        super().__init__(name="serving")
        self.temperature = temperature
        self.chain = head(model)
        outputs = [model.get_layer(name).output for name in (FEATURES, POOLED)]
        self.inner = keras.Model(model.inputs, [*outputs, *(layer.output for layer in self.chain)])

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height, width and channels of the pictures it reads."""
        return tuple(self.inner.inputs[0].shape[1:])

    def call(self, image: keras.KerasTensor) -> tuple[keras.KerasTensor, ...]:
        # What is off at inference must be off in the exported graph too: say so once, for all layers.
        features, *values = self.inner(image, training=False)
        probabilities = ops.softmax(values[-1] / self.temperature, axis=-1)
        return probabilities, features, head_gradient(self.chain, values)


def head_gradient(chain: list[keras.Layer], values: list[keras.KerasTensor]) -> keras.KerasTensor:
    """The gradient of each logit by the pooled features, as a forward computation.

    tf2onnx cannot export a gradient tape, but the backward pass of the layers that heads are made of is a
    handful of matrix products and masks.

    Args:
        chain: The layers from the pooled features ``[N, F]`` to the logits.
        values: The pooled features, then what each layer gives, ``[N, units]``.

    Returns:
        float32 ``[N, 7, F]``.

    Raises:
        ModelError: It holds a layer whose gradient is not written down here.
    """
    # Of the logits by themselves: the identity, once per image.
    gradient = ops.eye(len(EMOTIONS)) * ops.expand_dims(ops.ones_like(values[-1]), 1)
    for layer, before, after in reversed(list(zip(chain, values[:-1], values[1:], strict=True))):
        gradient = _backward(layer, before, after, gradient)
    return gradient


def _backward(
    layer: keras.Layer, before: keras.KerasTensor, after: keras.KerasTensor, gradient: keras.KerasTensor
) -> keras.KerasTensor:
    """From the gradient by a layer's output, ``[N, 7, out]``, to the one by its input, ``[N, 7, in]``."""
    if isinstance(layer, layers.Dropout):
        return gradient
    if isinstance(layer, layers.BatchNormalization):
        return gradient * layer.gamma / ops.sqrt(layer.moving_variance + layer.epsilon)
    if isinstance(layer, ChannelAttention):
        hidden = layer.narrow(before)
        gates = layer.widen(hidden)
        # The input reaches the output directly, and by way of the gates: the slope of a sigmoid is s (1 - s).
        by_gates = gradient * ops.expand_dims(before * gates * (1 - gates), 1)
        by_hidden = _backward(layer.narrow, before, hidden, ops.matmul(by_gates, ops.transpose(layer.widen.kernel)))
        return gradient * ops.expand_dims(gates, 1) + by_hidden
    if isinstance(layer, layers.Dense):
        if layer.activation is keras.activations.relu:
            gradient = gradient * ops.expand_dims(ops.cast(after > 0, "float32"), 1)
        if layer.activation in (keras.activations.relu, keras.activations.linear):
            return ops.matmul(gradient, ops.transpose(layer.kernel))
    raise ModelError(
        f"The gradient of the head's layer {layer.name!r} ({type(layer).__name__}) is not known: a head is made of "
        "Dropout, BatchNormalization, ChannelAttention and Dense layers, these linear or ReLU."
    )
