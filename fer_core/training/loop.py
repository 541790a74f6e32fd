"""Trains a run, from its first epoch or from where it was interrupted, to the files that it leaves."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import keras
import yaml
from numpy.typing import NDArray

from fer_core.data.dataset import Dataset, Split
from fer_core.errors import ConfigError, DatasetError, FerError, JobError, Stopped
from fer_core.inference.card_text import leak_words
from fer_core.inference.served import CARD_FILE
from fer_core.jobs.store import write_atomically
from fer_core.jobs.worker import Worker
from fer_core.models.architectures import build, load_weights, set_trainable
from fer_core.models.export import as_float32
from fer_core.training import backend, checkpoints, distillation, features, predict
from fer_core.training.callbacks.best import Best
from fer_core.training.callbacks.checkpoint import Checkpoint
from fer_core.training.callbacks.early_stopping import EarlyStopping
from fer_core.training.callbacks.epoch_events import EpochEvents
from fer_core.training.callbacks.increase_weight_decay_on_lr_drop import IncreaseWeightDecayOnLRDrop
from fer_core.training.callbacks.plateau import Plateau
from fer_core.training.callbacks.reporter import Reporter
from fer_core.training.callbacks.resumable import Number
from fer_core.training.callbacks.sample_board import SampleBoard
from fer_core.training.callbacks.speed_notes import SpeedNotes
from fer_core.training.callbacks.swap_averages import SwapAverages
from fer_core.training.callbacks.validation import Validation
from fer_core.training.checkpoints import BestEpoch, CheckpointState
from fer_core.training.config import DESCRIPTIVE, TRACKING, PhaseConfig, RunConfig
from fer_core.training.data import TrainingBatches
from fer_core.training.optimizers import compile_phase, swap_averages
from fer_core.training.results import finding, write_results
from fer_core.training.runs import Run
from fer_core.training.speeds import Pictures, network_of, remember_run, work_of
from fer_core.training.weights import locate
from fer_core.workspace import Workspace

_LATER_SETTINGS: Final = {"published", "made_for_gpu", "devices", "width", *TRACKING}


def train(config: RunConfig, dataset: Dataset, worker: Worker) -> None:
    """Trains in the folder of ``worker.job``; where it holds a checkpoint, goes on after it.

    The outcome does not depend on how often, or when, the run was interrupted: on one processor, the same
    seed and number of threads give the same weights bit by bit.

    Processes that train together (``backend.load``) all call it; the first one keeps the checkpoints and writes the
    results.

    Args:
        config: Complete settings of the run.
        dataset: What it names.
        worker: The run's job; told of progress, and asked whether to stop.

    Raises:
        Stopped: The user asked for it; the finished epochs are kept.
        DatasetError: The dataset is gone.
        JobError: The checkpoints are damaged or of other settings.
        FerError: The loss is no longer a number, or the disk is full.
    """
    folder = worker.job.folder / checkpoints.FOLDER
    first = backend.process() == 0
    state = _load_state(folder, config) if first else None
    if state:
        _mend_history(state, worker)
    elif first and _say_finished(worker):
        return
    elif first:
        _forget_history(worker)
    state = _agreed(state)
    try:
        worker("Reading dataset", 0, 0)
        training, validation = dataset.split("train"), dataset.split("validation")
        _check_devices(config, len(training))
        weights = locate(config.weights, config.architecture, worker) if state is None else None
        worker("Compiling", 0, 0)
        keras.utils.set_random_seed(config.seed)
        shape = dataset.info.height, dataset.info.width, dataset.info.channels
        try:
            with backend.scope(), worker.heeding_keep_best():
                model = build(config, shape)
                if weights is not None:
                    load_weights(model, weights)
                worker("Compiling", 0, 0)  # the wish may be older than this process
                best = _Trainer(config, model, training, validation, worker).run(state)
        except Stopped:
            reached = checkpoints.last_state(folder) if worker.keeps_best else None
            if reached is None:
                raise
            best = reached.best
            _remove_helps(worker.job.folder)  # the phase that needed them is over
        else:
            reached = None
        shared = backend.devices() > 1
        backend.leave(alone=reached is not None)
        if not first:
            return
        if shared:
            model = build(config, shape)  # on one device, as the results need it
        checkpoints.restore(folder, best.phase, best.epoch, model)
        write_results(config, dataset, as_float32(config, model), training, validation, best, worker)
        if not shared:  # what is noted is the speed of one device
            pictures = Pictures(len(training), len(validation), shape)
            remember_run(Workspace.default(), worker.job, network_of(config, shape), pictures)
        if reached:
            _say_ended_early(reached.finished, config.total_epochs, worker)
    except Stopped:
        raise Stopped(_what_is_kept(folder, config, worker.job.name)) from None
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        kept = _what_is_kept(folder, config, worker.job.name)
        raise FerError(f"The disk is full. Free some space. {kept}") from error
    except DatasetError as error:
        if checkpoints.last_state(folder) is None:
            raise
        kept = _what_is_kept(folder, config, worker.job.name)
        raise DatasetError(
            f"{dataset.folder} is gone or damaged, and this run still needs it. Put it back. {kept}"
        ) from error


def _say_finished(worker: Worker) -> bool:
    """Whether a run without checkpoints has all its results: then they were freed, and only its status was lost."""
    run = Run(worker.job)
    if not (run.metrics and run.model and run.card and "validation" in run.card.metrics):
        return False
    worker.say(finding(run.card.metrics["validation"], leak_words(run.card, "validation")))
    return True


def _agreed(state: CheckpointState | None) -> CheckpointState | None:
    """The state that the first process goes on from."""
    said = backend.told(state.model_dump_json() if state else None)
    return CheckpointState.model_validate_json(said) if said else None


def _mend_history(state: CheckpointState, worker: Worker) -> None:
    """Writes the ``epoch`` events again that a damaged ``events.jsonl`` has lost."""
    known = {(event["phase"], event["epoch"]) for event in worker.job.events("epoch")}
    for event in state.history:
        if (event["phase"], event["epoch"]) not in known:
            worker.job.append_event(event)


def _forget_history(worker: Worker) -> None:
    """Drops the epochs of an attempt whose checkpoints are gone: the run begins anew, and may take fewer of them."""
    if worker.job.events("epoch"):
        kept = (event for event in worker.job.events() if event.get("type") in ("phase", "device"))
        write_atomically(worker.job.folder / "events.jsonl", "".join(f"{json.dumps(event)}\n" for event in kept))


def _say_ended_early(epochs: int, planned: int, worker: Worker) -> None:
    """Notes on the card, and in the closing sentence, that the user ended the training."""
    card = Run(worker.job).card
    assert card is not None  # written just now
    how = f"stopped after {epochs} of {planned} epochs"
    card.ended_after = epochs
    card.notes.append(f"Training was {how}, on request; the model is the best of them.")
    write_atomically(worker.job.folder / CARD_FILE, card.model_dump_json(indent=2))
    worker.say(f"{worker.message} · {how}")


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
        for index in range(state.phase if state else 0, len(self.config.phases)):
            first = state.epoch + 1 if state and state.phase == index else 0
            if not (first and state and state.ended):
                state = self._fit(index, first, state)
        assert state is not None  # a run has at least one epoch
        return state.best

    def _begin(self, index: int, first: int, state: CheckpointState | None) -> _Material:
        """Sets the network to what a phase begins with, and compiles what the phase trains."""
        phase = self.config.phases[index]
        set_trainable(self.model, phase)
        folder = self.worker.job.folder / checkpoints.FOLDER
        if state:
            # Where the phase before went on without a break, what it ended with is in the network already.
            back = state.best if not first and self.config.phases[index - 1].restore_best else state
            checkpoints.restore(folder, back.phase, back.epoch, self.model)
        material = self._material(index)
        learner = material.learner
        compile_phase(learner, phase, len(material.batches))
        learner.optimizer.build(learner.trainable_variables)  # now, so that a checkpoint finds its variables
        if state and first:
            checkpoints.restore(folder, state.phase, state.epoch, self.model, learner.optimizer)
            if phase.ema:
                swap_averages(learner)  # it was saved with the means in the place of the weights
        return material

    def _material(self, index: int) -> _Material:
        """What a phase trains, and on what: the network on images, or its head on what the frozen rest says of them."""
        phase, worker = self.config.phases[index], self.worker
        learner: keras.Model = self.model
        images: tuple[NDArray[Any], ...] = (self.training.images, self.validation.images)
        if phase.trainable == "head":
            if reason := features.why_not(self.model, phase):
                worker.emit("no_features", phase=index, reason=reason)
            else:
                folder, size = worker.job.folder / features.FOLDER, phase.batch_size
                splits = zip(("train", "validation"), images, strict=True)
                learner = features.head_model(self.model)
                images = tuple(
                    features.backbone_features(self.model, of, folder, name, worker, size) for name, of in splits
                )
        lessons = None
        if phase.teacher_names:
            folder = worker.job.folder / distillation.FOLDER
            lessons = distillation.ask_teachers(self.training.images, phase, index=index, folder=folder, worker=worker)
        batches = TrainingBatches(
            images[0],
            self.training.labels,
            phase,
            index=index,
            seed=self.config.seed,
            lessons=lessons,
            devices=backend.devices(),
            process=(backend.process(), backend.processes()),
        )
        return _Material(learner, batches, images[1])

    def _fit(self, index: int, first: int, state: CheckpointState | None) -> CheckpointState:
        """Trains a phase from its epoch ``first`` on; returns the state that it ends with."""
        material = self._begin(index, first, state)
        phases, phase = self.config.phases, self.config.phases[index]
        before = state.finished - first if state else 0
        steps = predict.steps(len(self.validation))
        reporter = Reporter(self.worker, material.batches, phase=index, phases=len(phases), validation_steps=steps)
        scores = Validation(
            material.validation,
            self.validation.labels,
            label_smoothing=phase.label_smoothing,
            tick=reporter.validated,
        )
        best = Best(index, state.best if state else None)
        events = EpochEvents(
            self.worker,
            phase=index,
            epochs_before=before,
            reporter=reporter,
            validation=scores,
            board=SampleBoard(self.validation.labels, self.config.seed),
            best=best,
        )
        deciding = _deciding(phase, self.worker, state.counters if state and first else {})
        checkpoint = Checkpoint(
            self.worker,
            self.model,
            phase=index,
            best=best,
            counters=deciding,
            epochs_before=before,
            config_hash=_hash(self.config),
        )
        swap = [SwapAverages()] if phase.ema else []
        pictures = Pictures(len(self.training), len(self.validation), self.training.images.shape[1:])
        work = work_of(network_of(self.config, pictures.shape), phase)
        notes = SpeedNotes(work, pictures, reporter, once=material.learner is not self.model)
        alone = [notes] if backend.devices() == 1 else []  # what is noted is the speed of one device
        self.worker.emit("phase_start", phase=index, name=phase.name, epochs=phase.epochs)
        try:
            material.learner.fit(
                material.batches,
                initial_epoch=first,
                epochs=phase.epochs,
                shuffle=False,
                verbose=0,
                callbacks=[reporter, *swap, scores, best, events, *deciding, checkpoint, *swap, *alone],
            )
        except Exception as error:
            if backend.out_of_memory(error):
                raise FerError(_smaller_batch(phase, index)) from error
            if backend.process_lost(error):
                name = self.worker.job.name if backend.process() == 0 else "RUN"  # which this process does not keep
                raise FerError(
                    "The connection to another process of this run is lost: it ended, or the network failed. Finished "
                    f"epochs are kept. Go on with `train --resume {name}`, on every host anew or on one alone."
                ) from error
            raise
        _remove_helps(self.worker.job.folder)
        assert checkpoint.state is not None  # at least one epoch was trained
        return checkpoint.state


def _remove_helps(folder: Path) -> None:
    """Deletes what a phase computed once and read every epoch."""
    features.remove(folder / features.FOLDER)
    distillation.remove(folder / distillation.FOLDER)


class _Material(NamedTuple):
    """What a phase trains, the batches for it, and what it is validated on."""

    learner: keras.Model
    batches: TrainingBatches
    validation: NDArray[Any]


def _smaller_batch(phase: PhaseConfig, index: int) -> str:
    """What to do where memory ran out: half the batch, and twice as many gradients added up."""
    said = f"Memory ran out in phase {index + 1} with batches of {phase.batch_size}."
    if phase.batch_size == 1:
        return f"{said} Use a smaller --set side=..., or a smaller network."
    half = phase.batch_size // 2
    settings = f"--set phases.{index}.batch_size={half} --set phases.{index}.accumulate={2 * phase.accumulate}"
    effective = 2 * half * phase.accumulate
    return (
        f"{said} Start a new run with {settings}: the effective batch is then {effective}, in half the memory. "
        "The epochs before are kept."
    )


def _deciding(
    phase: PhaseConfig, worker: Worker, counters: Mapping[str, Mapping[str, Number]]
) -> list[keras.callbacks.Callback]:
    """The callbacks that decide on later epochs, with the counters that they had before an interruption."""
    found: list[keras.callbacks.Callback] = []
    if phase.schedule == "plateau":
        found.append(Plateau(worker, phase, counters.get("Plateau", {})))
    if phase.decay_raise > 1:
        resumed = counters.get("IncreaseWeightDecayOnLRDrop", {})
        found.append(IncreaseWeightDecayOnLRDrop(worker, phase.decay_raise, resumed))
    if phase.early_stopping:
        resumed = counters.get("EarlyStopping", {})
        found.append(EarlyStopping(phase.monitor, phase.early_stopping, resumed))
    return found


def _load_state(folder: Path, config: RunConfig) -> CheckpointState | None:
    state = checkpoints.load_state(folder)
    if state and state.config_hash not in (_hash(config), _former_hash(config)):
        raise JobError(
            f"{folder.parent / 'config.yaml'} was changed after training began, so the run cannot go on. "
            "Undo the change, or start a new run with it."
        )
    return state


def _hash(config: RunConfig) -> str:
    """Of the settings that change what is learnt, where they are not the usual ones: new ones change nothing."""
    said = config.model_dump_json(exclude_defaults=True, exclude={*DESCRIPTIVE, *TRACKING})
    return hashlib.sha256(said.encode()).hexdigest()


def _former_hash(config: RunConfig) -> str:
    """What ``_hash`` was while it was taken of all settings that there were then: such runs go on, too."""
    document = config.model_dump(mode="json", exclude=_LATER_SETTINGS)
    said = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    return hashlib.sha256(said.encode()).hexdigest()


def _check_devices(config: RunConfig, images: int) -> None:
    """Raises ConfigError where the devices of this run cannot share its batches."""
    devices = backend.devices()
    for index, phase in enumerate(config.phases):
        if phase.batch_size % devices or images < devices:
            fitting = max(1, phase.batch_size // devices) * devices
            raise ConfigError(
                f"{devices} devices cannot share batches of {phase.batch_size} out of {images:,} images evenly. Start "
                f"a new run with --set phases.{index}.batch_size={fitting}, or with fewer devices."
            )
        if phase.teachers and backend.processes() > 1:
            raise ConfigError("Teachers are asked by one process: start this run without --hosts.")
        if phase.accumulate > 1 and not backend.can_accumulate():
            raise ConfigError(
                f"phases.{index}.accumulate: gradients are not accumulated on {devices} devices with TensorFlow. Start "
                "a new run with a larger batch, --set devices=1, or KERAS_BACKEND=jax."
            )


def _what_is_kept(folder: Path, config: RunConfig, name: str) -> str:
    state = checkpoints.last_state(folder)
    if state is None:
        return f"Stopped before the first epoch ended: nothing is kept. Start over with `train --resume {name}`."
    return (
        f"Stopped; {state.finished} of {config.total_epochs} epochs are kept, the best with "
        f"{100 * state.best.val_accuracy:.1f} % on validation. Go on with `train --resume {name}`."
    )
