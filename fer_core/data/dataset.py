"""The prepared dataset: Parquet shards in the Hugging Face image schema, ``dataset.json`` and a card.

A dataset is a folder that appears whole or not at all: it is written beside its final place under a hidden
name and renamed at the end. The writer holds a kernel lock on the hidden folder, which tells a living one
from a dead one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from fer_core.data.card import card
from fer_core.data.figures import write_figures
from fer_core.data.info import LEFT_OUT, SCHEMA_VERSION, SPLITS, Counts, DatasetInfo
from fer_core.errors import DatasetError, from_os_error
from fer_core.jobs.progress import Progress, silent
from fer_core.preprocessing import Pixels, decode, to_native

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "LEFT_OUT",
    "SCHEMA_VERSION",
    "SPLITS",
    "Attached",
    "Counts",
    "Dataset",
    "DatasetInfo",
    "LazyRows",
    "Rows",
    "Split",
    "partial_folder",
    "write_dataset",
]

_PARTIAL: Final = ".preparing-"

RowNumbers = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """One split, decoded.

    Attributes:
        images: uint8 ``[N, height, width, channels]``; RGB where ``channels`` is 3.
        labels: int64 ``[N]``, indices into ``EMOTIONS``.
        table: One row per image: path, source, usage, pixel_sha, photo_id, parent_id, flags.
    """

    images: Pixels
    labels: NDArray[np.int64]
    table: pd.DataFrame

    def __len__(self) -> int:
        return len(self.labels)


class Rows(Protocol):
    """Labelled pictures of one split that can be written in chunks."""

    def __len__(self) -> int: ...

    def chunks(self, size: int) -> Iterator[tuple[pd.DataFrame, list[bytes]]]:
        """Yields tables (the columns of ``Split.table`` and ``label``) with their encoded pictures."""


@dataclass(frozen=True)
class LazyRows:
    """Rows whose pictures are fetched when they are written."""

    table: pd.DataFrame
    encoded: Callable[[RowNumbers], list[bytes]]

    def __len__(self) -> int:
        return len(self.table)

    def chunks(self, size: int) -> Iterator[tuple[pd.DataFrame, list[bytes]]]:
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            yield self.table.iloc[start:stop], self.encoded(range(start, stop))


@dataclass(frozen=True)
class Attached:
    """What a dataset holds besides its splits.

    Attributes:
        copies: Examples of copies across splits, in ``parquet.COPIES_SCHEMA``.
        findings: What the audit found, in ``findings.SCHEMA``.
        left_out: Pictures in no split; their table has a column ``why``, too.
    """

    copies: pa.Table | None = None
    findings: pa.Table | None = None
    left_out: Rows | None = None


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset on disk. Pictures are read when they are asked for."""

    folder: Path
    info: DatasetInfo

    @classmethod
    def open(cls, folder: Path) -> Dataset:
        """Opens a dataset.

        Raises:
            DatasetError: The folder holds none, it is damaged, or it is of another schema version.
        """
        path = folder / "dataset.json"
        try:
            info = DatasetInfo.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise DatasetError(
                f"{folder}: no prepared dataset here (dataset.json is missing). "
                "Make one with `python -m fer_core data prepare SOURCE... --out DATASET`."
            ) from None
        except OSError as error:
            raise from_os_error(error, path) from error
        except ValidationError as error:
            raise DatasetError(f"{path}: damaged or not ours. Prepare the dataset again.") from error
        if info.schema_version != SCHEMA_VERSION:
            raise DatasetError(
                f"{path}: schema version {info.schema_version}, this program reads {SCHEMA_VERSION}. "
                "Prepare the dataset again."
            )
        return cls(folder.absolute(), info)

    @property
    def name(self) -> str:
        return self.folder.name

    def counts(self) -> Counts:
        """Images by split and emotion."""
        return self.info.final()

    def check_trainable(self) -> None:
        """Refuses what has nothing to train on.

        Raises:
            DatasetError: It is for scoring models only.
        """
        if not self.info.trainable:
            raise DatasetError(
                f"{self.name} has no images to train on: it is for scoring models. Choose another dataset."
            )

    def table(self, split: str) -> pd.DataFrame:
        """The rows of a split without their pictures: the columns of ``Split.table`` and ``label``.

        Also of ``LEFT_OUT``, with a column ``why``; it is empty for a dataset that was made before it was kept.
        """
        from fer_core.data.parquet import read_tables

        return self._read(read_tables, self._shards(split))

    def split(self, name: str, progress: Progress = silent) -> Split:
        """A whole split, decoded.

        Raises:
            DatasetError: There is no such split, or a shard is missing or damaged.
        """
        import pandas as pd

        from fer_core.data.parquet import frame_of, read_shard

        shards = self._shards(name)
        size, channels = (self.info.height, self.info.width), self.info.channels
        total = sum(self.counts()[name].values())
        images = np.empty((total, *size, channels), np.uint8)
        tables, done = [], 0
        for shard in shards:
            part = self._read(read_shard, shard)
            encoded = part.column("image").combine_chunks().field("bytes")
            if done + len(encoded) > total:
                raise self._damaged()
            for offset, data in enumerate(encoded):
                images[done + offset] = to_native(decode(data.as_py(), name), size, channels)
            tables.append(frame_of(part))
            done += len(encoded)
            progress(f"Reading {name}", done, total)
        if done != total:
            raise self._damaged()
        table = pd.concat(tables, ignore_index=True)
        return Split(images, table.pop("label").to_numpy(np.int64), table)

    def encoded(self, split: str, rows: RowNumbers) -> list[bytes]:
        """The encoded pictures (PNG or JPEG) of some rows, for galleries; only their row groups are read."""
        from fer_core.data.parquet import read_pictures

        wanted = self._read(read_pictures, self._shards(split), np.unique(np.asarray(rows, np.int64)))
        return [wanted[int(row)] for row in rows]

    def copies(self) -> pd.DataFrame:
        """Pairs of an evaluation image and a copy of it on the training side, worst first.

        Columns as in ``parquet.COPIES_SCHEMA``; pictures are encoded. ``removed`` says whether the training image
        was left out of this dataset. At most 1,000 pairs of each kind are kept as examples; the counts are
        in the audit.
        """
        return self.copies_table().to_pandas()

    def copies_table(self) -> pa.Table:
        """``copies.parquet`` as it is."""
        import pyarrow.parquet as pq

        return self._read(pq.read_table, self.folder / "copies.parquet")

    def findings(self) -> pa.Table | None:
        """``findings.parquet``, in ``findings.SCHEMA``; None for a dataset that was made before they were kept."""
        import pyarrow.parquet as pq

        file = self.folder / "findings.parquet"
        return self._read(pq.read_table, file) if file.is_file() else None

    def attached(self) -> Attached:
        """What it holds besides its splits, to be handed on."""
        left_out = LazyRows(self.table(LEFT_OUT), partial(self.encoded, LEFT_OUT))
        return Attached(self.copies_table(), self.findings(), left_out)

    def _shards(self, split: str) -> list[Path]:
        if split not in (*SPLITS, LEFT_OUT):
            raise DatasetError(f"No split named {split!r}. There are {', '.join(SPLITS)}.")
        found = sorted(self.folder.glob(f"{split}-*-of-*.parquet"))
        if not found and split == LEFT_OUT:
            return []
        if not found or len(found) != int(found[0].stem.rpartition("-")[2]):
            raise self._damaged()
        return found

    def _read(self, read: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        import pyarrow as pa

        try:
            return read(*arguments, **options)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged() from error

    def _damaged(self) -> DatasetError:
        return DatasetError(f"{self.folder}: a file of the dataset is missing or damaged. Prepare it again.")


def check_free(out: Path) -> None:
    """Makes sure that a dataset can be made at ``out``.

    Raises:
        DatasetError: Something is there already.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DatasetError(f"{out} exists already. Choose another name, or remove it first.")


@contextlib.contextmanager
def partial_folder(out: Path) -> Iterator[Path]:
    """A hidden folder beside ``out`` that becomes ``out`` when the body ends well, and vanishes when it does
    not.

    What dead writers left in the same place is removed first.

    Raises:
        DatasetError: ``out`` exists already.
        FerError: The disk is full, or the place cannot be written.
    """
    check_free(out)
    partial: Path | None = None
    lock = -1
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(out.parent)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=out.parent))
        fresh.chmod(0o755)
        lock = os.open(fresh, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Named as ours only now that it is locked: another writer removes unlocked ones.
        partial = fresh.rename(fresh.with_name(f"{_PARTIAL}{out.name}-{fresh.name[5:]}"))
        yield partial
        check_free(out)
        partial.rename(out)
    except BaseException as error:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError):
            raise from_os_error(error, out) from error
        raise
    finally:
        if lock >= 0:
            os.close(lock)


def _remove_leftovers(parent: Path) -> None:
    for folder in parent.glob(f"{_PARTIAL}*"):
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass  # its writer lives
        finally:
            os.close(descriptor)


def write_dataset(
    out: Path,
    info: DatasetInfo,
    splits: Mapping[str, Rows],
    attached: Attached | None = None,
    progress: Progress = silent,
) -> Dataset:
    """Writes a dataset, whole or not at all.

    Args:
        out: The folder to make.
        info: Its description; the fingerprint is computed here.
        splits: The rows of each of ``SPLITS``.
        attached: What else it holds.
        progress: Told of every chunk written.

    Raises:
        DatasetError: ``out`` exists already.
        FerError: The disk is full, or the place cannot be written.
    """
    from fer_core.data.parquet import write_copies, write_split, write_table

    attached = attached or Attached()
    digest = hashlib.sha256()
    with partial_folder(out) as folder:
        for split in SPLITS:
            write_split(folder, split, splits[split], digest, progress)
        if attached.left_out is not None:
            # Not part of the fingerprint: that tells what is trained on and evaluated.
            write_split(folder, LEFT_OUT, attached.left_out, hashlib.sha256(), progress)
        write_copies(folder / "copies.parquet", attached.copies)
        if attached.findings is not None:
            write_table(folder / "findings.parquet", attached.findings)
        info = info.model_copy(update={"fingerprint": digest.hexdigest()})
        (folder / "README.md").write_text(card(info), encoding="utf-8")
        (folder / "dataset.json").write_text(info.model_dump_json(indent=1), encoding="utf-8")
        progress("Drawing figures", 0, 0)
        write_figures(Dataset(folder, info))
    return Dataset(out.absolute(), info)
