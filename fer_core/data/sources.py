"""Reads labelled face pictures where they lie: a folder, a zip (streamed, never unpacked) or a FER2013 CSV.

The layout is recognised from names and content. A source lists its entries first and hands out the bytes of
one entry at a time, so nothing is held twice.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import errno
import itertools
import os
import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import numpy as np

from fer_core import limits
from fer_core.archive import DAMAGED, MAX_ENTRY_BYTES, BoundedZip, check_expansion, files_in, read_entry, unsafe
from fer_core.data.dataset import Split
from fer_core.data.decode import decode_pixels, encode_png
from fer_core.data.info import SPLITS, Quarantined
from fer_core.data.labels import DROP, LabelMap, Meanings, meaning_of, meanings_for
from fer_core.data.layouts import (
    SPLIT_NAMES,
    USAGE_NAMES,
    Entry,
    Layout,
    Listing,
    Source,
    recognise,
    sort_names,
)
from fer_core.emotions import EMOTIONS, INDEX, parse_emotion
from fer_core.errors import FerError, SourceError, from_os_error
from fer_core.jobs.progress import Progress, silent
from fer_core.preprocessing import Pixels
from fer_core.workspace import check_name, expand, printable


@dataclass(frozen=True)
class FoundArchive:
    """Something that looks like a source, by its names. ``images`` is None where only reading would tell."""

    path: Path
    layout: Layout
    images: int | None
    size_bytes: int


MAX_CSV_BYTES: Final = 2 * 2**30
"""FER2013's CSV is 0.3 GB."""

MAX_LISTED: Final = 200  # quarantined rows listed one by one, per reason, before they are only counted

_MAX_LINE: Final = 2**20  # a CSV row of 48 x 48 pixels has at most 9.3 kB
_CSV_SIDE: Final = 48
_GLANCE: Final = 200_000  # files of a folder looked at before it is taken for what they are


def parse_spec(spec: str) -> tuple[str, Path]:
    """Splits ``name=path`` or a bare path into a name and an absolute path.

    Raises:
        SourceError: Nothing is at the path.
        FerError: The name cannot be a name.
    """
    head, equals, tail = spec.partition("=")
    try:
        named = bool(equals) and "/" not in head and not expand(spec).exists()
        path = expand(tail if named else spec).absolute()
        path.stat()
    except (FileNotFoundError, ValueError):  # the latter for a NUL in it
        raise SourceError(
            f"{printable(str(path))}: no such file or folder. "
            "A source is a folder, a .zip or a FER2013 CSV, optionally name=it."
        ) from None
    except OSError as error:
        raise from_os_error(error, spec) from error
    if named:
        return check_name(head, "source"), path
    own = path.name if path.is_dir() else path.stem
    return re.sub(r"[^A-Za-z0-9._-]+", "-", own).strip("-._")[:64] or "source", path


def open_source(spec: str, labels: LabelMap | None = None) -> Source:
    """Opens a source and lists what is in it; no picture is decoded yet.

    Args:
        spec: A path, or ``name=path``.
        labels: What labels mean that are none of the known spellings.

    Raises:
        SourceError: Missing, unreadable, not a known format, damaged, hostile, or without one usable picture.
    """
    name, path = parse_spec(spec)
    meanings = meanings_for(labels or {}, name)
    try:
        if path.is_dir():
            source = _open_folder(name, path, meanings)
        elif not path.is_file():  # opening a pipe or device could wait for ever
            raise SourceError(f"{path}: not a regular file. Expected a folder, a .zip or a FER2013 CSV.")
        elif _is_zip(path):
            with _whole(path):
                source = _open_zip(name, path, meanings)
        elif path.suffix.lower() == ".csv":
            with path.open("rb") as file:
                source = _open_csv(name, path, printable(path.name), file, meanings)
        else:
            raise SourceError(_why_not(path))
    except OSError as error:
        raise from_os_error(error, path) from error
    if not source.entries:
        raise SourceError(_nothing(source))
    return source


