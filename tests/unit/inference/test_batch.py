"""Thousands of pictures into a folder of results: whole at every moment, in constant memory."""

import csv
import json
import tracemalloc

import cv2
import numpy as np
import pytest

from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError, Stopped
from fer_core.inference.batch import (
    ANNOTATED_FOLDER,
    FACES_FILE,
    MAX_FOLDERS,
    OTHER_FOLDERS,
    RESULTS_FILE,
    SUMMARY_FILE,
    annotated_name,
    new_folder,
    read_into,
    read_summary,
)
from fer_core.inference.faces import load_detector
from fer_core.inference.images import Picture
from tests.unit.served_models import CENTRES


def shade(emotion):
    """A picture that the brightness model takes for an emotion."""
    level = int(CENTRES[EMOTIONS.index(emotion)])
    return cv2.imencode(".jpg", np.full((48, 48), level, np.uint8))[1].tobytes()


HAPPY, SAD = shade("happy"), shade("sad")


def read(pictures, folder, predictor, **options):
    options = {"detector_name": "haar", "total": len(pictures) if isinstance(pictures, list) else 0, **options}
    return read_into(pictures, options.pop("total"), new_folder(folder), predictor, load_detector("haar"), **options)


def rows(folder):
    with (folder / FACES_FILE).open(newline="") as file:
        return list(csv.DictReader(file))


def documents(folder):
    return [json.loads(line) for line in (folder / RESULTS_FILE).read_text().splitlines()]


def test_faces_documents_and_counts_of_each_folder(tmp_path, predictor):
    wall = cv2.imencode(".png", np.full((200, 200), 128, np.uint8))[1].tobytes()
    pictures = [
        Picture("a/1.jpg", HAPPY),
        Picture("a/2.jpg", SAD),
        Picture("b/3.jpg", b"no picture"),
        Picture("b/4.png", wall),
        Picture("5.jpg", HAPPY),
    ]
    summary = read(pictures, tmp_path / "new" / "out", predictor)
    out = tmp_path / "new" / "out"
    assert read_summary(out) == summary
    assert [row["emotion"] for row in rows(out)] == ["happy", "sad", "", "", "happy"]
    assert [row["path"] for row in rows(out)] == [picture.path for picture in pictures]
    assert [len(entry["faces"]) for entry in documents(out)] == [1, 1, 0, 0, 1]
    assert "not a picture" in documents(out)[2]["error"]
    assert (summary.pictures, summary.faces, summary.faceless, summary.unreadable) == (5, 3, 1, 1)
    assert not summary.stopped
    assert summary.shares_of_faces["happy"] == pytest.approx(2 / 3, abs=1e-3)
    assert {name: counts.faces for name, counts in summary.folders.items()} == {"a": 2, "b": 0, "": 1}
    assert summary.told() == "3 faces in 5 pictures: happy 67 %, sad 33 %; 1 without a face; 1 could not be read."
    assert not (out / ANNOTATED_FOLDER).exists()


def test_faces_below_the_threshold_are_counted_as_uncertain(tmp_path, predictor):
    between = cv2.imencode(".png", np.full((48, 48), CENTRES[2] + 17, np.uint8))[1].tobytes()
    pictures = [Picture("a.png", between), Picture("b.jpg", HAPPY)]
    assert read(pictures, tmp_path / "out", predictor, threshold=0.6).uncertain == 1
    assert [row["uncertain"] for row in rows(tmp_path / "out")] == ["True", "False"]


def test_a_stop_leaves_whole_results_and_says_so(tmp_path, predictor):
    def stop(phase, done, total):
        if done >= 128:
            raise Stopped("Stopped.")

    out = tmp_path / "out"
    with pytest.raises(Stopped, match=r"Stopped after 128 of 1,000 pictures; .* is in .*out"):
        read([Picture(f"{n}.jpg", HAPPY) for n in range(1000)], out, predictor, progress=stop)
    summary = read_summary(out)
    assert (summary.stopped, summary.pictures, summary.total) == (True, 128, 1000)
    assert len(rows(out)) == len(documents(out)) == summary.faces == 128


