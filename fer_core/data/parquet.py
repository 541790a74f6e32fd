"""Rows of a dataset as Parquet in the Hugging Face image schema. Only who reads or writes rows loads this module."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fer_core.data.info import LEFT_OUT
from fer_core.emotions import EMOTIONS

if TYPE_CHECKING:
    from fer_core.data.dataset import Rows
    from fer_core.jobs.progress import Progress

SHARD_ROWS: Final = 8192
"""Rows of one Parquet file: the most that is in memory while a dataset is written."""

_ROW_GROUP: Final = 512  # what has to be read to show one picture

_TEXT = ("source", "usage", "pixel_sha", "photo_id", "parent_id", "flags")
_FEATURES: Final = {
    "image": {"_type": "Image"},
    "label": {"names": list(EMOTIONS), "_type": "ClassLabel"},
    **{name: {"dtype": "string", "_type": "Value"} for name in _TEXT},
}
SCHEMA: Final = pa.schema(
    [
        pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        pa.field("label", pa.int64()),
        *(pa.field(name, pa.string()) for name in _TEXT),
    ],
    metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})},
)

LEFT_OUT_SCHEMA: Final = SCHEMA.remove_metadata().append(pa.field("why", pa.string()))

COPIES_SCHEMA: Final = pa.schema(
    [
        ("kind", pa.string()),
        ("similarity", pa.float64()),
        ("eval_split", pa.string()),
        ("eval_label", pa.string()),
        ("eval_path", pa.string()),
        ("eval_image", pa.binary()),
        ("train_label", pa.string()),
        ("train_path", pa.string()),
        ("train_source", pa.string()),
        ("train_image", pa.binary()),
        ("removed", pa.bool_()),
    ]
)


def read_shard(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A whole shard, or some of its columns."""
    with _open(path) as file:
        return file.read(columns=columns)


@contextlib.contextmanager
def _open(shard: Path) -> Iterator[pq.ParquetFile]:
    """Checks what it can at once: every page's checksum when it is read, and what has none, the types of the columns.

    Shards of earlier versions have no checksums and pass.
    """
    # ParquetFile keeps the struct of a selected sub-column; read_table would flatten it.
    with pq.ParquetFile(shard, page_checksum_verification=True) as file:
        for column in file.schema_arrow:
            if column.type != LEFT_OUT_SCHEMA.field(column.name).type:  # all columns that there are
                raise pa.ArrowInvalid(f"{column.name}: {column.type}")
        yield file


def frame_of(part: pa.Table) -> pd.DataFrame:
    """The table columns of a shard, the picture's path in front."""
    frame = part.drop_columns(["image"]).to_pandas()
    frame.insert(0, "path", part.column("image").combine_chunks().field("path").to_pandas())
    return frame[[name for name in ("path", *_TEXT, "label", "why") if name in frame]]


def read_table(shard: Path) -> pd.DataFrame:
    """The rows of a shard without their pictures."""
    with _open(shard) as file:
        there = file.schema_arrow.names
        return frame_of(file.read(columns=["image.path", *(n for n in ("label", *_TEXT, "why") if n in there)]))


def no_rows() -> pd.DataFrame:
    """What ``read_table`` gives for ``LEFT_OUT`` where nothing is."""
    return frame_of(LEFT_OUT_SCHEMA.empty_table())


def read_pictures(shard: Path, rows: NDArray[np.int64], start: int) -> tuple[dict[int, bytes], int]:
    """The encoded pictures of some rows as far as they lie in a shard; only their row groups are read.

    Args:
        shard: A file.
        rows: Numbers of rows, counted over all shards.
        start: The number of its first row.

    Returns:
        The pictures by row, and the number of the next shard's first row.
    """
    found: dict[int, bytes] = {}
    with _open(shard) as file:
        for group in range(file.num_row_groups):
            stop = start + file.metadata.row_group(group).num_rows
            inside = rows[(rows >= start) & (rows < stop)]
            if len(inside):
                part = file.read_row_group(group, columns=["image"])
                column = part.column("image").combine_chunks().field("bytes")
                found |= {int(row): column[int(row) - start].as_py() for row in inside}
            start = stop
    return found, start


def write_split(folder: Path, split: str, rows: Rows, digest: Any, progress: Progress) -> None:
    """Writes the shards of a split, and feeds labels and pixels to the dataset's fingerprint.

    Args:
        folder: Where to.
        split: Its name, or ``LEFT_OUT``.
        rows: What to write.
        digest: A hash object.
        progress: Told of every chunk written.
    """
    schema = LEFT_OUT_SCHEMA if split == LEFT_OUT else SCHEMA
    shards = max(1, -(-len(rows) // SHARD_ROWS))  # an empty split is an empty file, which readers accept
    chunks = rows.chunks(_ROW_GROUP)
    done = 0
    for shard in range(shards):
        path = folder / f"{split}-{shard:05d}-of-{shards:05d}.parquet"
        # Encoded pictures do not compress, are rarely equal and have no order.
        options = {
            "compression": {"image.bytes": "none"},
            "use_dictionary": list(_TEXT),
            "write_statistics": ["label"],
            "write_page_checksum": True,
        }
        with pq.ParquetWriter(path, schema, **options) as writer:
            for _ in range(SHARD_ROWS // _ROW_GROUP):
                chunk = next(chunks, None)
                if chunk is None:
                    break
                table, pictures = chunk
                for label, sha in zip(table["label"], table["pixel_sha"], strict=True):
                    digest.update(f"{split} {label} {sha}\n".encode())
                writer.write_table(_shard(table, pictures, schema))
                done += len(table)
                progress(f"Writing {split}", done, len(rows))


def _shard(table: pd.DataFrame, pictures: list[bytes], schema: pa.Schema) -> pa.Table:
    paths = _text(table["path"])
    image = pa.StructArray.from_arrays([pa.array(pictures, pa.binary()), paths], names=["bytes", "path"])
    text = [_text(table[name]) for name in schema.names[2:]]
    return pa.Table.from_arrays([image, pa.array(table["label"].to_numpy(np.int64)), *text], schema=schema)


def _text(column: pd.Series) -> pa.Array:
    # Through objects: pandas keeps text in chunks. Its missing values become nulls.
    return pa.array(column.to_numpy(object), pa.string(), from_pandas=True)


def write_table(file: Path, table: pa.Table) -> None:
    """Writes a table as one file."""
    pq.write_table(table, file)


def write_copies(file: Path, copies: pa.Table | None) -> None:
    """Writes ``copies.parquet``, in ``COPIES_SCHEMA``; empty where there are none."""
    write_table(file, COPIES_SCHEMA.empty_table() if copies is None else copies)
