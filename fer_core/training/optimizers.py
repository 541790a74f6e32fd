"""The optimizer, loss and metric that a phase asks for."""

from __future__ import annotations

from typing import Any, Final

import keras

from fer_core.training.config import PhaseConfig

_NOT_DECAYED: Final = ["bias", "gamma", "beta"]
"""Pulling these toward zero does not regularise; it only shifts outputs."""

_LONGEST_WARMUP: Final = 0.2  # of the phase: a short trial run must reach its peak and come down again


class _VariableDecay:
    """Weight decay that can change during training: a variable of the optimizer, saved with it.

    Keras keeps it as a number, which a compiled step takes as it was when it was traced: to set another one later
    changes nothing.
    """

    weight_decay: Any

    def build(self, variables: list[keras.Variable]) -> None:
        if not self.built and self.weight_decay is not None:  # type: ignore[attr-defined]
            decay = keras.Variable(self.weight_decay, dtype="float32", trainable=False, name="weight_decay")
            self._track_variable(decay)  # type: ignore[attr-defined]
            self.weight_decay = decay
        super().build(variables)  # type: ignore[misc]

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()  # type: ignore[misc]
        return {**config, "weight_decay": weight_decay(self)}


class AdamW(_VariableDecay, keras.optimizers.AdamW):
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) whose weight decay can change."""


class SGD(_VariableDecay, keras.optimizers.SGD):
    """Stochastic gradient descent whose weight decay, decoupled like AdamW's, can change."""


def make_optimizer(phase: PhaseConfig, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """A new optimizer for a phase.

    Args:
        phase: What is asked for.
        steps_per_epoch: Batches per epoch.
    """
    rate = _learning_rate(phase, steps_per_epoch)
    shared: dict[str, Any] = {
        "global_clipnorm": phase.clip_norm,
        "use_ema": phase.ema > 0,
        "ema_momentum": phase.ema or 0.99,  # unused, but Keras checks it
        "gradient_accumulation_steps": phase.accumulate if phase.accumulate > 1 else None,
    }
    if phase.optimizer == "adam":
        return keras.optimizers.Adam(rate, **shared)
    optimizer = (
        AdamW(rate, weight_decay=phase.weight_decay, **shared)
        if phase.optimizer == "adamw"
        else SGD(rate, momentum=0.9, nesterov=True, weight_decay=phase.weight_decay or None, **shared)
    )
    optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    return optimizer


def compile_phase(model: keras.Model, phase: PhaseConfig, steps_per_epoch: int) -> None:
    """Gives a network the optimizer, loss and metric of a phase.

    Args:
        model: From pictures or features to logits; its targets are shares of the classes, ``[N, 7]``.
        phase: What is asked for.
        steps_per_epoch: Batches per epoch.
    """
    model.compile(
        optimizer=make_optimizer(phase, steps_per_epoch),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=phase.label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )


def inner(optimizer: Any) -> Any:
    """The optimizer itself, where Keras has wrapped it to scale the loss of float16."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def weight_decay(optimizer: Any) -> float:
    """The weight decay that is in force; 0 where there is none."""
    decay = inner(optimizer).weight_decay
    return 0.0 if decay is None else float(keras.ops.convert_to_numpy(decay))


def learning_rate(optimizer: Any) -> float:
    """The learning rate that is in force."""
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


def swap_averages(model: keras.Model) -> None:
    """Exchanges a model's weights with their running means (EMA); done twice, all is as before."""
    optimizer = inner(model.optimizer)
    averages = optimizer._model_variables_moving_average  # Keras gives no other access to them
    for variable, average in zip(optimizer._trainable_variables, averages, strict=True):
        kept = keras.ops.copy(variable.value)
        variable.assign(average)
        average.assign(kept)


def _learning_rate(phase: PhaseConfig, steps_per_epoch: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Cosine decay after a linear warm-up (Loshchilov and Hutter 2017, arXiv:1608.03983), or a number to begin with."""
    if phase.schedule != "cosine":
        return phase.learning_rate
    steps = phase.epochs * steps_per_epoch
    warmup = round(min(phase.warmup_epochs * steps_per_epoch, _LONGEST_WARMUP * steps))
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(phase.learning_rate, steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup, warmup_target=phase.learning_rate, warmup_steps=warmup
    )
