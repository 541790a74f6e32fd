"""Decisions about single pictures: what was decided, when and why. Kept as CSV, undone, and replayed by ``prepare``.

A decision is about a picture, by its pixels: it holds for every image that shows just these, and for the same
picture in the other codec of another source.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import functools
import hashlib
import io
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fer_core.emotions import EMOTIONS, parse_emotion
from fer_core.errors import DatasetError, FerError, from_os_error
from fer_core.spreadsheet import guarded, unguarded

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from fer_core.data.copies import Pairs
    from fer_core.data.dataset import Dataset

PENDING: Final = "pending-decisions.csv"
"""In a dataset's folder: what was decided about it since, for the next one."""

_SHA: Final = re.compile(r"^[0-9a-f]{8,64}$")
_MAX_BYTES: Final = 64 * 2**20
_MAX_REASON: Final = 500


class Action(StrEnum):
    """What is done with a picture."""

    KEEP = "keep"
    """It stays, whatever its flags say. Copies across splits are left out all the same."""
    DROP = "drop"
    """It is in no split."""
    DROP_TRAIN = "drop-train"
    DROP_EVALUATION = "drop-evaluation"
    """It is not in validation or test."""
    RELABEL = "relabel"
    MERGE = "merge"
    """Of the pictures of one photograph that are to be merged, the first of each split stays."""


_REACHES: Final = {Action.DROP_TRAIN: ("train",), Action.DROP_EVALUATION: ("validation", "test")}
"""The splits that an action is about, where it is not about all."""


def idle_actions(splits: Collection[str]) -> list[Action]:
    """Actions that change nothing about a picture that is in these splits only, ``LEFT_OUT`` among them."""
    from fer_core.data.info import LEFT_OUT

    if LEFT_OUT in splits:  # what becomes of it depends on what is decided
        return []
    return [action for action, where in _REACHES.items() if not {*splits} & {*where}]


class Decision(BaseModel):
    """One decision. ``label`` is set with ``relabel`` only, in any spelling that sources may use."""

    model_config = ConfigDict(frozen=True)  # shared by all who read the same line

    date: str = Field(max_length=40)
    action: Action
    label: str = ""
    source: str = Field(min_length=1)
    path: str = Field(min_length=1)
    pixel_sha: str = Field(pattern=_SHA.pattern)
    reason: str = Field("", max_length=_MAX_REASON)

    @field_validator("label")
    @classmethod
    def _spelled(cls, label: str) -> str:
        # A bare number is none: other data sets count in another order.
        return label if label.isdecimal() else parse_emotion(label) or label

    @model_validator(mode="after")
    def _check(self) -> Decision:
        if self.action is Action.RELABEL and self.label not in EMOTIONS:
            raise ValueError(f"relabel needs a label, one of {', '.join(EMOTIONS)}")
        if self.action is not Action.RELABEL and self.label:
            raise ValueError(f"{self.action} takes no label")
        datetime.fromisoformat(self.date)  # raises ValueError
        return self


_COLUMNS: Final = tuple(Decision.model_fields)


