"""The optimizer that a phase asks for."""

from __future__ import annotations

from typing import Final

import keras

from fer_core.training.config import PhaseConfig

_NOT_DECAYED: Final = ["bias", "gamma", "beta"]
"""Pulling these toward zero does not regularise; it only shifts outputs."""

_LONGEST_WARMUP: Final = 0.2  # of the phase: a short trial run must reach its peak and come down again


def make_optimizer(phase: PhaseConfig, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """A new optimizer for a phase.

    Args:
        phase: What is asked for.
        steps_per_epoch: Batches per epoch.
    """
    rate = _learning_rate(phase, steps_per_epoch)
    decay = phase.weight_decay or None
    optimizer = (
        keras.optimizers.AdamW(rate, weight_decay=decay or 0.0)
        if phase.optimizer == "adamw"
        else keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=decay)
    )
    optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    return optimizer


def _learning_rate(phase: PhaseConfig, steps_per_epoch: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Cosine decay after a linear warm-up (Loshchilov and Hutter 2017, arXiv:1608.03983), or a constant."""
    if phase.schedule == "constant":
        return phase.learning_rate
    steps = phase.epochs * steps_per_epoch
    warmup = round(min(phase.warmup_epochs * steps_per_epoch, _LONGEST_WARMUP * steps))
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(phase.learning_rate, steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup, warmup_target=phase.learning_rate, warmup_steps=warmup
    )
