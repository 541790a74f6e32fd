"""Sources as strangers hand them in: broken by accident or on purpose. Built in code, and what is said of each."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from fer_core.archive import MAX_ENTRY_BYTES

from .pictures import class_folders, face, jpeg, pixels, png

GOOD = class_folders(train=2, test=1)


# Zip archives ----------------------------------------


def zipped(files: Mapping[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data, method)
    return memory.getvalue()


def renamed(old: str, new: bytes) -> Callable[[bytes], bytes]:
    """Another name of the same length, wherever it stands."""
    assert len(old) == len(new)
    return lambda data: data.replace(old.encode(), new)


def listed(name: str, place: int, form: str, value: int) -> Callable[[bytes], bytes]:
    """Changes a field of an entry in the archive's directory (ZIP specification, 4.3.12)."""

    def change(data: bytes) -> bytes:
        raw = bytearray(data)
        start = raw.rindex(name.encode()) - 46
        assert raw[start : start + 4] == b"PK\1\2"
        struct.pack_into(form, raw, start + place, value)
        return bytes(raw)

    return change


def ended(place: int, form: str, value: int) -> Callable[[bytes], bytes]:
    """Changes a field of the record at an archive's end (4.3.16)."""

    def change(data: bytes) -> bytes:
        raw = bytearray(data)
        struct.pack_into(form, raw, raw.rindex(b"PK\5\6") + place, value)
        return bytes(raw)

    return change


def faces(*changes: Callable[[bytes], bytes], method: int = zipfile.ZIP_DEFLATED, **more: bytes) -> bytes:
    """An archive of good pictures and one more, ``test/sad/odd.png``, changed."""
    data = zipped({**GOOD, "test/sad/odd.png": png(77, "sad"), **more}, method)
    for change in changes:
        data = change(data)
    return data


