"""The log of experiments with the model in the box: results are found in run folders, and a page is made of them.

    python -m benchmarks.experiments                                            # writes experiments.md again
    python -m benchmarks.experiments --runs FOLDER --answers FOLDER --before FOLDER   # finds results first

``experiments.yaml`` is the hand-written part. What is found is kept in ``results/experiments.json``, so that the page
can be made without the runs; an experiment whose files are not at hand keeps what was found before.
"""

from __future__ import annotations

import argparse
import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import yaml
from pydantic import BaseModel

from benchmarks.bundle import set_aside
from benchmarks.experiments_page import page
from benchmarks.measure import RESULTS, commit, note
from benchmarks.outcomes import Entry, Material, Outcome, find
from fer_core.errors import FerError
from fer_core.training.runs import open_dataset

FOLDER: Final = Path(__file__).parent
WRITTEN: Final = FOLDER / "experiments.yaml"
PAGE: Final = FOLDER / "experiments.md"
FOUND: Final = RESULTS / "experiments.json"

_COPY_IN_TEST: Final = "the photograph is in test"  # as a dataset's ledger says it


class Log(BaseModel, extra="forbid"):
    """``experiments.yaml``: paragraphs of the page's head, and the experiments in order."""

    head: list[str]
    experiments: list[Entry]


class Data(BaseModel):
    """What was trained on: images by split and class, and what was done about copies of test photographs in train.

    Attributes:
        left_out: Train images that were left out for it.
        set_aside: Test images that decisions took out of test instead.
    """

    counts: dict[str, dict[str, int]]
    left_out: int
    set_aside: int = 0


class Found(BaseModel):
    """``results/experiments.json``."""

    date: str
    commit: str
    data: dict[str, Data]
    outcomes: dict[str, Outcome]


def read_log() -> Log:
    """The hand-written part."""
    return Log.model_validate(yaml.safe_load(WRITTEN.read_text()))


def read_found() -> Found:
    """What was found the last time."""
    return Found.model_validate_json(FOUND.read_bytes())


def search(log: Log, material: Material, known: Found | None) -> Found:
    """Finds what every experiment came to.

    Args:
        log: The experiments.
        material: Where to look.
        known: What was found before, kept where files are not at hand.
    """
    before = known.outcomes if known else {}
    outcomes = {}
    for entry in log.experiments:
        try:
            outcomes[entry.name] = find(entry, material)
        except FerError as error:
            note(f"{entry.name}: {error}" + (" (kept as it was)" if entry.name in before else ""))
            if entry.name in before:
                outcomes[entry.name] = before[entry.name]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Found(
        date=now, commit=commit(), data={**(known.data if known else {}), **_data(log, material)}, outcomes=outcomes
    )


def _data(log: Log, material: Material) -> dict[str, Data]:
    """By name, the datasets of the runs whose mean was taken; what else was tried has the same."""
    found = {}
    for entry in log.experiments:
        if entry.kind == "mean":
            with contextlib.suppress(FerError):  # not at hand, and then known from before
                dataset = open_dataset(material.run(entry.of[0]).config)
                left_out = sum(step.n for step in dataset.info.removed if step.why == _COPY_IN_TEST)
                found[dataset.name] = Data(counts=dataset.counts(), left_out=left_out, set_aside=set_aside(dataset))
    return found


def text(log: Log, found: Found) -> str:
    """The page, in Markdown."""
    batches = next(outcome.batches for outcome in found.outcomes.values() if outcome.batches)
    busy = {
        f"busy_{name}": f"{outcome.training.gpu_percent:.0f} %"
        for name, outcome in found.outcomes.items()
        if outcome.training and outcome.training.gpu_percent is not None
    }
    times = {f"{when}_{n}": f"{ms:.1f}" for when in ("before", "after") for n, ms in getattr(batches, when).items()}
    fields = {**times, **busy}
    for name, data in found.data.items():
        fields |= {f"{name} {split}": f"{sum(classes.values()):,}" for split, classes in data.counts.items()}
        fields |= {f"{name} left out": f"{data.left_out:,}", f"{name} set aside": f"{data.set_aside:,}"}
        fields |= {f"{name} disgust": str(data.counts["validation"]["disgust"])}
    head = [paragraph.format_map(fields) for paragraph in log.head]
    return page(head, [(entry, found.outcomes[entry.name]) for entry in log.experiments])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", metavar="FOLDER", help="Folders of run folders.")
    parser.add_argument("--answers", type=Path, metavar="FOLDER", help="Stored answers, one RUN.npz for each run.")
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="A checkout of 7398b66, to time batches.")
    options = parser.parse_args()
    log = read_log()
    if options.runs:
        found = search(log, Material(options.runs, options.answers, options.before), read_found())
        FOUND.write_text(found.model_dump_json(indent=1, exclude_defaults=True) + "\n")
    PAGE.write_text(text(log, read_found()))


if __name__ == "__main__":
    main()
