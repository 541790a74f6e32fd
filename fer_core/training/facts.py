"""What a table of runs says of each: read from a run's files at once, damaged ones included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from fer_core.data.dataset import Dataset
from fer_core.errors import FerError
from fer_core.evaluation.metrics import wilson_interval
from fer_core.evaluation.predictions import predictions_file
from fer_core.inference.card_text import leak_words
from fer_core.inference.served import ModelCard
from fer_core.jobs.store import Job, parse_events
from fer_core.training.config import RunConfig
from fer_core.training.differences import recipe_of
from fer_core.training.runs import CONFIG_FILE, Run, open_dataset

_CURVES: Final = ("val_accuracy", "val_loss", "seconds")  # of every epoch


class Score(NamedTuple):
    """An accuracy, 0 to 1, with its 95% interval and the number of images."""

    accuracy: float
    ci95: tuple[float, float]
    n: int


@dataclass(frozen=True)
class RunFacts:
    """A run in figures.

    Attributes:
        name: Of its folder.
        dataset: Name of what it was trained on; empty where that is not known.
        config: Its settings; None where they are missing or damaged.
        recipe: What it has in common with runs that differ in nothing but the seed; empty without settings.
        score: Accuracy on the validation split: of the model, or of the best epoch so far where there is none yet;
            None before the first epoch, or where the number of images is not known.
        finished: Whether ``score`` is that of the model.
        ended_after: Epochs after which the user ended the training; None where it went, or goes, to its end.
        contaminated: Whether evaluation photographs were trained on; None where that is not known.
        leak: Whether the photographs behind ``score`` were trained on, in the words of its badge: "Clean",
            "Leaky · 5 of 70" or "Leaks not known".
        dataset_leak: Likewise of the dataset, whose test split may have leaks, too.
        accuracies: On validation after every finished epoch, 0 to 1.
        losses: Likewise.
        seconds: Spent on its epochs.
        comparable: Whether its answers on validation are at hand.
        problems: What is wrong with its files, a short phrase each.
    """

    name: str
    dataset: str
    config: RunConfig | None
    recipe: str
    score: Score | None
    finished: bool
    ended_after: int | None
    contaminated: bool | None
    leak: str
    dataset_leak: str
    accuracies: tuple[float, ...]
    losses: tuple[float, ...]
    seconds: float
    comparable: bool
    problems: tuple[str, ...]


def read_facts(job: Job) -> RunFacts:
    """Reads what is known of a run; never raises on damaged files, but names them."""
    run, problems = Run(job), []
    epochs: list[tuple[float, ...]] = []
    try:
        config = run.config
    except FerError:
        config = None
        missing = not (job.folder / CONFIG_FILE).exists()
        problems.append("settings never written" if missing else "settings damaged")
    try:
        epochs = [tuple(float(e[name]) for name in _CURVES) for e in _epoch_events(job)]
    except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError):
        epochs = []
        problems.append("curves damaged")
    dataset = _dataset(config)
    if config and config.dataset and dataset is None:
        problems.append("dataset gone")
    card = run.card
    report = card.metrics.get("validation") if card else None
    score = Score(report.accuracy, report.ci95, report.n) if report else _best_so_far(epochs, dataset)
    comparable = predictions_file(job.folder, "validation").is_file()
    if report and not comparable:
        problems.append("no predictions")
    accuracies, losses, seconds = zip(*epochs, strict=True) if epochs else ((), (), ())
    known = card.dataset if card else dataset.info if dataset else None
    reference = config.dataset if config else None
    return RunFacts(
        name=job.name,
        dataset=reference.name if reference else known.name if known else "",
        config=config,
        recipe=recipe_of(config) if config else "",
        score=score,
        finished=report is not None,
        ended_after=card.ended_after if card else None,
        contaminated=known.contaminated if known else None,
        leak=leak_words(card, "validation") if card and report else _leak(dataset, "validation"),
        dataset_leak=dataset_leak(dataset) if dataset else _leak_on_card(card),
        accuracies=accuracies,
        losses=losses,
        seconds=sum(seconds),
        comparable=comparable,
        problems=tuple(problems),
    )


def _epoch_events(job: Job) -> list[dict[str, Any]]:
    """``Run.epoch_events`` without the batches between them, which take most of the time and are not needed."""
    try:
        lines = (job.folder / "events.jsonl").read_bytes().split(b"\n")
    except OSError:
        return []
    events = parse_events(line for line in lines if b'"epoch"' in line and b'"type": "batch"' not in line)
    last = {(event.get("phase"), event.get("epoch")): event for event in events if event.get("type") == "epoch"}
    return sorted(last.values(), key=lambda event: (event["phase"], event["epoch"]))


def dataset_leak(dataset: Dataset) -> str:
    """Whether an evaluation split has leaks, in the words of the badge: the test split, unless it is clean."""
    return _leak(dataset, "test" if dataset.info.leaked.get("test") else "validation")


def _leak_on_card(card: ModelCard | None) -> str:
    if card is None:
        return "Leaks not known"
    return "Leaky" if card.dataset.contaminated else "Clean"


def _leak(dataset: Dataset | None, split: str) -> str:
    if dataset is None:
        return "Leaks not known"
    leaked, n = dataset.info.leaked.get(split, 0), sum(dataset.counts()[split].values())
    return f"Leaky · {leaked:,} of {n:,}" if leaked else "Clean"


def _dataset(config: RunConfig | None) -> Dataset | None:
    if config is None or config.dataset is None:
        return None
    try:
        return open_dataset(config)
    except (FerError, OSError):
        return None


def _best_so_far(epochs: list[tuple[float, ...]], dataset: Dataset | None) -> Score | None:
    n = sum(dataset.counts()["validation"].values()) if dataset else 0
    if not epochs or n == 0:
        return None
    best = max(accuracy for accuracy, *_ in epochs)
    return Score(best, wilson_interval(round(best * n), n), n)
