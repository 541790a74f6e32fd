"""A stranger's ONNX file -> a model in the workspace, without any training framework."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import ValidationError

import fer_core
from fer_core import limits
from fer_core.data.dataset import partial_folder
from fer_core.emotions import EMOTIONS
from fer_core.errors import ModelError
from fer_core.inference import trial
from fer_core.inference.served import (
    CARD_FILE,
    FINGERPRINTS_FILE,
    IMPORTED,
    INTENDED_USE,
    LIMITS,
    MODEL_FILE,
    UNKNOWN_DATA,
    UNKNOWN_TRAINING,
    ModelCard,
    ModelInput,
    ServedModel,
    TrainingData,
    check_unused,
    find_model,
)
from fer_core.workspace import Workspace, check_name

if TYPE_CHECKING:
    from fer_core.data.dataset import Dataset
    from fer_core.inference.conventions import Samples, Stated

MAX_BYTES: Final = limits.MODEL_MB * 2**20
"""Larger models are not taken."""

MAX_CARD_BYTES: Final = 2**20

DETECTION_SECONDS: Final = 1800
"""For a model that is asked about 700 labelled pictures in each of six scales: for ResNet50V2, by what
``limits.MODEL_SECONDS`` says, 25 minutes on two busy cores."""

_ADAPTING: Final = "fer_core.inference.foreign_onnx"  # by name: the server has no need of ``onnx``

_OTHER_KINDS: Final = {
    b"\x89HDF\r\n\x1a\n": "a Keras .h5 file",
    b"PK\x03\x04": "a zip archive, such as a .keras or .pt file",
    b"\x80": "a pickle, which is code and is never loaded",
}


def adopt(
    content: bytes,
    name: str,
    space: Workspace,
    *,
    source: str,
    card: bytes | None = None,
    stated: Stated | None = None,
    samples: Samples | None = None,
    trained_on: Dataset | None = None,
) -> ServedModel:
    """Makes a served model of an ONNX file, whole or not at all.

    It must follow the contract of served models: uint8 pictures in, ``probabilities`` of our seven classes in our order
    out; or it is brought to that, with what is stated of it. It is opened and tried in a process with bounded memory
    and time; after that the server opens it itself.

    Args:
        content: The file.
        name: What to call it.
        space: Where to.
        source: What the file was called, for messages and the card.
        card: Its ``model_card.json``, where it has one.
        stated: What is known of a model made elsewhere; None for one that follows the contract.
        samples: Pictures on which the rest is found out; needed where ``stated`` has no order.
        trained_on: What it was trained on, where no card says it.

    Raises:
        FerError: The name cannot be used or is taken, the file or card is refused, or the disk is full.
    """
    check_unused(check_name(name, "model"), space)
    if (space.runs / name).exists() or (space.models / name).exists():
        raise ModelError(f"There is a model or run named {name!r} already. Choose another name.")
    _check_kind(content, source)
    told = None if card is None else _read_card(card)
    if told is not None and told.dataset.known and trained_on is not None:
        raise ModelError(f"The model card says itself that it was trained on {told.dataset.name}: name nothing else.")
    with partial_folder(space.models / name) as folder:
        file = folder / MODEL_FILE
        file.write_bytes(content)
        found = _try_out(file, source, stated, samples)
        new = _card(name, told, found, source, file.stat().st_size)
        if trained_on is not None:
            new = told_training(new, trained_on, folder)
        (folder / CARD_FILE).write_text(new.model_dump_json(indent=2), encoding="utf-8")
    return find_model(name, space)


def told_training(card: ModelCard, dataset: Dataset, folder: Path) -> ModelCard:
    """The card of a model that was made elsewhere and, as who brought it says, trained on a dataset.

    The fingerprints of its photographs are written into the model's folder: they tell leaks when it is gone, too.
    """
    from fer_core.evaluation.leaks import training_fingerprints  # pandas: pages that only offer it do without

    np.save(folder / FINGERPRINTS_FILE, training_fingerprints(dataset))
    notes = [note for note in card.notes if not note.startswith(UNKNOWN_TRAINING)]
    said = f"Trained on {dataset.name}, as was said when it was imported: leak-free figures hold only if that is so."
    return card.model_copy(update={"dataset": TrainingData.of(dataset), "notes": [*notes, said]})


def suggest_name(source: str) -> str:
    """A name for the model of a file: the file's, without what a folder's name may not hold."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(source).stem).strip("-._")[:64] or "imported"


