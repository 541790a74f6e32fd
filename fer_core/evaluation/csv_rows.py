"""CSV files that say something of images: a row for each, with a column of files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from fer_core import limits
from fer_core.errors import FerError, from_os_error
from fer_core.spreadsheet import unguarded
from fer_core.workspace import printable

FILE_TITLES: Final = (
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "path",
    "image",
    "image_path",
    "img",
    "name",
)
"""What the column of the files may be called, in any case."""

Row = tuple[int, list[str]]
"""The number of the line on which a row ends, and its cells."""

MAX_BYTES: Final = 128 * 2**20
"""Larger files are not read."""

_DELIMITERS: Final = (",", ";", "\t")


def read_bytes(file: Path) -> bytes:
    """What a file holds, or the beginning of one that is larger than ``rows_of`` takes.

    Raises:
        FerError: It cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise from_os_error(error, file) from error


def rows_of(data: bytes, name: str, expected: str) -> list[Row]:
    """The rows that are not empty, separated by commas, semicolons or tabs; at least one.

    Args:
        data: The file's bytes.
        name: What to call it in an error message.
        expected: What should be in it, for an empty one.

    Raises:
        FerError: It is empty, too large or no CSV in UTF-8.
    """
    if len(data) > MAX_BYTES:
        raise FerError(f"{name}: larger than {MAX_BYTES // 2**20} MB; make several files of it.")
    try:
        text = data.decode("utf-8-sig")
        line = text.partition("\n")[0]
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(_DELIMITERS, key=line.count))
        filled = ((reader.line_num, row) for row in reader if any(cell.strip() for cell in row))
        rows = list(islice(filled, limits.ENTRIES + 1))  # no more: in memory they are many times as large
    except (csv.Error, UnicodeDecodeError) as error:
        raise FerError(f"{name}: not a readable CSV in UTF-8. Save it again.") from error
    if not rows:
        raise FerError(f"{name}: the file is empty. Expected {expected}.")
    if len(rows) > limits.ENTRIES:
        raise FerError(f"{name}: more than {limits.ENTRIES:,} rows; make several files of it.")
    return rows


def file_columns(titles: Sequence[str]) -> list[int]:
    """Which columns are called as that of the files may be."""
    return [at for at, title in enumerate(titles) if title.lower() in FILE_TITLES]


def by_file(rows: Iterable[Row], name: str, column: int, width: int) -> dict[str, Row]:
    """Rows by the file that each is of, in their order.

    Args:
        rows: Without that of the titles.
        name: What to call the CSV in an error message.
        column: Where the files stand.
        width: Cells of every row.

    Raises:
        FerError: A row has more or fewer cells or names no file, or two are of the same.
    """
    found: dict[str, Row] = {}
    for number, row in rows:
        if len(row) != width:
            raise FerError(f"{name}: line {number} has {len(row)} columns, expected {width} as in the first line.")
        file = unguarded(row[column].strip())
        if not file:
            raise FerError(f"{name}: line {number} names no file.")
        if file in found:
            lines = f"{found[file][0]} and {number}"
            raise FerError(f"{name}: lines {lines} are both of {printable(file)}; keep one of them.")
        found[file] = number, row
    return found
