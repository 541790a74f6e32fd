"""A finished run around the brightness model, without training."""

import json

import numpy as np

from fer_core.cli.evaluate import SEALED
from fer_core.data.copies import fingerprint
from fer_core.evaluation.predictions import predictions_file, write_predictions
from fer_core.evaluation.report import evaluate_predictions
from fer_core.inference.served import (
    CARD_FILE,
    FINGERPRINTS_FILE,
    MODEL_FILE,
    ModelCard,
    ModelInput,
    ParameterCounts,
    TrainingData,
)
from fer_core.jobs.store import Job, JobStatus
from fer_core.training import runs
from fer_core.training.config import apply_overrides, load_preset
from tests.unit.served_models import write_brightness_model


def write_run(space, name, dataset):
    """Makes the folder of a run that was trained on ``dataset``; returns it."""
    folder = Job.create(space.runs, "train", name, ["train", dataset.name]).folder
    info = dataset.info
    write_brightness_model(folder / MODEL_FILE, shape=(info.height, info.width, info.channels))
    card = ModelCard(
        name=name,
        created=0.0,
        input=ModelInput(height=info.height, width=info.width, channels=info.channels),
        preset="compact",
        parameters=ParameterCounts(total=7, trainable=7, non_trainable=0),
        size_mib=0.1,
        dataset=TrainingData(
            name=dataset.name,
            fingerprint=info.fingerprint,
            policy=info.config["policy"],
            contaminated=info.contaminated,
            leaked=info.leaked,
        ),
        intended_use="Tests.",
        notes=[f"The epoch was chosen on validation. {SEALED}", SEALED],
    )
    (folder / CARD_FILE).write_text(card.model_dump_json())
    np.save(folder / FINGERPRINTS_FILE, fingerprint(dataset.split("train").images))
    return folder


def write_finished_run(space, name, dataset, *, wrong=(), changes=(), accuracies=(0.3, 0.5)):
    """Makes a run as training leaves it: settings, curves, checkpoint, predictions, scores, card.

    Args:
        wrong: Rows of the validation split that it reads as the class after the right one.
        changes: Settings that differ from the preset, as ``key=value``.
        accuracies: On validation, epoch by epoch.
    """
    folder = write_run(space, name, dataset)
    job = Job(folder)
    runs.write_config(job, runs.complete(apply_overrides(load_preset("compact"), changes), dataset, allow_leaks=True))
    split = dataset.split("validation")
    said = split.labels.copy()
    said[list(wrong)] = (said[list(wrong)] + 1) % 7
    answers = np.full((len(said), 7), 0.01)
    answers[np.arange(len(said)), said] = 0.94
    paths = split.table["path"].tolist()
    write_predictions(predictions_file(folder, "validation"), paths=paths, labels=split.labels, probabilities=answers)
    report = evaluate_predictions(answers, split.labels, None, "")
    card = ModelCard.model_validate_json((folder / CARD_FILE).read_bytes())
    card.metrics = {"validation": report}
    (folder / CARD_FILE).write_text(card.model_dump_json())
    (folder / runs.METRICS_FILE).write_text(json.dumps({"validation": report.model_dump(mode="json")}))
    same = dict.fromkeys(("loss", "accuracy", "val_macro_f1", "learning_rate", "weight_decay"), 0.5)
    for number, value in enumerate(accuracies):
        scores = {**same, "val_accuracy": value, "val_loss": 2 - value, "val_recall": {}, "samples": []}
        place = {"phase": 0, "epoch": number, "global_epoch": number, "best": value == max(accuracies[: number + 1])}
        job.append_event({"type": "epoch", **place, **scores, "seconds": 30.0, "images_per_second": 100.0})
    (folder / runs.CHECKPOINTS).mkdir()
    (folder / runs.CHECKPOINTS / "phase1-epoch001.npz").write_bytes(b"0" * 2_000_000)
    job.write_status(JobStatus(state="done"))
    return folder