def link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("test/sad/odd.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def twice() -> bytes:
    name, other = "test/sad/odd.png", "test/sad/ode.png"
    return zipped({**GOOD, name: png(77, "sad"), other: png(78, "sad")}).replace(other.encode(), name.encode())


def overlapping() -> bytes:
    """Every entry of the directory points to the same bytes."""
    raw = bytearray(zipped({f"happy/{n:04}.png": b"\0" * 2**20 for n in range(400)}))
    place = raw.index(b"PK\1\2")
    first = raw[place:]
    while (place := raw.find(b"PK\1\2", place)) != -1:
        struct.pack_into("<L", raw, place + 42, 0)
        place += 4
    assert bytes(first) != bytes(raw[raw.index(b"PK\1\2") :])
    return bytes(raw)


CSV = "\n".join(["emotion,pixels,Usage", *(f"{n % 7},{pixels(n)},Training" for n in range(7))]).encode()


def damaged_table(method: int) -> bytes:
    raw = bytearray(zipped({"fer2013.csv": CSV}, method))
    for place in range(80, 2000, 40):
        raw[place] ^= 0xFF
    return bytes(raw)


ODD = "test/sad/odd.png"
REFUSED_ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "empty"),
    "only the first four bytes": (lambda: faces()[:4], "cut short"),
    "cut in the middle": (lambda: faces()[: len(faces()) // 2], "cut short"),
    "cut in its directory": (lambda: faces()[:-600], "cut short"),
    "cut in its last record": (lambda: faces()[:-5], "cut short"),
    "no entries": (lambda: zipped({}), "no picture in it"),
    "a directory that lies elsewhere": (lambda: faces(ended(16, "<L", 2**31)), "none of its 22 pictures can be read"),
    "a directory before the start": (lambda: faces(ended(12, "<L", 2**31)), "damaged|not a zip"),
    "of a later specification": (lambda: faces(listed(ODD, 6, "<H", 99)), "damaged.*version"),
    "names that are no text": (
        lambda: faces(listed(ODD, 8, "<H", 0x800), renamed("odd.png", b"o\xff\xfe.png")),
        "damaged",
    ),
    "a table that is damaged, stored": (lambda: damaged_table(zipfile.ZIP_STORED), "damaged|CSV"),
    "a table that is damaged, deflated": (lambda: damaged_table(zipfile.ZIP_DEFLATED), "damaged|CSV"),
    "a table that is damaged, bzip2": (lambda: damaged_table(zipfile.ZIP_BZIP2), "damaged|CSV"),
    "a table that is damaged, lzma": (lambda: damaged_table(zipfile.ZIP_LZMA), "damaged|CSV"),
    "an encrypted table": (
        lambda: listed("fer2013.csv", 8, "<H", 1)(zipped({"fer2013.csv": CSV})),
        "fer2013.csv .encrypted",
    ),
    "a table packed in an unknown way": (
        lambda: listed("fer2013.csv", 10, "<H", 97)(zipped({"fer2013.csv": CSV})),
        "damaged",
    ),
    "an archive in an archive": (lambda: zipped({"faces.zip": faces()}), "no picture in it"),
    "only folders": (lambda: zipped({"train/happy/": b"", "train/sad/": b""}), "no picture in it"),
    "entries that share their bytes": (overlapping, "decompression bomb"),
    "a table of empty lines": (
        lambda: zipped({"f.csv": b"emotion,pixels\n" + b"\n" * 2**21}),
        "more than 200,000 rows",
    ),
    "a table that unpacks to far too much": (
        lambda: listed("f.csv", 24, "<L", 2**31 - 1)(zipped({"f.csv": CSV})),
        "decompression bomb",
    ),
}
"""Archives that cannot be used at all, and a pattern of what is said."""

LEFT_OUT_ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "encrypted": (lambda: faces(listed(ODD, 8, "<H", 1)), "encrypted"),
    "packed in an unknown way": (lambda: faces(listed(ODD, 10, "<H", 97)), "damaged in the archive"),
    "another checksum": (lambda: faces(listed(ODD, 16, "<L", 1)), "damaged in the archive"),
    "says to be shorter": (lambda: faces(listed(ODD, 24, "<L", 100)), "damaged in the archive"),
    "says to be huge": (lambda: faces(listed(ODD, 24, "<L", 2**31)), "too large"),
    "lies elsewhere": (lambda: faces(listed(ODD, 42, "<L", 11)), "damaged in the archive"),
    "lies behind the end": (lambda: faces(listed(ODD, 42, "<L", 2**31)), "damaged in the archive"),
    "has another name in its place": (
        lambda: faces(lambda data: data.replace(ODD.encode(), b"test/sad/ode.png", 1)),
        "damaged in the archive",
    ),
    "is huge": (lambda: zipped({**GOOD, ODD: b"\0" * (MAX_ENTRY_BYTES + 1)}), "too large"),
    "leaves the archive": (lambda: faces(renamed(ODD, b"../../../odd.png")), "a path that leaves"),
    "leaves the archive, in Windows' way": (lambda: faces(renamed(ODD, b"..\\..\\..\\odd.png")), "a path that leaves"),
    "an absolute path": (lambda: faces(renamed(ODD, b"/tmp/sad/odd.png")), "an absolute path"),
    "a drive": (lambda: faces(renamed(ODD, b"C:\\t/sad/odd.png")), "an absolute path"),
    "a link": (lambda: zipped({**GOOD, link(): b"/etc/passwd"}), "a link"),
    "the name of another": (twice, "a later entry has the same name"),
    "a name with orders to a terminal": (
        lambda: faces(renamed(ODD, b"test/sad/\x1b[2J.xx")),
        "not a picture by its name",
    ),
}
"""Archives of which one entry is bad, and a pattern of what is said of it; the others are used."""

IGNORED_ARCHIVES: dict[str, Callable[[], bytes]] = {
    "no name at all": lambda: faces(renamed(ODD, b"\0" * len(ODD))),
    "a folder and a file of one name": lambda: zipped({**GOOD, "test/sad": b"", "train": b"x"}),
    "a very long name": lambda: zipped({**GOOD, "x/" * 30_000: b"", "y" * 65_000: b""}),
    "on several disks": lambda: faces(ended(4, "<H", 3)),
    "an entry that says to be longer": lambda: faces(listed(ODD, 24, "<L", 2**20)),
    "text before it": lambda: b"#!/bin/sh\n" * 100 + faces(),
    "text behind it": lambda: faces() + b"\n",
}
"""Archives with something odd in them that is no picture: all pictures are used."""


