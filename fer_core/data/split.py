"""Who goes where: test as published, validation drawn by photograph, train without what they contain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer_core.data.config import Policy, Validation
from fer_core.data.copies import Pairs
from fer_core.data.decisions import Action, Decided
from fer_core.data.ledger import GONE, Ledger
from fer_core.data.merge import FOREIGN_SPLIT, merge, same_picture
from fer_core.data.table import picture_labels
from fer_core.emotions import EMOTIONS
from fer_core.errors import SourceError

__all__ = ["Assignment", "Policy", "assign", "conflicting"]

Splits = NDArray[np.object_]


@dataclass(frozen=True)
class Assignment:
    """Where each row ends up.

    Attributes:
        drawn: Split of each row before train was cleaned: what copies across splits are looked for in.
        final: Split of each row in the dataset; ``GONE`` if it is left out.
        why: The reason why each row is left out; empty for the others.
        labels: int64 ``[N]``: as decided.
        conflict: bool ``[N]``: the same picture carries another label somewhere.
        ledger: Counts after every step, and why they changed.
    """

    drawn: Splits
    final: Splits
    why: Splits
    labels: NDArray[np.int64]
    conflict: NDArray[np.bool_]
    ledger: Ledger


def assign(
    table: pd.DataFrame,
    pairs: Pairs,
    primary: str,
    policy: Policy,
    val_fraction: float,
    seed: int,
    validation: Validation = Validation.DRAWN,
    decided: Decided | None = None,
) -> Assignment:
    """Assigns rows to splits.

    A primary source without a test split gives one by drawing, like validation and of the same share. One
    that was published with a validation split keeps it. Decisions come after the draw, so that a dataset with
    decisions has the validation and test images of the one without, those aside that were decided about.

    Args:
        table: Columns of ``Material.table``.
        pairs: Near and mirrored pairs of pictures.
        primary: The source that gives test and validation.
        policy: What may be in train.
        val_fraction: Share of the primary source's train images, of each class, that becomes validation.
        seed: Decides the draw.
        validation: Where validation comes from.
        decided: What was decided about single pictures.

    Raises:
        SourceError: Validation is to be PublicTest, and there is none.
    """
    labels = table["label"].to_numpy()
    ledger = Ledger(labels, table["source"].to_numpy(object))
    splits = table["published"].to_numpy(object).copy()
    ledger.record("read", splits)
    reasons = np.full(len(table), "", object)
    first = (table["source"] == primary).to_numpy()
    groups = table["photo"].to_numpy()

    def step(name: str, after: Splits, why: Splits) -> None:
        nonlocal splits
        reasons[(after == GONE) & (splits != GONE)] = why[(after == GONE) & (splits != GONE)]
        ledger.record(name, after, why, labels)
        splits = after

    if policy is Policy.EVALUATION_ONLY:
        step("split", *_all_test(table))
    else:
        if validation is Validation.USAGE:
            step("usage", *_by_usage(table, splits, first, primary))
        if policy is Policy.LEAK_FREE:
            step("merged", *merge(table.assign(published=splits), pairs, primary))
        else:
            groups = np.arange(len(table))  # as published: image by image, copies or not
        step("split", *_draw(splits, labels, groups, first, val_fraction, np.random.default_rng(seed)))
    drawn = splits
    kept = np.zeros(len(table), bool)
    if decided is not None:
        kept = decided.action == Action.KEEP
        labels = np.where(decided.label >= 0, decided.label, labels)
        step("decided", *_decide(splits, decided, table["photo"].to_numpy()))
    conflict = conflicting(table.assign(label=labels), pairs)
    if policy is Policy.LEAK_FREE:
        step("cleaned", *_clean(splits, groups, conflict & ~kept, table["constant"].to_numpy() & ~kept))
    return Assignment(drawn, splits, reasons, labels, conflict, ledger)


def _by_usage(table: pd.DataFrame, splits: Splits, first: NDArray[np.bool_], primary: str) -> tuple[Splits, Splits]:
    """PublicTest becomes validation, so that PrivateTest alone is test."""
    public = first & (table["usage"] == "PublicTest").to_numpy()
    if not public.any():
        raise SourceError(
            f"{primary} has no image of usage PublicTest to be validation. Leave out --validation usage, or give "
            "FER2013 with its usages (its CSV, or files named PublicTest_...)."
        )
    if not (first & ~public & (splits == "test")).any():
        raise SourceError(
            f"{primary} has no image of usage PrivateTest, which would be test. Leave out --validation usage: "
            "validation is then drawn from train."
        )
    why = np.where(public, "usage PublicTest is validation", "").astype(object)
    return np.where(public, "validation", splits).astype(object), why


def _decide(splits: Splits, decided: Decided, photo: NDArray[np.int64]) -> tuple[Splits, Splits]:
    """Takes out what was decided to be left out."""
    action = decided.action
    merged = np.zeros(len(splits), bool)
    those = np.flatnonzero((action == Action.MERGE) & (splits != GONE))
    merged[those] = pd.DataFrame({"photo": photo[those], "split": splits[those]}).duplicated().to_numpy()
    evaluated = np.isin(splits, ("validation", "test"))
    why = np.select(
        [
            action == Action.DROP,
            (action == Action.DROP_TRAIN) & (splits == "train"),
            (action == Action.DROP_EVALUATION) & evaluated,
            merged,
        ],
        ["decided: drop", "decided: drop from train", "decided: drop from evaluation", "decided: merge"],
        "",
    ).astype(object)
    why[splits == GONE] = ""
    return np.where(why == "", splits, GONE).astype(object), why


def _all_test(table: pd.DataFrame) -> tuple[Splits, Splits]:
    """Every row is test; of a source with a test split only that."""
    test = (table["published"] == "test").to_numpy()
    elsewhere = ~test & table["source"].isin(table["source"][test]).to_numpy()
    why = np.where(elsewhere, "its source has a test split", "evaluation only: every picture is test")
    return np.where(elsewhere, GONE, "test").astype(object), why.astype(object)


def conflicting(table: pd.DataFrame, pairs: Pairs) -> NDArray[np.bool_]:
    """bool ``[N]``: rows whose picture, in these pixels or re-encoded elsewhere, carries several labels."""
    bits = picture_labels(table)
    close = same_picture(pairs)
    merged = bits.copy()
    np.bitwise_or.at(merged, close.a, bits[close.b])
    np.bitwise_or.at(merged, close.b, bits[close.a])
    return (np.bitwise_count(merged) > 1)[table["picture"].to_numpy()]


def _draw(
    splits: Splits,
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    first: NDArray[np.bool_],
    fraction: float,
    random: np.random.Generator,
) -> tuple[Splits, Splits]:
    splits, why = splits.copy(), np.full(len(splits), "", object)
    foreign = ~first & np.isin(splits, ("validation", "test"))
    splits[foreign], why[foreign] = "train", FOREIGN_SPLIT
    for split in ("test", "validation"):
        if (first & (splits == split)).any():
            continue
        taken = np.isin(groups, groups[first & np.isin(splits, ("validation", "test"))])
        pool = np.flatnonzero(first & (splits == "train") & ~taken)
        chosen = _stratified(pool, labels, groups, fraction, random)
        splits[chosen] = split
        why[chosen] = "drawn from train" if split == "validation" else "drawn from train: the source has no test split"
    return splits, why


def _stratified(
    pool: NDArray[np.int64],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    fraction: float,
    random: np.random.Generator,
) -> NDArray[np.int64]:
    """Draws whole groups until each class has its share; a group counts for the class of its first row."""
    codes, first, sizes = np.unique(groups[pool], return_index=True, return_counts=True)
    group_label = labels[pool][first]
    chosen: list[NDArray[np.int64]] = []
    for label in range(len(EMOTIONS)):
        mine = random.permutation(np.flatnonzero(group_label == label))
        wanted = round(fraction * sizes[mine].sum())
        # The last group may not fit: it is left, and smaller ones fill the place.
        total = 0
        for group in mine:
            if total + sizes[group] <= wanted:
                total += sizes[group]
                chosen.append(codes[group : group + 1])
    members = np.concatenate(chosen) if chosen else codes[:0]
    return pool[np.isin(groups[pool], members)]


def _clean(
    splits: Splits, groups: NDArray[np.int64], conflict: NDArray[np.bool_], constant: NDArray[np.bool_]
) -> tuple[Splits, Splits]:
    """Takes out of train, and of a published validation split, what would make a later number untrue."""
    train = splits == "train"
    in_test = np.isin(groups, groups[splits == "test"])
    in_validation = np.isin(groups, groups[splits == "validation"])
    why = np.select(
        [
            (train | (splits == "validation")) & in_test,
            train & in_validation,
            train & constant,
            train & conflict,
        ],
        [
            "the photograph is in test",
            "the photograph is in validation",
            "one constant colour",
            "identical pictures carry different labels",
        ],
        "",
    ).astype(object)
    return np.where(why == "", splits, GONE).astype(object), why