def open_sources(specs: Sequence[str], labels: LabelMap | None = None) -> list[Source]:
    """Opens several sources.

    Args:
        specs: As for ``open_source``.
        labels: What labels mean that are none of the known spellings; under a source's name those of it alone.

    Raises:
        SourceError: As ``check_specs`` and ``open_source``.
    """
    check_specs(specs, labels)
    return [open_source(spec, labels) for spec in specs]


def check_specs(specs: Sequence[str], labels: LabelMap | None = None) -> None:
    """Refuses sources that cannot be read together, without opening them.

    Args:
        specs: As for ``open_source``.
        labels: As for ``open_sources``.

    Raises:
        SourceError: There is none, one is missing, two have one name, or labels are under the name of another.
    """
    if not specs:
        raise SourceError("No source given: name at least one folder, .zip or FER2013 CSV.")
    names = Counter(parse_spec(spec)[0] for spec in specs)
    if twice := [name for name, n in names.items() if n > 1]:
        raise SourceError(f"Two sources are named {twice[0]!r}. Give them names: first=PATH second=PATH.")
    if strange := [key for key, meanings in (labels or {}).items() if isinstance(meanings, dict) and key not in names]:
        raise SourceError(
            f"Labels are given for {strange[0]!r}, which is no source here: put them under one of {', '.join(names)}."
        )


def read_split(spec: str, split: str, size: tuple[int, int], channels: int, progress: Progress = silent) -> Split:
    """Reads a raw source as the images of one split, its class folders giving the truth.

    A source of plain class folders is taken whole. Pictures that do not decode are left out.

    Args:
        spec: A path, or ``name=path``.
        split: One of ``SPLITS``.
        size: Height and width wanted, in pixels.
        channels: 1 (gray) or 3 (RGB).
        progress: Told of every picture decoded.

    Raises:
        SourceError: As ``open_source``; also where the source has splits, but not this one.
    """
    source = open_source(spec)
    if split not in SPLITS:
        raise SourceError(f"No split named {split!r}. There are {', '.join(SPLITS)}.")
    rows = [index for index, entry in enumerate(source.entries) if entry.split in (split, "")]
    if not rows:
        there = ", ".join(sorted(source.splits()))
        raise SourceError(f"{source.path}: it has no {split} images, only {there}. Choose --split {there}.")
    pixels, failed = decode_pixels(source, rows, size, channels, progress)
    if len(failed) == len(rows):
        raise SourceError(f"{source.path}: none of its {len(rows)} {split} pictures can be read: {failed[0].reason}.")
    return pixels


def find_archives(folders: Sequence[Path]) -> list[FoundArchive]:
    """What looks like a source directly inside some folders; looks at names, reads no picture.

    Args:
        folders: Places to look at; missing ones are skipped.
    """
    found: dict[Path, FoundArchive] = {}
    for folder in folders:
        with contextlib.suppress(OSError):
            for path in sorted(folder.iterdir()):
                if path.name.startswith("."):
                    continue
                with contextlib.suppress(OSError, FerError):
                    if (archive := _glance(path.absolute())) is not None:
                        found[archive.path] = archive
    return list(found.values())


def look_at(path: Path, called: str | None = None) -> FoundArchive:
    """What one file or folder is; reads no picture.

    Args:
        path: A zip, a folder or a CSV.
        called: What an error calls it, its path unless told.

    Raises:
        SourceError: It is not there, or holds nothing we understand.
    """
    try:
        found = _glance(path) if path.is_file() and path.suffix.lower() == ".csv" else None
        if found is None:
            source = open_source(f"source={path}")
            size = path.stat().st_size if path.is_file() else 0
            found = FoundArchive(path, source.layout, len(source.entries) or None, size)
    except FerError as error:
        raise SourceError(str(error).replace(str(path), called or str(path))) from error
    return found