# FER2013's table ----------------------------------------


def table(*rows: str, header: str = "emotion,pixels,Usage") -> bytes:
    return "\n".join([header, *rows]).encode()


ROW = f"3,{pixels(1)},Training"
ROWS = [f"{n % 7},{pixels(n)},{'Training' if n % 3 else 'PublicTest'}" for n in range(21)]

REFUSED_TABLES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "columns are missing"),
    "a mark of UTF-8 only": (lambda: b"\xef\xbb\xbf", "columns are missing"),
    "UTF-16": (lambda: table(ROW).decode().encode("utf-16"), "UTF-16; save it as UTF-8"),
    "UTF-16, the other way round": (lambda: b"\xfe\xff" + table(ROW).decode().encode("utf-16-be"), "UTF-16"),
    "semicolons": (lambda: table(ROW.replace(",", ";"), header="emotion;pixels;Usage"), "columns are emotion;pixels"),
    "a header with orders to a terminal": (lambda: b"emotion\x1b[2J,pixel\n", "columns are emotion\ufffd"),
    "a quote that never ends": (lambda: table('3,"' + "1 " * 200_000), "field larger"),
    "one endless line": (lambda: table("1 " * 2**20), "longer than"),
    "old line ends": (lambda: table(ROW).replace(b"\n", b"\r"), "not a readable CSV"),
    "not a number": (lambda: table("3," + "nan " * 2304 + ",Training"), "pixels that are not all numbers"),
    "fractions": (lambda: table("3," + "0.5 " * 2304 + ",Training"), "pixels that are not all numbers"),
    "negative": (lambda: table("3," + "-1 " * 2304 + ",Training"), "pixel values from -1 to -1"),
    "beyond every number": (lambda: table("3," + "9" * 100_000 + ",Training"), "1 pixels, expected 2304"),
    "a byte of zero": (lambda: table("3,\0,Training"), "pixels that are not all numbers"),
    "pixels twice": (lambda: table("3,1,2", header="emotion,pixels,pixels"), "1 pixels, expected 2304"),
    "a label that is no class": (lambda: table(ROW.replace("3,", "-1,", 1)), "label '-1'"),
    "too many rows": (lambda: table("\n" * 200_001), "more than 200,000 rows"),
    "only a header": (lambda: table(), "no picture in it"),
}

LEFT_OUT_TABLES: dict[str, tuple[Callable[[], bytes], str]] = {
    "a row cut short": (lambda: table(*ROWS, ROW[:900]), "pixels, expected 2304"),
    "a row with a break in its quotes": (lambda: table(*ROWS, ROW.replace("Training", '"Trai\nning"')), "Usage"),
    "a row of bytes that are no text": (lambda: table(*ROWS) + b"\n\xff\xfe\0,\x80,\x1b[2J", "label"),
    "a row of commas": (lambda: table(*ROWS, "," * 100_000), "label ''"),
}


