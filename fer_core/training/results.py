"""What a finished run leaves: model, card, predictions on validation, scores. The test split stays sealed.

Everything can be written again from the checkpoints, so an interruption here costs seconds. ``metrics.json``
comes
last of what counts: where it is, all of that is. Then the figures are drawn.
"""

from __future__ import annotations

import io
import json
import logging
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np

from fer_core.data.copies import fingerprint
from fer_core.data.dataset import Dataset, Split
from fer_core.evaluation.calibration import apply_temperature, fit_temperature
from fer_core.evaluation.figures import (
    SAMPLES_FILE,
    confusion_matrix_file,
    write_confusion_matrix,
    write_prediction_samples,
)
from fer_core.evaluation.metrics import Floats, share_words
from fer_core.evaluation.predictions import Origin, predictions_file, write_predictions
from fer_core.evaluation.report import EvaluationReport, evaluate_predictions, report_table
from fer_core.evaluation.reveals import reveals
from fer_core.inference.card_text import leak_words
from fer_core.inference.served import (
    CARD_FILE,
    FINGERPRINTS_FILE,
    INTENDED_USE,
    LIMITS,
    MODEL_FILE,
    ModelCard,
    ModelInput,
    TrainingData,
)
from fer_core.jobs.store import write_atomically
from fer_core.jobs.worker import Worker
from fer_core.models.architectures import count_parameters, set_trainable
from fer_core.models.export import export_onnx
from fer_core.training import backend, predict
from fer_core.training.checkpoints import BestEpoch
from fer_core.training.config import RunConfig
from fer_core.training.figures import HISTORY_FILE, write_training_history
from fer_core.training.runs import KERAS_FILE, Run
from fer_core.workspace import Workspace

_PARITY_SAMPLE: Final = 32

_HOW_SEEN: Final = "Exact, by the dataset's copy rule."


def write_results(
    config: RunConfig,
    dataset: Dataset,
    model: keras.Model,
    training: Split,
    validation: Split,
    best: BestEpoch,
    worker: Worker,
) -> None:
    """Scores the best epoch on validation and writes all files of a finished run.

    Args:
        config: Settings of the run.
        dataset: What it was trained on.
        model: With the weights of the best epoch.
        training: Its training split.
        validation: Its validation split.
        best: The epoch.
        worker: The run's job; its closing sentence is set here.
    """
    folder = worker.job.folder
    probabilities = predict.predict_probabilities(
        model,
        validation.images,
        lambda done: worker("Scoring the best epoch", done, predict.steps(len(validation.labels))),
    )
    temperature = fit_temperature(probabilities, validation.labels)
    served = apply_temperature(probabilities, temperature)
    seen = validation.table["photo_id"].isin(training.table["photo_id"]).to_numpy()
    report = evaluate_predictions(served, validation.labels, seen, _HOW_SEEN, temperature)

    worker("Exporting the model", 0, 0)
    _save_keras(model, folder / KERAS_FILE)
    file = folder / KERAS_FILE
    if backend.exports():
        file = folder / MODEL_FILE
        export_onnx(model, temperature, file, validation.images[:_PARITY_SAMPLE])
    write_atomically(folder / FINGERPRINTS_FILE, _fingerprints(training))

    worker("Writing results", 0, 0)
    write_predictions(
        predictions_file(folder, "validation"),
        paths=validation.table["path"].tolist(),
        labels=validation.labels,
        probabilities=served,
        seen=seen,
        origin=Origin(model=worker.job.name, dataset=dataset.name, note=_HOW_SEEN, temperature=temperature),
    )
    write_atomically(folder / "classification_report.csv", report_table(report).to_csv(index=False))
    card = _card(config, dataset, model, worker.job.name, temperature, report, file)
    write_atomically(folder / CARD_FILE, card.model_dump_json(indent=2))
    metrics: dict[str, Any] = {
        "best": best.model_dump(),
        "temperature": temperature,
        "validation": report.document(),
    }
    write_atomically(folder / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False))
    worker.say(
        finding(report, leak_words(card, "validation")),
        accuracy=report.accuracy,
        ci95=list(report.ci95),
        n=report.n,
        best_epoch=best.epoch + 1,
        best_phase=best.phase + 1,
    )
    title = f"{worker.job.name} on {dataset.name} · validation · {leak_words(card, 'validation')}"
    _draw(Run(worker.job), validation, served, report, title)


