"""What an audit finds, one row each: why, which images, where they are, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from fer_core.data.copies import Pairs, link
from fer_core.data.info import SPLITS, Counts, FindingCount, Reexport
from fer_core.data.merge import repeats_of_other_sources, same_picture
from fer_core.data.split import conflicting
from fer_core.emotions import EMOTIONS
from fer_core.errors import from_os_error


class Reason(StrEnum):
    """Why something is a finding; the gravest first."""

    REEXPORT = "re-export"
    EXACT_LEAK = "exact copy across splits"
    NEAR_LEAK = "near copy across splits"
    MIRRORED_LEAK = "mirrored copy across splits"
    CONFLICT = "conflicting labels"
    CONSTANT = "constant"
    FLAT = "nearly constant"
    OTHER_LABEL = "near copies, other labels"
    EXACT = "exact copies"
    NEAR = "near copies"
    DARK = "very dark"
    BRIGHT = "very bright"
    BLURRY = "blurry"
    CLASSES = "class imbalance"
    SPLITS = "split imbalance"


ADVICE: Final = {
    Reason.REEXPORT: "merge",
    Reason.EXACT_LEAK: "drop from train",
    Reason.NEAR_LEAK: "drop from train",
    Reason.MIRRORED_LEAK: "drop from train",
    Reason.CONFLICT: "relabel or drop from train",
    Reason.CONSTANT: "drop from train",
    Reason.FLAT: "drop from train",
    Reason.OTHER_LABEL: "look, relabel",
    Reason.EXACT: "merge",
    Reason.NEAR: "keep",
    Reason.DARK: "look, keep",
    Reason.BRIGHT: "look, keep",
    Reason.BLURRY: "look, keep",
    Reason.CLASSES: "balance",
    Reason.SPLITS: "keep, report per class",
}
"""What to do about each, in words."""

FLAGS: Final = {
    "conflict": Reason.CONFLICT,
    "constant": Reason.CONSTANT,
    "flat": Reason.FLAT,
    "dark": Reason.DARK,
    "bright": Reason.BRIGHT,
    "blurry": Reason.BLURRY,
}
"""The findings about a picture by itself, by the flag that its rows in a dataset carry."""

IMBALANCE: Final = 3.0
"""A split's largest class by its smallest from which it is told; the recipes balance FER2013 from about 16."""

SHARE_ERRORS: Final = 3.0
"""Standard errors by which a class's share may differ between two splits before it is told."""

_MEMBER: Final = pa.struct(
    [(name, pa.string()) for name in ("source", "path", "label", "published", "split", "why", "pixel_sha")]
)
SCHEMA: Final = pa.schema(
    [
        ("reason", pa.string()),
        ("n", pa.int64()),
        ("sources", pa.string()),
        ("splits", pa.string()),
        ("labels", pa.string()),
        ("similarity", pa.float64()),
        ("told", pa.string()),
        ("action", pa.string()),
        ("images", pa.list_(_MEMBER)),
    ]
)
"""``findings.parquet``. ``n`` images; ``told`` where words say more than pictures; ``images`` are empty for what
concerns a whole source or split. An image's ``split`` is where it is in the dataset, empty with the reason ``why``."""


def flag_words(flags: str) -> list[str]:
    """Each flag of a row as findings call it; one that is no finding ("augmented") as it is."""
    return [FLAGS.get(flag, flag) for flag in flags.split()]


@dataclass(frozen=True)
class Findings:
    """Findings among the rows of a table.

    Attributes:
        table: One row per finding, the gravest first: reason, n, sources, splits, labels, similarity (of the closest
            copies, else missing), told, action.
        members: For each finding the rows of the audited table that it is about; empty for what concerns all.
    """

    table: pd.DataFrame
    members: list[NDArray[np.int64]]

    def counts(self) -> list[FindingCount]:
        """How many findings there are for each reason, and of how many images."""
        grouped = self.table.groupby("reason", sort=False)["n"].agg(["size", "sum"])
        return [
            FindingCount(reason=reason, findings=int(size), images=int(images), action=ADVICE[Reason(reason)])
            for reason, size, images in grouped.itertuples()
        ]


