"""Zip archives from strangers: nothing is unpacked to disk, and sizes are bounded before reading."""

from __future__ import annotations

import stat
import zipfile
from pathlib import PurePosixPath
from typing import Final

from fer_core import limits
from fer_core.errors import SourceError

MAX_ENTRY_BYTES: Final = limits.ENTRY_MB * 2**20
"""Larger entries are not read."""

MAX_EXPANSION: Final = 200
"""An archive that claims to unpack to more times its own size is refused; pictures hardly compress."""

_SMALL: Final = 256 * 2**20  # claimed sizes below this are harmless whatever the ratio


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


def check_expansion(archive: zipfile.ZipFile, name: str) -> None:
    """Refuses a decompression bomb.

    Raises:
        SourceError: What its safe entries claim to unpack to is out of all proportion to the archive.
    """
    assert archive.fp is not None  # it is open
    packed = max(1, archive.fp.seek(0, 2))  # not the sum of its entries: those of a bomb may overlap
    claimed = sum(info.file_size for info in archive.infolist() if unsafe(info) is None)
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
