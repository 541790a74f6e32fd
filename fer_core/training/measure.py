"""Times the phases of a recipe on made-up pictures, in a process of its own: ``python -m`` this module.

It writes what it finds with ``speeds.remember``, phase by phase, so that a process that dies for want of memory loses
only what it was at; and prints the name of each stage as it begins. Nothing is trained that anyone will use: weights
are random and no file of a run is written.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from pydantic import BaseModel

from fer_core.machine import usable_cores
from fer_core.training import backend
from fer_core.training.config import PhaseConfig, RunConfig
from fer_core.training.runs import trained_phases
from fer_core.training.speeds import (
    Network,
    NetworkSpeed,
    PhaseSpeed,
    Shape,
    network_of,
    peak_memory,
    remember,
    work_of,
)
from fer_core.workspace import Workspace

_SECONDS: Final = 3.0  # of steps: two of the small network's seconds differ by some percent
_LONG_STEP: Final = 8.0  # seconds after which a single step has to do
_STEPS: Final = 60  # made-up batches, at most
_MOST_BYTES: Final = 2**26  # of made-up pictures
_SCORED: Final = 64  # pictures scored at a time
_BUSY: Final = 0.6  # of the cores that were in use before it began
_EXPORTED: Final = 32  # pictures that an export is compared on, as in a run


class Request(BaseModel):
    """What to time: settings, and height, width and channels of the pictures."""

    config: RunConfig
    shape: Shape


def stages(config: RunConfig) -> list[str]:
    """What is printed, in order."""
    return ["building", *(f"phase {phase.name}" for phase in trained_phases(config)), "scoring", "exporting"]


def main(request: Request) -> None:
    """Times everything and remembers it."""
    config, space = request.config, Workspace.default()
    busy = os.getloadavg()[0] > _BUSY * usable_cores()
    told = iter(stages(config))
    print(next(told), flush=True)
    # Before `auto` is settled, as the estimate asks: a GPU may be there that the framework cannot use.
    network = network_of(config, request.shape)
    backend.load(config.threads)
    config = backend.settled(config)
    import keras

    from fer_core.models.architectures import build
    from fer_core.models.export import as_float32, export_onnx

    keras.utils.set_random_seed(config.seed)
    model = build(config, request.shape)
    begun = time.time() - psutil.Process().create_time()
    largest = max(phase.batch_size for phase in config.phases)
    images = _pictures(largest, request.shape)
    for phase in trained_phases(config):
        print(next(told), flush=True)
        found = _phase(model, phase, images[: _STEPS * phase.batch_size], network)
        remember(space, found.model_copy(update={"busy": busy}))
    print(next(told), flush=True)
    score = _rate(model, images[:_SCORED])
    print(next(told), flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        if backend.exports():
            export_onnx(as_float32(config, model), 1.0, Path(folder) / "model.onnx", images[:_EXPORTED])
    seconds = begun + time.monotonic() - started
    memory = max(0, peak_memory() - images.nbytes)
    remember(space, NetworkSpeed(network=network, score=score, seconds=seconds, memory=memory))


def _pictures(batch: int, shape: Shape) -> Any:
    """Noise, uint8: at least two batches, so that a step that was compiled is followed by one that was not."""
    most = max(2 * batch, min(_STEPS * batch, _MOST_BYTES // int(np.prod(shape))))
    return np.random.default_rng(0).integers(0, 256, (most, *shape), np.uint8)


def _phase(model: Any, phase: PhaseConfig, images: Any, network: Network) -> PhaseSpeed:
    """Sets a network to what a phase trains, as a run does, and times it."""
    import keras

    from fer_core.emotions import EMOTIONS
    from fer_core.models.architectures import POOLED, set_trainable
    from fer_core.training import features
    from fer_core.training.data import TrainingBatches
    from fer_core.training.optimizers import compile_phase

    class Clock(keras.callbacks.Callback):
        """Leaves ``fit`` when enough steps were timed."""

        def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
            self.began, self.steps = time.monotonic(), -1

        def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
            now, self.steps = time.monotonic(), self.steps + 1
            if self.steps == 0:
                self.first = now
            self.seconds = now - self.first
            if (self.steps >= 2 and self.seconds >= _SECONDS) or (self.steps and self.seconds >= _LONG_STEP):
                raise _Enough

    set_trainable(model, phase)
    learner, once = model, phase.trainable == "head" and not features.why_not(model, phase)
    if once:
        learner = features.head_model(model)
        width = model.get_layer(POOLED).output.shape[-1]
        images = np.random.default_rng(0).random((len(images), width), np.float32)
    labels = np.arange(len(images)) % len(EMOTIONS)
    batches = TrainingBatches(images, labels, phase, index=0, seed=0)
    compile_phase(learner, phase, len(batches))
    clock = Clock()
    with contextlib.suppress(_Enough):
        learner.fit(batches, epochs=1000, shuffle=False, verbose=0, callbacks=[clock])
    rate = phase.batch_size * clock.steps / clock.seconds
    return PhaseSpeed(
        work=work_of(network, phase),
        train=rate,
        score=_rate(learner, images[:_SCORED]),
        once=once,
        start_seconds=max(0.0, clock.first - clock.began - phase.batch_size / rate),
        memory=max(0, peak_memory() - images.nbytes),
        gpu_memory=backend.gpu_peak_memory(),
    )


class _Enough(Exception):
    """It was timed long enough."""


def _rate(model: Any, images: Any) -> float:
    """Images per second without training, its first step left out."""
    model.predict_on_batch(images)
    began, steps = time.monotonic(), 0
    while (seconds := time.monotonic() - began) < 1 or not steps:
        model.predict_on_batch(images)
        steps += 1
    return steps * len(images) / seconds if seconds else 0.0


if __name__ == "__main__":
    main(Request.model_validate_json(sys.argv[1]))
