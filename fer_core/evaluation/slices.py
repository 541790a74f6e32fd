"""Where a model is weaker: accuracy of parts of a split, each against the rest, with what chance alone would do.

Whoever looks at many slices finds a bad one in any split. So the p value of a slice is that of Fisher's exact test,
corrected for the number of slices of its dimension (Holm 1979, Scandinavian Journal of Statistics 6, 65-70), and a
difference whose p is ``ALPHA`` or more is called noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from fer_core.data.findings import flag_words
from fer_core.data.quality import Quality
from fer_core.errors import FerError
from fer_core.evaluation.csv_rows import FILE_TITLES, by_file, file_columns, rows_of
from fer_core.evaluation.matching import Matches, check_some, match
from fer_core.evaluation.metrics import Interval, Ints, class_scores, confusion_matrix, share_words, wilson_interval
from fer_core.workspace import printable

if TYPE_CHECKING:
    import pandas as pd

Mask = NDArray[np.bool_]

ALPHA: Final = 0.05
FEW: Final = 30
"""Images under which a slice says little, whatever its figures."""

IMAGE_DIMENSIONS: Final = ("brightness", "contrast", "blur", "source", "flags")
"""What is known of any image."""

_QUARTERS: Final = {
    "brightness": ("darkest", "dark", "bright", "brightest"),
    "contrast": ("least contrast", "less contrast", "more contrast", "most contrast"),
    "blur": ("blurriest", "blurry", "sharp", "sharpest"),
}
_AS_THEY_ARE: Final = 10  # distinct numbers of a column up to which each is a slice of its own
_MOST: Final = 40  # distinct values of a column; more are names or notes, not groups
_LONGEST: Final = 60  # characters of a title; values that begin alike are not to become one


@dataclass(frozen=True)
class Dimension:
    """One way to cut ``N`` images into slices.

    Attributes:
        name: What is told apart.
        slices: Name of each slice -> which images are in it, bool ``[N]``. An image may be in none, or in several.
    """

    name: str
    slices: Mapping[str, Mask]


@dataclass(frozen=True)
class Slice:
    """How good a model is on some of the images, and against the others of the dimension.

    Attributes:
        name: Of the slice.
        rows: Which of the ``N`` images are in it, positions, int64 ``[n]``.
        accuracy: 0 to 1.
        ci95: Its 95% Wilson interval.
        macro_f1: Mean F1 of the seven classes; None where one of them does not occur in the slice.
        difference: Accuracy minus that of the rest, -1 to 1; None where there is no rest.
        difference_ci95: Its 95% interval (``difference_interval``), not corrected for the number of slices.
        p_value: Of Fisher's exact test against the rest, corrected for the number of slices.
    """

    name: str
    rows: NDArray[np.int64]
    accuracy: float
    ci95: Interval
    macro_f1: float | None
    difference: float | None
    difference_ci95: Interval | None
    p_value: float | None

    @property
    def n(self) -> int:
        return len(self.rows)

    @property
    def few(self) -> bool:
        """Whether there are too few images to say much."""
        return self.n < FEW

    @property
    def noise(self) -> bool:
        """Whether the difference may be chance."""
        return self.p_value is None or self.p_value >= ALPHA

    @property
    def said(self) -> str:
        """Accuracy, its interval and how many there are."""
        return f"{share_words(self.accuracy, self.ci95)} of {self.n:,}"

    @property
    def against_rest(self) -> str:
        """The difference in words."""
        if self.difference is None:
            return "no other images to compare with"
        way = "below" if self.difference < 0 else "above"
        noise = ", within noise" if self.noise else ""
        return f"{100 * abs(self.difference):.1f} points {way} the rest{noise}"


def finding(name: str, slices: Sequence[Slice]) -> str:
    """The weakest slice that is not noise, in a sentence; or that there is none.

    Args:
        name: Of the dimension.
        slices: As ``score`` gives them.
    """
    if len(slices) < 2:
        return f"By {name} there is nothing to compare: all images are alike in it."
    worst = next((each for each in slices if not each.noise and (each.difference or 0) < 0), None)
    if worst is None:
        return f"By {name}, no slice is weaker than the rest by more than chance."
    return f"By {name}, {worst.name}: {worst.said}, {worst.against_rest}."


def score(dimension: Dimension, labels: Ints, predicted: Ints) -> list[Slice]:
    """Every slice that holds images, the least accurate first.

    Args:
        dimension: Of the same ``N`` images.
        labels: int ``[N]``.
        predicted: int ``[N]``.
    """
    hit = np.asarray(labels) == np.asarray(predicted)
    masks = {name: mask for name, mask in dimension.slices.items() if mask.any()}
    known = np.logical_or.reduce(list(masks.values())) if masks else np.zeros(len(hit), np.bool_)
    total, total_right = int(known.sum()), int(hit[known].sum())
    counts = {name: (int(hit[mask].sum()), int(mask.sum())) for name, mask in masks.items()}
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, total + 1)))])
    found = [_fisher(right, n, total_right, total, logs) for right, n in counts.values()]
    corrected = dict(zip(masks, _holm(found), strict=True))
    slices = []
    for name, mask in masks.items():
        right, n = counts[name]
        alone = n == total
        scores = class_scores(confusion_matrix(labels[mask], predicted[mask]))
        rest = total_right - right, total - n
        slices.append(
            Slice(
                name=name,
                rows=np.flatnonzero(mask),
                accuracy=right / n,
                ci95=wilson_interval(right, n),
                macro_f1=float(scores.f1.mean()) if scores.support.all() else None,
                difference=None if alone else right / n - rest[0] / rest[1],
                difference_ci95=None if alone else difference_interval((right, n), rest),
                p_value=None if alone else corrected[name],
            )
        )
    return sorted(slices, key=lambda each: each.accuracy)


def difference_interval(first: tuple[int, int], second: tuple[int, int]) -> Interval:
    """95% interval of the difference between the proportions of two samples, the first minus the second.

    Method 10 of Newcombe 1998, Statistics in Medicine 17, 873-890: the Wilson intervals of both, joined.

    Args:
        first: Successes, and how many there are, at least 1.
        second: The same of the other sample.
    """
    (low1, high1), (low2, high2) = wilson_interval(*first), wilson_interval(*second)
    share1, share2 = first[0] / first[1], second[0] / second[1]
    difference = share1 - share2
    return (
        max(-1.0, difference - math.hypot(share1 - low1, high2 - share2)),
        min(1.0, difference + math.hypot(high1 - share1, share2 - low2)),
    )


def _fisher(right: int, n: int, total_right: int, total: int, logs: NDArray[np.float64]) -> float:
    """Two-sided p value of Fisher's exact test: how likely so uneven a share of the right answers is by chance.

    ``logs`` are the logarithms of the factorials of 0 to ``total``.
    """
    possible = np.arange(max(0, n - (total - total_right)), min(n, total_right) + 1)
    wrong = n - possible
    chances = np.exp(
        _choose(logs, total_right, possible) + _choose(logs, total - total_right, wrong) - _choose(logs, total, n)
    )
    own = chances[right - possible[0]]
    return min(1.0, float(chances[chances <= own * (1 + 1e-7)].sum()))  # equal ones differ in their last digits


def _choose(logs: NDArray[np.float64], n: int, k: NDArray[np.int64] | int) -> NDArray[np.float64]:
    return logs[n] - logs[k] - logs[n - k]


def _holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction; two slices that make up the whole are one comparison, told twice."""
    tests = len(p_values) if len(p_values) != 2 else 1
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, max(1, tests - rank) * p_values[at]))
        corrected[at] = highest
    return corrected


