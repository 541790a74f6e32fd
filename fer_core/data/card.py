"""The dataset card: ``README.md`` of a prepared dataset, in Markdown, written from ``dataset.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fer_core.data.info import SPLITS, DatasetInfo
from fer_core.emotions import EMOTIONS


def card(info: DatasetInfo) -> str:
    """The text of a dataset's card: its report under the YAML header that the Hugging Face hub reads."""
    held = [split for split, counts in info.final().items() if any(counts.values())]  # an empty one is refused there
    header = [
        "---\ntask_categories: [image-classification]\nlicense: other\nconfigs:\n- config_name: default\n  data_files:",
        *(f"  - split: {split}\n    path: {split}-*.parquet" for split in held),
        "---\n",
    ]
    return "\n".join(header) + "\n" + report(info)


def report(info: DatasetInfo) -> str:
    """What a dataset holds, how it was made, its sources and their audit, and its limits, in Markdown.

    Args:
        info: The dataset's description.
    """
    parts = [
        f"# {info.name}\n",
        f"Face pictures labelled with one of seven *apparent* expressions, {info.width} x "
        f"{info.height} pixels, "
        f"{'gray' if info.channels == 1 else 'colour'}. Policy: `{info.config.get('policy', 'none')}`, "
        f"seed {info.config.get('seed', 'none')}.\n",
    ]
    if info.contaminated:
        parts.append(
            "> **Contaminated.** Photographs of the evaluation splits are also in train "
            f"({_leaks(info)}). An accuracy measured here says how well the model remembers, not how "
            "well it will do "
            "on new faces. Training on it needs `--allow-leaks`.\n"
        )
    parts += [_counts(info), _steps(info), _decisions(info), _sources(info), _audit(info), _LIMITS]
    return "\n".join(filter(None, parts)) + "\n"


def _leaks(info: DatasetInfo) -> str:
    totals = info.final()
    return ", ".join(f"{n:,} of {sum(totals[split].values()):,} in {split}" for split, n in info.leaked.items())


def _counts(info: DatasetInfo) -> str:
    lines = ["## Images\n", f"| split | {' | '.join(EMOTIONS)} | all |", "|---" * (len(EMOTIONS) + 2) + "|"]
    for split, counts in info.final().items():
        cells = " | ".join(f"{counts[emotion]:,}" for emotion in EMOTIONS)
        lines.append(f"| {split} | {cells} | {sum(counts.values()):,} |")
    return "\n".join(lines) + "\n"


def _steps(info: DatasetInfo) -> str:
    lines = ["## How it was made\n", "| after | train | validation | test |", "|---|---|---|---|"]
    for step, counts in info.counts.items():
        lines.append(f"| {step} | " + " | ".join(f"{sum(counts[split].values()):,}" for split in SPLITS) + " |")
    lines += ["", "| step | split | change | why |", "|---|---|---|---|"]
    lines += [f"| {change.step} | {change.split} | {-change.n:+,} | {change.why} |" for change in info.removed]
    if info.quarantined:
        lines += [
            "",
            f"{len(info.quarantined):,} entries could not be used; `dataset.json` lists them with reasons.",
        ]
    return "\n".join(lines) + "\n"


def _decisions(info: DatasetInfo) -> str:
    actions = info.decided()
    if not actions:
        return ""
    told = ", ".join(f"{n:,} {action}" for action, n in actions.items())
    missed = f" {info.unmatched_decisions:,} are about pictures that are not here." if info.unmatched_decisions else ""
    return (
        f"## Decisions\n\n{actions.total():,} about single pictures: {told}.{missed} "
        "`dataset.json` lists them with date and reason.\n"
    )


def _sources(info: DatasetInfo) -> str:
    lines = ["## Sources\n"]
    lines += [f"- {source['name']}: {source['layout']}" for source in info.config.get("sources", [])]
    if info.parent:
        lines.append(f"- balanced from the prepared dataset {info.parent}")
    lines.append(
        "\nThe licence is that of the sources: check their terms. FER2013 (Goodfellow et al., 2013, "
        "ICML challenges in "
        "representation learning) was collected by web search and is meant for research."
    )
    return "\n".join(lines) + "\n"


def _audit(info: DatasetInfo) -> str:
    audit = info.audit
    lines = [
        "## Audit of the sources\n",
        f"- {audit.exact_groups:,} pictures occur more than once ({audit.redundant:,} images too many); "
        f"{audit.conflicting_groups:,} of them carry more than one label.",
        f"- {audit.constant:,} images are one constant colour.",
    ]
    for name, source in audit.sources.items():
        for sides, found in source.cross_split.items():
            lines.append(
                f"- {name}, {sides}: {found.any:,} images have a copy on the other side "
                f"({found.exact:,} exact, {found.near:,} near, {found.mirrored:,} mirrored)."
            )
    lines += [
        f"- {entry.share:.1%} of the photographs of {entry.a} are also in {entry.b}." for entry in audit.reexports
    ]
    lines += _recall(info.copy_rule)
    if info.findings:
        lines += ["", "| finding | findings | images | to do |", "|---|---|---|---|"]
        lines += [f"| {one.reason} | {one.findings:,} | {one.images:,} | {one.action} |" for one in info.findings]
    return "\n".join(lines) + "\n"


def _recall(rule: Mapping[str, Any]) -> list[str]:
    """How far the audit can be trusted: what the search misses of copies that were planted."""
    found: Mapping[str, float] | None = rule.get("recall")
    if not found:
        return []
    weak = [f"{form} ({share:.0%})" for form, share in found.items() if share < _SURE]
    return [
        f"- Of planted copies the search finds {_SURE:.0%} or more in {len(found) - len(weak)} of {len(found)} forms, "
        f"and fewer of these: {'; '.join(weak)}. Measured on {rule.get('recall_of')}."
    ]


_SURE: Final = 0.99
"""Share of planted copies from which a form of copying counts as found."""

_LIMITS = """## Limits

The labels are the impression of a few raters; on FER2013 two raters agree on about two pictures in three. An
apparent expression is not what a person feels. Do not use models trained on this to judge people."""