def finding(report: EvaluationReport, leaks: str) -> str:
    """The closing sentence of a run: validation accuracy, its 95% interval, number of images, leaks."""
    return f"Validation {share_words(report.accuracy, report.ci95)} · n {report.n:,} · {leaks}"


def _draw(run: Run, validation: Split, probabilities: Floats, report: EvaluationReport, title: str) -> None:
    """Draws the figures. One that fails must not cost a finished run: the log says why it is missing."""
    folder, config = run.folder, run.config
    took = Counter(event["phase"] for event in run.epoch_events)
    phases = [(phase.name, took[index]) for index, phase in enumerate(config.phases)]
    matrix, samples = confusion_matrix_file(folder, "validation"), folder / SAMPLES_FILE
    for draw in (
        lambda: write_training_history(run.history, phases, folder / HISTORY_FILE, title=f"{title} · n {report.n:,}"),
        lambda: write_confusion_matrix(report, matrix, title=title),
        lambda: write_prediction_samples(
            validation.images, validation.labels, probabilities, samples, title=title, seed=config.seed
        ),
    ):
        try:
            draw()
        except Exception:
            logging.getLogger(__name__).exception("A figure could not be drawn; everything else is written.")


def _save_keras(model: keras.Model, file: Path) -> None:
    temporary = file.with_name(f".{file.stem}.tmp.keras")  # Keras tells the format from the suffix
    try:
        # A new model on the same layers was never compiled, so its file holds no optimizer state.
        keras.Model(model.inputs, model.outputs, name=model.name).save(temporary)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def _fingerprints(training: Split) -> bytes:
    """An ``.npy`` file, uint8 ``[photographs, 32]``: of the pictures trained on, not of their children."""
    originals = training.table["parent_id"].isna().to_numpy()
    content = io.BytesIO()
    np.save(content, fingerprint(training.images[originals]))
    return content.getvalue()


def _card(
    config: RunConfig,
    dataset: Dataset,
    model: keras.Model,
    name: str,
    temperature: float,
    report: EvaluationReport,
    file: Path,
) -> ModelCard:
    info = dataset.info
    looks = reveals(Workspace.default(), dataset.table("test")["pixel_sha"])
    times = "once" if looks == 1 else f"{looks} times"
    notes = [
        "The epoch was chosen, and the temperature fitted, on the validation split: its scores are slightly "
        "optimistic.",
        "The test split was not looked at"
        + (f" with this model; with others it had been looked at {times} before." if looks else "."),
    ]
    if config.allow_leaks:
        leaked = ", ".join(f"{n:,} of {split}" for split, n in info.leaked.items() if n)
        notes.append(
            f"Trained with --allow-leaks. Evaluation images whose photograph was trained on: {leaked or 'none'}."
        )
    height, width, channels = model.inputs[0].shape[1:]
    set_trainable(model, config.phases[0])  # parameters are counted as the first phase trains them
    return ModelCard(
        name=name,
        created=time.time(),
        input=ModelInput(height=height, width=width, channels=channels),
        preset=config.preset,
        parameters=count_parameters(model),
        size_mib=round(file.stat().st_size / 2**20, 2),
        dataset=TrainingData.of(dataset),
        temperature=temperature,
        metrics={"validation": report},
        allow_leaks=config.allow_leaks,
        intended_use=INTENDED_USE,
        limits=LIMITS,
        notes=notes,
        test_reveals=looks,
    )
