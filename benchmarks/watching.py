"""Server time per update of a run that is watched, after 100,000 batch events."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure, Summary, arguments, interleave, machine, ratios, report

EPOCHS = 500
PER_EPOCH = 200
"""Batch events of an epoch: at two a second, epochs of 100 s."""

WHOLE = "the same after reading all events again"


def main() -> None:
    options = arguments(__doc__, data="Not used: the events are made up.", repeats=15).parse_args()
    on = machine()

    from dashboard import charts
    from fer_core.jobs.store import Job, JobStatus
    from fer_core.training import run_log
    from fer_core.training.config import load_preset
    from fer_core.training.runs import CONFIG_FILE, Run

    with tempfile.TemporaryDirectory() as folder:
        job = Job.create(Path(folder), "train", "long", [])
        config = load_preset("compact")
        config.phases[0].epochs = EPOCHS
        (job.folder / CONFIG_FILE).write_text(config.to_yaml())
        job.write_status(JobStatus(state="running"))
        size = _write(job.folder / "events.jsonl")
        batch = 0

        def look() -> tuple[float, float]:
            """One more batch, then what the page reads of the run; and the picture made of it."""
            nonlocal batch
            batch += 1
            job.append_event(_batch(EPOCHS - 1, batch % PER_EPOCH))
            began = time.perf_counter()
            run = Run(job)
            read = (run.progress, run.best, run.samples, run.changes, run.gap)
            history, batches, phases = run.history, run.batches, run.phases
            taken = time.perf_counter() - began
            assert read
            figure = charts.training_curves(history, batches, "light", phases=phases, events={"New best": []})
            figure.to_json()
            return taken, time.perf_counter() - began

        def whole() -> tuple[float, float]:
            run_log.forget()
            return look()

        looks: dict[str, Callable[[], tuple[float, float]]] = {"what is new": look, "everything": whole}
        look()
        new, all_over = interleave(looks, options.repeats).values()
    read, again = ([1000 * taken for taken, _ in side] for side in (new, all_over))
    drawn = [1000 * taken for _, taken in new]
    figures = [
        Figure("reading what an update needs", "ms", Summary.of(read)),
        Figure(WHOLE, "ms", Summary.of(again)),
        Figure("reading what an update needs", "x", Summary.of(ratios(read, again)), WHOLE),
        Figure("reading and drawing the curves", "ms", Summary.of(drawn)),
    ]
    events = f"{EPOCHS * PER_EPOCH:,} batch events of {EPOCHS} epochs, {size / 1e6:.0f} MB"
    report("watching", events, on, figures, as_json=options.json)


def _batch(epoch: int, number: int) -> dict[str, Any]:
    scores = {"loss": 1.6 - 0.001 * epoch, "accuracy": 0.3 + 0.0005 * epoch, "images_per_second": 480.2}
    place = {"phase": 0, "epoch": epoch, "batch": number, "batches": PER_EPOCH}
    return {"type": "batch", **place, **scores, "cpu_percent": 187.5, "memory_bytes": 1_234_567_890}


def _epoch(number: int) -> dict[str, Any]:
    from fer_core.emotions import EMOTIONS

    names = ("loss", "val_loss", "accuracy", "val_accuracy", "val_macro_precision", "val_macro_recall", "val_macro_f1")
    sample = {"row": 3, "true": "happy", "guess": "sad", "probability_true": 0.2}
    return {
        "type": "epoch", "phase": 0, "epoch": number, "global_epoch": number, **dict.fromkeys(names, 0.5),
        "val_recall": dict.fromkeys(EMOTIONS, 0.5), "learning_rate": 1e-3, "weight_decay": 1e-4, "seconds": 100.0,
        "images_per_second": 480.2, "best": number % 50 == 0, "samples": [sample] * 8,
    }  # fmt: skip


def _write(file: Path) -> int:
    """Writes all events but the last epoch's end; returns their size in bytes."""
    with file.open("w") as lines:
        for epoch in range(EPOCHS):
            for event in (*(_batch(epoch, number) for number in range(PER_EPOCH)), _epoch(epoch)):
                lines.write(json.dumps({"time": 1.8e9 + epoch, **event}) + "\n")
    return file.stat().st_size


if __name__ == "__main__":
    main()