@dataclass(frozen=True)
class _Found:
    reason: Reason
    rows: NDArray[np.int64]
    similarity: float = np.nan
    n: int = 0
    sources: str = ""
    splits: str = ""
    told: str = ""


def find(
    table: pd.DataFrame,
    pairs: Pairs,
    splits: NDArray[np.object_],
    primary: str,
    reexports: Sequence[Reexport],
    counts: Counts,
) -> Findings:
    """Lists all findings.

    A picture that another source has too is told once, with the source; only its own source's row is listed.

    Args:
        table: Columns of ``Material.table``.
        pairs: Near and mirrored pairs of its pictures.
        splits: The split of each row by which copies across splits are judged; other text for rows in none.
        primary: The source that gives test and validation.
        reexports: Sources that hold other ones' photographs.
        counts: Images by split and emotion, by which imbalance is judged.
    """
    listed = ~repeats_of_other_sources(table, pairs, primary)
    found = [*_reexported(table, reexports), *_copies(table, pairs, splits, listed), *_looks(table, listed)]
    found += _imbalances(counts)
    order = list(Reason)
    found.sort(key=lambda one: (order.index(one.reason), -np.nan_to_num(one.similarity), -len(one.rows)))
    return _as_table(found, table, splits)


def _reexported(table: pd.DataFrame, reexports: Sequence[Reexport]) -> Iterator[_Found]:
    sizes = table["source"].value_counts()
    for entry in reexports:
        told = f"{entry.share:.1%} of the photographs of {entry.a} are also in {entry.b}"
        n = round(entry.share * int(sizes[entry.a]))
        yield _Found(
            Reason.REEXPORT, np.zeros(0, np.int64), n=n, sources=f"{entry.a}, {entry.b}", splits="all", told=told
        )


def _copies(
    table: pd.DataFrame, pairs: Pairs, splits: NDArray[np.object_], listed: NDArray[np.bool_]
) -> Iterator[_Found]:
    """Photographs that are there more than once, and pictures of several labels."""
    picture, photo, label = (table[name].to_numpy() for name in ("picture", "photo", "label"))
    yield from _conflicts(table, pairs, listed)
    # A picture's likeness to its own other codec in another source says nothing of the copies that are listed.
    own = np.zeros(int(picture.max()) + 1, bool)
    own[picture[listed]] = True
    pairs = pairs.where(own[pairs.a] & own[pairs.b])
    photo_of = np.zeros(int(picture.max()) + 1, np.int64)  # of each picture
    photo_of[picture] = photo
    trained, judged = np.zeros(len(photo_of), bool), np.zeros(len(photo_of), bool)
    trained[picture[listed & (splits == "train")]] = True
    judged[picture[listed & np.isin(splits, SPLITS[1:])]] = True
    exact = np.zeros(len(photo_of), bool)  # of each photograph, as all below
    exact[photo_of[trained & judged]] = True
    across = (trained[pairs.a] & judged[pairs.b]) | (judged[pairs.a] & trained[pairs.b])
    near, mirror = (
        _closest(pairs.where(across & (pairs.mirrored == mirrored)), photo_of) for mirrored in (False, True)
    )
    alike = _closest(pairs, photo_of)
    for rows in _groups(np.where(listed, photo, -1)):
        if len(rows) == 1:
            continue
        number, there = photo[rows[0]], splits[rows]
        if (there == "train").any() and np.isin(there, SPLITS[1:]).any():
            if exact[number]:
                yield _Found(Reason.EXACT_LEAK, rows, 1.0)
            elif mirror[number] > near[number]:
                yield _Found(Reason.MIRRORED_LEAK, rows, float(mirror[number]))
            else:  # also what is linked through a third picture only
                yield _Found(Reason.NEAR_LEAK, rows, float(near[number] or alike[number] or np.nan))
        elif len(set(picture[rows])) < len(rows):
            yield _Found(Reason.EXACT, rows, 1.0)
        else:
            reason = Reason.NEAR if len(set(label[rows])) == 1 else Reason.OTHER_LABEL
            yield _Found(reason, rows, float(alike[number] or np.nan))  # none where another source links them