def image_dimensions(table: pd.DataFrame, quality: Quality) -> list[Dimension]:
    """Those of ``IMAGE_DIMENSIONS``: how an image looks (in quarters), its source, its flags.

    Args:
        table: Columns ``source`` and ``flags`` of ``N`` images.
        quality: Of the same images.
    """
    measures = {"brightness": quality.brightness, "contrast": quality.contrast, "blur": quality.sharpness}
    flags = table["flags"].fillna("").str.split()
    each = {flag for of_image in flags for flag in of_image}
    flagged = {flag_words(flag)[0]: np.array([flag in words for words in flags], np.bool_) for flag in sorted(each)}
    return [
        *(Dimension(name, _quarters(values, _QUARTERS[name])) for name, values in measures.items()),
        Dimension("source", _groups(table["source"].tolist())),
        Dimension("flags", {**flagged, "no flag": np.array([not words for words in flags], np.bool_)}),
    ]


def select(quality: Quality, rows: Ints) -> Quality:
    """The measures of some images."""
    return Quality(quality.brightness[rows], quality.contrast[rows], quality.sharpness[rows])


def _quarters(values: NDArray[np.floating], words: Sequence[str] = ()) -> dict[str, Mask]:
    """Quarters of equally many images, named by their lowest and highest value; NaN is in none.

    Images of the same value stay together, so there are fewer where many share one.

    Args:
        values: float ``[N]``.
        words: What to call the four.
    """
    known = values[~np.isnan(values)].astype(np.float64)
    edges = np.unique(np.quantile(known, (0.25, 0.5, 0.75)))
    numbers = np.where(np.isnan(values), -1, np.searchsorted(edges, values.astype(np.float64)))
    masks = [mask for number in range(len(edges) + 1) if (mask := numbers == number).any()]
    spans = _spans([(float(values[mask].min()), float(values[mask].max())) for mask in masks])
    if len(masks) == len(words):
        spans = [f"{word} ({span})" for word, span in zip(words, spans, strict=True)]
    return dict(zip(spans, masks, strict=True))


