"""Makes a finished run the model in the box: its model, card and fingerprints go into ``fer_core/assets``.

    python -m benchmarks.bundle RUN NAME

The run must have been scored on test (``python -m fer_core evaluate RUN DATASET --split test``), so that the card
carries both figures. Nothing else is taken from the run: no image, no optimizer state.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
from pathlib import Path

import fer_core
from fer_core.data.dataset import Dataset
from fer_core.doctor import CHECKSUMS
from fer_core.errors import FerError
from fer_core.inference.served import CARD_FILE, MODEL_FILE, ServedModel, find_model
from fer_core.jobs.store import Job
from fer_core.training.runs import Run
from fer_core.workspace import Workspace, check_name

ASSETS = Path(fer_core.__file__).parent / "assets"


def bundle(model: ServedModel, name: str, parent: Path = ASSETS) -> Path:
    """Copies a run's served model into the package; returns the folder.

    Args:
        model: Of a finished run.
        name: What it is called from now on.
        parent: Where bundled models lie.

    Raises:
        FerError: It is no run's model, knows its evaluation photographs, or was not scored on test.
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
    assert config.dataset is not None
    usage = Dataset.open(Path(config.dataset.path)).table("test")["usage"].value_counts()
    test = ", ".join(f"{n:,} {which}" for which, n in usage.items())
    epochs = sum(phase.epochs for phase in config.phases)
    notes = [*card.notes, f"Trained for {epochs} epochs, seed {config.seed}.", f"Test holds {test} images."]
    folder = parent / check_name(name, "model")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(model.path, folder / MODEL_FILE)
    shutil.copy(fingerprints, folder / fingerprints.name)
    (folder / CARD_FILE).write_text(card.model_copy(update={"name": name, "notes": notes}).model_dump_json(indent=2))
    names = (MODEL_FILE, CARD_FILE, fingerprints.name)
    sums = (f"{hashlib.sha256((folder / file).read_bytes()).hexdigest()}  {file}\n" for file in names)
    (folder / CHECKSUMS).write_text("".join(sums))
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("name")
    options = parser.parse_args()
    try:
        print(bundle(find_model(options.run, Workspace.default()), options.name))
    except FerError as error:
        raise SystemExit(str(error)) from None