def _glance(path: Path) -> FoundArchive | None:
    if path.is_dir():
        if not any(
            child.name.lower() in SPLIT_NAMES or parse_emotion(child.name) for child in path.iterdir() if child.is_dir()
        ):
            return None  # a stranger's folder may hold a whole disk
        files = {name: path / name for name in itertools.islice(_walk(path), _GLANCE)}
        listing = sort_names(files)
        size = sum(file.stat().st_size for file in files.values()) if listing.entries else 0
    elif not path.is_file():  # opening a pipe or device could wait for ever
        return None
    elif path.suffix.lower() == ".zip" and _is_zip(path):
        with _whole(path), BoundedZip(path, str(path)) as archive:
            check_expansion(archive, str(path), _unsafe)
            names = [info.filename for info in files_in(archive) if _unsafe(info) is None]
            listing, size = sort_names(names), path.stat().st_size
            if not listing.entries:
                for name in (name for name in names if name.lower().endswith(".csv")):
                    with archive.open(name) as file:
                        if _columns(file):
                            return FoundArchive(path, Layout.FER2013_CSV, None, size)
    elif path.suffix.lower() == ".csv":
        with path.open("rb") as file:
            known = _columns(file)
        return FoundArchive(path, Layout.FER2013_CSV, None, path.stat().st_size) if known else None
    else:
        return None
    if not listing.entries:
        return None
    return FoundArchive(path, recognise(listing.entries), len(listing.entries), size)


def _nothing(source: Source) -> str:
    reasons = [f"{entry.path} ({entry.reason})" for entry in source.quarantined[:4]]
    if reasons:
        more = len(source.quarantined) - len(reasons)
        tail = f" and {more} more" if more > 0 else ""
        return (
            f"{source.path}: no usable picture. Found {', '.join(reasons)}{tail}; expected folders named "
            f"{', '.join(EMOTIONS)} (or common forms of them), with or without train and test above them."
        )
    return (
        f"{source.path}: no picture in it. Expected train/<emotion>/ and test/<emotion>/ folders, "
        "<emotion>/ folders, or a FER2013 CSV."
    )


