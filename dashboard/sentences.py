"""Findings in words: pure functions of what is stored, a sentence or two each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fer_core.data.balance import ClassPlan
from fer_core.data.info import DatasetInfo
from fer_core.evaluation.label_check import Issue, LabelCheckInfo

_ALL: float = 0.995
_SOME: float = 0.01
_MOST: float = 0.5


def balance_finding(plans: Mapping[str, ClassPlan], *, done: bool) -> str:
    """What balancing does to train, or has done."""
    before, after, augmented, removed = (
        sum(getattr(steps, name) for steps in plans.values()) for name in ("before", "after", "augmented", "removed")
    )
    if not augmented and not removed:
        return f"Train {'stayed as it was' if done else 'would stay as it is'}: {before:,} images."
    verb = "went" if done else "would go"
    if not removed or not augmented:
        verb = ("grew" if done else "would grow") if augmented else ("shrank" if done else "would shrink")
    parts = []
    if augmented:
        most = max(plans, key=lambda emotion: plans[emotion].per_original)
        parts.append(f"{augmented:,} augmented children, most for {most}: {plans[most].per_original:.1f} per original")
    if removed:
        parts.append(f"{removed:,} originals {'were' if done else 'would be'} left out")
    return f"Train {verb} from {before:,} to {after:,}: {'; '.join(parts)}."


def weights_finding(counts: Mapping[str, int], weights: Mapping[str, float]) -> str:
    """What class weights would do, which make the classes count alike.

    Args:
        counts: Train images by emotion.
        weights: What an image of each emotion counts.
    """
    present = {emotion: weight for emotion, weight in weights.items() if counts[emotion]}
    most, least = max(present, key=lambda emotion: present[emotion]), min(present, key=lambda emotion: present[emotion])
    if len(present) == 1 or counts[most] == counts[least]:
        return f"Every image counts 1: each class that is there has {counts[most]:,} images."
    times = present[most] / present[least]
    return f"No copies: in the loss, one {most} image would count as much as {times:.1f} {least} images."


def data_finding(info: DatasetInfo) -> str:
    """What the audit found in a dataset's sources: re-exports first, then copies between train and test."""
    parts = []
    for found in info.audit.reexports:
        if found.a == info.config.get("primary"):
            continue  # the other direction says it
        if found.share >= _ALL:
            parts.append(f"{found.a} adds no photograph: all of it is {found.b}.")
        elif found.share >= _SOME:
            parts.append(f"{100 * found.share:.0f} % of {found.a} is also in {found.b}.")
    primary = info.audit.sources[info.config["primary"]].cross_split.get("train/test")
    if primary and primary.any:
        held = sum(info.counts[next(reversed(info.counts))]["test"].values())
        total = info.audit.sources[info.config["primary"]].images.get("test", held)  # as published, not as decided
        parts.append(
            f"{primary.any:,} of {total:,} test images are also in train as published, "
            f"{primary.exact:,} of them exactly."
        )
    return " ".join(parts) or "No photograph is in these sources twice."


def search_limits(rule: Mapping[str, Any]) -> str | None:
    """What the search for copies finds and where it begins to miss most; None where a dataset does not say.

    Args:
        rule: ``DatasetInfo.copy_rule``.
    """
    if "pixel_correlation" not in rule:
        return None
    missed: dict[str, str] = {}  # of each kind of change the least
    for form, share in rule.get("recall", {}).items():
        if share < _MOST:
            missed.setdefault(form.partition(" ")[0], form)
    unseen = f"; most are missed from {', '.join(missed.values())} on" if missed else ""
    return f"Copies are found whose pixels correlate at {rule['pixel_correlation']:.2f} or more, also mirrored{unseen}."


def issues_finding(info: LabelCheckInfo) -> str:
    """How many labels a check doubts, and why."""
    told = {Issue.LIKELY_WRONG: "probably wrong", Issue.AMBIGUOUS: "ambiguous", Issue.NO_FACE: "of no face"}
    found = [f"{info.issues.get(issue, 0):,} {words}" for issue, words in told.items() if info.issues.get(issue)]
    if not found:
        return f"None of {info.n:,} train labels is in doubt."
    return f"Of {info.n:,} train labels, {' and '.join(filter(None, (', '.join(found[:-1]), found[-1])))}."


def decisions_finding(info: DatasetInfo) -> str:
    """How many decisions a dataset was made with, and what they did; empty where there are none."""
    actions = info.decided()
    if not actions:
        return ""
    told = ", ".join(f"{n:,} {action}" for action, n in actions.items())
    missed = info.unmatched_decisions
    lost = f" {missed:,} of them {'is' if missed == 1 else 'are'} about pictures that are not here." if missed else ""
    return f"Made with {actions.total():,} decision{'s' * (actions.total() != 1)}: {told}.{lost}"
