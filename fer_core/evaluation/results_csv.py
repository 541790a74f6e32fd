"""Results that were made elsewhere: a CSV with a file and seven numbers in every row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.emotions import EMOTIONS, parse_emotion
from fer_core.errors import FerError
from fer_core.evaluation.csv_rows import Row, by_file, file_columns, read_bytes, rows_of
from fer_core.workspace import printable

_PREFIX: Final = re.compile(r"(p|prob|probability|score|logit)[_ .-]")
_MADE_OF: Final = {"logits": "softmax", "scores": "divided by their sum"}
_EIGHTH: Final = "contempt"  # of FER+ and AffectNet


@dataclass(frozen=True)
class Results:
    """What a file of results says.

    Attributes:
        files: Of ``N`` images, as they are written there, each once.
        probabilities: float32 ``[N, 7]`` in the order of ``emotions.py``, rows sum to one; as the columns stand in the
            file where ``named`` is False.
        read_as: What the numbers were taken for: ``probabilities``, ``scores`` (not negative, divided by their sum) or
            ``logits`` (some are negative, softmax). The top class is the same whichever they are; loss and calibration
            error are not.
        named: Whether the titles of the columns, or who read them, said which class each is of.
    """

    files: list[str]
    probabilities: NDArray[np.float32]
    read_as: str
    named: bool


def taken_for(read_as: str) -> str:
    """What holds of scores only if ``Results.read_as`` is right, in a sentence; empty for probabilities."""
    if read_as not in _MADE_OF:
        return ""
    return (
        f"The numbers were taken for {read_as} ({_MADE_OF[read_as]}); loss and calibration error hold only if they are."
    )


def read_results(file: Path, order: Sequence[str] | None = None) -> Results:
    """Reads a CSV of results, separated by commas, semicolons or tabs.

    Which class a column is of stands in its title, in any of the spellings that class folders may have, with or without
    ``p_`` before it. Columns that are of no class and not that of the files are passed over.

    Args:
        file: The CSV.
        order: The classes of the seven columns beside that of the files, where no title tells; the first line may then
            be numbers already.

    Raises:
        FerError: It cannot be read, a class is missing or there twice, a file is there twice, or a cell is no number.
    """
    return parse_results(read_bytes(file), file, order)


def parse_results(data: bytes, file: str | Path, order: Sequence[str] | None = None) -> Results:
    """Like ``read_results``, of the content of a file; ``file`` is what messages call it."""
    rows = rows_of(data, str(file), f"a column `file` and one for each of {', '.join(EMOTIONS)}")
    first = [cell.strip() for cell in rows[0][1]]
    classes = [_class_of(title) for title in first]
    files = file_columns(first)
    titled = bool(files) or any(classes) or sum(map(_is_number, first)) < len(EMOTIONS)
    if any(classes) and order is None:
        columns = _titled_columns(file, rows, first, classes)
    else:
        columns = _ordered(file, rows, first, classes, files, order or EMOTIONS)
    if not files:
        files = [at for at in range(len(first)) if at not in columns]
    if len(files) != 1:
        raise FerError(f"{file}: call the column of the files `file`, and no other so; found {_listed(first)}.")
    found = by_file(rows[titled:], str(file), files[0], len(first))
    values = [[_number(file, number, row[at]) for at in columns] for number, row in found.values()]
    if not values:
        raise FerError(f"{file}: no results below its first line.")
    probabilities, read_as = _probabilities(file, np.array(values), list(found))
    return Results(list(found), probabilities.astype(np.float32), read_as, named=any(classes) or order is not None)


def _class_of(title: str) -> str | None:
    """The class that a title names; a bare number names none, since there are several orders."""
    word = _bare(title)
    return None if word.isdecimal() else parse_emotion(word)


def _bare(title: str) -> str:
    word = title.strip().lower()
    prefix = _PREFIX.match(word)
    return word[prefix.end() :].strip() if prefix else word


def _titled_columns(file: str | Path, rows: list[Row], first: list[str], classes: list[str | None]) -> list[int]:
    if any(_bare(title) == _EIGHTH for title in first):
        # Passed over, it would make another class the top one where it is the model's answer.
        raise FerError(f"{file}: a column is of {_EIGHTH}, none of the seven classes. Leave it out, or add it to one.")
    _check_not_answers_alone(file, rows)
    for emotion in EMOTIONS:
        if (n := classes.count(emotion)) != 1:
            found = f"{n} columns are of {emotion}" if n else f"no column is of {emotion}"
            raise FerError(f"{file}: {found} (found {_listed(first)}). Expected one for each of {', '.join(EMOTIONS)}.")
    return [classes.index(emotion) for emotion in EMOTIONS]


def _check_not_answers_alone(file: str | Path, rows: list[Row]) -> None:
    """Refuses a file that says of each image which class it is, and no more."""
    last = rows[-1][1]
    if len(last) <= len(EMOTIONS) and any(parse_emotion(cell) for cell in last if not _is_number(cell)):
        raise FerError(
            f"{file}: it holds only the answers (line {rows[-1][0]}: {_listed(last)}). Seven numbers are needed for "
            "each file: probabilities, scores or logits of all classes."
        )


def _ordered(
    file: str | Path,
    rows: list[Row],
    first: list[str],
    classes: list[str | None],
    files: list[int],
    order: Sequence[str],
) -> list[int]:
    if any(classes):
        raise FerError(f"{file}: its columns name their classes (found {_listed(first)}). Leave --labels out.")
    numbers = [at for at in range(len(first)) if at not in (files or [_first_text(first)])]
    if len(numbers) != len(EMOTIONS):
        _check_not_answers_alone(file, rows)
        if not numbers:
            raise FerError(
                f"{file}: no columns of numbers (its first line: {_listed(first)}). Expected a CSV with a column "
                "`file` and seven numbers, one for each class."
            )
        columns = "1 column" if len(numbers) == 1 else f"{len(numbers)} columns"
        raise FerError(
            f"{file}: {columns} beside that of the files, expected seven numbers, one for each class; found "
            f"{_listed(first)}."
        )
    return [numbers[order.index(emotion)] for emotion in EMOTIONS]


def _first_text(cells: list[str]) -> int:
    """Where the file stands in a line without titles: in the first cell that is no number; -1 where all are."""
    return next((at for at, cell in enumerate(cells) if not _is_number(cell)), -1)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(file: str | Path, line: int, cell: str) -> float:
    value = float(cell) if _is_number(cell) else np.nan
    if not np.isfinite(value):
        said = printable(cell.strip())[:40]
        if not said:
            raise FerError(f"{file}: line {line} has an empty cell where a number is expected.")
        hint = ""
        if said.endswith("%"):
            hint = " Remove the sign %."
        elif "," in said and _is_number(said.replace(",", ".")):
            hint = " Write numbers with a point, not a comma."
        raise FerError(f"{file}: line {line} has {said!r} where a number is expected.{hint}")
    return value


def _probabilities(
    file: str | Path, values: NDArray[np.float64], names: Sequence[str]
) -> tuple[NDArray[np.float64], str]:
    if (values < 0).any():
        with np.errstate(over="ignore"):  # of the largest numbers; what is so far below the top is 0
            powers = np.exp(values - values.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True), "logits"
    top = values.max(axis=1, keepdims=True)
    if not top.all():
        raise FerError(f"{file}: all numbers of {printable(names[int(top.argmin())])} are 0, so it has no answer.")
    scaled = values / top  # sums of large numbers would be infinite
    whole = np.allclose(np.minimum(values, 2).sum(axis=1), 1, atol=0.01)  # rounded to two or three digits
    return scaled / scaled.sum(axis=1, keepdims=True), "probabilities" if whole else "scores"


def _listed(titles: Sequence[str]) -> str:
    return printable(", ".join(titles))[:120]
