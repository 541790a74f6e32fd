"""Raw sources -> one prepared dataset: read, merge, audit, split, balance, write."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from fer_core.data.audit import audit
from fer_core.data.balance import balanced
from fer_core.data.config import Policy, PrepareConfig, Validation
from fer_core.data.copies import RULE, Pairs
from fer_core.data.dataset import (
    Attached,
    Dataset,
    DatasetInfo,
    LazyRows,
    RowNumbers,
    Rows,
    check_free,
    write_dataset,
)
from fer_core.data.decisions import decide
from fer_core.data.decode import encode_png
from fer_core.data.findings import as_arrow, find
from fer_core.data.info import SPLITS, leaks
from fer_core.data.layouts import Source
from fer_core.data.ledger import GONE
from fer_core.data.merge import REPEATS, primary_source
from fer_core.data.parquet import COPIES_SCHEMA
from fer_core.data.sources import open_sources
from fer_core.data.split import Assignment, assign
from fer_core.data.table import Material, read_material
from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError, SourceError
from fer_core.jobs.progress import Progress, silent
from fer_core.preprocessing import decode, to_native
from fer_core.workspace import printable

__all__ = ["PrepareConfig", "prepare", "sources_of"]

MAX_EXAMPLES: Final = 1000
"""Pairs of each kind kept to be looked at. As-published data has one for every evaluation image."""


def prepare(
    sources: Sequence[str], out: Path, config: PrepareConfig | None = None, progress: Progress = silent
) -> Dataset:
    """Turns raw sources into a prepared dataset.

    Args:
        sources: Folders, zips or FER2013 CSVs, optionally ``name=path``.
        out: The folder to make; it appears when it is complete.
        config: How.
        progress: Told of every phase. Raising from it leaves nothing behind.

    Raises:
        SourceError: A source cannot be read, or nothing is left to train on.
        DatasetError: ``out`` exists already.
        FerError: The disk is full, or the place cannot be written.
    """
    config = config or PrepareConfig()
    check_free(out)
    size, channels = (config.size, config.size), 3 if config.color else 1
    opened = open_sources(sources, config.labels)
    material = read_material(opened, size, channels, progress)
    primary = primary_source(opened)
    found = audit(material.table, material.pairs)
    decided = decide(material.table, material.pairs, config.decisions) if config.decisions else None
    assignment = assign(
        material.table,
        material.pairs,
        primary,
        config.policy,
        config.val_fraction,
        config.seed,
        config.validation,
        decided,
    )
    if config.policy is not Policy.EVALUATION_ONLY and not (assignment.final == "train").any():
        raise SourceError(
            f"{', '.join(source.name for source in opened)}: no image is left for train. "
            "Add a source that has training images, or prepare it for evaluation with --policy evaluation-only."
        )
    decided_table = material.table.assign(label=assignment.labels)
    table = _finished(decided_table, assignment)
    fetch = _fetcher(opened, material.table, size, channels)
    lazy = {split: _rows(table, np.flatnonzero(assignment.final == split), fetch) for split in SPLITS}
    leaked = leaks({split: rows.table for split, rows in lazy.items()})
    findings = find(
        decided_table, material.pairs, _judged(material.table, assignment, config.validation), primary, found.reexports,
        assignment.ledger.counts[next(reversed(assignment.ledger.counts))],
    )  # fmt: skip
    info = DatasetInfo(
        name=out.name,
        created=time.time(),
        config=_described(config, opened, primary),
        height=config.size,
        width=config.size,
        channels=channels,
        counts=assignment.ledger.counts,
        source_counts=assignment.ledger.by_source,
        removed=assignment.ledger.changes,
        audit=found,
        findings=findings.counts(),
        unmatched_decisions=len({decision.pixel_sha for decision in decided.unmatched}) if decided else 0,
        copy_rule=dict(RULE),
        contaminated=any(leaked.values()),
        leaked=leaked,
        quarantined=material.quarantined,
    )
    rows: dict[str, Rows] = dict(lazy)
    if config.balance is not None and config.policy is not Policy.EVALUATION_ONLY:
        info, rows["train"] = balanced(info, lazy, config.balance)
    attached = Attached(
        copies=_examples(material, assignment, table, fetch),
        findings=as_arrow(findings, decided_table, assignment.final, assignment.why),
        left_out=_rows(table.assign(why=assignment.why), _left_out(decided_table, assignment, config.policy), fetch),
    )
    return write_dataset(out, info, rows, attached, progress)


def sources_of(dataset: Dataset) -> list[str]:
    """What a dataset was made from, as ``name=path``: it can be made again, with other settings."""
    return [f"{source['name']}={source['path']}" for source in dataset.info.config.get("sources", [])]


Fetch = Callable[[RowNumbers], list[bytes]]


def _fetcher(sources: Sequence[Source], table: pd.DataFrame, size: tuple[int, int], channels: int) -> Fetch:
    """Encoded pictures of rows of the table: the source's bytes where they fit, else PNG."""
    by_name = {source.name: source for source in sources}
    names, entries, keep = table["source"].to_numpy(), table["entry"].to_numpy(), table["keep"].to_numpy()

    def fetch(rows: RowNumbers) -> list[bytes]:
        pictures = []
        for row in rows:
            source = by_name[names[row]]
            try:
                data = source.read(int(entries[row]))
            except (FerError, OSError) as error:
                raise SourceError(
                    f"{source.path}: {table['path'].iat[row]} has changed or gone since it was first read. "
                    "Prepare the dataset again when nothing changes the source any more."
                ) from error
            pictures.append(data if keep[row] else encode_png(to_native(decode(data), size, channels)))
        return pictures

    return fetch


