"""What finished runs say of the training images, for another network to learn from.

A small network that learns the mean answer of several large ones ends higher than one that learns from the labels
alone (Hinton et al. 2015, arXiv:1503.02531), most of all where both see the very same picture and training is long
(Beyer et al. 2022, arXiv:2106.05237). To ask the teachers in every epoch would cost many times what the small network
does. So they look once at several differently moved copies of each image, and the epochs go through those views in
turn; light, erasing and mixup are drawn anew every time.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

import fer_core.models.layers  # noqa: F401 a saved network may hold them
from fer_core.emotions import EMOTIONS
from fer_core.errors import ModelError
from fer_core.evaluation.calibration import apply_temperature
from fer_core.jobs.worker import Worker
from fer_core.models.architectures import build
from fer_core.preprocessing import Pixels
from fer_core.training import predict
from fer_core.training.config import PhaseConfig
from fer_core.training.data import Moves, draw_moves, move
from fer_core.training.runs import KERAS_FILE, Run, teacher_run
from fer_core.workspace import Workspace

FOLDER: Final = "lessons"
"""In the folder of a run, while the phase lasts."""

_VIEW: Final = 2**32
"""Added to a view's number, so that its moves are drawn from another stream than those of an epoch."""

_SEED: Final = 1
"""Of the views, whatever the run's: students of several seeds can learn from the same answers."""


@dataclass(frozen=True)
class TaughtViews:
    """Moved copies of the training images, and the teachers' mean answers, one view after the other.

    Attributes:
        share: Of a target that is the teachers'.
        answers: float16 ``[views, N, 7]``, rows sum to one.
        phase: Says how images may be moved.
        index: Of the phase in its run.
    """

    share: float
    answers: Sequence[NDArray[np.float16]]
    phase: PhaseConfig
    index: int

    def view(self, epoch: int) -> tuple[Moves, NDArray[np.float16]]:
        """How the images are moved in an epoch, and what the teachers say of them then, ``[N, 7]``."""
        number = epoch % len(self.answers)
        return _moves(len(self.answers[number]), self.phase, self.index, number), self.answers[number]


def ask_teachers(images: Pixels, phase: PhaseConfig, *, index: int, folder: Path, worker: Worker) -> TaughtViews:
    """What the teachers of a phase say of its training images; read from disk where they were asked before.

    Each teacher's answers are softened by the temperature of its own card, so that all are as sure as they are right.

    Args:
        images: uint8 ``[N, H, W, C]``.
        phase: It names the teachers.
        index: Of the phase in the run.
        folder: Where the answers are kept.
        worker: The run's job; asked after each step whether to stop.

    Raises:
        ConfigError: A teacher is no finished run.
        ModelError: A teacher's network cannot be read, or reads pictures of another size.
    """
    runs = [teacher_run(Workspace.default(), name) for name in phase.teacher_names]
    key = _key(runs, images, phase, index)
    files = [folder / f"view{view + 1:03}-{key}.npy" for view in range(phase.teacher_views)]
    missing = [view for view, file in enumerate(files) if not file.is_file()]
    teachers = [_Teacher.load(run, images.shape[1:]) for run in runs] if missing else []
    steps = predict.steps(len(images))
    total = steps * len(teachers) * len(missing)
    told = f"Asking {len(runs)} teacher{'s' * (len(runs) > 1)} about {len(files)} views of each image"
    folder.mkdir(exist_ok=True)
    for turn, view in enumerate(missing):
        moved = move(images, _moves(len(images), phase, index, view))
        mean = np.zeros((len(images), len(EMOTIONS)), np.float32)
        for place, teacher in enumerate(teachers):
            before = steps * (turn * len(teachers) + place)
            mean += teacher.answers(moved, lambda done, before=before: worker(told, before + done, total))
        partial = files[view].with_suffix(".tmp")
        with partial.open("wb") as file:
            np.save(file, (mean / len(teachers)).astype(np.float16))
        partial.replace(files[view])
    if missing:
        names = {run.name: run.card.temperature for run in runs if run.card}
        worker.emit("teachers", phase=index, temperatures=names, views=len(files))
    return TaughtViews(phase.teacher_share, [np.load(file, mmap_mode="r") for file in files], phase, index)


def remove(folder: Path) -> None:
    """Deletes the answers of a phase that is over."""
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Teacher:
    model: keras.Model
    temperature: float

    @classmethod
    def load(cls, run: Run, shape: tuple[int, ...]) -> _Teacher:
        """A run's network in the precision that it was trained in, which is faster on a GPU than the saved one."""
        file, card = run.folder / KERAS_FILE, run.card
        assert card is not None  # `teacher_run` asks for it
        try:
            saved = keras.saving.load_model(file, compile=False)
        except Exception as error:  # Keras, h5py and zipfile raise whatever a damaged file leads to
            reason = str(error).splitlines()[0][:160]
            raise ModelError(f"{file}: damaged ({reason}). Restore it from a copy.") from error
        if saved.inputs[0].shape[1:] != shape:
            wanted, found = ("x".join(map(str, size)) for size in (saved.inputs[0].shape[1:], shape))
            raise ModelError(f"The teacher {run.name} reads pictures of {wanted}; the dataset's are {found}.")
        model = build(run.config, shape)  # type: ignore[arg-type]
        model.set_weights(saved.get_weights())
        return cls(model, card.temperature)

    def answers(self, images: Pixels, tick: Any) -> NDArray[np.float32]:
        return apply_temperature(predict.predict_probabilities(self.model, images, tick), self.temperature)


def _moves(n: int, phase: PhaseConfig, index: int, view: int) -> Moves:
    return draw_moves(n, phase.augmentation, np.random.default_rng((_SEED, index, _VIEW + view)))


def _key(runs: Sequence[Run], images: Pixels, phase: PhaseConfig, index: int) -> str:
    """Of all that the answers depend on: the teachers, the images, how they are moved."""
    digest = hashlib.sha256(phase.augmentation.model_dump_json().encode() + repr(index).encode())
    for run in runs:
        digest.update((run.folder / KERAS_FILE).read_bytes())
        digest.update(repr(run.card and run.card.temperature).encode())
    digest.update(np.ascontiguousarray(images).tobytes())
    return digest.hexdigest()[:16]
