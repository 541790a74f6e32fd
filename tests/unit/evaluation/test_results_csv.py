"""Results that others made: what is understood, and what is refused in a sentence."""

import numpy as np
import pytest

from fer_core import limits
from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError
from fer_core.evaluation.results_csv import read_results

ALPHABETICAL = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
NUMBERS = "0.1,0.05,0.05,0.5,0.1,0.1,0.1"  # the fourth is the largest


@pytest.fixture
def read(tmp_path):
    def read(text, order=None):
        file = tmp_path / "results.csv"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_results(file, order)

    return read


@pytest.mark.parametrize(
    ("header", "top"),
    [
        ("file,angry,disgust,fear,happy,sad,surprise,neutral", "happy"),
        ("file,neutral,sad,surprise,fear,happy,disgust,angry", "fear"),  # any order
        ("path,Anger,Disgusted,Afraid,Joy,Sadness,Surprised,Calm", "happy"),  # any spelling
        ("image,p_angry,p_disgust,p_fear,p_happy,p_sad,p_surprise,p_neutral", "happy"),  # as ours are
        ("picture,0_angry,1_disgust,2_fear,3_neutral,4_sad,5_surprise,6_happy", "neutral"),  # the name decides
        (" File , Angry , Disgust , Fear , Happy , Sad , Surprise , Neutral ", "happy"),
    ],
)
def test_the_titles_say_which_class_a_column_is_of(read, header, top):
    found = read(f"{header}\na.png,{NUMBERS}\n")
    assert found.files == ["a.png"]
    assert EMOTIONS[found.probabilities[0].argmax()] == top
    assert found.read_as == "probabilities"
    assert found.probabilities.dtype == np.float32


@pytest.mark.parametrize("first", ["file,0,1,2,3,4,5,6\n", "id,a,b,c,d,e,f,g\n", "", "\n"])
def test_bare_numbers_stand_in_the_order_that_is_given(read, first):
    found = read(
        f"{first}a.png,{NUMBERS}\nb.png,{NUMBERS}\n", ("neutral", "sad", "fear", "surprise", *EMOTIONS[:2], "happy")
    )
    assert found.files == ["a.png", "b.png"]
    assert EMOTIONS[found.probabilities[0].argmax()] == "surprise"


def test_without_an_order_the_columns_stand_as_in_the_file(read):
    found = read(f"file,0,1,2,3,4,5,6\na.png,{NUMBERS}")
    assert (found.named, found.probabilities[0].argmax()) == (False, 3)
    assert read(f"{HEADER}\na.png,{NUMBERS}").named
    assert read(f"a.png,{NUMBERS}", ALPHABETICAL).named


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_columns_marks_and_separators_do_not_matter(read, delimiter):
    rows = [["label", *EMOTIONS, "file", "comment"], ["sad", *NUMBERS.split(","), "'=a.png", "x"]]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    found = read(b"\xef\xbb\xbf" + text.encode())
    assert found.files == ["=a.png"]  # as a spreadsheet is kept from running it
    assert found.probabilities[0].argmax() == 3