def _rows(table: pd.DataFrame, rows: NDArray[np.int64], fetch: Fetch) -> LazyRows:
    return LazyRows(table.iloc[rows].reset_index(drop=True), lambda wanted: fetch(rows[np.asarray(wanted)]))


def _judged(table: pd.DataFrame, assignment: Assignment, validation: Validation) -> NDArray[np.object_]:
    """The split by which each row is judged: the drawn one; what merging left out goes with its photograph."""
    photo = table["photo"].to_numpy()
    validated = np.isin(photo, photo[assignment.drawn == "validation"])
    moved = (table["published"] == "train").to_numpy()
    if validation is Validation.USAGE:
        moved = moved | (table["usage"] == "PublicTest").to_numpy()
    merged = np.where(validated & moved, "validation", table["published"])
    return np.where(assignment.drawn == GONE, merged, assignment.drawn).astype(object)


def _left_out(table: pd.DataFrame, assignment: Assignment, policy: Policy) -> NDArray[np.int64]:
    """Rows of pictures that are in no split, each picture once; none that another source has, too."""
    if policy is Policy.EVALUATION_ONLY:
        return np.zeros(0, np.int64)
    gone = (assignment.final == GONE) & ~np.isin(assignment.why, REPEATS)
    picture = table["picture"].to_numpy()
    stored = np.zeros(int(picture.max()) + 1, bool)
    stored[picture[assignment.final != GONE]] = True
    rows = np.flatnonzero(gone & ~stored[picture])
    return rows[np.unique(picture[rows], return_index=True)[1]]


def _finished(table: pd.DataFrame, assignment: Assignment) -> pd.DataFrame:
    """The columns that a dataset stores."""
    sha = table["pixel_sha"].to_numpy()
    first = np.unique(table["picture"], return_index=True)[1]
    constant = table["constant"].to_numpy()
    marks = {"conflict": assignment.conflict, "constant": constant, "flat": table["flat"].to_numpy() & ~constant}
    marks |= {name: table[name].to_numpy() for name in ("dark", "bright", "blurry")}
    flags = np.full(len(table), "", object)
    for name, marked in marks.items():
        flags[marked] = [f"{flag} {name}".lstrip() for flag in flags[marked]]
    return pd.DataFrame(
        {
            "path": table["path"],
            "source": table["source"],
            "usage": table["usage"],
            "pixel_sha": sha,
            # Named by the pixels of its first picture: the same in every dataset made from the same sources.
            "photo_id": [sha[first[photo]][:16] for photo in table["photo"]],
            "parent_id": None,
            "flags": flags,
            "label": table["label"],
        }
    )


def _described(config: PrepareConfig, sources: Sequence[Source], primary: str) -> dict[str, Any]:
    return config.model_dump(mode="json") | {
        "primary": primary,
        "sources": [
            {"name": source.name, "path": printable(str(source.path)), "layout": str(source.layout)}
            for source in sources
        ],
    }


def _examples(material: Material, assignment: Assignment, table: pd.DataFrame, fetch: Fetch) -> pa.Table:
    """For each evaluation image its best copy of each kind among what was train before cleaning."""
    pairs = _row_pairs(material, assignment.drawn)
    label = table["label"].to_numpy()
    pairs["conflict"] = label[pairs["eval"]] != label[pairs["train"]]
    # Worst first: the closest copies, and among those the ones that the labels contradict.
    pairs = pairs.sort_values(["similarity", "conflict", "eval", "train"], ascending=[False, False, True, True])
    pairs = pairs.drop_duplicates(["eval", "kind"]).groupby("kind", sort=False).head(MAX_EXAMPLES)
    left, right = pairs["eval"].to_numpy(), pairs["train"].to_numpy()
    emotions = np.array(EMOTIONS)
    columns: Mapping[str, Any] = {
        "kind": pairs["kind"],
        "similarity": pairs["similarity"],
        "eval_split": assignment.drawn[left],
        "eval_label": emotions[label[left]],
        "eval_path": table["path"].to_numpy()[left],
        "eval_image": fetch(left),
        "train_label": emotions[label[right]],
        "train_path": table["path"].to_numpy()[right],
        "train_source": table["source"].to_numpy()[right],
        "train_image": fetch(right),
        "removed": assignment.final[right] == GONE,
    }
    return pa.table(
        {name: pa.array(values, COPIES_SCHEMA.field(name).type) for name, values in columns.items()},
        schema=COPIES_SCHEMA,
    )


def _row_pairs(material: Material, drawn: NDArray[np.object_]) -> pd.DataFrame:
    """Pairs (evaluation row, train row) from pairs of pictures: columns eval, train, kind, similarity.

    Of the train rows of one picture the first stands for all.
    """
    picture = material.table["picture"].to_numpy()
    evaluation = pd.DataFrame({"eval": np.flatnonzero(np.isin(drawn, ("validation", "test")))})
    evaluation["picture"] = picture[evaluation["eval"]]
    train = pd.DataFrame({"train": np.flatnonzero(drawn == "train")})
    train["other"] = picture[train["train"]]
    train = train.drop_duplicates("other")
    found = material.pairs
    both = _both_ways(found)
    same = np.unique(picture)
    links = pd.concat(
        [pd.DataFrame({"picture": same, "other": same, "kind": "exact", "similarity": 1.0}), both],
        ignore_index=True,
    )
    return links.merge(evaluation, on="picture").merge(train, on="other")[["eval", "train", "kind", "similarity"]]


def _both_ways(pairs: Pairs) -> pd.DataFrame:
    kind = np.where(pairs.mirrored, "mirrored", "near")
    similarity = pairs.similarity.astype(float)
    one = pd.DataFrame({"picture": pairs.a, "other": pairs.b, "kind": kind, "similarity": similarity})
    return pd.concat([one, one.rename(columns={"picture": "other", "other": "picture"})], ignore_index=True)
