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
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

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

COPIES: Final = "copies.parquet"
FINDINGS: Final = "findings.parquet"
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
            info = DatasetInfo.from_json(path.read_bytes())
        except FileNotFoundError:
            raise DatasetError(
                f"{folder}: no prepared dataset here (dataset.json is missing). "
                "Make one with `python -m fer_core data prepare SOURCE... --out DATASET`."
            ) from None
        except OSError as error:
            raise from_os_error(error, path) from error
        except DatasetError as error:
            raise DatasetError(f"{path}: {error}") from None
        except ValueError as error:
            raise DatasetError(f"{path}: damaged or not ours. Prepare the dataset again.") from error
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

        Raises:
            DatasetError: There is no such split, or a shard is missing or visibly damaged.
        """
        import pandas as pd

        from fer_core.data.parquet import no_rows, read_table

        tables = []
        for shard in (shards := self._shards(split)):
            with _reading(shard):
                tables.append(read_table(shard))
        if split != LEFT_OUT and sum(map(len, tables)) != self._size(split):
            raise _damaged(shards[-1])
        return pd.concat(tables, ignore_index=True) if tables else no_rows()

    def split(self, name: str, progress: Progress = silent) -> Split:
        """A whole split, decoded.

        Raises:
            DatasetError: There is no such split, or a shard is missing or damaged.
        """
        import pandas as pd

        from fer_core.data.parquet import frame_of, read_shard

        shards = self._shards(name)
        size, channels, total = (self.info.height, self.info.width), self.info.channels, self._size(name)
        images = np.empty((total, *size, channels), np.uint8)
        tables, done = [], 0
        for shard in shards:
            self._check(shard)
            with _reading(shard):
                part = read_shard(shard)
                for place, data in enumerate(part.column("image").combine_chunks().field("bytes"), start=done):
                    images[place] = to_native(decode(data.as_py(), name), size, channels)
                tables.append(frame_of(part))
            done += len(part)
            progress(f"Reading {name}", done, total)
        if done != total:
            raise _damaged(shards[-1])
        table = pd.concat(tables, ignore_index=True)
        return Split(images, table.pop("label").to_numpy(np.int64), table)

    def encoded(self, split: str, rows: RowNumbers) -> list[bytes]:
        """The encoded pictures (PNG or JPEG) of some rows, for galleries; only their row groups are read.

        Raises:
            DatasetError: There is no such split, or a shard is missing, or damaged where it was read.
        """
        from fer_core.data.parquet import read_pictures

        wanted = np.unique(np.asarray(rows, np.int64))
        found: dict[int, bytes] = {}
        start = 0
        for shard in (shards := self._shards(split)):
            with _reading(shard):
                pictures, start = read_pictures(shard, wanted, start)
            found |= pictures
        if len(found) < len(wanted) or (split != LEFT_OUT and start != self._size(split)):
            raise _damaged(shards[-1])
        return [found[int(row)] for row in rows]

    def copies(self) -> pd.DataFrame:
        """Pairs of an evaluation image and a copy of it on the training side, worst first.

        Columns as in ``parquet.COPIES_SCHEMA``; pictures are encoded. ``removed`` says whether the training image
        was left out of this dataset. At most 1,000 pairs of each kind are kept as examples; the counts are
        in the audit.
        """
        return self.copies_table().to_pandas()

    def copies_table(self) -> pa.Table:
        """``copies.parquet`` as it is.

        Raises:
            DatasetError: It is missing or damaged.
        """
        import pyarrow.parquet as pq

        file = self.folder / COPIES
        self._check(file)
        with _reading(file):
            return pq.read_table(file)

    def check(self) -> None:
        """Compares every file of rows with what was written.

        Raises:
            DatasetError: One is missing or damaged.
        """
        shards = (shard for split in (*SPLITS, LEFT_OUT) for shard in self._shards(split))
        others = (self.folder / name for name in (COPIES, FINDINGS) if name == COPIES or name in self.info.files)
        for file in (*shards, *others):
            self._check(file)

    def _check(self, file: Path) -> None:
        with _reading(file):
            if self.info.files and _sha256(file) != self.info.files[file.name]:
                raise _damaged(file)

    def _size(self, split: str) -> int:
        return sum(self.counts()[split].values())

    def findings(self) -> pa.Table | None:
        """``findings.parquet``, in ``findings.SCHEMA``; None for a dataset that was made before they were kept."""
        import pyarrow.parquet as pq

        file = self.folder / FINDINGS
        if FINDINGS not in self.info.files and not file.is_file():
            return None
        self._check(file)
        with _reading(file):
            return pq.read_table(file)

    def attached(self) -> Attached:
        """What it holds besides its splits, to be handed on."""
        left_out = LazyRows(self.table(LEFT_OUT), partial(self.encoded, LEFT_OUT))
        return Attached(self.copies_table(), self.findings(), left_out)

    def _shards(self, split: str) -> list[Path]:
        if split not in (*SPLITS, LEFT_OUT):
            raise DatasetError(f"No split named {split!r}. There are {', '.join(SPLITS)}.")
        names = self.info.files or (file.name for file in self.folder.glob("*.parquet"))
        found = sorted(name for name in names if re.fullmatch(rf"{split}-\d{{5}}-of-\d{{5}}\.parquet", name))
        if not found and split == LEFT_OUT:
            return []
        if not found or len(found) != int(found[0][-13:-8]):
            raise _damaged(self.folder / f"{split}-*.parquet")
        return [self.folder / name for name in found]


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Takes whatever is raised while a file is read for damage to it: Parquet's reader raises many kinds."""
    try:
        yield
    except PermissionError as error:
        raise from_os_error(error, file) from error
    except Exception as error:
        raise _damaged(file) from error


def _damaged(file: Path) -> DatasetError:
    return DatasetError(f"{file}: this file of the dataset is missing or damaged. Prepare the dataset again.")


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


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
        with _locked(out.parent):
            _remove_leftovers(out.parent)
            partial = Path(tempfile.mkdtemp(prefix=f"{_PARTIAL}{out.name}-", dir=out.parent))
            partial.chmod(0o755)
            lock = os.open(partial, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield partial
        with _locked(out.parent):  # of two that finish at once, the second finds the first's
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


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time within the block, in which a folder of ours may be there before it is locked."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


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
        info: Its description; the fingerprint and the checksums of the files are computed here.
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
        write_copies(folder / COPIES, attached.copies)
        if attached.findings is not None:
            write_table(folder / FINDINGS, attached.findings)
        files = {file.name: _sha256(file) for file in sorted(folder.glob("*.parquet"))}
        info = info.model_copy(update={"fingerprint": digest.hexdigest(), "files": files})
        (folder / "README.md").write_text(card(info), encoding="utf-8")
        (folder / "dataset.json").write_text(info.to_json(), encoding="utf-8")
        progress("Drawing figures", 0, 0)
        write_figures(Dataset(folder, info))
    return Dataset(out.absolute(), info)
