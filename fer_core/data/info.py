"""What ``dataset.json`` says: the models that describe a prepared dataset and the audit of its sources."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, Field, StrictInt

from fer_core.emotions import EMOTIONS
from fer_core.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION: Final = 1
SPLITS: Final = ("train", "validation", "test")
LEFT_OUT: Final = "left-out"
"""Pictures that were read and are in no split, so that they can be looked at. Never counted as a split."""
BALANCED: Final = "balanced"
"""The ledger's step of that name."""

Counts = dict[str, dict[str, int]]
"""Split -> emotion -> number of images; always all three splits and all seven emotions."""


class Quarantined(BaseModel):
    """A file, row or folder that was left out, and why."""

    path: str
    reason: str


class Change(BaseModel):
    """One reason why a split holds fewer (``n`` > 0) or more (``n`` < 0) images after a step than before."""

    step: str
    split: str
    n: int
    why: str


class CrossSplit(BaseModel):
    """How many images of the evaluation side have a copy of each kind on the training side."""

    exact: int = 0
    near: int = 0
    mirrored: int = 0
    any: int = 0


class SourceAudit(BaseModel):
    """What copies and blanks are in a set of labelled images, ``images`` of each split.

    ``exact_groups`` counts pictures (decoded pixels) that occur more than once, ``redundant`` the images
    beyond the first of each, ``conflicting_groups`` those that carry more than one label, ``constant`` the
    images of one colour.
    """

    images: dict[str, int] = {}
    exact_groups: int
    redundant: int
    conflicting_groups: int
    constant: int
    cross_split: dict[str, CrossSplit]


class Reexport(BaseModel):
    """The share of source ``a``'s images whose photograph is also in source ``b``."""

    a: str
    b: str
    share: float


class Audit(SourceAudit):
    """All sources together at the top level, and each by itself."""

    reexports: list[Reexport] = []
    sources: dict[str, SourceAudit] = {}


class FindingCount(BaseModel):
    """How many findings an audit has for one reason, of how many images, and what is to be done about them."""

    reason: str
    findings: int
    images: int
    action: str


def _complete(counts: Counts) -> Counts:
    # In any order; other code looks every one of them up.
    if set(counts) != set(SPLITS) or any(set(split) != set(EMOTIONS) for split in counts.values()):
        raise ValueError(f"expected the splits {', '.join(SPLITS)}, each with the seven emotions")
    if any(n < 0 for split in counts.values() for n in split.values()):
        raise ValueError("a negative number of images")
    return counts


class _Version(BaseModel):
    """The one field of ``dataset.json`` that every version of this program can read."""

    schema_version: StrictInt


class DatasetInfo(BaseModel):
    """``dataset.json``."""

    schema_version: int = SCHEMA_VERSION
    name: str
    created: float
    config: dict[str, Any]
    height: int = Field(gt=0)
    width: int = Field(gt=0)
    channels: int = Field(ge=1, le=3)
    counts: dict[str, Annotated[Counts, AfterValidator(_complete)]] = Field(min_length=1)
    source_counts: dict[str, dict[str, Counts]] = {}
    removed: list[Change]
    audit: Audit
    findings: list[FindingCount] = []
    copy_rule: dict[str, Any]
    contaminated: bool
    leaked: dict[str, int]
    quarantined: list[Quarantined] = []
    unmatched_decisions: int = 0
    parent: str | None = None
    fingerprint: str = ""
    files: dict[str, str] = {}
    """SHA-256 (hex) of every Parquet file by its name; empty where the dataset is older than this field."""
    checksum: str = ""
    """In ``dataset.json`` the SHA-256 (hex) of its text without these digits; may be missing as ``files`` may."""

    def to_json(self) -> str:
        """The text of ``dataset.json``, with its checksum."""
        text = self.model_copy(update={"checksum": ""}).model_dump_json(indent=1)
        before, key, after = text.rpartition('"checksum":')  # the last field
        digest = hashlib.sha256(text.encode()).hexdigest()
        return before + key + after.replace('""', f'"{digest}"')

    @classmethod
    def from_json(cls, text: bytes) -> DatasetInfo:
        """Reads what ``to_json`` wrote.

        Raises:
            DatasetError: It is of another schema version.
            ValueError: It is damaged, or something else.
        """
        # First of all: what else a newer version writes, nobody knows.
        version = _Version.model_validate_json(text).schema_version
        if version > SCHEMA_VERSION:
            raise DatasetError(
                f"made by a newer version of this program (schema version {version}, this one reads "
                f"{SCHEMA_VERSION}). Update this program to use it."
            )
        if version != SCHEMA_VERSION:
            raise DatasetError(
                f"schema version {version}, this program reads {SCHEMA_VERSION}. Prepare the dataset again."
            )
        info = cls.model_validate_json(text)
        if info.checksum and hashlib.sha256(text.replace(info.checksum.encode(), b"")).hexdigest() != info.checksum:
            raise ValueError("the checksum is that of another text")
        return info.model_copy(update={"checksum": ""})  # it belongs to the text: what was read equals what was written

    def final(self) -> Counts:
        """Counts after the last step: what the dataset holds."""
        return self.counts[next(reversed(self.counts))]

    def decided(self) -> Counter[str]:
        """How many pictures something was decided about, by action; the last decision about each counts."""
        last = {decision["pixel_sha"]: decision["action"] for decision in self.config.get("decisions") or []}
        return Counter(last.values())

    @property
    def trainable(self) -> bool:
        """Whether it has images to train on; those of policy evaluation-only have none."""
        return any(self.final()["train"].values())

    def before_balancing(self) -> Counts | None:
        """Counts before train was balanced; None where it was not."""
        steps = list(self.counts)
        return self.counts[steps[steps.index(BALANCED) - 1]] if BALANCED in steps else None


def count(splits: Sequence[str] | NDArray[Any], labels: NDArray[np.int64]) -> Counts:
    """Counts images by split and emotion.

    Args:
        splits: One split name per image; any other text is not counted.
        labels: int64 ``[N]``, indices into ``EMOTIONS``.
    """
    names = np.asarray(splits)
    return {
        split: dict(
            zip(
                EMOTIONS,
                np.bincount(labels[names == split], minlength=len(EMOTIONS)).tolist(),
                strict=True,
            )
        )
        for split in SPLITS
    }


def count_by_source(tables: Mapping[str, pd.DataFrame]) -> dict[str, Counts]:
    """Counts images by source, split and emotion; augmented children count for the source of their original.

    Args:
        tables: The rows of each of ``SPLITS``, with their ``source`` and ``label``.
    """
    counts: dict[str, Counts] = {}
    for split, table in tables.items():
        for source, rows in table.groupby("source"):
            mine = counts.setdefault(str(source), {name: dict.fromkeys(EMOTIONS, 0) for name in SPLITS})
            numbers = np.bincount(rows["label"], minlength=len(EMOTIONS)).tolist()
            mine[split] = dict(zip(EMOTIONS, numbers, strict=True))
    return dict(sorted(counts.items()))


def leaks(tables: Mapping[str, pd.DataFrame]) -> dict[str, int]:
    """How many images of each evaluation split show a photograph that is also in train.

    Args:
        tables: The rows of each of ``SPLITS``, with their ``photo_id``.
    """
    # pandas looks text up one Arrow value at a time: a set is sixty times as fast.
    train = set(tables["train"]["photo_id"].tolist())
    return {split: sum(photo in train for photo in tables[split]["photo_id"].tolist()) for split in SPLITS[1:]}