def now() -> str:
    """The date of decisions that are made together: they are also undone together."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def read_decisions(file: Path) -> list[Decision]:
    """Reads decisions, oldest first.

    Raises:
        FerError: It cannot be read, or a line is no decision.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise FerError(f"{file}: no such file.") from None
    except OSError as error:
        raise from_os_error(error, file) from error
    if len(data) > _MAX_BYTES:
        raise FerError(f"{file}: larger than {_MAX_BYTES // 2**20} MB, which no list of decisions is.")
    expected = f"Expected a CSV with the columns {', '.join(_COLUMNS)}, as the Data page and `data decide` write it."
    try:
        rows = filter(None, csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
        header = next(rows, [])
        if not set(_COLUMNS) <= set(header):
            raise FerError(f"{file}: not a list of decisions. {expected}")
        places = [header.index(name) for name in _COLUMNS]
        return [_decision(file, number, row, places) for number, row in enumerate(rows, start=1)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise FerError(f"{file}: not a readable CSV. {expected}") from error


def _decision(file: Path, number: int, row: list[str], places: list[int]) -> Decision:
    try:
        return _parsed(*[row[place] if place < len(row) else "" for place in places])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise FerError(
            f"{file}: decision {number}{f', {where}' if where else ''}: "
            f"{first['msg'].removeprefix('Value error, ')}. Mend or remove this line."
        ) from None


@functools.lru_cache(maxsize=2**15)
def _parsed(*texts: str) -> Decision:
    """The decision of a line's cells. Thousands may be pending, and all are read again after each new one."""
    cells = {name: unguarded(text) for name, text in zip(_COLUMNS, texts, strict=True)}
    # A path may begin or end with a space; elsewhere spaces come from typing.
    return Decision.model_validate({name: text if name == "path" else text.strip() for name, text in cells.items()})


def decisions_csv(decisions: Sequence[Decision]) -> str:
    """Decisions as the text of a CSV, which a spreadsheet may open and ``read_decisions`` reads back."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([guarded(getattr(decision, name)) for name in _COLUMNS] for decision in decisions)
    return out.getvalue()


@dataclass(frozen=True)
class Pending:
    """Decisions about a dataset that none is made with yet: a file in its folder, written whole or not at all.

    Several writers wait for each other.
    """

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / PENDING

    def read(self) -> list[Decision]:
        """All of them, oldest first.

        Raises:
            FerError: The file is damaged.
        """
        return read_decisions(self.file) if self.file.exists() else []

    def add(self, decisions: Sequence[Decision], *, over: bool = True) -> None:
        """Adds decisions. A later one about the same picture holds.

        Args:
            decisions: Which.
            over: Whether also about pictures that somebody decided about already.

        Raises:
            FerError: The folder cannot be written, the disk is full, or there would be more than can be read again;
                those that were there stay.
        """
        with self._alone():
            made = self.read()
            if not over:
                held = {decision.pixel_sha for decision in made}
                decisions = [decision for decision in decisions if decision.pixel_sha not in held]
            header, _, lines = decisions_csv(decisions).partition("\n")
            text = self.file.read_bytes().decode("utf-8-sig") if made else f"{header}\n"
            # After a quote that was never closed, the new lines would be part of the last decision's reason.
            if text.startswith(f"{header}\n") and text.endswith("\n") and text.count('"') % 2 == 0:
                self._write(text + lines)  # writing thousands anew would be felt after each decision
            else:  # a spreadsheet's way of writing it, or a person's
                self._write(decisions_csv([*made, *decisions]))

    def frozen(self) -> Path:
        """A copy beside it, named by its content: for a job that reads it later, whatever is decided meanwhile.

        Raises:
            FerError: The folder cannot be written, or the file is damaged.
        """
        with self._alone():
            text = decisions_csv(self.read())
            copy = self.folder / f"decisions-{hashlib.sha256(text.encode()).hexdigest()[:12]}.csv"
            if not copy.exists():
                self._write_text(copy, text)
            return copy

    def undo(self, date: str | None = None) -> list[Decision]:
        """Takes back the last decision, with those that were made together with it, and returns them.

        Args:
            date: Of the decision that is meant: where another was made since, nothing is taken back.

        Raises:
            FerError: The folder cannot be written.
        """
        with self._alone():
            made = self.read()
            if not made or date not in (None, made[-1].date):
                return []
            last = made[-1].date
            left = [decision for decision in made if decision.date != last]
            if left:
                self._write(decisions_csv(left))
            else:
                self.file.unlink()
            return [decision for decision in made if decision.date == last]

    def _write(self, text: str) -> None:
        if len(text.encode()) > _MAX_BYTES:
            raise FerError(
                f"{self.file}: with these decisions it would be larger than {_MAX_BYTES // 2**20} MB. "
                "Create a dataset with those that are there first, and decide about that one."
            )
        self._write_text(self.file, text)

    def _write_text(self, file: Path, text: str) -> None:
        partial = self.file.with_name(f".{PENDING}")
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        descriptor = -1
        try:
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        except OSError as error:
            raise from_os_error(error, self.folder) from error
        finally:
            if descriptor >= 0:
                os.close(descriptor)


def applied_in(
    decisions: Sequence[Decision], folders: Iterable[Path], opened: Callable[[Path], Dataset] | None = None
) -> str | None:
    """The first dataset that was made with all of some decisions.

    Args:
        decisions: One or more.
        folders: Of datasets, the ones to prefer first.
        opened: Opens a folder; ``Dataset.open`` unless told.

    Returns:
        Its name; None where there is none.
    """
    from fer_core.data.dataset import Dataset

    wanted = {(decision.date, decision.pixel_sha) for decision in decisions}
    for folder in folders:
        with contextlib.suppress(FerError, OSError):  # a damaged one is told where it is chosen
            held = (opened or Dataset.open)(folder).info.config.get("decisions") or []
            if wanted <= {(one["date"], one["pixel_sha"]) for one in held}:
                return folder.name
    return None


@dataclass(frozen=True)
class Decided:
    """What decisions mean for the rows of a table.

    Attributes:
        action: object ``[N]``: an ``Action``, or None.
        label: int64 ``[N]``: the new label, or -1.
        unmatched: Decisions about pictures that are not there.
    """

    action: NDArray[np.object_]
    label: NDArray[np.int64]
    unmatched: list[Decision]


def decide(table: pd.DataFrame, pairs: Pairs, decisions: Sequence[Decision]) -> Decided:
    """Finds the rows that decisions are about.

    By pixels; by source and path where no decision about that source finds its pixels (another size, say).

    Args:
        table: Columns ``source``, ``path``, ``pixel_sha``, ``picture``.
        pairs: Near and mirrored pairs of its pictures.
        decisions: Oldest first; of several about one picture the last holds.
    """
    import numpy as np
    import pandas as pd

    from fer_core.data.merge import same_picture

    picture = table["picture"].to_numpy()
    pictures = int(picture.max()) + 1
    last = np.full(pictures, -1)
    unmatched = []
    if decisions:
        by_sha = dict(zip(table["pixel_sha"].tolist(), picture.tolist(), strict=True))
        by_path = dict(
            zip(zip(table["source"].tolist(), table["path"].tolist(), strict=True), picture.tolist(), strict=True)
        )
        # Where one decision about a source finds its pixels, other pixels under a known name are another picture.
        comparable = {decision.source for decision in decisions if decision.pixel_sha in by_sha}
        for number, decision in enumerate(decisions):
            found = by_sha.get(decision.pixel_sha)
            if found is None and decision.source not in comparable:
                found = by_path.get((decision.source, decision.path))
            if found is None:
                unmatched.append(decision)
            else:
                last[found] = number
        held = np.zeros((pictures, table["source"].nunique()), bool)
        held[picture, pd.factorize(table["source"])[0]] = True
        close = same_picture(pairs)
        close = close.where(
            np.asarray(~(held[close.a] & held[close.b]).any(axis=1))
        )  # of one source they are two pictures
        direct = last.copy()  # what is only the same picture elsewhere follows where nothing was decided about itself
        for one, other in ((close.a, close.b), (close.b, close.a)):
            follows = (direct[one] < 0) & (direct[other] >= 0)
            np.maximum.at(last, one[follows], direct[other[follows]])
    of_row = last[picture]
    actions = np.array([*(decision.action for decision in decisions), None], object)
    labels = np.array(
        [*(EMOTIONS.index(decision.label) if decision.label else -1 for decision in decisions), -1], np.int64
    )
    return Decided(actions[of_row], labels[of_row], unmatched)  # -1 is the last: nothing


@dataclass(frozen=True)
class Picture:
    """A picture that something can be decided about."""

    source: str
    path: str
    pixel_sha: str

    def decision(self, action: Action, label: str = "", reason: str = "", date: str | None = None) -> Decision:
        """A decision about it, made now unless ``date`` tells otherwise.

        Raises:
            FerError: The action needs a label, or takes none; or the reason is too long.
        """
        about = {"source": self.source, "path": self.path, "pixel_sha": self.pixel_sha}
        try:
            # In one line: a lone carriage return would end the row of the CSV.
            words = " ".join(reason.split())
            return Decision(date=date or now(), action=action, label=label, reason=words, **about)
        except ValidationError as error:
            raise FerError(f"{error.errors()[0]['msg'].removeprefix('Value error, ').capitalize()}.") from None


def pictures_named(dataset: Dataset, words: Sequence[str]) -> list[Picture]:
    """The pictures of a dataset that are named, in a split or left out.

    Args:
        dataset: Prepared.
        words: ``source:path``, a path, or the first 8 or more digits of a ``pixel_sha``.

    Raises:
        DatasetError: A name fits none, or pictures of several sources.
    """
    from fer_core.data.info import LEFT_OUT, SPLITS

    known: dict[str, set[Picture]] = {}
    shas: dict[str, Picture] = {}
    for split in (*SPLITS, LEFT_OUT):
        table = dataset.table(split)
        originals = table[table["parent_id"].isna()]
        for columns in zip(originals["source"], originals["path"], originals["pixel_sha"], strict=True):
            picture = Picture(*columns)
            for name in (picture.path, f"{picture.source}:{picture.path}"):
                known.setdefault(name, set()).add(picture)
            shas.setdefault(picture.pixel_sha, picture)
    found = []
    for word in words:
        fitting = known.get(word) or (
            {picture for sha, picture in shas.items() if sha.startswith(word)} if _SHA.fullmatch(word) else set()
        )
        if len(fitting) != 1:
            problem = f"names {len(fitting)} images of it, write source:path" if fitting else "is no image of it"
            raise DatasetError(
                f"{dataset.name}: {word!r} {problem}. A picture of several sources goes by its name in one of them."
            )
        found.append(next(iter(fitting)))
    return found


def idle_pictures(dataset: Dataset, pictures: Sequence[Picture], action: Action) -> list[Picture]:
    """Those of some pictures about which an action changes nothing: they, and all with their pixels, are elsewhere."""
    from fer_core.data.info import LEFT_OUT, SPLITS

    splits: dict[str, set[str]] = {}
    for split in (*SPLITS, LEFT_OUT):
        for sha in dataset.table(split)["pixel_sha"]:
            splits.setdefault(sha, set()).add(split)
    return [picture for picture in pictures if action in idle_actions(splits.get(picture.pixel_sha, (LEFT_OUT,)))]


def pictures_found(dataset: Dataset, reason: str) -> list[Picture]:
    """The pictures of all findings of one reason, each once.

    Raises:
        DatasetError: It has no findings, or none for this reason that is about single pictures.
    """
    table = dataset.findings()
    if table is None:
        raise DatasetError(f"{dataset.name} was prepared before findings were kept. Prepare it again.")
    by_reason: dict[str, dict[str, Picture]] = {}
    for name, images in zip(table["reason"].to_pylist(), table["images"].to_pylist(), strict=True):
        for image in images:
            picture = Picture(image["source"], image["path"], image["pixel_sha"])
            by_reason.setdefault(name, {}).setdefault(picture.pixel_sha, picture)
    if reason not in by_reason:
        there = ", ".join(by_reason) or "none"
        raise DatasetError(f"{dataset.name} has no findings {reason!r} about single images. There are {there}.")
    return list(by_reason[reason].values())