def _why_not(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        return f"{path}: the file is empty. Download it again."
    if start == b"PK\x03\x04":
        return f"{path}: the zip archive is cut short (its table of contents is missing). Download it again."
    if path.suffix.lower() == ".zip":
        return f"{path}: not a zip archive, whatever its name says. Download it again."
    return f"{path}: not a source. Expected a folder, a .zip or a FER2013 CSV."


def _check_numbers(path: Path, listing: Listing) -> None:
    if numbers := listing.foreign_numbers:
        raise SourceError(
            f"{path}: class folders are numbered {', '.join(numbers)}, which is not FER2013's order (0 to 6). Say what "
            "each means, for example --label 1=surprise, or in a file with --map."
        )


# Folders ----------------------------------------


def _walk(root: Path) -> Iterator[str]:
    """Files below a folder as relative names. Links to folders are not followed: they can form circles."""
    try:
        for folder, below, files in os.walk(root, onerror=_raise):
            below[:] = [name for name in below if not name.startswith(".")]
            base = Path(folder).relative_to(root)
            for name in files:
                yield (base / name).as_posix()
    except RecursionError:  # before Python 3.12, about a thousand of them
        raise SourceError(f"{root}: too many folders inside each other. Take out what is no picture.") from None


def _raise(error: OSError) -> None:
    raise error


def _open_folder(name: str, root: Path, meanings: Meanings) -> Source:
    names = list(_walk(root))
    listing = sort_names(names, meanings)
    _check_numbers(root, listing)
    if not listing.entries:
        csvs = (entry for entry in names if entry.lower().endswith(".csv") and (root / entry).is_file())
        for csv_name in sorted(csvs):
            with (root / csv_name).open("rb") as file:
                if _columns(file):
                    file.seek(0)
                    return _open_csv(name, root, printable(csv_name), file, meanings)
    files = [root / entry for entry in listing.names]
    return Source(
        name, root, recognise(listing.entries), listing.entries, listing.quarantined, read=_same_bytes(files)
    )  # fmt: skip


def _same_bytes(files: Sequence[Path]) -> Callable[[int], bytes]:
    """Reads files by number. One that has changed since it was first read is an error: what was found out about it
    does not hold any more. (A zip compares every entry with the checksum in its directory, which is read once.)
    """
    first = np.full(len(files), -1, np.int64)  # the CRC-32 of each

    def read(index: int) -> bytes:
        data = _read_file(files[index])
        found = zlib.crc32(data)
        if first[index] not in (-1, found):
            raise SourceError("changed since it was first read")
        first[index] = found
        return data

    return read


def _read_file(path: Path) -> bytes:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise SourceError("not a regular file")
    if status.st_size > MAX_ENTRY_BYTES:
        raise SourceError(f"larger than {MAX_ENTRY_BYTES // 2**20} MB")
    return path.read_bytes()


# Zip archives ----------------------------------------


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Says in a sentence what is wrong with an archive that is opened and read in the block."""
    try:
        yield
    except (OSError, *DAMAGED) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk's fault; without a number it is a decompressor's, and a place before the start is nowhere
        why = printable(str(error))
        raise SourceError(f"{path}: the zip archive is damaged ({why}). Download it again.") from error


def _is_zip(path: Path) -> bool:
    with _whole(path):
        return zipfile.is_zipfile(path)


def _open_zip(name: str, path: Path, meanings: Meanings) -> Source:
    archive = BoundedZip(path, str(path))
    safe: dict[str, zipfile.ZipInfo] = {}
    refused = []
    reasons = {info: _unsafe(info) for info in files_in(archive)}
    for info, reason in reasons.items():
        if reason is None and info.filename in safe:
            refused.append(Quarantined(path=printable(info.filename), reason="a later entry has the same name"))
        if reason is None:
            safe[info.filename] = info
        else:
            refused.append(Quarantined(path=printable(info.orig_filename), reason=reason))
    check_expansion(archive, str(path), reasons.get)
    listing = sort_names(safe, meanings)
    _check_numbers(path, listing)
    if not listing.entries:
        for csv_name in sorted(entry for entry in safe if entry.lower().endswith(".csv")):
            with archive.open(csv_name) as file:
                known = _columns(file)
            if known:
                with archive.open(csv_name) as file:
                    return _open_csv(name, path, printable(csv_name), file, meanings, refused)
    infos = [safe[entry] for entry in listing.names]
    return Source(
        name, path, recognise(listing.entries), listing.entries, refused + listing.quarantined,
        read=lambda index: read_entry(archive, infos[index]),
    )  # fmt: skip


def _unsafe(info: zipfile.ZipInfo) -> str | None:
    """Why an entry is not even looked at."""
    limit = MAX_CSV_BYTES if info.filename.lower().endswith(".csv") else MAX_ENTRY_BYTES
    return unsafe(info, limit)


# FER2013's CSV ----------------------------------------


def _rows(file: IO[bytes]) -> Iterator[list[str]]:
    """The rows of a CSV, line by line: a row of pixels has no line breaks, whatever its quotes say.

    Raises:
        csv.Error: It is in UTF-16, a line is too long, or there are too many.
    """
    encoding = "utf-8-sig"  # spreadsheets put a mark before the first line
    for number in itertools.count():
        line = file.readline(_MAX_LINE)
        if not line:
            return
        if len(line) == _MAX_LINE:
            raise csv.Error(f"a line is longer than {_MAX_LINE} characters")
        if number == 0 and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise csv.Error("it is in UTF-16; save it as UTF-8")
        if number > limits.ENTRIES:
            raise csv.Error(f"more than {limits.ENTRIES:,} rows; make several files of it")
        yield next(csv.reader([line.decode(encoding, errors="replace")]), [])
        encoding = "utf-8"


def _columns(file: IO[bytes]) -> dict[str, int] | None:
    """Where emotion, pixels and perhaps usage stand in a CSV's first line; None if it is no FER2013 CSV."""
    try:
        columns = _positions(next(_rows(file), []))
    except csv.Error:
        return None
    return columns if {"emotion", "pixels"} <= columns.keys() else None


def _positions(header: list[str]) -> dict[str, int]:
    return {title.strip().lower(): index for index, title in enumerate(header)}


def _open_csv(
    name: str,
    path: Path,
    csv_name: str,
    file: IO[bytes],
    meanings: Meanings,
    quarantined: Sequence[Quarantined] = (),
) -> Source:
    """Reads the pixels of all rows (2.3 kB each) and encodes them as PNG when asked."""
    rows = _rows(file)
    entries: list[Entry] = []
    pictures: list[Pixels] = []
    refused = list(quarantined)
    failures = 0
    try:
        header = next(rows, [])
        columns = _positions(header)
        if not {"emotion", "pixels"} <= columns.keys():
            found = printable(", ".join(header)[:100]) or "missing"
            raise SourceError(f"{path}: the CSV's columns are {found}; expected emotion, pixels and Usage.")
        for number, row in enumerate(rows, start=1):
            where = f"{csv_name}#{number}"
            parsed = _parse_row(row, columns, where, meanings)
            if isinstance(parsed, str):
                failures += 1
                if failures <= MAX_LISTED:
                    refused.append(Quarantined(path=where, reason=parsed))
            elif parsed is not None:
                entries.append(parsed[0])
                pictures.append(parsed[1])
    except csv.Error as error:
        raise SourceError(f"{path}: not a readable CSV ({error}).") from error
    if failures > MAX_LISTED:
        refused.append(Quarantined(path=csv_name, reason=f"{failures - MAX_LISTED} further rows like these"))
    return Source(name, path, Layout.FER2013_CSV, entries, refused, read=lambda index: encode_png(pictures[index]))


def _parse_row(
    row: list[str], columns: dict[str, int], where: str, meanings: Meanings
) -> tuple[Entry, Pixels] | str | None:
    """An entry with its pixels, the reason why there is none, or None for an empty line."""
    if not row:
        return None
    if len(row) <= max(columns[title] for title in ("emotion", "pixels")):
        return f"{len(row)} columns, expected {len(columns)}"
    emotion = meaning_of(row[columns["emotion"]], meanings)
    if emotion is None:
        return f"label {row[columns['emotion']].strip()[:20]!r}, expected 0 to 6 or an emotion"
    if emotion == DROP:
        return f"label {row[columns['emotion']].strip()[:20]!r} is to be left out"
    usage = row[columns["usage"]].strip() if "usage" in columns and columns["usage"] < len(row) else ""
    if usage and usage.lower() not in SPLIT_NAMES:
        return f"Usage {usage[:20]!r}, expected Training, PublicTest or PrivateTest"
    try:
        values = np.fromstring(row[columns["pixels"]], np.int64, sep=" ")
    except ValueError:
        return "pixels that are not all numbers"
    if values.size != _CSV_SIDE**2:
        return f"{values.size} pixels, expected {_CSV_SIDE**2} ({_CSV_SIDE} x {_CSV_SIDE})"
    if values.min() < 0 or values.max() > 255:
        return f"pixel values from {values.min()} to {values.max()}, expected 0 to 255"
    entry = Entry(where, INDEX[emotion], SPLIT_NAMES.get(usage.lower(), ""), USAGE_NAMES.get(usage.lower(), ""))
    return entry, values.astype(np.uint8).reshape(_CSV_SIDE, _CSV_SIDE)
