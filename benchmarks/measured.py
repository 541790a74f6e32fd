"""Writes down what a run of a preset reached and took, for the Train page; no figure of it is typed.

    python -m benchmarks.measured RUN|CARD PRESET [--device WORDS] [--shared]

From the card come the score (of test, where that was looked at) and the leaks, from the events of a run its epochs,
device and seconds. Of a bundled model whose run is gone, the card alone is enough: ``--device`` then says what it was
trained on.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fer_core.errors import FerError
from fer_core.inference.card_text import leak_words
from fer_core.inference.served import CARD_FILE, ModelCard
from fer_core.jobs.store import Job
from fer_core.training.config import list_presets
from fer_core.training.reached import FILE, Reached, read_reached, write_reached
from fer_core.training.runs import Run
from fer_core.workspace import Workspace


def measured(card_file: Path, preset: str, *, device: str = "", shared: bool = False) -> Reached:
    """What is known of a model by its card, and by the events of its run where they lie beside the card.

    Args:
        card_file: Its ``model_card.json``.
        preset: What it must have been trained with.
        device: What it was trained on, where there are no events to say so.
        shared: Whether other work was on the device meanwhile, which no file tells.

    Raises:
        FerError: It was trained with another preset, was not scored, or nothing tells its epochs.
    """
    card = ModelCard.model_validate_json(card_file.read_bytes())
    if card.preset != preset:
        raise FerError(f"{card.name} was trained with the preset {card.preset}, not {preset}.")
    split = next((split for split in ("test", "validation") if split in card.metrics), None)
    if split is None:
        raise FerError(f"{card.name} has no scores on its card.")
    report = card.metrics[split]
    run = Run(Job(card_file.parent))
    epochs = len(run.epoch_events) or _epochs_on_card(card)
    return Reached(
        split=split,
        n=report.n,
        accuracy=report.accuracy,
        ci95=report.ci95,
        leaks=leak_words(card, split),
        epochs=epochs,
        device=trained_on(run.job.events()) or device,
        seconds=round(run.history["seconds"].sum(), 1) or None,
        shared=shared,
    )


def _epochs_on_card(card: ModelCard) -> int:
    """As ``benchmarks.bundle`` notes them."""
    told = (re.match(r"Trained for (\d+)(?: of \d+)? epochs", note) for note in card.notes)
    planned = next((int(found[1]) for found in told if found), None)
    if planned is None:
        raise FerError(f"{card.name}: neither its card nor events beside it tell how many epochs it was trained for.")
    return card.ended_after or planned


def trained_on(events: Iterable[dict[str, Any]]) -> str:
    """Where the last epoch was trained: a run may have been ended on another machine."""
    now = found = ""
    for event in events:
        if event["type"] == "device":
            now = event["name"]
        elif event["type"] == "epoch":
            found = now
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="RUN|CARD", help="A run's name or folder, or a model_card.json.")
    parser.add_argument("preset", choices=list_presets())
    parser.add_argument("--device", default="", help="What it was trained on, where no events tell.")
    parser.add_argument("--shared", action="store_true", help="Other work was on the device meanwhile.")
    options = parser.parse_args()
    try:
        path = Path(options.source)
        card = path if path.is_file() else Workspace.default().run(options.source) / CARD_FILE
        found = measured(card, options.preset, device=options.device, shared=options.shared)
    except (FerError, OSError) as error:
        raise SystemExit(str(error)) from None
    known = {**(read_reached() if FILE.is_file() else {}), options.preset: found}
    write_reached({preset: known[preset] for preset in list_presets() if preset in known})
    print(found.model_dump_json(indent=2, exclude_defaults=True))
