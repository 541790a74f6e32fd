"""Models that can be served: a folder with ``model.onnx``, and beside it its card and fingerprints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ValidationError

import fer_core
from fer_core.emotions import EMOTIONS
from fer_core.errors import ModelError
from fer_core.evaluation.predictions import evaluation_folder
from fer_core.evaluation.report import EvaluationReport
from fer_core.workspace import Workspace, expand, newest_first

if TYPE_CHECKING:
    from fer_core.data.dataset import Dataset

MODEL_FILE: Final = "model.onnx"
CARD_FILE: Final = "model_card.json"
FINGERPRINTS_FILE: Final = "fingerprints.npy"

IMPORTED: Final = "imported"
"""In place of a preset on the card of a foreign model."""

INTENDED_USE: Final = "Research and teaching: sorting pictures of faces by apparent expression in seven classes."

LIMITS: Final = [
    "It names the apparent expression of a picture, not what the person feels.",
    "Not for decisions about people: hiring, schooling, policing, insurance, health, or where emotion "
    "inference is not allowed.",
    "Labels of this kind of data are noisy: people often disagree about them.",
    "How well it does across age, skin tone, head pose and lighting has not been measured.",
]
"""What holds for every model of this kind."""

_ASSETS: Final = Path(fer_core.__file__).parent / "assets"


class ModelInput(BaseModel):
    """Native size of the pictures a model reads, in pixels."""

    height: int
    width: int
    channels: int


class ParameterCounts(BaseModel):
    """Numbers of weights, as phase 1 trains the network."""

    total: int
    trainable: int
    non_trainable: int


class TrainingData(BaseModel):
    """The dataset a model was trained on."""

    name: str
    fingerprint: str
    policy: str
    contaminated: bool = False
    leaked: dict[str, int] = {}

    @classmethod
    def of(cls, dataset: Dataset) -> TrainingData:
        """What a card says of a prepared dataset."""
        info = dataset.info
        return cls(
            name=dataset.name,
            fingerprint=info.fingerprint,
            policy=str(info.config.get("policy", "")),
            contaminated=info.contaminated,
            leaked=info.leaked,
        )

    @property
    def known(self) -> bool:
        """False for a foreign model, of whose training data nothing is known."""
        return bool(self.fingerprint)


UNKNOWN_DATA: Final = TrainingData(name="unknown", fingerprint="", policy="unknown")

CHOSEN_ON: Final = "Chosen and fitted on these images: a little optimistic; test is the fair figure."
"""What holds of the scores of a model where ``ServedModel.chosen_on`` does."""

UNKNOWN_TRAINING: Final = "What it was trained on is not known"
"""How a note on the card of such a model begins."""


class ModelCard(BaseModel):
    """``model_card.json``: what a model is, learnt from what, how good it is, and what it must not do."""

    name: str
    created: float
    labels: list[str] = list(EMOTIONS)
    input: ModelInput
    preset: str
    parameters: ParameterCounts
    size_mib: float
    dataset: TrainingData
    temperature: float = 1.0
    metrics: dict[str, EvaluationReport] = {}
    selection_set: str = "validation"
    allow_leaks: bool = False
    intended_use: str
    limits: list[str] = []
    notes: list[str] = []
    test_reveals: int = 0
    ended_after: int | None = None
    """Epochs after which the user ended the training; None where it went to the end of its plan."""


@dataclass(frozen=True)
class ServedModel:
    """A model file, what it is called, and its card where it has one."""

    path: Path
    card: ModelCard | None
    name: str

    @property
    def bundled(self) -> bool:
        """Whether it came with the package."""
        return self.path.is_relative_to(_ASSETS)

    @property
    def run(self) -> Path | None:
        """The folder of the training run that made it, if it still lies there."""
        return self.path.parent if (self.path.parent / "job.json").is_file() else None

    def results(self, evaluations: Path, fingerprint: str) -> Path:
        """The folder of this model's predictions on a dataset: its run, if it was trained on it, or one of its own.

        Args:
            evaluations: The workspace's folder of evaluations.
            fingerprint: Of the dataset.
        """
        if self.run is not None and self.card is not None and self.card.dataset.fingerprint == fingerprint:
            return self.run
        return evaluation_folder(evaluations, self.path, fingerprint)

    def chosen_on(self, fingerprint: str, split: str) -> bool:
        """Whether a split of a dataset, given by its fingerprint, is that which it was chosen and fitted on."""
        card = self.card
        return card is not None and card.dataset.fingerprint == fingerprint and card.selection_set == split

    @property
    def fingerprints(self) -> Path | None:
        """The file of the fingerprints of its training photographs, if known."""
        file = self.path.with_name(FINGERPRINTS_FILE)
        return file if file.is_file() else None


def find_model(name_or_path: str, workspace: Workspace) -> ServedModel:
    """A model by the name of its run, by the name it was imported or bundled under, or by its ``.onnx`` file.

    Raises:
        ModelError: There is none, the run has not finished, or the card beside it is damaged.
    """
    path = expand(name_or_path)
    if path.suffix.lower() in (".h5", ".keras") and path.is_file():
        raise ModelError(
            f"{path}: a Keras file. Make a model of it first: python -m fer_core models import {path} --labels ORDER"
        )
    if path.suffix.lower() == ".onnx":
        if not path.is_file():
            raise ModelError(f"{path}: no such model file. Check the path.")
        return _served(path.absolute(), path.stem if path.name != MODEL_FILE else path.absolute().parent.name)
    places = (workspace.runs / name_or_path, workspace.models / name_or_path, path, _ASSETS / name_or_path)
    for folder in places:
        if (folder / MODEL_FILE).is_file():
            return _served((folder / MODEL_FILE).absolute(), folder.absolute().name)
    if any((folder / "job.json").is_file() for folder in (workspace.runs / name_or_path, path)):
        raise ModelError(
            f"The run {name_or_path!r} has no model yet: it is written when training ends. "
            f"Look at it with `python -m fer_core runs show {name_or_path}`."
        )
    known = ", ".join(model.name for model in list_models(workspace)) or "none yet"
    raise ModelError(
        f"No model named or at {name_or_path!r}. Models: {known}. Train one with `python -m fer_core train`."
    )


def list_models(workspace: Workspace) -> list[ServedModel]:
    """Models of finished runs, newest first, then the imported ones likewise, then the bundled.

    A damaged card counts as none.
    """
    imported = (file for file in workspace.models.glob(f"*/{MODEL_FILE}") if not file.parent.name.startswith("."))
    own = (*newest_first(workspace.runs.glob(f"*/{MODEL_FILE}")), *newest_first(imported))
    return list(_readable([*own, *sorted(_ASSETS.glob(f"*/{MODEL_FILE}"))]))


def check_unused(name: str, workspace: Workspace) -> None:
    """Refuses a new name that a model has: of two models with one name, only one could be found.

    Raises:
        ModelError: It is taken.
    """
    if any(model.name == name for model in list_models(workspace)):
        raise ModelError(f"There is a run or model named {name!r} already. Choose another name.")


def default_model(workspace: Workspace) -> ServedModel:
    """The model to use when none is named: the bundled one, else the newest.

    Raises:
        ModelError: There is none at all.
    """
    models = list_models(workspace)
    if not models:
        raise ModelError("There is no model yet. Train one with `python -m fer_core train DATASET --preset compact`.")
    return next((model for model in models if model.bundled), models[0])


def _readable(files: list[Path]) -> Iterator[ServedModel]:
    for file in files:
        try:
            yield _served(file, file.parent.name)
        except ModelError:
            yield ServedModel(file, None, file.parent.name)


def _served(path: Path, name: str) -> ServedModel:
    card = path.with_name(CARD_FILE)
    try:
        return ServedModel(path, ModelCard.model_validate_json(card.read_bytes()), name)
    except FileNotFoundError:
        return ServedModel(path, None, name)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise ModelError(
            f"{card}: not a model card ({where}: {first['msg']}). "
            "Repair the file, or remove it to use the model without."
        ) from error
