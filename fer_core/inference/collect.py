"""Pictures from files, folders and zip archives, one at a time and without unpacking anything."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO, Final

from fer_core import archive as zips
from fer_core import limits
from fer_core.errors import FerError, from_os_error
from fer_core.inference.images import Picture
from fer_core.workspace import printable

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
"""What counts as a picture in folders and archives; a file that is named itself is always tried."""

MAX_FILE_BYTES: Final = limits.FILE_MB * 2**20
"""Larger files are not read."""


def collect(paths: Sequence[Path]) -> Iterator[Picture]:
    """Pictures of files, of folders (with all below them) and of zip archives, sorted by name within each.

    What cannot be read comes as a picture with an error; other files in folders and archives are passed over.

    Raises:
        FerError: A path does not exist. Nothing has been yielded then.
    """
    _check_there(paths)
    return (picture for path in paths for picture in _from_path(path))


def count(paths: Sequence[Path]) -> int:
    """How many pictures ``collect`` will come upon; no picture is opened.

    Raises:
        FerError: A path does not exist.
    """
    _check_there(paths)
    return sum(_count(path) for path in paths)


class ZippedPictures:
    """The pictures of a zip archive, sorted by name, each of which is read when it is asked for.

    They are called ``name/entry``. What is hostile or damaged is an error, an entry by itself and an archive as its
    only picture; nothing is written to disk.

    Args:
        file: A path, or an open file that can seek.
        name: What to call it.
    """

    def __init__(self, file: Path | IO[bytes], name: str) -> None:
        self._name = name
        self._opened = ExitStack()
        self._refused: str | None = None
        try:
            self._archive = self._opened.enter_context(zips.BoundedZip(file, name))
            zips.check_expansion(self._archive, name)
            self._entries = _entries(self._archive)
        except FerError as error:
            self._refused = str(error)
        except zips.DAMAGED:
            self._refused = f"{name}: not a zip archive, or it is damaged or cut short. Make it again."
        except OSError as error:
            self._refused = str(from_os_error(error, name))

    def __enter__(self) -> ZippedPictures:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def __len__(self) -> int:
        return len(self._entries) if self._refused is None else 1

    def __getitem__(self, place: int) -> Picture:
        if self._refused is not None:
            return Picture(self._name, error=self._refused)
        info = self._entries[place]
        return _from_entry(self._archive, info, f"{self._name}/{printable(info.filename)}")

    def __iter__(self) -> Iterator[Picture]:
        return (self[place] for place in range(len(self)))


def _check_there(paths: Sequence[Path]) -> None:
    for path in paths:
        try:
            path.stat()
        except OSError as error:
            raise FerError(printable(str(from_os_error(error, path)))) from error
        except ValueError as error:  # a NUL in it
            raise FerError(f"{printable(str(path))}: no such file or folder. Check the path.") from error


def _entries(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The pictures among the entries, sorted by name."""
    wanted = [info for info in zips.files_in(archive) if _wanted(PurePosixPath(info.filename.replace("\\", "/")))]
    return sorted(wanted, key=lambda info: info.filename)


def _is_archive(path: Path) -> bool:
    return path.suffix.lower() == ".zip" and path.is_file()


def _count(path: Path) -> int:
    if path.is_dir():
        return sum(1 for _ in _files(path, []))
    if not _is_archive(path):
        return 1
    with ZippedPictures(path, str(path)) as pictures:
        return len(pictures)


def _from_path(path: Path) -> Iterator[Picture]:
    if path.is_dir():
        yield from _from_folder(path)
    elif _is_archive(path):
        with ZippedPictures(path, printable(str(path))) as pictures:
            yield from pictures
    else:
        yield _from_file(path)


def _from_folder(root: Path) -> Iterator[Picture]:
    unreadable: list[OSError] = []
    yield from map(_from_file, _files(root, unreadable))
    for error in unreadable:
        yield Picture(printable(str(error.filename)), error=printable(str(from_os_error(error))))


def _files(root: Path, unreadable: list[OSError]) -> Iterator[Path]:
    """The pictures of a folder and all below it; folders that cannot be listed are added to ``unreadable``."""
    # Links to folders are not followed: they can form circles.
    for folder, below, files in os.walk(root, onerror=unreadable.append):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(files):
            if _wanted(PurePosixPath(name)):
                yield Path(folder) / name


def _wanted(path: PurePosixPath) -> bool:
    hidden = path.name.startswith(".") or "__MACOSX" in path.parts
    return path.suffix.lower() in SUFFIXES and not hidden


def _from_file(path: Path) -> Picture:
    name = printable(str(path))
    try:
        if not path.is_file():  # opening a pipe or device could wait for ever
            return Picture(name, error=f"{name}: not a regular file.")
        if path.stat().st_size > MAX_FILE_BYTES:
            return Picture(name, error=f"{name}: larger than {MAX_FILE_BYTES // 2**20} MB. Make it smaller.")
        return Picture(name, path.read_bytes())
    except OSError as error:
        return Picture(name, error=printable(str(from_os_error(error, path))))


def _from_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Picture:
    reason = zips.unsafe(info)
    if reason is not None:
        return Picture(name, error=f"{name}: not read, it is {reason}." if " " in reason else f"{name}: {reason}.")
    try:
        return Picture(name, zips.read_entry(archive, info))
    except FerError as error:
        return Picture(name, error=f"{name}: {error}.")