def test_results_can_be_read_while_it_goes(tmp_path, predictor):
    seen = []
    out = tmp_path / "out"
    read(
        [Picture("a.jpg", HAPPY)] * 200, out, predictor, progress=lambda phase, done, total: seen.append(len(rows(out)))
    )
    assert seen == [64, 128, 192, 200]


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path, predictor):
    """600 pictures of a megabyte, each in a folder of its own, are never held together."""
    padded = HAPPY + bytes(2**20)  # what follows the end of a JPEG is ignored

    def many(n):
        return (Picture(f"folder-{number}/a.jpg", bytes(bytearray(padded))) for number in range(n))

    read(many(20), tmp_path / "warm", predictor)
    tracemalloc.start()
    try:
        summary = read(many(600), tmp_path / "out", predictor)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert summary.pictures == 600
    assert peak < 64 * 2**20


def test_folders_beyond_a_thousand_are_counted_together(tmp_path, predictor):
    pictures = [Picture(f"folder-{number}/a.jpg", HAPPY) for number in range(MAX_FOLDERS + 5)]
    summary = read(pictures, tmp_path / "out", predictor)
    assert len(summary.folders) == MAX_FOLDERS + 1
    assert summary.folders[OTHER_FOLDERS].faces == 5


def test_annotated_pictures_have_harmless_names(tmp_path, predictor, photograph):
    encoded = cv2.imencode(".png", cv2.cvtColor(photograph, cv2.COLOR_RGB2BGR))[1].tobytes()
    names = ["../../etc/passwd.png", "<b>bold</b>.png", "ünï😀.png", "x" * 500 + ".png", "![a](http://b/c).png", ".png"]
    pictures = [Picture("broken.png", b""), *(Picture(name, encoded) for name in names)]
    out = tmp_path / "out"
    read(pictures, out, predictor, annotated=True)
    written = sorted(out.rglob("*.jpg"))
    assert [file.parent for file in written] == [out / ANNOTATED_FOLDER] * len(names)
    assert [file.name[:6] for file in written] == [f"{n:05d}-" for n in range(2, len(names) + 2)]
    assert all(len(file.name) < 80 and file.name.isascii() for file in written)
    drawn = cv2.imread(str(written[0]))
    assert drawn.shape == photograph.shape
    assert not np.array_equal(drawn, cv2.cvtColor(photograph, cv2.COLOR_RGB2BGR))
    assert [row["path"] for row in rows(out)[1:]] == names
    assert annotated_name(3, "a/b.jpg") == "00003-b.jpg"


@pytest.mark.parametrize("name", ["=1+1.jpg", "+1.jpg", "-1.jpg", "@SUM(A1).jpg", "\t=1.jpg"])
def test_a_spreadsheet_does_not_take_a_name_for_a_formula(tmp_path, predictor, name):
    read([Picture(name, HAPPY), Picture(name, b"")], tmp_path / "out", predictor)
    assert [row["path"] for row in rows(tmp_path / "out")] == [f"'{name}"] * 2
    assert [entry["path"] for entry in documents(tmp_path / "out")] == [name] * 2


@pytest.mark.parametrize("name", ["a,b.jpg", 'a"b.jpg', "a\nb.jpg", "ünï.jpg", "a\ufffdb.jpg", "x" * 4000])
def test_any_name_survives(tmp_path, predictor, name):
    read([Picture(name, HAPPY)], tmp_path / "out", predictor)
    assert rows(tmp_path / "out")[0]["path"] == documents(tmp_path / "out")[0]["path"] == name


def test_no_picture_at_all_is_an_empty_summary(tmp_path, predictor):
    assert read([], tmp_path / "out", predictor).told() == "0 faces in 0 pictures."
    assert rows(tmp_path / "out") == documents(tmp_path / "out") == []


@pytest.mark.parametrize("make", [lambda f: (f.mkdir(), (f / "x").touch()), lambda f: f.touch()], ids=["full", "file"])
def test_results_are_not_mixed_with_what_lies_there(tmp_path, make):
    make(tmp_path / "out")
    with pytest.raises(FerError, match="there is something here already"):
        new_folder(tmp_path / "out")


def test_a_missing_summary_is_none_and_a_damaged_one_an_error(tmp_path):
    assert read_summary(tmp_path) is None
    (tmp_path / SUMMARY_FILE).write_text('{"pictures": ')
    with pytest.raises(FerError, match=r"summary\.json: damaged"):
        read_summary(tmp_path)