@pytest.mark.parametrize(
    ("numbers", "expected", "read_as"),
    [
        ("0.1,0,0,0.899,0,0,0", [0.1, 0, 0, 0.9, 0, 0, 0], "probabilities"),  # rounded
        ("10,0,0,90,0,0,0", [0.1, 0, 0, 0.9, 0, 0, 0], "scores"),  # percent, votes
        ("1e308,0,0,1e308,0,0,0", [0.5, 0, 0, 0.5, 0, 0, 0], "scores"),
        ("-1e308,0,0,1e308,0,0,0", [0, 0, 0, 1, 0, 0, 0], "logits"),
        ("-1000,-1000,-1000,0,-1000,-1000,0", [0, 0, 0, 0.5, 0, 0, 0.5], "logits"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_the_numbers_are_taken_for(read, numbers, expected, read_as):
    found = read(f"file,{','.join(EMOTIONS)}\na.png,{numbers}\n")
    np.testing.assert_allclose(found.probabilities[0], expected, atol=2e-3)
    assert found.read_as == read_as


HEADER = f"file,{','.join(EMOTIONS)}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (f"{HEADER}\n", "no results below"),
        ("Dear reader\nthis is a letter.\n", "no columns of numbers (its first line: Dear reader). Expected a CSV"),
        ("file,0,1,2,3,4,5\na.png,1,0,0,0,0,0", "6 columns beside that of the files, expected seven numbers, one for"),
        (f"file,0,1,2,3,4,5,6,7\na.png,{NUMBERS},0", "one for each class; found file, 0, 1, 2, 3, 4, 5, 6, 7."),
        ("file,predicted\na.png,happy", "only the answers (line 2: a.png, happy). Seven numbers are needed"),
        ("a.png,happy\nb.png,Sadness", "only the answers (line 2: b.png, Sadness). Seven numbers are needed"),
        ("file,predicted\na.png,3", "1 column beside that of the files, expected seven numbers"),
        (f"{HEADER}\na.png,10%,0%,0%,90%,0%,0%,0%", "line 2 has '10%' where a number is expected. Remove the sign"),
        (
            f"{HEADER}\na.png,{NUMBERS}".replace(",", ";").replace(".", ","),
            "'0,1' where a number is expected. Write num",
        ),
        (f"file,{','.join(EMOTIONS[:6])}\na.png,1,0,0,0,0,0", "no column is of neutral"),
        (f"{HEADER},joy\na.png,{NUMBERS},0", "2 columns are of happy"),
        (f"{HEADER},Contempt\na.png,{NUMBERS},0", "a column is of contempt, none of the seven classes"),
        (f"{HEADER},p_contempt\na.png,{NUMBERS},0", "a column is of contempt"),
        (f"{HEADER},comment,image\na.png,{NUMBERS},0,b.png", "call the column of the files `file`"),
        (f"{','.join(EMOTIONS)}\n{NUMBERS}", "call the column of the files `file`"),
        (f"{HEADER}\na.png,0.1,0.1", "line 2 has 3 columns, expected 8"),
        (f"{HEADER}\na.png,x,0,0,0,0,0,1", "line 2 has 'x' where a number is expected"),
        (f"{HEADER}\na.png,,0,0,0,0,0,1", "line 2 has an empty cell where a number is expected."),
        (f"{HEADER}\na.png,nan,0,0,0,0,0,1", "line 2 has 'nan' where"),
        (f"{HEADER}\n\na.png,inf,0,0,0,0,0,1", "line 3 has 'inf' where"),
        (f"{HEADER}\na.png,0,0,0,0,0,0,0", "all numbers of a.png are 0"),
        (f"{HEADER}\n,{NUMBERS}", "line 2 names no file"),
        (f"{HEADER}\na.png,{NUMBERS}\nb.png,{NUMBERS}\na.png,{NUMBERS}", "lines 2 and 4 are both of a.png"),
        (b"file\xff\xfe\n", "not a readable CSV in UTF-8"),
        (b"file," + b"x" * 200_000, "not a readable CSV"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(read, text, message):
    with pytest.raises(FerError, match=r"results\.csv: ") as error:
        read(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEADER}\na.png,{NUMBERS}", "Leave --labels out"),
        ("a.png,0.5,0.5", "2 columns beside that of the files, expected seven"),
        (f"a.png,{NUMBERS},0.1", "8 columns beside that of the files, expected seven"),
        (f"17,{NUMBERS}", "8 columns beside that of the files"),
    ],
)
def test_an_order_that_does_not_fit_is_one_sentence(read, text, message):
    with pytest.raises(FerError, match=r"results\.csv: ") as error:
        read(text, ALPHABETICAL)
    assert message in str(error.value)


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(FerError, match="no such file"):
        read_results(tmp_path / "none.csv")


def test_no_more_rows_are_read_than_are_taken(read, monkeypatch):
    monkeypatch.setattr(limits, "ENTRIES", 3)
    unreadable = "x" * 200_000  # longer than a cell may be: reading on would fail otherwise
    with pytest.raises(FerError, match="more than 3 rows"):
        read(f"{HEADER}\na,{NUMBERS}\nb,{NUMBERS}\nc,{NUMBERS}\n{unreadable},{NUMBERS}")
