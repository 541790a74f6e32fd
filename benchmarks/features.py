"""The frozen phase of ResNet50V2 for ten epochs: features computed once, against the backbone inside every step."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.measure import Figure, Summary, arguments, interleave, machine, ratios, report

SIDE: Final = 96  # pixels; at the recipe's 224 the ratio is larger, and a run takes five times as long
IMAGES: Final = 2000  # with fewer, building the two networks is most of it
EPOCHS: Final = 10
BATCH: Final = 64


def main() -> None:
    options = arguments(__doc__, data="Not used: speed does not depend on the images.", repeats=3).parse_args()
    on = machine()

    from fer_core.training import backend

    backend.load()
    import keras
    import numpy as np

    from fer_core.jobs.store import Job
    from fer_core.models.architectures import build, set_trainable
    from fer_core.training import features
    from fer_core.training.config import AugmentationConfig, PhaseConfig, load_preset
    from fer_core.training.data import TrainingBatches
    from fer_core.training.optimizers import make_optimizer

    class Quiet:
        """A worker of which nobody hears."""

        def __call__(self, phase: str, done: int, total: int) -> None: ...

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, 48, 48, 1)).astype(np.uint8)
    labels = rng.integers(0, 7, IMAGES)
    still = AugmentationConfig(flip=False, rotate=0, scale_min=1, scale_max=1, shift=0)
    phase: PhaseConfig = (
        load_preset("resnet50v2")
        .phases[0]
        .model_copy(update={"augmentation": still, "batch_size": BATCH, "schedule": "constant"})
    )
    config = load_preset("resnet50v2").model_copy(update={"side": SIDE})
    losses: dict[str, list[float]] = {}

    def train(cached: bool) -> Callable[[], float]:
        def run() -> float:
            keras.utils.set_random_seed(1)
            model = build(config, (48, 48, 1))
            set_trainable(model, phase)
            began = time.perf_counter()
            learner: keras.Model = model
            read: Any = images
            with tempfile.TemporaryDirectory() as folder:
                if cached:
                    worker: Any = Quiet()
                    worker.job = Job(Path(folder))
                    read = features.backbone_features(model, images, Path(folder) / "f", "train", worker, BATCH)
                    learner = features.head_model(model)
                batches = TrainingBatches(read, labels, phase, index=0, seed=1)
                learner.compile(
                    optimizer=make_optimizer(phase, len(batches)),
                    loss=keras.losses.CategoricalCrossentropy(from_logits=True),
                )
                history = learner.fit(batches, epochs=EPOCHS, shuffle=False, verbose=0)
            losses["cached" if cached else "slow"] = history.history["loss"]
            return time.perf_counter() - began

        return run

    sides = {"features computed once": train(True), "backbone in every step": train(False)}
    ours, baseline = interleave(sides, options.repeats).values()
    apart = max(abs(a - b) for a, b in zip(losses["cached"], losses["slow"], strict=True))
    figures = [
        Figure("features computed once", "s", Summary.of(ours)),
        Figure("backbone in every step", "s", Summary.of(baseline)),
        Figure("times faster", "x", Summary.of(ratios(baseline, ours)), "the backbone in every step", at_least=6),
        Figure("largest difference of an epoch's loss", "", Summary.of([apart]), at_most=0),
    ]
    told = f"resnet50v2 at {SIDE}x{SIDE}, {IMAGES:,} images, {EPOCHS} epochs of the head, batches of {BATCH}"
    report("features", told, on, figures, as_json=options.json)


if __name__ == "__main__":
    main()
