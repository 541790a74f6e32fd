"""Trains a run, from its first epoch or from where it was interrupted, to the files that it leaves."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import keras

from fer_core.data.dataset import Dataset, Split
from fer_core.errors import DatasetError, JobError, Stopped
from fer_core.jobs.worker import Worker
from fer_core.models.architectures import build, set_trainable
from fer_core.training import checkpoints, predict
from fer_core.training.callbacks.best import Best
from fer_core.training.callbacks.checkpoint import Checkpoint
from fer_core.training.callbacks.epoch_events import EpochEvents
from fer_core.training.callbacks.reporter import Reporter
from fer_core.training.callbacks.sample_board import SampleBoard
from fer_core.training.callbacks.validation import Validation
from fer_core.training.checkpoints import BestEpoch, CheckpointState
from fer_core.training.config import RunConfig
from fer_core.training.data import TrainingBatches
from fer_core.training.optimizers import make_optimizer
from fer_core.training.results import write_results


def train(config: RunConfig, dataset: Dataset, worker: Worker) -> None:
    """Trains in the folder of ``worker.job``; where it holds a checkpoint, goes on after it.

    The outcome does not depend on how often, or when, the run was interrupted: on one processor, the same
    seed and number of threads give the same weights bit by bit.

    Args:
        config: Complete settings of the run.
        dataset: What it names.
        worker: The run's job; told of progress, and asked whether to stop.

    Raises:
        Stopped: The user asked for it; the finished epochs are kept.
        DatasetError: A split to train or validate on is empty.
        JobError: The checkpoint is damaged or of other settings.
        FerError: The loss is no longer a number.
    """
    folder = worker.job.folder / checkpoints.FOLDER
    state = _load_state(folder, config)
    try:
        worker("Reading dataset", 0, 0)
        training, validation = _read(dataset, "train"), _read(dataset, "validation")
        worker("Compiling", 0, 0)
        keras.utils.set_random_seed(config.seed)
        shape = (dataset.info.height, dataset.info.width, dataset.info.channels)
        model = build(config.architecture, shape, dropout=config.dropout)
        best = _Trainer(config, model, training, validation, worker).run(state)
        checkpoints.restore(folder, best.phase, best.epoch, model)
        write_results(config, dataset, model, training, validation, best, worker)
    except Stopped:
        raise Stopped(_what_is_kept(folder, config, worker.job.name)) from None


@dataclass(frozen=True)
class _Trainer:
    """The phases of a run on its data."""

    config: RunConfig
    model: keras.Model
    training: Split
    validation: Split
    worker: Worker

    def run(self, state: CheckpointState | None) -> BestEpoch:
        """Trains the epochs after ``state``, all where it is None, and returns the best epoch of the run."""
        folder = self.worker.job.folder / checkpoints.FOLDER
        best = state.best if state else None
        for index in range(state.phase if state else 0, len(self.config.phases)):
            batches = self._compile(index)
            first = 0
            if state and index == state.phase:
                checkpoints.restore(folder, state.phase, state.epoch, self.model, self.model.optimizer)
                first = state.epoch + 1
            best = self._fit(index, batches, first, best)
        assert best is not None  # a run has at least one epoch
        return best

    def _compile(self, index: int) -> TrainingBatches:
        """Gives the model a phase's optimizer and loss; returns what the phase trains on."""
        phase = self.config.phases[index]
        batches = TrainingBatches(
            self.training.images,
            self.training.labels,
            batch_size=phase.batch_size,
            augmentation=self.config.augmentation,
            seed=self.config.seed,
            phase=index,
        )
        set_trainable(self.model, phase.trainable)
        optimizer = make_optimizer(phase, len(batches))
        self.model.compile(
            optimizer=optimizer,
            loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=phase.label_smoothing),
            metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        )
        optimizer.build(self.model.trainable_variables)  # now, so that a checkpoint finds its variables
        return batches

    def _fit(self, index: int, batches: TrainingBatches, first: int, best: BestEpoch | None) -> BestEpoch | None:
        """Trains a phase from its epoch ``first`` on; returns the best epoch so far."""
        phases, phase = self.config.phases, self.config.phases[index]
        if first == phase.epochs:
            return best
        steps = predict.steps(len(self.validation))
        reporter = Reporter(self.worker, batches, phase=index, phases=len(phases), validation_steps=steps)
        scores = Validation(
            self.validation.images,
            self.validation.labels,
            label_smoothing=phase.label_smoothing,
            tick=reporter.validated,
        )
        winner = Best(index, best)
        events = EpochEvents(
            self.worker,
            phase=index,
            epochs_before=sum(before.epochs for before in phases[:index]),
            reporter=reporter,
            validation=scores,
            board=SampleBoard(self.validation.labels, self.config.seed),
            best=winner,
        )
        checkpoint = Checkpoint(self.worker, phase=index, best=winner, config_hash=_hash(self.config))
        self.worker.emit("phase_start", phase=index, name=phase.name, epochs=phase.epochs)
        self.model.fit(
            batches,
            initial_epoch=first,
            epochs=phase.epochs,
            shuffle=False,
            verbose=0,
            callbacks=[reporter, scores, winner, events, checkpoint],
        )
        return winner.epoch


def _load_state(folder: Path, config: RunConfig) -> CheckpointState | None:
    state = checkpoints.load_state(folder)
    if state and state.config_hash != _hash(config):
        raise JobError(
            f"{folder.parent / 'config.yaml'} was changed after training began, so the run cannot go on. "
            "Undo the change, or start a new run with it."
        )
    return state


def _hash(config: RunConfig) -> str:
    return hashlib.sha256(config.to_yaml().encode()).hexdigest()


def _read(dataset: Dataset, name: str) -> Split:
    split = dataset.split(name)
    if not len(split.labels):
        raise DatasetError(
            f"{dataset.name}: the {name} split holds no image, and training needs some. Prepare the dataset again."
        )
    return split


def _what_is_kept(folder: Path, config: RunConfig, name: str) -> str:
    state = checkpoints.load_state(folder)
    if state is None:
        return f"Stopped before the first epoch ended: nothing is kept. Start over with `train --resume {name}`."
    done = sum(phase.epochs for phase in config.phases[: state.phase]) + state.epoch + 1
    return (
        f"Stopped; {done} of {config.total_epochs} epochs are kept, the best with "
        f"{100 * state.best.val_accuracy:.1f} % on validation. Go on with `train --resume {name}`."
    )
