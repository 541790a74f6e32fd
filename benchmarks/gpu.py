"""Images a second of each recipe's phases, their share of what the GPU can do, and ``compact`` in five minutes.

What the GPU can do is the speed of a chain of large matrix products in the same precision, measured in the same run.
A step counts twice its forward operations once more for the backward pass of what is trained. On a machine without
GPU it measures the processor.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import inputs
from benchmarks.measure import Figure, Summary, arguments, machine, note, report, run_child

PRODUCTS = 8
"""Matrix products in a chain."""


def main() -> None:
    parser = arguments(__doc__, data=inputs.DATASET_HELP, repeats=3)
    parser.add_argument("--minutes", type=float, default=5, help="What compact gets. Default: %(default)s.")
    parser.add_argument("--presets", default="compact,resnet50v2,resnet50,efficientnetv2b0", help="Which recipes.")
    parser.add_argument("--width", type=int, default=8192, help="Of the matrices. Default: %(default)s.")
    options = parser.parse_args()
    on = machine()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        dataset = inputs.leak_free_dataset(options.data, scratch)
        space = {"FER_WORKSPACE": str(scratch / "workspace")}
        names = options.presets.split(",")
        rates = {name: _rates(name, options.repeats, space) for name in names}  # in processes of their own
        if "compact" in names:
            figures += _in_minutes(dataset, options.minutes, rates["compact"]["Train"], space)

    from fer_core.training import backend
    from fer_core.training.config import load_preset

    backend.load()
    precision = backend.usual_precision()
    peak = Summary.of([_peak(precision, options.width) for _ in range(options.repeats)])
    chain = f"{PRODUCTS} products of {options.width} x {options.width} matrices in {precision}"
    figures.append(Figure(chain, "TFLOP/s", peak))
    for name, phases in rates.items():
        for phase, values in phases.items():
            figures.append(Figure(f"{name}, phase {phase}", "images/s", Summary.of(values)))
            cost = _operations(load_preset(name), phase)
            if cost:
                share = [100 * value * cost / (1e12 * peak.median) for value in values]
                figures.append(Figure(f"{name}, phase {phase}", "%", Summary.of(share), chain))
    report("gpu", f"{backend.device()}, {len(names)} recipes at their own sizes", on, figures, as_json=options.json)


def _rates(name: str, repeats: int, space: dict[str, str]) -> dict[str, list[float]]:
    """Phase -> images a second, as ``models measure`` finds them."""
    found: dict[str, list[float]] = {}
    for repeat in range(repeats):
        note(f"{name}: {repeat + 1} of {repeats}")
        (entry,) = json.loads(run_child([*inputs.FER, "models", "measure", name, "--json"], space).output)
        for phase in entry["phases"]:
            if phase["images_per_second"]:
                found.setdefault(phase["name"], []).append(phase["images_per_second"])
    return found


def _in_minutes(dataset: Path, minutes: float, rates: list[float], space: dict[str, str]) -> list[Figure]:
    """Trains ``compact`` for as many epochs as fit by the speed that was measured."""
    from fer_core.data.dataset import Dataset

    images = len(Dataset.open(dataset).split("train"))
    epochs = max(1, int(60 * minutes * Summary.of(rates).median / images))
    settings = ["--set", f"phases.0.epochs={epochs}", "--name", "in-minutes", "--allow-leaks"]
    note(f"compact: {epochs} epochs of {images:,} images")
    child = run_child([*inputs.FER, "train", dataset, "--preset", "compact", *settings, "--json"], space)
    report = json.loads(child.output)["metrics"]["validation"]
    what = f"compact, {epochs} epochs: accuracy on validation (epoch chosen on it), n {report['n']:,}"
    low, high = report["ci95"]
    return [
        Figure(what, "%", Summary(100 * report["accuracy"], 100 * low, 100 * high, 1)),
        Figure(f"compact, {epochs} epochs: whole command", "s", Summary.of([child.seconds])),
    ]


def _peak(precision: str, width: int) -> float:
    """10^12 floating-point operations a second of a chain of matrix products."""
    import keras
    import numpy as np

    x = keras.Input((width,), dtype="float32")
    y = keras.layers.Rescaling(1.0, dtype=precision)(x)
    for _ in range(PRODUCTS):
        y = keras.layers.Dense(width, use_bias=False, dtype=precision)(y)
    # Only a number per row leaves the GPU.
    model = keras.Model(x, keras.layers.Lambda(lambda z: keras.ops.mean(z, axis=-1, keepdims=True))(y))
    batch = keras.ops.convert_to_tensor(np.ones((width, width), np.float32))
    model.predict_on_batch(batch)
    began, runs = time.perf_counter(), 0
    while time.perf_counter() - began < 2 or runs < 3:
        model.predict_on_batch(batch)
        runs += 1
    return 2 * PRODUCTS * width**3 * runs / (time.perf_counter() - began) / 1e12


def _operations(config: Any, name: str) -> float:
    """Floating-point operations of a training step per image; 0 where the frozen part is computed once."""
    from fer_core.models.architectures import build, set_trainable
    from fer_core.training import features
    from fer_core.training.speeds import NATIVE

    phase = next(phase for phase in config.phases if phase.name == name)
    model = build(config, NATIVE)
    set_trainable(model, phase)
    if phase.trainable == "head" and not features.why_not(model, phase):
        return 0.0
    total, backward = 0.0, False
    for layer in model.layers:
        backward = backward or bool(layer.trainable_weights)
        # Forward, then the gradients by the layer's input and weights.
        total += _forward(layer) * (1 + 2 * backward)
    return total


def _forward(layer: Any) -> float:
    import keras

    if isinstance(layer, keras.layers.DepthwiseConv2D):
        height, width = layer.output.shape[1:3]
        return 2.0 * height * width * float(layer.kernel.shape[0] * layer.kernel.shape[1] * layer.kernel.shape[2])
    if isinstance(layer, keras.layers.Conv2D):
        height, width = layer.output.shape[1:3]
        kernel = layer.kernel.shape
        return 2.0 * height * width * kernel[0] * kernel[1] * kernel[2] * kernel[3]
    if isinstance(layer, keras.layers.Dense):
        return 2.0 * layer.kernel.shape[0] * layer.kernel.shape[1]
    return 0.0


if __name__ == "__main__":
    main()
