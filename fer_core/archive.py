"""Zip archives from strangers: nothing is unpacked to disk, and sizes are bounded before reading."""

from __future__ import annotations

import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, cast

from fer_core import limits
from fer_core.errors import SourceError

MAX_ENTRY_BYTES: Final = limits.ENTRY_MB * 2**20
"""Larger entries are not read."""

MAX_EXPANSION: Final = 200
"""An archive that claims to unpack to more times its own size is refused; pictures hardly compress."""

DAMAGED: Final = (
    zipfile.BadZipFile, EOFError, ValueError, RuntimeError, OverflowError, struct.error, zlib.error, lzma.LZMAError
)  # fmt: skip
"""What Python raises for an archive that is damaged, or that it cannot read, apart from ``OSError``."""

_SMALL: Final = 256 * 2**20  # claimed sizes below this are harmless whatever the ratio
_ENTRY_START: Final = b"PK\1\2"  # of an entry in an archive's directory (ZIP specification, 4.3.12)
_ENTRY_BYTES: Final = 512  # of these on average, at most: 46, the name, and some that tools add


class BoundedZip(zipfile.ZipFile):
    """An archive to read whose number of entries is known to be bounded before an object is made of each.

    Args:
        file: A path, or an open file that can seek, which stays open.
        name: What to call it in a message.

    Raises:
        SourceError: It has more than ``limits.ENTRIES`` entries.
        OSError, or one of DAMAGED: It cannot be opened.
    """

    def __init__(self, file: Path | IO[bytes], name: str) -> None:
        self._opened = ExitStack()
        try:
            source = self._opened.enter_context(file.open("rb")) if isinstance(file, Path) else file
            super().__init__(cast(IO[bytes], _Guarded(source, name)))
        except BaseException:
            self._opened.close()
            raise
        self.fp = source  # its directory is read, what follows are the entries' own bytes

    def close(self) -> None:
        """Closes the archive, and the file if it was given as a path."""
        super().close()
        self._opened.close()


class _Guarded:
    """A file that does not give out too long a directory: where that lies, and how long it is, only ZipFile knows.

    ZipFile reads it in one piece. The number that an archive states beside it may be a lie.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self._name = file, name

    def read(self, size: int = -1) -> bytes:
        if size <= limits.ENTRIES * _ENTRY_BYTES:
            data = self._file.read(size)
            if data.count(_ENTRY_START) <= limits.ENTRIES:
                return data
        raise SourceError(
            f"{self._name}: more than {limits.ENTRIES:,} entries. Unpack it into a folder, or make several of it."
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def files_in(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The entries that are not folders."""
    # Not by is_dir(), which in Python 3.11 fails for a name that begins with a NUL.
    return [info for info in archive.infolist() if not info.filename.endswith("/")]


def unsafe(info: zipfile.ZipInfo, max_bytes: int = MAX_ENTRY_BYTES, what: str = "a picture") -> str | None:
    """Why an entry must not be read, in a few words; None if it may.

    We write nothing under an entry's name, but an archive that wants us to is not to be trusted.

    Args:
        info: The entry.
        max_bytes: The most it may unpack to.
        what: It should hold.
    """
    path = PurePosixPath(info.orig_filename.replace("\\", "/"))
    if not path.parts:
        return "no name"
    if path.is_absolute() or ":" in path.parts[0]:
        return "an absolute path"
    if ".." in path.parts:
        return "a path that leaves the archive"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "a link"
    if info.flag_bits & 0x1:
        return "encrypted"
    if info.file_size > max_bytes:
        return f"unpacks to {info.file_size / 2**20:.0f} MB, too large for {what}"
    return None


def check_expansion(
    archive: zipfile.ZipFile, name: str, refused: Callable[[zipfile.ZipInfo], str | None] = unsafe
) -> None:
    """Refuses a decompression bomb.

    Args:
        archive: It is open.
        name: What to call it in a message.
        refused: Says why an entry will not be read; None if it may be.

    Raises:
        SourceError: What its safe entries claim to unpack to is out of all proportion to the archive.
    """
    assert archive.fp is not None  # it is open
    packed = max(1, archive.fp.seek(0, 2))  # not the sum of its entries: those of a bomb may overlap
    claimed = sum(info.file_size for info in archive.infolist() if refused(info) is None)
    if claimed > max(_SMALL, MAX_EXPANSION * packed):
        raise SourceError(
            f"{name}: claims to unpack to {claimed / 2**30:.1f} GB, {claimed // packed:,} times its size. "
            "That is a decompression bomb, not pictures."
        )


def read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The bytes of an entry that ``unsafe`` has passed.

    Raises:
        SourceError: It is damaged or compressed in a way that Python cannot read; without the entry's name.
    """
    try:
        with archive.open(info) as file:
            # More than the declared size never comes out, and a wrong checksum is an error.
            return file.read(info.file_size + 1)
    except Exception as error:  # every compressor raises its own kinds
        raise SourceError(f"damaged in the archive ({error})") from error