def _conflicts(table: pd.DataFrame, pairs: Pairs, listed: NDArray[np.bool_]) -> Iterator[_Found]:
    """Pictures of several labels; rows that another source repeats only where it is they that disagree."""
    label, picture = table["label"].to_numpy(), table["picture"].to_numpy()
    same = link(int(picture.max()) + 1, same_picture(pairs))[picture]
    disputed = np.isin(same, same[conflicting(table, pairs)])
    for rows in _groups(np.where(disputed, same, -1)):
        own = rows[listed[rows]]
        yield _Found(Reason.CONFLICT, own if len(set(label[own])) > 1 else rows)


def _closest(pairs: Pairs, photo_of: NDArray[np.int64]) -> NDArray[np.float32]:
    """The highest similarity among the pairs of each photograph, 0 where there are none."""
    best = np.zeros(len(photo_of), np.float32)
    np.maximum.at(best, photo_of[pairs.a], pairs.similarity)
    return best


def _groups(key: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rows of equal key, where that is not negative."""
    rows = np.flatnonzero(key >= 0)
    rows = rows[np.argsort(key[rows], kind="stable")]
    return [group for group in np.split(rows, np.flatnonzero(np.diff(key[rows])) + 1) if len(group)]


def _looks(table: pd.DataFrame, listed: NDArray[np.bool_]) -> Iterator[_Found]:
    """Pictures that show little, each once."""
    picture = table["picture"].to_numpy()
    constant = table["constant"].to_numpy()
    looks = {
        Reason.CONSTANT: constant,
        Reason.FLAT: table["flat"].to_numpy() & ~constant,
        Reason.DARK: table["dark"].to_numpy(),
        Reason.BRIGHT: table["bright"].to_numpy(),
        Reason.BLURRY: table["blurry"].to_numpy(),
    }
    for reason, those in looks.items():
        for rows in _groups(np.where(those & listed, picture, -1)):
            yield _Found(reason, rows)


def _imbalances(counts: Counts) -> Iterator[_Found]:
    """Classes of train of very different sizes, classes that a split lacks, and such whose share differs in two."""
    nobody = np.zeros(0, np.int64)
    sums = {split: sum(counts[split].values()) for split in SPLITS}
    train = {emotion: n for emotion, n in counts["train"].items() if n}
    if train:
        least, most = min(train, key=train.__getitem__), max(train, key=train.__getitem__)
        if (times := train[most] / train[least]) >= IMBALANCE:
            told = f"{most} has {times:.1f} times as many images as {least} ({train[most]:,} and {train[least]:,})"
            yield _Found(Reason.CLASSES, nobody, n=sums["train"], splits="train", told=told)
    for split in SPLITS:
        if sums[split] and (missing := [emotion for emotion, n in counts[split].items() if not n]):
            told = f"{split} has no image of {', '.join(missing)}"
            yield _Found(Reason.SPLITS, nobody, n=sums[split], splits=split, told=told)
    for split in SPLITS[1:]:
        if not sums["train"] or not sums[split]:
            continue
        for emotion in EMOTIONS:
            ours, theirs = counts["train"][emotion] / sums["train"], counts[split][emotion] / sums[split]
            whole = (counts["train"][emotion] + counts[split][emotion]) / (sums["train"] + sums[split])
            error = np.sqrt(whole * (1 - whole) * (1 / sums["train"] + 1 / sums[split]))
            if abs(ours - theirs) > SHARE_ERRORS * error:
                told = f"{emotion} is {ours:.1%} of train and {theirs:.1%} of {split}"
                yield _Found(Reason.SPLITS, nobody, n=counts[split][emotion], splits=f"train, {split}", told=told)


def _as_table(found: Sequence[_Found], table: pd.DataFrame, splits: NDArray[np.object_]) -> Findings:
    source, label = table["source"].to_numpy(object), table["label"].to_numpy()
    every = ", ".join(dict.fromkeys(source))
    names = np.array(EMOTIONS)

    def several(values: Iterable[str], order: Sequence[str]) -> str:
        return ", ".join(sorted(set(values), key=order.index))

    places = [*SPLITS, ""]
    order = list(dict.fromkeys(source))
    rows = [
        {
            "reason": one.reason,
            "n": one.n or len(one.rows),
            "sources": one.sources or (several(map(str, source[one.rows]), order) if len(one.rows) else every),
            "splits": one.splits or several(map(str, splits[one.rows]), places),
            "labels": several(map(str, names[label[one.rows]]), EMOTIONS),
            "similarity": one.similarity,
            "told": one.told,
            "action": ADVICE[one.reason],
        }
        for one in found
    ]
    columns = [field.name for field in SCHEMA if field.name != "images"]
    return Findings(pd.DataFrame(rows, columns=columns), [one.rows for one in found])


def as_arrow(findings: Findings, table: pd.DataFrame, final: NDArray[np.object_], why: NDArray[np.object_]) -> pa.Table:
    """Findings as ``findings.parquet`` holds them, in ``SCHEMA``.

    Args:
        findings: Of the rows of ``table``.
        table: Columns ``source``, ``path``, ``label``, ``published``, ``pixel_sha``.
        final: The split of each row in the dataset; empty where it is left out.
        why: The reason where it is.
    """
    names = np.array(EMOTIONS, object)[table["label"].to_numpy()]
    columns = [
        *(table[name].to_numpy(object) for name in ("source", "path")),
        names,
        table["published"].to_numpy(object),
        final,
        why,
        table["pixel_sha"].to_numpy(object),
    ]
    lengths = np.array([len(rows) for rows in findings.members], np.int64)
    rows = np.concatenate(findings.members) if len(lengths) else np.zeros(0, np.int64)
    members = pa.StructArray.from_arrays(
        [pa.array(column[rows], pa.string()) for column in columns], fields=list(_MEMBER)
    )
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    arrays = [pa.array(findings.table[field.name], field.type, from_pandas=True) for field in list(SCHEMA)[:-1]]
    return pa.Table.from_arrays([*arrays, pa.ListArray.from_arrays(offsets, members)], schema=SCHEMA)


def findings_csv(stored: pa.Table | None) -> str:
    """Stored findings as the text of a CSV; images are ``source:path (split, label)``, one below the other.

    Beside them, line by line, is their ``pixel_sha``, by which the manifest and decisions know them.

    Args:
        stored: In ``SCHEMA``; None gives the header alone.
    """
    table = (SCHEMA.empty_table() if stored is None else stored).to_pandas()
    members = table["images"]
    table["images"] = [
        "\n".join(f"{i['source']}:{i['path']} ({i['published']}, {i['label']})" for i in images) for images in members
    ]
    table["pixel_sha"] = ["\n".join(i["pixel_sha"] for i in images) for images in members]
    return table.to_csv(index=False, lineterminator="\n")


def write_findings(file: Path, findings: Findings, table: pd.DataFrame) -> None:
    """Writes findings as ``findings_csv`` tells them.

    Args:
        file: Where to; it is replaced.
        findings: Of the rows of ``table``.
        table: Columns ``source``, ``path``, ``published``, ``label``, ``pixel_sha``.

    Raises:
        FerError: It cannot be written.
    """
    published = table["published"].to_numpy(object)
    text = findings_csv(as_arrow(findings, table, published, np.full(len(table), "", object)))
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise from_os_error(error, file) from error