def _check_kind(content: bytes, source: str) -> None:
    if not content:
        raise ModelError(f"{source}: the file is empty. Copy it again.")
    if len(content) > MAX_BYTES:
        raise ModelError(
            f"{source}: {len(content) / 2**20:.0f} MiB; models of up to {MAX_BYTES >> 20} MiB are taken. "
            "Export a smaller one."
        )
    for start, kind in _OTHER_KINDS.items():
        if content.startswith(start):
            raise ModelError(
                f"{source}: {kind}, not an ONNX file. Of a Keras file a model is made by "
                "`python -m fer_core models import FILE --labels ORDER`."
            )


def _read_card(content: bytes) -> ModelCard:
    if len(content) > MAX_CARD_BYTES:
        raise ModelError(f"The model card is larger than {MAX_CARD_BYTES >> 20} MiB. Add the model without it.")
    try:
        card = ModelCard.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])[:60] or "the document"
        raise ModelError(
            f"The model card is none of ours ({where}: {first['msg']}). Add the model without it."
        ) from error
    if card.labels != list(EMOTIONS):
        raise ModelError(
            f"The model card names the classes {', '.join(card.labels)[:120]}; expected {', '.join(EMOTIONS)} in this "
            "order. Export the model with these outputs."
        )
    return card


def _try_out(file: Path, source: str, stated: Stated | None, samples: Samples | None) -> trial.Outcome:
    """Tries a file out, brought to the contract where something is stated of it, in a process with limits.

    Brings back what that found, or its error.
    """
    root = str(Path(fer_core.__file__).parents[1])
    seconds = limits.MODEL_SECONDS if samples is None else DETECTION_SECONDS
    command = [sys.executable, "-m", trial.__name__ if stated is None else _ADAPTING, str(file)]
    try:
        with tempfile.TemporaryDirectory() as exchange:
            if stated is not None:
                told = stated if samples is None else stated.with_samples(samples, Path(exchange))
                command.append(told.model_dump_json())
            done = subprocess.run(
                command,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
    except subprocess.TimeoutExpired:
        asked = "its first pictures" if samples is None else "labelled pictures"
        hint = "" if samples is None else " State --labels and --scale and leave out --dataset if you know them."
        raise ModelError(f"{source}: it was still busy with {asked} after {seconds} s.{hint}") from None
    try:
        outcome = trial.Outcome.model_validate_json(done.stdout)
    except ValidationError:  # the process is gone
        raise ModelError(
            f"{source}: the process that tried it out ended without a result; the model may need more than "
            f"{trial.MEMORY_LIMIT >> 30} GB of memory."
        ) from None
    if outcome.error:
        raise ModelError(outcome.error.replace(str(file), source))
    return outcome


def _card(name: str, told: ModelCard | None, found: trial.Outcome, source: str, size: int) -> ModelCard:
    """The card of the new model: what came with it, set right where the file says otherwise."""
    assert found.input is not None  # no error was told
    assert found.parameters is not None
    size_mib = round(size / 2**20, 2)
    if told is None:
        return ModelCard(
            name=name,
            created=time.time(),
            input=found.input,
            preset=IMPORTED,
            parameters=found.parameters,
            size_mib=size_mib,
            dataset=UNKNOWN_DATA,
            selection_set="unknown",
            intended_use=INTENDED_USE,
            limits=LIMITS,
            notes=[
                f"Added from {source} without a card.",
                f"{UNKNOWN_TRAINING}, so no accuracy of it can be called leak-free.",
                *found.notes,
            ],
        )
    if told.input != found.input:
        raise ModelError(
            f"{source}: the model reads {_size(found.input)}, its card says {_size(told.input)}. They do not belong "
            "together."
        )
    note = f"Added from {source} with its card: the scores on it were not measured here."
    return told.model_copy(update={"name": name, "size_mib": size_mib, "notes": [*told.notes, note, *found.notes]})


def _size(size: ModelInput) -> str:
    return f"{size.height} x {size.width} x {size.channels}"
