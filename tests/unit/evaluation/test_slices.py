"""Slices of a split: known answers, SciPy's test, and the columns of a user."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact

from fer_core.data.quality import Quality
from fer_core.errors import FerError
from fer_core.evaluation.slices import (
    Dimension,
    column_dimensions,
    difference_interval,
    finding,
    image_dimensions,
    read_columns,
    score,
)

PATHS = [f"test/happy/im{number}.png" for number in range(40)]


def scored(*counts):
    """Slices of so many right answers of so many images: (right, n), named a, b, ..."""
    hits = np.concatenate([np.arange(n) < right for right, n in counts])
    slice_of = np.repeat(np.arange(len(counts)), [n for _, n in counts])
    labels = np.arange(len(hits)) % 7
    dimension = Dimension("camera", {"abcdef"[at]: slice_of == at for at in range(len(counts))})
    return score(dimension, labels, np.where(hits, labels, (labels + 1) % 7))


def columns_of(text, paths=PATHS):
    return column_dimensions(read_columns(text.encode(), "mine.csv"), "mine.csv", paths, "faces, test")


def test_slices_are_compared_with_the_rest_and_chance_is_called_so():
    found = scored((60, 100), (85, 100), (84, 100))
    assert [each.name for each in found] == ["a", "c", "b"]  # the weakest first
    worst = found[0]
    assert (worst.n, worst.accuracy, worst.noise) == (100, 0.6, False)
    assert worst.difference == pytest.approx(0.6 - 169 / 200)
    assert worst.rows.tolist() == list(range(100))
    assert finding("camera", found) == "By camera, a: 60.0 % ± 9.4 of 100, 24.5 points below the rest."
    level = scored((70, 100), (71, 100), (72, 100))
    assert all(each.noise for each in level)
    assert "no slice is weaker than the rest by more than chance" in finding("camera", level)


def test_p_values_are_those_of_scipy_after_holm():
    counts = [(30, 60), (50, 60), (41, 50), (3, 4)]
    right, n = map(sum, zip(*counts, strict=True))
    raw = [fisher_exact([[r, m - r], [right - r, n - m - (right - r)]]).pvalue for r, m in counts]
    order = np.argsort(raw)
    holm = np.minimum(1, np.maximum.accumulate(np.array(raw)[order] * np.arange(4, 0, -1)))
    found = {each.name: each for each in scored(*counts)}
    assert [found["abcd"[at]].p_value for at in order] == pytest.approx(holm.tolist())
    assert found["d"].few
    both = scored(*counts[:2])  # one comparison, told twice
    assert [each.p_value for each in both] == pytest.approx([fisher_exact([[30, 30], [50, 10]]).pvalue] * 2)


def test_the_interval_of_a_difference_is_newcombes():
    # His example: 56 of 70 against 48 of 80.
    assert difference_interval((56, 70), (48, 80)) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_what_is_not_defined_is_not_told():
    alone = scored((5, 6))[0]
    assert (alone.difference, alone.p_value, alone.macro_f1) == (None, None, None)  # no rest, and a class is missing
    assert alone.said == "83.3 % (43.6 to 97.0) of 6"
    assert scored((5, 7))[0].macro_f1 is not None


def test_any_image_has_its_source_its_looks_and_its_flags():
    table = pd.DataFrame({"source": ["one", "two"] * 4, "flags": ["", "dark", "dark blurry", ""] * 2})
    values = np.arange(8, dtype=np.float32)
    found = {each.name: each.slices for each in image_dimensions(table, Quality(values, 0 * values, values))}
    assert list(found) == ["brightness", "contrast", "blur", "source", "flags"]
    assert [mask.sum() for mask in found["brightness"].values()] == [2, 2, 2, 2]
    assert np.flatnonzero(found["blur"]["blurriest (0 to 1)"]).tolist() == [0, 1]
    assert list(found["contrast"]) == ["0"]  # all alike
    assert np.flatnonzero(found["source"]["two"]).tolist() == [1, 3, 5, 7]
    assert {name: int(mask.sum()) for name, mask in found["flags"].items()} == {
        "blurry": 2,
        "very dark": 4,
        "no flag": 4,
    }


def test_columns_of_a_user_are_words_or_numbers():
    rows = "\n".join(f"C:\\x\\im{n}.png;{'A' if n % 2 else ''};{n};{n % 3 + 9};{n}x;0" for n in range(40))
    added = columns_of(f"path;camera;age;floor;id;blur\n{rows}\nim99.png;A;1;1;1;1")
    found = {each.name: each.slices for each in added.dimensions}
    assert list(found) == ["camera", "age", "floor", "id", "your blur"]
    assert np.flatnonzero(found["camera"]["A"]).tolist() == list(range(1, 40, 2))  # the others are in no slice
    assert list(found["age"]) == ["0 to 9", "10 to 19", "20 to 29", "30 to 39"]
    assert list(found["floor"]) == ["9", "10", "11"]  # in the order of numbers
    assert added.notes() == ["Files that are no image here, or may be several: 1 (im99.png)."]


def test_groups_that_look_alike_stay_apart():
    long = "/archive/of/a/camera/" * 4
    rows = "\n".join(f"im{n}.png,{100 + n / 1000},{long}{n % 2}" for n in range(40))
    found = columns_of(f"file,exposure,folder\n{rows}").dimensions
    assert list(found[0].slices) == ["100 to 100.01", "100.01 to 100.02", "100.02 to 100.03", "100.03 to 100.04"]
    assert [mask.sum() for each in found for mask in each.slices.values()] == [10] * 4 + [20] * 2


def test_a_column_of_names_is_passed_over():
    paths = [f"im{number}.png" for number in range(60)]
    added = columns_of("file,person,empty\n" + "\n".join(f"{path},p{path}," for path in paths), paths)
    assert (added.dimensions, added.passed_over) == ([], ["person", "empty"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "mine.csv: the file is empty. Expected a column `file` and one for each thing"),
        (b"file,age\n", "no images below its first line"),
        (b"image_id,age\n1,2", "call the column of the files `file`; found image_id, age"),
        (b"file\na.png", "no column beside file"),
        (b"file,age,age\na.png,1,2", "two columns have the same title"),
        (b"file,age\na.png,1\na.png,2", "lines 2 and 3 are both of a.png"),
        ("file,age\nim1.png,älter".encode("latin-1"), "not a readable CSV in UTF-8"),
        (b"file,age\na.png,1", "none of its 1 files can be matched to an image of faces, test: a.png is there"),
        (b"file,age\nhappy/im1.png,1\nx/test/happy/im1.png,2", "both mean the image test/happy/im1.png"),
    ],
)
def test_bad_files_are_told_in_a_sentence(data, message):
    with pytest.raises(FerError, match=r".") as error:
        column_dimensions(read_columns(data, "mine.csv"), "mine.csv", PATHS, "faces, test")
    assert message in str(error.value)
