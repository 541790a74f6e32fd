"""Labels of other data sets: more classes, other names, other numbers."""

from __future__ import annotations

import json

import pytest

from fer_core.data.labels import label_map, meaning_of, meanings_for, parse_label, read_label_map
from fer_core.data.prepare import PrepareConfig, prepare
from fer_core.data.sources import open_source
from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError, SourceError

from ..command_line import call
from .pictures import make_csv, make_folder, make_zip, pixels, png

RAF_DB = {"1": "surprise", "2": "fear", "3": "disgust", "4": "happy", "5": "sad", "6": "angry", "7": "neutral"}


def numbered(numbers):
    return {f"train/{number}/{n}.png": png(10 * int(number) + n) for number in numbers for n in range(2)}


def labels_of(source):
    return {entry.path.split("/")[-2]: EMOTIONS[entry.label] for entry in source.entries}


@pytest.mark.parametrize("pack", [make_zip, make_folder])
def test_numbered_folders_of_another_data_set_are_read_as_it_is_said(tmp_path, pack):
    path = pack(tmp_path / ("raf.zip" if pack is make_zip else "raf"), numbered(RAF_DB))
    with pytest.raises(SourceError, match=r"numbered 1, 2, 3, 4, 5, 6, 7, which is not FER2013's order .* --label"):
        open_source(str(path))
    assert labels_of(open_source(str(path), label_map(RAF_DB))) == RAF_DB


def test_six_classes_numbered_from_one_are_not_fer2013s(tmp_path):
    six = str(make_folder(tmp_path / "six", numbered("123456")))
    with pytest.raises(SourceError, match="numbered 1, 2, 3, 4, 5, 6, which is not"):
        open_source(six)
    told = dict(list(RAF_DB.items())[:6])
    assert labels_of(open_source(six, label_map(told))) == told
    raf = str(make_folder(tmp_path / "raf", numbered(RAF_DB)))
    with pytest.raises(SourceError, match="numbered 1, 2, 3, 4, 5, 6, which is not"):
        open_source(raf, label_map({"7": "neutral"}))  # one of them told is not all of them told


def test_fer2013s_own_numbers_need_nothing(tmp_path):
    files = numbered("0123456") | {"2013/x.png": png(99)}  # a year is no class
    source = open_source(str(make_folder(tmp_path / "numbers", files)))
    assert labels_of(source) == dict(zip("0123456", EMOTIONS, strict=True))
    assert [entry.path for entry in source.quarantined] == ["2013/"]


def test_labels_under_a_sources_name_hold_for_it_alone(tmp_path, place):
    raf = make_folder(tmp_path / "raf", numbered(RAF_DB))
    rows = [f"{n % 7},{pixels(500 + n)},Training" for n in range(28)]
    fer = make_csv(tmp_path / "fer.csv", [*rows, f"contempt,{pixels(900)},Training"])
    labels = {"raf": RAF_DB, "contempt": "drop"}
    dataset = prepare([f"fer={fer}", f"raf={raf}"], place / "both", PrepareConfig(labels=labels))
    read = dataset.info.counts["read"]["train"]
    assert read == dict.fromkeys(EMOTIONS, 4 + 2)
    assert dataset.info.config["labels"] == labels
    assert [(entry.path, entry.reason) for entry in dataset.info.quarantined] == [
        ("fer:fer.csv#29", "label 'contempt' is to be left out")
    ]


def test_folders_to_be_left_out_are_counted(tmp_path):
    files = {f"{name}/{n}.png": png(n) for name in ("happy", "Contempt", "boredom") for n in range(3)}
    source = open_source(str(make_folder(tmp_path / "eight", files)), label_map({"CONTEMPT": "drop"}))
    assert labels_of(source) == {"happy": "happy"}
    assert {entry.path: entry.reason for entry in source.quarantined} == {
        "boredom/": "3 pictures in a folder that names none of the seven classes",
        "Contempt/": "3 pictures of a label that is to be left out",
    }


def test_a_label_comes_before_the_spellings_that_are_known_and_a_sources_own_before_all():
    labels = label_map({"joy": "neutral", "Mine": {"Joy": "surprise"}, " 3 ": "Sadness"})
    assert meanings_for(labels, "Mine") == {"joy": "surprise", "3": "sad"}
    assert meanings_for(labels, "mine") == {"joy": "neutral", "3": "sad"}
    assert [meaning_of(text, meanings_for(labels, "")) for text in (" JOY", "3", "4", "joyful", "contempt")] == [
        "neutral", "sad", "sad", "happy", None,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["contempt", "=happy", "x=", "x=contempt", "x=3", "x=drop it"])
def test_what_is_no_label_with_a_meaning_is_refused(text):
    with pytest.raises(FerError, match="give"):
        parse_label(text)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "expected lines"),
        (b"- contempt", "expected lines"),
        (b"contempt: [", "cannot be read as YAML"),
        (b"\xff\xfe\x00", "cannot be read as YAML"),
        (b"contempt: drop\nboredom: yawn", "'boredom' means 'yawn': give one of angry"),
        (b"raf:\n  1: 2", "'1' means '2': give one of angry"),
        (b"a: drop\n" * 200_000, "larger than"),
        (b"!!python/object/apply:os.system [id]", "expected lines"),
    ],
)
def test_a_file_of_labels_that_is_none_is_one_sentence(tmp_path, content, says):
    file = tmp_path / "labels.yaml"
    file.write_bytes(content)
    with pytest.raises(FerError, match=says) as refused:
        read_label_map(file)
    assert str(refused.value).startswith(f"{file}: ")
    assert "\n" not in str(refused.value)


def test_labels_by_command(tmp_path, workspace, capfd):
    raf = make_folder(tmp_path / "raf", numbered(RAF_DB))
    code, _, err = call(capfd, "data", "audit", raf)
    assert (code, len(err.splitlines())) == (2, 1)
    (tmp_path / "labels.json").write_text(json.dumps({"raf": RAF_DB}))
    named = [part for label, meaning in RAF_DB.items() for part in ("--label", f"{label}={meaning}")]
    for how in (["--map", tmp_path / "labels.json"], named):
        code, out, err = call(capfd, "data", "audit", raf, *how, "--json")
        assert code == 0, err
        assert json.loads(out)["counts"]["read"]["train"] == dict.fromkeys(EMOTIONS, 2)
    code, _, err = call(capfd, "data", "prepare", raf, "--out", "raf", "--map", tmp_path / "gone.yaml")
    assert code == 2
    assert "gone.yaml: no such file" in err
    code, _, err = call(capfd, "data", "audit", f"other={raf}", "--map", tmp_path / "labels.json")
    assert code == 2
    assert err.splitlines()[-1].endswith("'raf', which is no source here: put them under one of other.")


def test_what_is_left_out_is_listed_whole_folders_first(tmp_path, workspace, capfd):
    files = {f"happy/{n}.png": b"torn" for n in range(12)} | {"happy/a.png": png(1), "boredom/b.png": png(2)}
    code, _, err = call(capfd, "data", "audit", make_folder(tmp_path / "mine", files))
    said = [line for line in err.splitlines() if ": " in line or "more" in line]
    assert code == 0
    assert "  mine:boredom/: 1 pictures in a folder that names none of the seven classes" in said
    assert said.index("  mine:boredom/: 1 pictures in a folder that names none of the seven classes") == 0
    assert "and 3 more" in said[-1]
