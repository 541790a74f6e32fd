"""Images a second of a ``compact`` run against the bare compiled step on one batch that stays in memory."""

from __future__ import annotations

import contextlib
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import inputs
from benchmarks.measure import Figure, Summary, arguments, machine, note, ratios, report

STEPS = 100
"""Steps of a segment. A run's epoch and a segment of the bare step take turns."""

VALIDATION = 256
"""Images to validate on. Validation is no part of either figure."""


def main() -> None:
    options = arguments(__doc__, data=inputs.DATASET_HELP, repeats=5).parse_args()
    on = machine()

    from fer_core.training import backend
    from fer_core.training.config import load_preset

    config = load_preset("compact")
    config.phases[0].epochs = options.repeats
    backend.load(config.threads)

    import keras
    import numpy as np

    from fer_core.data.dataset import Dataset, Split
    from fer_core.errors import Stopped
    from fer_core.jobs.store import Job
    from fer_core.jobs.worker import Worker
    from fer_core.models.architectures import build
    from fer_core.training.loop import train
    from fer_core.training.optimizers import make_optimizer

    phase = config.phases[0]

    @dataclass(frozen=True)
    class Part(Dataset):
        """As many images as a segment needs, repeated where there are fewer."""

        def split(self, name: str, *args: Any) -> Split:
            whole = super().split(name, *args)
            rows = np.resize(np.arange(len(whole)), STEPS * phase.batch_size if name == "train" else VALIDATION)
            return replace(whole, images=whole.images[rows], labels=whole.labels[rows], table=whole.table.iloc[rows])

    class BareStep:
        """The network of the run, with its optimizer and loss, and nothing around it."""

        def __init__(self, dataset: Dataset) -> None:
            info, training = dataset.info, dataset.split("train")
            self._model = build(config, (info.height, info.width, info.channels))
            self._model.compile(
                optimizer=make_optimizer(phase, STEPS),
                loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=phase.label_smoothing),
                metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
            )
            rows = slice(0, phase.batch_size)
            targets = np.eye(self._model.output_shape[-1], dtype=np.float32)[training.labels[rows]]
            self._batch = keras.ops.convert_to_tensor(training.images[rows]), keras.ops.convert_to_tensor(targets)
            self._model.train_on_batch(*self._batch)  # compiles

        def images_per_second(self) -> float:
            began = time.perf_counter()
            for _ in range(STEPS):
                self._model.train_on_batch(*self._batch)
            return STEPS * phase.batch_size / (time.perf_counter() - began)

    class Turns(Worker):
        """A run's worker that lets the bare step have its turn after every epoch."""

        def emit(self, kind: str, **fields: Any) -> None:
            super().emit(kind, **fields)
            if kind == "epoch":
                ours.append(fields["images_per_second"])
            elif kind == "checkpoint":
                note(f"{len(ours)} of {options.repeats}")
                bare.append(step.images_per_second())
                if len(ours) == options.repeats:
                    raise Stopped("Measured.")  # before the run's results are written

    ours: list[float] = []
    bare: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        whole = Dataset.open(inputs.leak_free_dataset(options.data, scratch))
        dataset = Part(whole.folder, whole.info)
        step = BareStep(dataset)
        worker = Turns(Job.create(scratch / "runs", "train", "measured", []))
        with contextlib.suppress(Stopped):
            train(config, dataset, worker)
    figures = [
        Figure("training run, validation not counted", "images/s", Summary.of(ours)),
        Figure("bare compiled step", "images/s", Summary.of(bare)),
        Figure(
            "training run",
            "x",
            Summary.of(ratios(ours, bare)),
            f"the bare compiled step of the same network on one batch of {phase.batch_size} in memory",
            at_least=0.9,
        ),
    ]
    shape = "x".join(map(str, (whole.info.height, whole.info.width, whole.info.channels)))
    what = f"compact, {shape}, batches of {phase.batch_size}, {STEPS} steps a segment, on {whole.name}"
    report("training", what, on, figures, as_json=options.json)


if __name__ == "__main__":
    main()
