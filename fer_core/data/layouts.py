"""What a source is, and what the names of its folders and files mean."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final

from fer_core.data.info import Quarantined
from fer_core.data.labels import DROP, Meanings, meaning_of
from fer_core.emotions import INDEX
from fer_core.workspace import printable


class Layout(StrEnum):
    """How a source is organised."""

    FER2013_FOLDERS = "fer2013-folders"
    """Kaggle msambare/fer2013: ``train|test/<emotion>/{Training,PublicTest,PrivateTest}_<id>.jpg``."""
    FER2013_CSV = "fer2013-csv"
    """The challenge's CSV: emotion, pixels, Usage, in any order."""
    EDF = "emotion-detection-fer"
    """Kaggle ananthu017/emotion-detection-fer: ``train|test/<adjective>/im<k>.png``."""
    SPLIT_FOLDERS = "split-folders"
    CLASS_FOLDERS = "class-folders"

    @property
    def is_fer2013(self) -> bool:
        return self in (Layout.FER2013_FOLDERS, Layout.FER2013_CSV)


@dataclass(frozen=True, slots=True)
class Entry:
    """One labelled picture of a source.

    Attributes:
        path: Its name inside the source, with forward slashes, as text that can be stored and shown.
        label: Index into ``EMOTIONS``.
        split: ``train``, ``validation``, ``test``, or empty where the source has no splits.
        usage: FER2013's ``Training``, ``PublicTest`` or ``PrivateTest``, or empty.
    """

    path: str
    label: int
    split: str
    usage: str


@dataclass(frozen=True)
class Source:
    """Labelled pictures.

    ``read`` returns the encoded bytes of one entry, by index, always the same or an error; threads may call it.
    """

    name: str
    path: Path
    layout: Layout
    entries: list[Entry]
    quarantined: list[Quarantined]
    read: Callable[[int], bytes] = field(repr=False)

    def splits(self) -> set[str]:
        """The splits it was published with, the empty text standing for none."""
        return {entry.split for entry in self.entries}


PICTURES: Final = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".pgm"}
_NOISE: Final = {"thumbs.db", "desktop.ini"}
SPLIT_NAMES: Final = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
    "publictest": "test",
    "privatetest": "test",
}
USAGE_NAMES: Final = {"training": "Training", "publictest": "PublicTest", "privatetest": "PrivateTest"}
_CLASS_NUMBER: Final = re.compile(r"[0-9]{1,2}")  # a year is none
_ADJECTIVES: Final = {"angry", "disgusted", "fearful", "happy", "neutral", "sad", "surprised"}


@dataclass
class Listing:
    """Entries in the order of their names, these names as they were given, and what was left out."""

    entries: list[Entry] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    assumed: set[str] = field(default_factory=set)
    """Numbers of class folders that were taken for FER2013's."""

    @property
    def foreign_numbers(self) -> list[str]:
        """Class folders that are numbered, but not as FER2013 numbers them: nobody can tell what they mean."""
        unknown = {name for folder in self.unknown if _CLASS_NUMBER.fullmatch(name := PurePosixPath(folder).name)}
        from_one = self.assumed == set("123456")  # whoever counts from 0 has a 0, too
        return sorted(self.assumed | unknown, key=int) if (self.assumed and unknown) or from_one else []


def sort_names(names: Iterable[str], meanings: Meanings | None = None) -> Listing:
    """Turns file names into entries, in the order of the names: a zip and its unpacked folder give the same.

    Pictures in folders that name no emotion are listed by folder, other files and hidden ones are ignored.

    Args:
        names: Of files, relative to the source.
        meanings: What folder names mean beyond the known spellings; see ``labels``.
    """
    listing = Listing()
    for name in sorted(names):
        path = PurePosixPath(name)
        if path.name.lower() in _NOISE or any(part.startswith((".", "__MACOSX")) for part in path.parts):
            continue
        emotion, split = _meaning(path.parts[:-1], meanings or {})
        picture = path.suffix.lower() in PICTURES
        if emotion is None:
            if picture:
                listing.unknown[printable(str(path.parent))] += 1
            continue
        if emotion == DROP:
            listing.dropped[printable(str(path.parent))] += picture
            continue
        if not picture:
            listing.quarantined.append(Quarantined(path=printable(name), reason="not a picture by its name"))
            continue
        if path.parent.name.isdecimal() and path.parent.name not in (meanings or {}):
            listing.assumed.add(path.parent.name)
        usage = USAGE_NAMES.get(path.name.partition("_")[0].lower(), "")
        split = split or SPLIT_NAMES.get(usage.lower(), "")
        listing.entries.append(Entry(printable(name), INDEX[emotion], split, usage))
        listing.names.append(name)
    listing.quarantined += [
        Quarantined(
            path=f"{folder}/",
            reason=f"{n} pictures in a folder that names none of the seven classes",
        )
        for folder, n in listing.unknown.items()
    ]
    listing.quarantined += [
        Quarantined(path=f"{folder}/", reason=f"{n} pictures of a label that is to be left out")
        for folder, n in listing.dropped.items()
    ]
    return listing


def _meaning(folders: Sequence[str], meanings: Meanings) -> tuple[str | None, str]:
    """The emotion and the split that a file's folders say; the innermost wins."""
    for depth in range(len(folders) - 1, -1, -1):
        emotion = meaning_of(folders[depth], meanings)
        if emotion is not None:
            splits = [SPLIT_NAMES[part.lower()] for part in folders[:depth] if part.lower() in SPLIT_NAMES]
            return emotion, splits[-1] if splits else ""
    return None, ""


def recognise(entries: Sequence[Entry]) -> Layout:
    """The layout that entries found in folders have."""
    if all(entry.usage for entry in entries):
        return Layout.FER2013_FOLDERS
    if not any(entry.split for entry in entries):
        return Layout.CLASS_FOLDERS
    adjectives = all(PurePosixPath(entry.path).parent.name.lower() in _ADJECTIVES for entry in entries)
    numbered = all(PurePosixPath(entry.path).stem[:2].lower() == "im" for entry in entries)
    return Layout.EDF if adjectives and numbered else Layout.SPLIT_FOLDERS
