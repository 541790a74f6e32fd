"""Makes a finished run the model in the box: its model, card and fingerprints go into ``fer_core/assets``.

    python -m benchmarks.bundle RUN NAME

The run must have been scored on test (``python -m fer_core evaluate RUN DATASET --split test``). Its convolutions are
stored and computed in eight bits. What is shipped is scored again, so that the card's figures are its own, and test has
then been looked at once more. Where decisions took images out of test because their photographs are in train, it is
scored on all of the source's test: the card then has official and leak-free accuracy beside each other. Nothing else is
taken from the run: no image, no optimizer state.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Final

import numpy as np

import fer_core
from benchmarks.model_readme import readme
from fer_core.cli.evaluate import EvaluationSplit, score
from fer_core.data.dataset import Dataset
from fer_core.doctor import CHECKSUMS
from fer_core.errors import FerError
from fer_core.evaluation.reveals import reveals
from fer_core.inference.predictor import Predictor
from fer_core.inference.served import CARD_FILE, MODEL_FILE, ModelCard, ServedModel, find_model
from fer_core.jobs.store import Job
from fer_core.models.storage import ROUNDINGS, calibration_pictures, in_int8
from fer_core.training.runs import Run, open_dataset
from fer_core.workspace import Workspace, check_name

ASSETS = Path(fer_core.__file__).parent / "assets"
README_FILE: Final = "README.md"


def bundle(model: ServedModel, name: str, parent: Path = ASSETS) -> Path:
    """Copies a run's served model into the package; returns the folder.

    Args:
        model: Of a finished run.
        name: What it is called from now on.
        parent: Where bundled models lie.

    Raises:
        FerError: It is no run's model, knows its evaluation photographs, was not scored on test, its dataset is not
            at hand, or it answers otherwise in eight bits.
    """
    card, run, fingerprints = model.card, model.run, model.fingerprints
    if card is None or run is None or fingerprints is None:
        raise FerError(f"{model.name}: only the model of a finished run, with card and fingerprints, can be bundled.")
    if card.dataset.contaminated or card.allow_leaks:
        raise FerError(f"{model.name} was trained on evaluation photographs; its scores would mislead.")
    if "test" not in card.metrics:
        raise FerError(
            f"{model.name} was not scored on test yet: python -m fer_core evaluate {model.name} DATASET --split test"
        )
    config = Run(Job(run)).config
    dataset = open_dataset(config)
    usage = dataset.table("test")["usage"].value_counts()
    test = ", ".join(f"{n:,} {which}" for which, n in usage.items())
    if aside := set_aside(dataset):
        test += f" images without a copy in train; official accuracy counts the source's other {aside:,}, too"
    else:
        test += " images"
    planned = config.total_epochs
    epochs = f"{planned} epochs" if card.ended_after is None else f"{card.ended_after} of {planned} epochs"
    others = {rounding.note for rounding in ROUNDINGS.values()}
    notes = [
        *(note for note in card.notes if note not in others),
        f"Trained for {epochs}, seed {config.seed}.",
        f"Test holds {test}.",
    ]
    with tempfile.TemporaryDirectory() as made:  # nothing half done lies in the package
        folder = Path(made) / check_name(name, "model")
        folder.mkdir()
        file = folder / MODEL_FILE
        shutil.copy(model.path, file)
        shutil.copy(fingerprints, folder / fingerprints.name)
        notes.append(f"{ROUNDINGS['int8'].note} {_round(file, dataset)}")
        size = round(file.stat().st_size / 2**20, 2)
        card = card.model_copy(update={"name": name, "notes": notes, "size_mib": size})
        (folder / CARD_FILE).write_text(card.model_dump_json(indent=2))  # by which the evaluation knows the file
        card = _scored(card, file, dataset)
        (folder / CARD_FILE).write_text(card.model_dump_json(indent=2))
        (folder / README_FILE).write_text(readme(card, config, dataset, file))
        names = (MODEL_FILE, CARD_FILE, fingerprints.name, README_FILE)
        sums = (f"{hashlib.sha256((folder / each).read_bytes()).hexdigest()}  {each}\n" for each in names)
        (folder / CHECKSUMS).write_text("".join(sums))
        return Path(shutil.copytree(folder, parent / name, dirs_exist_ok=True))


def _round(file: Path, dataset: Dataset) -> str:
    """Stores a model file in eight bits; returns how far its answers moved, for the card."""
    images = dataset.split("validation").images
    expected = Predictor.load(file).classify(images)
    file.write_bytes(in_int8(file.read_bytes(), calibration_pictures(dataset.split("train").images)))
    answers = Predictor.load(file).classify(images)
    moved = np.abs(answers - expected)
    same = (answers.argmax(axis=1) == expected.argmax(axis=1)).mean()
    told = f"by {moved.mean():.1e} on average and {moved.max():.1e} at most, on {len(images):,} validation images"
    if not moved.mean() <= ROUNDINGS["int8"].tolerance:
        raise FerError(
            f"Eight bits change probabilities {told}; {ROUNDINGS['int8'].tolerance:.0e} is allowed on average."
        )
    return f"That changes probabilities {told}; {same:.1%} keep their top class."


def _scored(card: ModelCard, file: Path, dataset: Dataset) -> ModelCard:
    """The card with the scores of the shipped file, and its look at test counted."""
    sources = dict.fromkeys(EvaluationSplit, str(dataset.folder))
    if set_aside(dataset):
        config = dataset.info.config
        sources[EvaluationSplit.TEST] = next(
            source["path"] for source in config["sources"] if source["name"] == config["primary"]
        )
    reports = {split.value: score(str(file), source, split)[2] for split, source in sources.items()}
    # A run that was trained elsewhere was looked at there, which this workspace does not know of.
    looks = max(card.test_reveals + 1, reveals(Workspace.default(), dataset.table("test")["pixel_sha"]))
    # What was put aside because the model has learnt from it is in these scores again.
    leaked = {split: n for split, report in reports.items() if (n := report.n - report.leak_free.n)}
    trained_on = card.dataset.model_copy(update={"leaked": leaked})
    return card.model_copy(update={"metrics": reports, "test_reveals": looks, "dataset": trained_on})


def set_aside(dataset: Dataset) -> int:
    """How many test images decisions took out of a dataset."""
    return sum(change.n for change in dataset.info.removed if (change.step, change.split) == ("decided", "test"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("name")
    options = parser.parse_args()
    try:
        print(bundle(find_model(options.run, Workspace.default()), options.name))
    except FerError as error:
        raise SystemExit(str(error)) from None
