"""How the command line tells of two models that were asked about the same images."""

from __future__ import annotations

from typing import Any

import typer

from fer_core.emotions import CODES, EMOTIONS
from fer_core.evaluation.compare import PairedAnswers, PairedDifference, p_words
from fer_core.workspace import printable


def difference_words(difference: PairedDifference, first: str) -> str:
    """A line: points of accuracy more than the first, on how many images, whether that may be chance."""
    low, high = difference.ci95
    noise = ", within noise" if difference.within_noise else ""
    return (
        f"{100 * difference.difference:+.1f} ± {50 * (high - low):.1f} points on {difference.n:,} shared images{noise} "
        f"(only this one right: {difference.only_b:,}, only {first}: {difference.only_a:,}); "
        f"exact McNemar test {p_words(difference.p_value)}"
    )


def document(answers: PairedAnswers, *, details: bool) -> dict[str, Any]:
    """What ``--json`` prints of a model against the first; ``details`` also has what ``print_details`` prints."""
    difference = answers.difference
    found: dict[str, Any] = {
        "n": difference.n,
        "accuracy": difference.difference,
        "ci95": list(difference.ci95),
        "within_noise": difference.within_noise,
        "p_value": difference.p_value,
        "only_first_right": difference.only_a,
        "only_this_right": difference.only_b,
    }
    if details:
        found["confusion_difference"] = answers.confusion_difference.tolist()
        found["images"] = [
            {"path": path, "label": EMOTIONS[label], "first": EMOTIONS[a], "this": EMOTIONS[b]}
            for path, label, a, b in answers.only_one_right().itertuples(index=False)
        ]
    return found


def print_details(answers: PairedAnswers, first: str, name: str) -> None:
    """Prints how the confusion matrices differ, and the images that one of the two alone reads right."""
    typer.echo(f"\nConfusion matrix of {name} minus that of {first} (rows: true, columns: predicted)")
    typer.echo(f"{'':8}  {' '.join(f'{CODES[emotion]:>6}' for emotion in EMOTIONS)}")
    for emotion, row in zip(EMOTIONS, answers.confusion_difference, strict=True):
        typer.echo(f"{emotion:>8}  {' '.join(f'{n:+6d}' if n else f'{0:6d}' for n in row)}")
    one = answers.only_one_right()
    for alone, right in ((name, one["predicted_b"]), (first, one["predicted_a"])):
        rows = one[right == one["label"]]
        typer.echo(f"\nOnly {alone} reads right: {len(rows):,}")
        for path, label, a, b in rows.itertuples(index=False):
            typer.echo(f"{printable(path)}  {EMOTIONS[label]}, not {EMOTIONS[b if a == label else a]}")
