"""A run in MLflow: settings, scores, state and results, over its client."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

import fer_core
from fer_core.errors import FerError
from fer_core.evaluation.figures import confusion_matrix_file
from fer_core.evaluation.report import EvaluationReport
from fer_core.inference.card_text import leak_words
from fer_core.inference.served import CARD_FILE, MODEL_FILE
from fer_core.jobs.state import JobState
from fer_core.jobs.store import write_atomically
from fer_core.training.differences import flat
from fer_core.training.facts import dataset_leak
from fer_core.training.figures import HISTORY_FILE
from fer_core.training.runs import CONFIG_FILE, METRICS_FILE, Run, open_dataset
from fer_core.training.tracking.epochs import LAST_SCORE, Epoch
from fer_core.training.tracking.places import MLFLOW_FILE, MlflowPlace, mlflow_place

_OURS: Final = "fer_core.job"  # the tag by which a run is found again whose first answer was lost
_MOST_METRICS: Final = 1000  # of one request, as MLflow allows
_MOST_PARAMETERS: Final = 100
_STATES: Final = {JobState.DONE: "FINISHED", JobState.FAILED: "FAILED", JobState.CRASHED: "FAILED"}

# The figure of predicted faces stays here: photographs of people are not handed on.
_FILES: Final = (MODEL_FILE, CARD_FILE, METRICS_FILE, CONFIG_FILE, "classification_report.csv", HISTORY_FILE)


class Mlflow:
    """The run of that name in an experiment of the dataset's name; made where it is not there yet.

    What MLflow has already is asked of MLflow, so no point is doubled.

    Args:
        run: Ours.
        uri: Address of the server or file.
    """

    def __init__(self, run: Run, uri: str) -> None:
        self._run = run
        self._client = MlflowClient(tracking_uri=uri)
        self._id = self._found(uri)
        theirs = self._client.get_run(self._id)
        if theirs.info.run_name != run.name:
            self._client.update_run(self._id, name=run.name)
        if run.state.alive and theirs.info.status != "RUNNING":
            self._client.update_run(self._id, status="RUNNING")
        self._write_settings(set(theirs.data.params))
        self._written = {point.step for point in self._client.get_metric_history(self._id, LAST_SCORE)}

    def update(self, epochs: Sequence[Epoch]) -> None:
        """Sends the epochs that MLflow does not have.

        Raises:
            MlflowException: It does not answer, or refuses.
        """
        new = [epoch for epoch in epochs if epoch.step not in self._written]
        self._send(
            [
                Metric(name, value, round(1000 * epoch.time), epoch.step)
                for epoch in new
                for name, value in epoch.scores.items()
            ]
        )
        self._written.update(epoch.step for epoch in new)

    def finish(self, state: JobState) -> None:
        """Says how the run ended; of a finished one also the scores of its model, and its files."""
        self._run = Run(self._run.job)  # as it is now
        finished = self._run.status.finished or time.time()
        if state is JobState.DONE:
            self._write_results(finished)
        if not state.alive:  # it may have been resumed meanwhile
            self._client.set_terminated(self._id, _STATES.get(state, "KILLED"), round(1000 * finished))
        if state is JobState.DONE:
            pictures = (confusion_matrix_file(self._run.folder, split) for split in ("validation", "test"))
            for file in (*(self._run.folder / name for name in _FILES), *pictures):
                if file.is_file():
                    self._client.log_artifact(self._id, str(file))

    def close(self) -> None:
        """Nothing is held open."""

    def _found(self, uri: str) -> str:
        """The id of the run, as noted in its folder, else as found by its tag, else of a new one."""
        noted = mlflow_place(self._run.folder)
        if noted and noted.uri == uri:
            return noted.run_id
        experiment = self._experiment(uri)
        created = repr(self._run.job.spec().created)
        there = self._client.search_runs([experiment], f"tags.`{_OURS}` = '{created}'", max_results=1)
        if there:
            run_id = there[0].info.run_id
        else:
            tags = {_OURS: created, **dict(self._tags())}
            begun = round(1000 * self._run.job.spec().created)
            run_id = self._client.create_run(experiment, begun, tags, self._run.name).info.run_id
        place = MlflowPlace(uri=uri, experiment_id=experiment, run_id=run_id)
        write_atomically(self._run.folder / MLFLOW_FILE, place.model_dump_json(indent=2))
        return run_id

    def _experiment(self, uri: str) -> str:
        dataset = self._run.config.dataset
        name = dataset.name if dataset else "fer_core"
        there = self._client.get_experiment_by_name(name)
        if there is not None:
            return there.experiment_id
        try:
            return self._client.create_experiment(name, _artifact_folder(uri, name))
        except MlflowException:  # another run has made it just now
            there = self._client.get_experiment_by_name(name)
            if there is None:
                raise
            return there.experiment_id

    def _tags(self) -> Iterator[tuple[str, str]]:
        config = self._run.config
        yield "fer_core.version", fer_core.__version__
        yield "preset", config.preset
        if config.dataset:
            yield "dataset", config.dataset.name
            yield "dataset_fingerprint", config.dataset.fingerprint
        with contextlib.suppress(FerError, OSError):  # a dataset that is gone says no more
            dataset = open_dataset(config)
            yield "policy", str(dataset.info.config.get("policy", ""))
            yield "leaks", dataset_leak(dataset)

    def _write_settings(self, known: set[str]) -> None:
        new = [Param(key, str(value)) for key, value in flat(self._run.config).items() if key not in known]
        for start in range(0, len(new), _MOST_PARAMETERS):
            self._client.log_batch(self._id, params=new[start : start + _MOST_PARAMETERS])

    def _write_results(self, finished: float) -> None:
        card, scores = self._run.card, self._run.metrics or {}
        reports = {
            split: EvaluationReport.model_validate(scores[split])
            for split in ("validation", "test")
            if isinstance(scores.get(split), dict)
        }
        step, when = max(self._written, default=0), round(1000 * finished)
        known = self._client.get_run(self._id).data.metrics
        final = {
            f"final/{split}_{name}": value for split, report in reports.items() for name, value in _figures(report)
        }
        self._send([Metric(name, value, when, step) for name, value in final.items() if known.get(name) != value])
        tags = {"mlflow.note.content": self._run.status.message}
        if card:
            tags |= {f"leaks_{split}": leak_words(card, split) for split in reports}
        self._client.log_batch(self._id, tags=[RunTag(*tag) for tag in tags.items()])

    def _send(self, metrics: list[Metric]) -> None:
        for start in range(0, len(metrics), _MOST_METRICS):
            self._client.log_batch(self._id, metrics=metrics[start : start + _MOST_METRICS])


def _figures(report: EvaluationReport) -> Iterator[tuple[str, float]]:
    known: dict[str, Any] = {
        "accuracy": report.accuracy,
        "accuracy_ci95_low": report.ci95[0],
        "accuracy_ci95_high": report.ci95[1],
        "accuracy_leak_free": report.leak_free.accuracy,
        "macro_f1": report.macro_f1,
        "loss": report.loss,
        "calibration_error": report.ece,
        "images": report.n,
    }
    yield from ((name, float(value)) for name, value in known.items() if value is not None)


def _artifact_folder(uri: str, experiment: str) -> str | None:
    """Where a store without a server keeps files: beside it, not in whatever folder we were started from."""
    parts = urlsplit(uri)
    if parts.scheme != "sqlite":
        return None
    return (Path(parts.path[1:]).parent / "mlartifacts" / experiment).as_uri()
