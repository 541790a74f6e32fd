"""Makes a workspace of many training runs, without training: what the Runs page is measured on.

``python -m benchmarks.many_runs FOLDER --runs 500`` makes one to look at: ``FER_WORKSPACE=FOLDER make run``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.measure import note

if TYPE_CHECKING:
    import numpy as np

    from fer_core.data.dataset import Dataset
    from fer_core.training.config import RunConfig
    from fer_core.workspace import Workspace

VALIDATION: Final = 2679
"""Images of the validation split of each dataset: as many as FER2013 has without copies, a tenth of train."""

BATCH_EVENTS: Final = 20
"""Of an epoch; a real one writes two a second."""

_DATASETS: Final = ("faces", "balanced")
_SEEDS: Final = 4  # of every recipe
_TAGS: Final = ("keep", "wide", "ablation", "night")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=500)
    options = parser.parse_args()

    from fer_core.workspace import Workspace

    make_runs(Workspace(options.folder.absolute()), options.runs)


def make_runs(space: Workspace, count: int) -> None:
    """Fills a workspace with two datasets of drawn faces and ``count`` runs on them, as training leaves them.

    Every recipe has four seeds; most are finished, every 40th was stopped and every 50th crashed.
    """
    import numpy as np

    from fer_core.training.config import apply_overrides, load_preset
    from fer_core.training.runs import complete

    datasets = [_dataset(space, name) for name in _DATASETS]
    preset = load_preset("compact")
    random = np.random.default_rng(0)
    for number in range(count):
        recipe, seed = divmod(number, _SEEDS)
        if number % 100 == 0:
            note(f"making runs: {number} of {count}")
        changes = [f"head_l2={recipe % 10 / 1000}", f"phases.0.batch_size={32 + recipe}", f"seed={seed + 1}"]
        config = complete(apply_overrides(preset, changes), datasets[recipe % len(datasets)])
        state = "stopped" if number % 40 == 39 else "running" if number % 50 == 49 else "done"
        written = time.time() - 3600 * (count - number)
        _run(space, f"recipe-{recipe:03}-{seed + 1}", config, datasets[recipe % len(datasets)], random, state, written)


def _dataset(space: Workspace, name: str) -> Dataset:
    import cv2
    import numpy as np
    import pandas as pd

    from fer_core.data.dataset import LazyRows, write_dataset
    from fer_core.data.demo import draw_face
    from fer_core.data.info import SPLITS, Audit, DatasetInfo, count
    from fer_core.emotions import EMOTIONS

    faces = [np.asarray(draw_face(emotion, seed=1, size=48)) for emotion in EMOTIONS]
    encoded = [cv2.imencode(".png", face)[1].tobytes() for face in faces]
    rows, names, labels = {}, [], []
    for split, n in zip(SPLITS, (140, VALIDATION, 140), strict=True):
        chosen = np.arange(n) % len(EMOTIONS)
        keys = [f"{name}/{split}/{index}.png" for index in range(n)]
        texts = {"path": keys, "pixel_sha": keys, "photo_id": keys, "source": "drawn", "usage": split, "flags": ""}
        table = pd.DataFrame({**texts, "parent_id": None, "label": chosen})
        rows[split] = LazyRows(table, lambda wanted: [encoded[index % len(encoded)] for index in wanted])
        names += [split] * n
        labels += chosen.tolist()
    return write_dataset(
        space.datasets / name,
        DatasetInfo(
            name=name, created=time.time(), config={"policy": "leak-free"}, height=48, width=48, channels=1,
            counts={"read": count(names, np.array(labels, np.int64))}, removed=[], copy_rule={}, contaminated=False,
            audit=Audit(exact_groups=0, redundant=0, conflicting_groups=0, constant=0, cross_split={}),
            leaked={"validation": 0, "test": 0},
        ),
        rows,
    )  # fmt: skip


def _run(
    space: Workspace,
    name: str,
    config: RunConfig,
    dataset: Dataset,
    random: np.random.Generator,
    state: str,
    written: float,
) -> None:
    import numpy as np

    from fer_core.inference.served import MODEL_FILE
    from fer_core.jobs.store import Job, JobStatus
    from fer_core.training.run_folder import Notes, write_notes
    from fer_core.training.runs import CHECKPOINTS, KIND, write_config

    job = Job.create(space.runs, KIND, name, ["train", dataset.name, "--name", name])
    write_config(job, config)
    epochs = int(random.integers(12, 45))
    steepness = 4 * (1 + random.random())
    curve = 0.25 + 0.4 * (1 - np.exp(-np.linspace(0, steepness, epochs))) + random.normal(0, 0.008, epochs)
    with (job.folder / "events.jsonl").open("w") as lines:
        best = 0.0
        for epoch, accuracy in enumerate(curve.tolist()):
            events = [_batch(epoch, batch) for batch in range(BATCH_EVENTS)]
            events.append(_epoch(epoch, accuracy, accuracy > best))
            best = max(best, accuracy)
            lines.writelines(json.dumps({"time": written + epoch, **event}) + "\n" for event in events)
    (job.folder / CHECKPOINTS).mkdir()
    with (job.folder / CHECKPOINTS / f"phase1-epoch{epochs:03}.npz").open("wb") as file:
        file.truncate(4 * 2**20)
    if random.random() < 0.3:
        write_notes(job.folder, Notes(tags=[str(random.choice(_TAGS))], note="Tried at night."))
    job.write_status(JobStatus(state=state, total=epochs, done=epochs))
    if state == "done":
        (job.folder / MODEL_FILE).write_bytes(b"\0" * 100_000)  # never loaded here
        _scores(job.folder, name, dataset, random, best)
    os.utime(job.folder / "job.json", (written, written))  # runs are sorted by it


def _batch(epoch: int, number: int) -> dict[str, Any]:
    scores = {"loss": 1.6 - 0.01 * epoch, "accuracy": 0.3 + 0.005 * epoch, "images_per_second": 480.2}
    place = {"phase": 0, "epoch": epoch, "batch": number, "batches": BATCH_EVENTS}
    return {"type": "batch", **place, **scores, "cpu_percent": 187.5, "memory_bytes": 1_234_567_890}


def _epoch(number: int, accuracy: float, best: bool) -> dict[str, Any]:
    from fer_core.emotions import EMOTIONS

    names = ("loss", "accuracy", "val_macro_precision", "val_macro_recall", "val_macro_f1")
    sample = {"row": 3, "true": "happy", "guess": "sad", "probability_true": 0.2}
    return {
        "type": "epoch", "phase": 0, "epoch": number, "global_epoch": number, **dict.fromkeys(names, 0.5),
        "val_accuracy": accuracy, "val_loss": 2 - 2 * accuracy, "val_recall": dict.fromkeys(EMOTIONS, 0.5),
        "learning_rate": 1e-3, "weight_decay": 1e-4, "seconds": 50.0, "images_per_second": 480.2, "best": best,
        "samples": [sample] * 8,
    }  # fmt: skip


def _scores(folder: Path, name: str, dataset: Dataset, random: np.random.Generator, accuracy: float) -> None:
    """Predictions of the validation split with that accuracy, and what is made of them."""
    import numpy as np

    from fer_core.evaluation.predictions import predictions_file, write_predictions
    from fer_core.evaluation.report import evaluate_predictions
    from fer_core.inference.served import CARD_FILE, ModelCard, ModelInput, ParameterCounts, TrainingData
    from fer_core.training.runs import METRICS_FILE

    labels = np.arange(VALIDATION) % 7
    said = np.where(random.random(VALIDATION) < accuracy, labels, (labels + random.integers(1, 7, VALIDATION)) % 7)
    answers = np.full((VALIDATION, 7), 0.08) + 0.44 * np.eye(7)[said]
    paths = [f"{dataset.name}/validation/{index}.png" for index in range(VALIDATION)]
    write_predictions(predictions_file(folder, "validation"), paths=paths, labels=labels, probabilities=answers)
    report = evaluate_predictions(answers, labels, None, "")
    info = dataset.info
    data = TrainingData(
        name=dataset.name, fingerprint=info.fingerprint, policy="leak-free", contaminated=False, leaked=info.leaked
    )
    card = ModelCard(
        name=name,
        created=0.0,
        input=ModelInput(height=48, width=48, channels=1),
        preset="compact",
        parameters=ParameterCounts(total=7, trainable=7, non_trainable=0),
        size_mib=0.1,
        dataset=data,
        metrics={"validation": report},
        intended_use="Measuring the Runs page.",
    )
    (folder / CARD_FILE).write_text(card.model_dump_json())
    (folder / METRICS_FILE).write_text(json.dumps({"validation": report.model_dump(mode="json")}))


if __name__ == "__main__":
    main()
