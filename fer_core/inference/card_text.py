"""A model card in words: what it says, for the About page and as a Markdown file."""

from __future__ import annotations

from datetime import UTC, datetime

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
        "Temperature": f"{card.temperature:.3f}",
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


def markdown(card: ModelCard) -> str:
    """The card as a Markdown document."""
    lines = [f"# {card.name}", "", card.intended_use, "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts(card).items()]
    for split, report in card.metrics.items():
        lines += ["", f"## Scores on {split}", "", *_scores(report, leak_words(card, split))]
    lines += ["", "## Limits", "", *(f"- {limit}" for limit in card.limits)]
    if card.notes:
        lines += ["", "## Notes", "", *(f"- {note}" for note in card.notes)]
    return "\n".join(lines) + "\n"


def _scores(report: EvaluationReport, leaks: str) -> list[str]:
    low, high = report.ci95
    lines = [f"- Accuracy {report.accuracy:.1%} (95% interval {low:.1%} to {high:.1%}), n {report.n:,}, {leaks}"]
    free = report.leak_free
    if free.accuracy is not None and free.ci95 is not None:
        low, high = free.ci95
        lines.append(
            f"- Never seen in train: {free.accuracy:.1%} (95% interval {low:.1%} to {high:.1%}), n {free.n:,}. "
            f"{free.note}"
        )
    else:
        lines.append(f"- Never seen in train: {free.note}")
    lines.append(f"- Macro-F1 {report.macro_f1:.3f}, loss {report.loss:.3f}, calibration error {report.ece:.1%}")
    lines += ["", "| class | precision | recall | F1 | images |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {scores.precision:.3f} | {scores.recall:.3f} | {scores.f1:.3f} | {scores.support:,} |"
        for name, scores in report.per_class.items()
    ]
    return lines


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
