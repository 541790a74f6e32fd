"""Which image a file name means that was written down elsewhere, with other folders above it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.errors import FerError
from fer_core.workspace import printable

_SEVERAL: Final = -1


@dataclass(frozen=True)
class Matches:
    """Files and the images that they mean.

    Attributes:
        files: Positions of the ``M`` files that mean an image, int64 ``[M]``.
        images: Position of the image that each of them means, int64 ``[M]``, each once.
        unknown: Files that mean no image.
        unclear: Files that may mean several.
    """

    files: NDArray[np.int64]
    images: NDArray[np.int64]
    unknown: list[str]
    unclear: list[str]


def match(files: Sequence[str], paths: Sequence[str]) -> Matches:
    """Finds the image of each file.

    A file means the image whose path ends as it does, or with whose whole path it ends, the longest first; and where
    there is none, the only image of its name, if it is the only file of that name, too. Folders are told apart by
    slashes of either kind.

    Args:
        files: As they were written down.
        paths: Of the images.

    Raises:
        FerError: Two files mean the same image.
    """
    images = [_parts(path) for path in paths]
    # What is longer than every path can only end with one: a stranger's file may be 65,000 folders deep.
    asked = [_parts(file)[-max(map(len, images), default=1) :] for file in files]
    longest = max(map(len, asked), default=0)
    whole = _places((parts, at) for at, parts in enumerate(images))
    endings = _places(
        (parts[start:], at)
        for at, parts in enumerate(images)
        for start in range(max(0, len(parts) - longest), len(parts))
    )
    names = Counter(parts[-1:] for parts in asked)
    found: dict[int, int] = {}
    unknown, unclear = [], []
    for number, parts in enumerate(asked):
        tails = [parts[start:] for start in range(len(parts))]
        place = next((places[tail] for tail, places in _tries(tails, whole, endings) if tail in places), None)
        if place is None and names[parts[-1:]] == 1:
            place = endings.get(parts[-1:])
        if place is None:
            unknown.append(files[number])
        elif place == _SEVERAL:
            unclear.append(files[number])
        elif place in found:
            one, other = (printable(files[which]) for which in (found[place], number))
            raise FerError(f"{one} and {other} both mean the image {printable(paths[place])}; keep one of them.")
        else:
            found[place] = number
    matched = np.array(list(found.items()), np.int64).reshape(-1, 2)
    return Matches(matched[:, 1], matched[:, 0], unknown, unclear)


def check_some(matches: Matches, name: str, paths: Sequence[str], where: str) -> None:
    """Refuses files none of which means an image.

    Args:
        matches: What was found.
        name: Where the files are written down.
        paths: Of the images.
        where: What these are.

    Raises:
        FerError: There is no match; the message shows one of each.
    """
    if len(matches.files):
        return
    lost = [*matches.unknown, *matches.unclear]
    raise FerError(
        f"{name}: none of its {len(lost):,} files can be matched to an image of {where}: "
        f"{printable(lost[0])} is there, {printable(paths[0])} here. Write the files as they are named here, or "
        "give the split and dataset that they are of."
    )


_Parts = tuple[str, ...]


def _tries(
    tails: list[_Parts], whole: dict[_Parts, int], endings: dict[_Parts, int]
) -> Iterator[tuple[_Parts, dict[_Parts, int]]]:
    """Where to look, the best first: the file as it is, and then what it ends with."""
    for tail in tails[:1]:
        yield tail, whole
        yield tail, endings
    for tail in tails[1:]:
        yield tail, whole


def _places(entries: Iterable[tuple[_Parts, int]]) -> dict[_Parts, int]:
    """Where each of some paths stands, ``_SEVERAL`` for one that is there more than once."""
    places: dict[_Parts, int] = {}
    for parts, at in entries:
        places[parts] = _SEVERAL if parts in places else at
    return places


def _parts(path: str) -> _Parts:
    return tuple(part for part in path.replace("\\", "/").split("/") if part not in ("", "."))
