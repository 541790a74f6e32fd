"""The ``README.md`` of a bundled model: its card, and what its run, its dataset and a clock add to that.

No figure of it is typed: ``benchmarks.bundle`` writes it from what was measured.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime

from benchmarks.measure import machine, milliseconds
from fer_core.data.dataset import Dataset
from fer_core.inference.card_text import markdown, two_columns
from fer_core.inference.predictor import Predictor
from fer_core.inference.served import ModelCard
from fer_core.training.config import PhaseConfig, RunConfig
from fer_core.training.differences import flat

THREADS: Final = 2
"""With which speed is measured: what a small machine has."""

_BATCHES: Final = (1, 16)  # faces: one in front of a camera, and a group
_SECONDS: Final = 2.0  # of calls in a row, of which the median is taken
_TOLD_APART: Final = ("dataset", "preset", "seed")


def readme(card: ModelCard, config: RunConfig, dataset: Dataset, file: Path) -> str:
    """The text, in Markdown.

    Args:
        card: Of the shipped file.
        config: Settings of the run that made it.
        dataset: What it was trained on.
        file: The shipped file; its speed on this machine is measured now, which takes some seconds.
    """
    sections = ["## Data", _data(card, dataset), "## Recipe", _recipe(config), "## Size and speed", _speed(file)]
    return f"<!-- written by benchmarks/bundle.py -->\n\n{markdown(card, sections)}"


def _data(card: ModelCard, dataset: Dataset) -> str:
    sources = dataset.info.config.get("sources", [])
    images = (f"{sum(classes.values()):,} {split}" for split, classes in dataset.counts().items())
    rows = {
        "Dataset": f"{card.dataset.name}, policy {card.dataset.policy}",
        "Sources": ", ".join(source["name"] for source in sources) or "not recorded",
        "Images": ", ".join(images),
        "Fingerprint": f"`{card.dataset.fingerprint}`",
    }
    return two_columns(rows)


def _recipe(config: RunConfig) -> str:
    """All settings that are not the default, of the network and of every phase."""
    usual = flat(RunConfig(phases=[PhaseConfig() for _ in config.phases]))
    changed = {
        f"`{key}`": str(value)
        for key, value in flat(config).items()
        if key not in _TOLD_APART and (key not in usual or usual[key] != value)
    }
    began = f"Preset `{config.preset}`, seed {config.seed}, {config.total_epochs} epochs."
    return f"{began} Settings that differ from their defaults, as `train --set` takes them:\n\n{two_columns(changed)}"


def _speed(file: Path) -> str:
    on, predictor = machine(), Predictor.load(file, THREADS)
    rows = {"Size": f"{file.stat().st_size:,} bytes"}
    rows |= {f"ms per face, batch of {batch}": _milliseconds(predictor, batch) for batch in _BATCHES}
    return f"{two_columns(rows)}\n\nONNX Runtime {onnxruntime.__version__} with {THREADS} threads; {on}."


def _milliseconds(predictor: Predictor, batch: int) -> str:
    """The median per face, and the number of calls; speed does not depend on the pictures."""
    faces: Any = np.random.default_rng(0).integers(0, 256, (batch, *predictor.input_shape)).astype(np.uint8)
    took = milliseconds(lambda: predictor.classify(faces), _SECONDS)
    return f"{statistics.median(took) / batch:.2f} (median of {len(took):,} calls)"