# Pictures ----------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def drawn(width: int, height: int, rows: bytes = b"", *, depth: int = 8, colour: int = 0, extra: bytes = b"") -> bytes:
    """A PNG put together by hand (PNG specification, 11)."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def flipped(data: bytes, place: int) -> bytes:
    raw = bytearray(data)
    raw[place] ^= 0xFF
    return bytes(raw)


def saved(format_name: str) -> bytes:
    memory = io.BytesIO()
    Image.fromarray(face(1)).save(memory, format_name)
    return memory.getvalue()


def claiming(width: int, height: int) -> bytes:
    """A JPEG that says to be of another size (T.81, B.2.2)."""
    raw = bytearray(jpeg(face(1)))
    struct.pack_into(">HH", raw, raw.index(b"\xff\xc0") + 5, height, width)
    return bytes(raw)


def drawn_over(times: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = cv2.imencode(".jpg", np.zeros((4000, 4000), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * times + data[-2:]


PNG, JPEG = png(1), jpeg(face(1))
CUT, UNKNOWN, LARGE = "damaged or cut short", "not a picture we can read", "megapixels"
PICTURES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "empty"),
    "text": (lambda: b"no picture", UNKNOWN),
    "an archive": (lambda: zipped({"a.png": PNG}), UNKNOWN),
    "zeros": (lambda: b"\0" * 1000, UNKNOWN),
    "half a png": (lambda: PNG[:600], CUT),
    "a png without its end": (lambda: PNG[:-12], CUT),
    "a png with a flipped byte": (lambda: flipped(PNG, 600), CUT),
    "a png's signature": (lambda: PNG[:8], UNKNOWN),
    "a png's first 30 bytes": (lambda: PNG[:30], UNKNOWN),
    "a png without pixels": (lambda: PNG[:33] + PNG[-12:], CUT),
    "a png of no size": (lambda: drawn(0, 0), UNKNOWN),
    "a png of a huge size": (lambda: drawn(2**31 - 1, 2**31 - 1), LARGE),
    "a png of an impossible size": (lambda: drawn(2**32 - 1, 1), LARGE),
    "a png that unpacks to 100 megapixels": (
        lambda: drawn(10_000, 10_000, b"\0" * 12_510_000, depth=1),
        "is 100 megapixels",
    ),
    "a png of an unknown kind": (lambda: drawn(4, 4, b"\0" * 20, colour=9), UNKNOWN),
    "a png without its palette": (lambda: drawn(4, 4, b"\0" * 20, colour=3), CUT),
    "a png with too few pixels": (lambda: drawn(48, 48, b"\0" * 20), CUT),
    "a png with a part of 4 GB": (lambda: PNG[:33] + b"\xff\xff\xff\xff" + PNG[37:], CUT),
    "a png with a text of 1 GB": (lambda: PNG[:33] + b"\x40\0\0\0tEXt" + PNG[41:], f"{CUT}|{UNKNOWN}"),
    "half a jpeg": (lambda: JPEG[:600], CUT),
    "a jpeg's signature": (lambda: JPEG[:3], UNKNOWN),
    "a jpeg of no size": (lambda: claiming(0, 0), UNKNOWN),
    "a jpeg of a huge size": (lambda: claiming(65_500, 65_500), LARGE),
    "a jpeg drawn over and over": (lambda: drawn_over(1000), "more than 100 scans"),
    "half a gif": (lambda: saved("GIF")[:1000], CUT),
    "a gif of a huge size": (lambda: saved("GIF")[:6] + b"\xff" * 4 + saved("GIF")[10:], LARGE),
    "half a tiff": (lambda: saved("TIFF")[:1200], CUT),
    "a tiff that leads to itself": (lambda: saved("TIFF")[:4] + struct.pack("<I", 4) + saved("TIFF")[8:], UNKNOWN),
    "half a webp": (lambda: saved("WEBP")[:200], UNKNOWN),
    "half a bmp": (lambda: saved("BMP")[:1600], CUT),
    "a bmp of a huge size": (lambda: saved("BMP")[:18] + b"\xff\xff\xff\x7f" * 2 + saved("BMP")[26:], LARGE),
}
"""Files that are no whole picture of ours, and a pattern of what is said."""


# Around them ----------------------------------------


def everything_below(folder: Path, but: Path) -> dict[str, float]:
    """All that is in a folder but for one part of it, with the time of its last change."""
    return {
        str(path.relative_to(folder)): path.lstat().st_mtime
        for path in folder.rglob("*")
        if not path.is_relative_to(but)
    }


def grown_by(act: Callable[[], object]) -> float:
    """How many MB more than before this process had in memory at some time during an act."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew (proc(5))
    before = _in_status("VmRSS")
    act()
    return _in_status("VmHWM") - before


def _in_status(field: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024
