"""Counts copies, conflicting labels and blanks: in each source, in all together, and across splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer_core.data.copies import PARTNERS, Pairs, link
from fer_core.data.dataset import Dataset
from fer_core.data.decode import VIEW
from fer_core.data.findings import Findings, find
from fer_core.data.info import (
    SPLITS,
    Audit,
    Counts,
    CrossSplit,
    Quarantined,
    Reexport,
    SourceAudit,
    count,
)
from fer_core.data.labels import LabelMap
from fer_core.data.merge import primary_source
from fer_core.data.sources import open_sources
from fer_core.data.table import Material, identify, picture_labels, read_material
from fer_core.jobs.progress import Progress, silent
from fer_core.preprocessing import to_native


@dataclass(frozen=True)
class Audited:
    """What an audit gives.

    Attributes:
        counts: As read, or after every step.
        audit: The figures.
        findings: One by one, about the rows of ``table``.
        table: One row per image: source, path, label, published (its split), pixel_sha and more.
        left_out: What could not be read.
    """

    counts: dict[str, Counts]
    audit: Audit
    findings: Findings
    table: pd.DataFrame
    left_out: list[Quarantined]


def audit(table: pd.DataFrame, pairs: Pairs) -> Audit:
    """Audits rows whose copies are known.

    Args:
        table: Columns ``source``, ``published`` (the split), ``label``, ``picture``, ``constant``.
        pairs: Near and mirrored pairs of its pictures.
    """
    names = list(dict.fromkeys(table["source"]))
    whole = _audit_one(table, pairs)
    sources = {name: _audit_one(table[table["source"] == name], pairs) for name in names}
    return Audit(**dict(whole), reexports=_reexports(table, pairs, names), sources=sources)


def audit_sources(
    specs: Sequence[str],
    size: tuple[int, int],
    channels: int,
    progress: Progress = silent,
    labels: LabelMap | None = None,
) -> Audited:
    """Reads and audits sources.

    Args:
        specs: Paths, or ``name=path``.
        size: Height and width at which pictures are compared, in pixels.
        channels: 1 (gray) or 3 (RGB).
        progress: Told of reading and searching.
        labels: What labels mean that are none of the known spellings.

    Raises:
        SourceError: A source cannot be read.
    """
    opened = open_sources(specs, labels)
    material = read_material(opened, size, channels, progress)
    return _audited({"read": _counts(material)}, material, primary_source(opened))


def audit_dataset(dataset: Dataset, progress: Progress = silent) -> Audited:
    """Audits a prepared dataset as it is now: its own splits, augmented images included.

    Raises:
        DatasetError: It is damaged.
    """
    tables, views = [], []
    for name in SPLITS:
        split = dataset.split(name, progress)
        tables.append(
            split.table.assign(
                published=name,
                label=split.labels,
                constant=[bool(image.min() == image.max()) for image in split.images],
            )
        )
        views += [to_native(image, (VIEW, VIEW), 1)[:, :, 0] for image in split.images]
    left_out = dataset.info.quarantined
    material = identify(pd.concat(tables, ignore_index=True), np.stack(views), left_out, progress)
    return _audited(dataset.info.counts, material, str(dataset.info.config["primary"]))


def _audited(counts: dict[str, Counts], material: Material, primary: str) -> Audited:
    table = material.table
    found = audit(table, material.pairs)
    splits = table["published"].to_numpy(object)
    findings = find(table, material.pairs, splits, primary, found.reexports, counts[next(reversed(counts))])
    return Audited(counts, found, findings, table, material.quarantined)


def _counts(material: Material) -> Counts:
    return count(material.table["published"].to_numpy(str), material.table["label"].to_numpy())


def _audit_one(table: pd.DataFrame, pairs: Pairs) -> SourceAudit:
    sizes = np.bincount(table["picture"])
    labels = picture_labels(table)
    images = table["published"].value_counts()
    present = set(images.index)
    return SourceAudit(
        images={split: int(images.get(split, 0)) for split in SPLITS},
        exact_groups=int((sizes > 1).sum()),
        redundant=int((sizes[sizes > 0] - 1).sum()),
        conflicting_groups=int((np.bitwise_count(labels) > 1).sum()),
        constant=int(table["constant"].sum()),
        cross_split={
            f"{a}/{b}": _across(table, pairs, a, b) for a, b in _SIDES if (a, b) == _SIDES[0] or {a, b} <= present
        },
    )


_SIDES = (("train", "test"), ("train", "validation"), ("validation", "test"))
"""The first is reported always, the others where there are such splits."""


def _across(table: pd.DataFrame, pairs: Pairs, train: str, evaluation: str) -> CrossSplit:
    """How many images of ``evaluation`` have a copy in ``train``, by kind."""
    picture, published = table["picture"].to_numpy(), table["published"].to_numpy()
    trained = np.zeros(_pictures(table, pairs), bool)
    trained[picture[published == train]] = True
    asked = picture[published == evaluation]
    exact = trained[asked]
    near = _near(pairs.where(~pairs.mirrored), trained)[asked]
    mirrored = _touching(pairs.where(pairs.mirrored), trained)[asked]
    return CrossSplit(
        exact=int(exact.sum()),
        near=int(near.sum()),
        mirrored=int(mirrored.sum()),
        any=int((exact | near | mirrored).sum()),
    )


def _touching(pairs: Pairs, members: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pictures that are paired with a member."""
    touched = np.zeros(len(members), bool)
    touched[pairs.a[members[pairs.b]]] = True
    touched[pairs.b[members[pairs.a]]] = True
    return touched


def _near(pairs: Pairs, members: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pictures that are near copies of a member.

    Of a photograph with more pictures than ``PARTNERS``, not every pair is kept: there, whatever is linked counts.
    """
    photo = link(len(members), pairs)
    crowded = np.bincount(photo, minlength=len(members)) > PARTNERS
    others = np.bincount(photo[members], minlength=len(members))[photo] - members  # members beside the picture itself
    return _touching(pairs, members) | (crowded[photo] & (others > 0))


def _reexports(table: pd.DataFrame, pairs: Pairs, names: Sequence[str]) -> list[Reexport]:
    """Shares of a source's images whose photograph another has too, for all ordered pairs that share any."""
    near = pairs.where(~pairs.mirrored)
    members = {}
    for name in names:
        members[name] = np.zeros(_pictures(table, pairs), bool)
        members[name][table.loc[table["source"] == name, "picture"]] = True
    found = []
    for a in names:
        mine = table.loc[table["source"] == a, "picture"].to_numpy()
        for b in names:
            if a != b:
                there = members[b] | _near(near, members[b])
                share = float(there[mine].mean())
                if share > 0:
                    found.append(Reexport(a=a, b=b, share=round(share, 4)))
    return found


def _pictures(table: pd.DataFrame, pairs: Pairs) -> int:
    """How many pictures there can be: a table of one source refers to those of all."""
    highest = max((int(part.max()) for part in (pairs.a, pairs.b) if len(part)), default=-1)
    return max(highest, int(table["picture"].max())) + 1
