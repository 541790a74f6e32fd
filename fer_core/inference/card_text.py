"""A model card in words: what it says, for the About page and as a Markdown file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from fer_core.evaluation.metrics import Interval
from fer_core.evaluation.report import EvaluationReport
from fer_core.inference.served import IMPORTED, ModelCard


def facts(card: ModelCard) -> dict[str, str]:
    """What a card says of the model itself and of its training, a few words each."""
    size, parameters = card.input, card.parameters
    imported = card.preset == IMPORTED
    trained = "" if imported else f"; {parameters.trainable:,} trained in the first phase"
    rows = {
        "Reads": f"{size.height} x {size.width} pixels, {'gray' if size.channels == 1 else 'colour'}",
        "Answers": ", ".join(card.labels),
        "Recipe": "imported from a file made elsewhere" if imported else card.preset,
        "Parameters": f"{parameters.total:,}{trained}",
        "Size": f"{card.size_mib:.1f} MiB",
        "Imported" if imported else "Made": f"{datetime.fromtimestamp(card.created, UTC):%Y-%m-%d}",
        "Trained on": _training_data(card),
        "Evaluation images trained on": _leaks(card),
    }
    if imported:
        return rows
    looked = {0: "not looked at", 1: "looked at once"}.get(card.test_reveals, f"looked at {card.test_reveals} times")
    return {
        **rows,
        "Chosen by": f"accuracy on the {card.selection_set} split",
        "Temperature": f"{card.temperature:.3f}, fitted on the {card.selection_set} split; inside the model file",
        "Test split": looked,
    }


def leak_words(card: ModelCard, split: str) -> str:
    """Whether a model knows the photographs of a split of its own dataset: the badge of its accuracy."""
    if not card.dataset.known:
        return "Leaks not known"
    leaked = card.dataset.leaked.get(split, 0)
    if leaked:
        return f"Leaky · {leaked:,} of {card.metrics[split].n:,}"
    return "Clean"


def markdown(card: ModelCard, sections: Sequence[str] = ()) -> str:
    """The card as a Markdown document.

    Args:
        card: What it says.
        sections: What else is known of the model, in Markdown, to stand between its scores and its use.
    """
    parts = [f"# {card.name}", "Names the apparent expression of a face, one of seven.", two_columns(facts(card))]
    if card.metrics:
        parts += ["## Accuracy", _accuracies(card)]
    for split, report in card.metrics.items():
        parts += [f"## Classes on {split}", _classes(report)]
    parts += [*sections, "## Intended use", card.intended_use, "## Limits", _bullets(card.limits)]
    if card.notes:
        parts += ["## Notes", _bullets(card.notes)]
    return "\n\n".join(parts) + "\n"


def two_columns(rows: Mapping[str, str]) -> str:
    """A Markdown table without a head: names and what is said of them."""
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _bullets(texts: Iterable[str]) -> str:
    return "\n".join(f"- {text}" for text in texts)


def _accuracies(card: ModelCard) -> str:
    """A table with a row for each split, and how it was found out which images are copies."""
    lines = [
        "| split | accuracy | 95% interval | n | leaks | never seen in train | 95% interval | n "
        "| macro-F1 | loss | calibration error |",
        "|---" * 11 + "|",
    ]
    for split, report in card.metrics.items():
        free = report.leak_free
        official, unseen = (_accuracy(score.accuracy, score.ci95, score.n) for score in (report, free))
        others = f"{report.macro_f1:.3f} | {report.loss:.3f} | {report.ece:.1%}"
        lines.append(f"| {split} | {official} | {leak_words(card, split)} | {unseen} | {others} |")
    found = (f"Never seen in train, {split}: {report.leak_free.note}" for split, report in card.metrics.items())
    return "\n".join([*lines, "", _bullets(found)])


def _accuracy(value: float | None, interval: Interval | None, n: int) -> str:
    """Three cells of a table."""
    if value is None or interval is None:
        return f"not known | | {n:,}"
    return f"{value:.1%} | {interval[0]:.1%} to {interval[1]:.1%} | {n:,}"


def _classes(report: EvaluationReport) -> str:
    lines = ["| class | precision | recall | F1 | images |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {scores.precision:.3f} | {scores.recall:.3f} | {scores.f1:.3f} | {scores.support:,} |"
        for name, scores in report.per_class.items()
    ]
    return "\n".join(lines)


def _training_data(card: ModelCard) -> str:
    data = card.dataset
    if not data.known:
        return "not known"
    allowed = ", with --allow-leaks" if card.allow_leaks else ""
    return f"{data.name} (policy {data.policy}{allowed}; fingerprint {data.fingerprint[:12]})"


def _leaks(card: ModelCard) -> str:
    if not card.dataset.known:
        return "not known"
    leaked = ", ".join(f"{n:,} of {split}" for split, n in card.dataset.leaked.items() if n)
    return leaked or "none"