def _spans(ends: Sequence[Interval]) -> list[str]:
    """Names of quarters by their lowest and highest value, with as many digits as tell them apart."""
    spans: list[str] = []
    for digits in range(3, 18):  # 17 tell any two numbers apart
        spans = [" to ".join(dict.fromkeys(_digits(value, digits) for value in both)) for both in ends]
        if len({*spans}) == len(spans):
            break
    return spans


def _digits(value: float, least: int) -> str:
    whole = len(f"{abs(value):.0f}")
    return f"{value:.{max(least, whole if whole <= 15 else 0)}g}"


def _groups(values: Sequence[str], key: Callable[[str], float] | None = None) -> dict[str, Mask]:
    """Every value as a group; the empty one is none."""
    found = np.array(values, np.object_)
    return {name: (found == name).astype(np.bool_) for name in sorted({*values} - {""}, key=key)}


@dataclass(frozen=True)
class Columns:
    """What a user knows of images: a row for each file.

    Attributes:
        files: As they are written there, each once.
        values: Title of each column -> its cells; an empty one is not known.
    """

    files: list[str]
    values: dict[str, list[str]]


@dataclass(frozen=True)
class Added:
    """The dimensions of a user's columns.

    Attributes:
        dimensions: One for each column that makes groups.
        matches: Which files are of which images.
        passed_over: Titles of columns that make none: they hold nothing, or too many different words.
    """

    dimensions: list[Dimension]
    matches: Matches
    passed_over: list[str]

    def notes(self) -> list[str]:
        """What of the file was not used, a sentence each."""
        told = []
        if lost := len(self.matches.unknown) + len(self.matches.unclear):
            example = printable([*self.matches.unknown, *self.matches.unclear][0])
            told.append(f"Files that are no image here, or may be several: {lost:,} ({example}).")
        if self.passed_over:
            titles = ", ".join(self.passed_over)
            told.append(f"Columns without values, or with more than {_MOST} that are no numbers: {titles}.")
        return told


def read_columns(data: bytes, name: str) -> Columns:
    """Reads a CSV with a column of files and any others, separated by commas, semicolons or tabs.

    Args:
        data: The file's bytes.
        name: What to call it in an error message.

    Raises:
        FerError: It is empty, no CSV in UTF-8, has no column of files or none beside it, or a file is there twice.
    """
    rows = rows_of(data, name, "a column `file` and one for each thing to tell images apart by")
    titles = [printable(cell.strip())[:_LONGEST] for cell in rows[0][1]]
    files = file_columns(titles)
    if not files:
        raise FerError(f"{name}: call the column of the files `file`; found {', '.join(titles)[:120]}.")
    column = min(files, key=lambda at: FILE_TITLES.index(titles[at].lower()))
    others = {title: at for at, title in enumerate(titles) if at != column and title}
    if not others:
        raise FerError(f"{name}: no column beside {titles[column]}. Add one for each thing to tell images apart by.")
    if len(others) < sum(at != column and bool(title) for at, title in enumerate(titles)):
        raise FerError(f"{name}: two columns have the same title. Give each its own.")
    found = by_file(rows[1:], name, column, len(titles))
    if not found:
        raise FerError(f"{name}: no images below its first line.")
    cells = [row for _, row in found.values()]
    return Columns(list(found), {title: [row[at].strip() for row in cells] for title, at in others.items()})


def column_dimensions(columns: Columns, name: str, paths: Sequence[str], where: str) -> Added:
    """The dimensions of a user's columns: words as they are, numbers in quarters unless there are only a few.

    Args:
        columns: What is known.
        name: Of their file, for an error message.
        paths: Of ``N`` images.
        where: What these are, for an error message.

    Raises:
        FerError: No file is an image's, or two are of the same.
    """
    matches = match(columns.files, paths)
    check_some(matches, name, paths, where)
    dimensions, passed_over = [], []
    for title, cells in columns.values.items():
        values = [""] * len(paths)
        for file, image in zip(matches.files, matches.images, strict=True):
            values[image] = printable(cells[file])
        slices = _slices_of_values(values)
        if slices is None:
            passed_over.append(title)
        else:
            dimensions.append(Dimension(f"your {title}" if title in IMAGE_DIMENSIONS else title, slices))
    return Added(dimensions, matches, passed_over)


def _slices_of_values(values: Sequence[str]) -> dict[str, Mask] | None:
    distinct = {*values} - {""}
    numbers = {value: number for value in distinct if (number := _number(value)) is not None}
    numeric = bool(distinct) and len(numbers) == len(distinct)
    if numeric and len(distinct) > _AS_THEY_ARE:
        return _quarters(np.array([numbers.get(value, math.nan) for value in values]))
    if not 0 < len(distinct) <= _MOST:
        return None
    return _groups(values, key=numbers.__getitem__ if numeric else None)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
