"""``experiments.md``: the head, a table of what was thought and found, one of figures, and one for each sweep."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final

from benchmarks.outcomes import Difference, Entry, Outcome, Pace, Scores, Training
from fer_core.emotions import EMOTIONS

_MARK: Final = "<!-- written by benchmarks/experiments.py of experiments.yaml and results/experiments.json -->"
_NONE: Final = "—"

Rows = Sequence[tuple[Entry, Outcome]]


def page(head: list[str], rows: Rows) -> str:
    """The page in Markdown.

    Args:
        head: Its first paragraphs.
        rows: The experiments in order, with what they came to.
    """
    sweeps = [part for entry, outcome in rows if outcome.sweep for part in (f"### {entry.name}", _sweep(outcome))]
    parts = [
        _MARK,
        "# Experiments with the model in the box",
        *head,
        "## What was thought, and what came of it",
        _words(rows),
        "## Figures",
        "*Weakest* is the class with the lowest recall. Differences are those of accuracy to the experiment named, "
        "image by image. Seconds and how busy the GPU was, with all that shared it, are medians.",
        _figures(rows),
        "## Changes to the shipped model's answers, step by step",
        "On validation alone, where the steps were also chosen: the step in bold is the one with the highest macro-F1 "
        "of those whose accuracy is no lower than at 0.",
        *sweeps,
    ]
    return "\n\n".join(parts) + "\n"


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = (names, ["---"] * len(names), *rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _words(rows: Rows) -> str:
    names = ("experiment", "prediction", "change", "result", "decision")
    cells = [(entry.name, entry.prediction, entry.change, _result(entry, out), entry.decision) for entry, out in rows]
    return _table(names, cells)


def _result(entry: Entry, outcome: Outcome) -> str:
    """In a few sentences; the table of figures has the rest."""
    said = []
    if outcome.validation:
        said.append(f"Validation {_percent(outcome.validation.accuracy)}.")
    if outcome.test:
        said.append(f"Test {_percent(outcome.test.accuracy)}.")
    if outcome.differences:
        both = ", ".join(f"{_points(value)} on {split}" for split, value in outcome.differences.items())
        said.append(f"Against {entry.against} {both}.")
    if outcome.training:
        said.append(_course(outcome.training))
    if outcome.pace:
        said.append(_beside(outcome.pace, entry.pace_of))
    if outcome.sweep:
        said.append(_bought(outcome))
    if outcome.batches:
        times = outcome.batches
        told = (
            f"{before:.1f} to {times.after[threads]:.1f} ms with {threads} thread{'s' * (threads > 1)}"
            for threads, before in times.before.items()
        )
        said.append(f"A batch takes {', '.join(told)}, medians of {times.n} processes each; {times.machine}.")
    return " ".join(said)


def _course(training: Training) -> str:
    planned = "" if training.epochs == training.planned else f" of {training.planned} planned"
    scored = "" if training.scored_epoch == training.best_epoch else f"; the model is epoch {training.scored_epoch}"
    return (
        f"Best epoch {training.best_epoch} ({_percent(training.best_accuracy)}), last {training.epochs}{planned} "
        f"({_percent(training.last_accuracy)}; on train, as it was augmented, {_percent(training.train_accuracy)})"
        f"{scored}. Loss on validation was lowest in epoch {training.lowest_loss_epoch}, {training.lowest_loss:.3f}, "
        f"and in the last {training.last_loss:.3f}."
    )


def _beside(pace: Pace, name: str) -> str:
    """Two curves beside each other: epoch by epoch the order changes, so the mean is told first."""
    last = pace.first + len(pace.ours) - 1
    ours, theirs = (_percent(statistics.mean(values)) for values in (pace.ours, pace.theirs))
    best = max(range(len(pace.ours)), key=pace.ours.__getitem__)
    return (
        f"Mean of epochs {pace.first} to {last}: {ours}, {name} {theirs}; in epoch {pace.first + best} alone "
        f"{_percent(pace.ours[best])} and {_percent(pace.theirs[best])}, in epoch {last} "
        f"{_percent(pace.ours[-1])} and {_percent(pace.theirs[-1])}."
    )


def _bought(outcome: Outcome) -> str:
    before, after = outcome.sweep["0"], outcome.sweep[outcome.chosen]
    recalls = (
        f"{emotion} {_percent(before.recall[emotion])} to {_percent(after.recall[emotion])}"
        for emotion in EMOTIONS
        if abs(after.recall[emotion] - before.recall[emotion]) >= 0.01
    )
    return (
        f"At {outcome.chosen}: macro-F1 {before.macro_f1:.3f} to {after.macro_f1:.3f}; recall of {', '.join(recalls)}; "
        f"precision of disgust {_percent(before.precision['disgust'])} to {_percent(after.precision['disgust'])}."
    )


def _figures(rows: Rows) -> str:
    names = (
        *("experiment", "validation, 95 %, n", "macro-F1", "calibration error", "weakest", "against"),
        *("difference, 95 %", "test, 95 %, n", "macro-F1", "difference, 95 %"),
        *("epochs", "s per epoch", "device", "busy"),
    )
    return _table(names, [(entry.name, *_figures_of(entry, outcome)) for entry, outcome in rows if outcome.validation])


def _figures_of(entry: Entry, outcome: Outcome) -> list[str]:
    scores, test, training = outcome.validation, outcome.test, outcome.training
    assert scores is not None  # or it has no row
    on = {split: _points(difference) for split, difference in outcome.differences.items()}
    return [
        _accuracy(scores),
        f"{scores.macro_f1:.3f}",
        _NONE if scores.ece is None else _percent(scores.ece),
        f"{scores.weakest} {_percent(scores.recall[scores.weakest])}",
        entry.against if on else _NONE,
        on.get("validation", _NONE),
        _accuracy(test) if test else _NONE,
        f"{test.macro_f1:.3f}" if test else _NONE,
        on.get("test", _NONE),
        f"{training.epochs} of {training.planned}" if training else _NONE,
        f"{training.seconds:.2f}" if training else _NONE,
        training.device if training else _NONE,
        f"{training.gpu_percent:.0f} %" if training and training.gpu_percent is not None else _NONE,
    ]


def _sweep(outcome: Outcome) -> str:
    names = ("step", "accuracy, 95 %, n", "macro-F1", "calibration error", "precision of disgust")
    cells = []
    for step, scores in outcome.sweep.items():
        ece = _NONE if scores.ece is None else _percent(scores.ece)
        recalls = (_percent(scores.recall[emotion]) for emotion in EMOTIONS)
        named = f"**{step}**" if step == outcome.chosen else step
        precision = _percent(scores.precision["disgust"])
        cells.append((named, _accuracy(scores), f"{scores.macro_f1:.3f}", ece, precision, *recalls))
    return _table((*names, *(f"recall of {emotion}" for emotion in EMOTIONS)), cells)


def _accuracy(scores: Scores) -> str:
    low, high = scores.ci95
    return f"{_percent(scores.accuracy)} ({100 * low:.1f}–{100 * high:.1f}), {scores.n:,}"


def _points(difference: Difference) -> str:
    low, high = difference.ci95
    return f"{100 * difference.value:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
