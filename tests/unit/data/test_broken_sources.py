"""A corpus of broken sources: each is one sentence, or what is broken in it is listed and the rest is used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fer_core import limits
from fer_core.data.labels import read_label_map
from fer_core.data.prepare import prepare
from fer_core.data.sources import find_archives, look_at, open_source
from fer_core.errors import FerError, ImageError, SourceError
from fer_core.preprocessing import decode

from . import broken
from .broken import everything_below, grown_by
from .pictures import make_folder, make_zip

MOST_MB = 400  # what any of these may take; a picture of 64 megapixels takes 192


@pytest.fixture
def inbox(tmp_path, monkeypatch) -> Path:
    """A folder for sources, beside the workspace and what else there is. Relative names would show in it, too."""
    monkeypatch.setattr("fer_core.data.dataset.write_figures", lambda dataset: None)
    folder = tmp_path / "inbox"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def cases(corpus):
    return pytest.mark.parametrize("case", corpus.values(), ids=corpus)


def refuse(source: Path, workspace, says: str) -> None:
    """Everything that can be done with it ends in the same sentence, or passes it over, and leaves nothing."""
    before = everything_below(source.parents[1], but=workspace.root)

    def act() -> None:
        find_archives([source.parent])
        with pytest.raises(SourceError) as caught:
            prepare([str(source)], workspace.datasets / "mine")
        told = str(caught.value)
        assert told.startswith(str(source))
        assert re.search(says, told), told
        assert told.replace("\ufffd", "?").isprintable()

    assert grown_by(act) < MOST_MB
    assert everything_below(source.parents[1], but=workspace.root) == before
    assert not list(workspace.datasets.glob("*"))


def use(source: Path, workspace, images: int) -> list[str]:
    """Makes a dataset of a source; returns what is said of what was left out."""
    before = everything_below(source.parents[1], but=workspace.root)
    find_archives([source.parent])
    look_at(source)
    made = prepare([str(source)], workspace.datasets / "mine")
    made.check()
    assert sum(sum(split.values()) for split in made.info.counts["read"].values()) == images
    assert everything_below(source.parents[1], but=workspace.root) == before
    assert [folder.name for folder in workspace.datasets.iterdir()] == ["mine"]
    return [f"{entry.path}: {entry.reason}" for entry in made.info.quarantined]


@cases(broken.REFUSED_ARCHIVES)
def test_a_broken_archive_is_one_sentence(inbox, workspace, case):
    build, says = case
    (inbox / "faces.zip").write_bytes(build())
    refuse(inbox / "faces.zip", workspace, says)


@cases(broken.LEFT_OUT_ARCHIVES)
def test_a_bad_entry_is_listed_and_the_others_are_used(inbox, workspace, case):
    build, says = case
    (inbox / "faces.zip").write_bytes(build())
    (left_out,) = use(inbox / "faces.zip", workspace, images=len(broken.GOOD) + ("same name" in says))
    assert re.search(says, left_out)
    assert left_out.replace("\ufffd", "?").isprintable()


@cases({name: (build, "") for name, build in broken.IGNORED_ARCHIVES.items()})
def test_what_is_odd_but_no_picture_is_passed_over(inbox, workspace, case):
    data = case[0]()
    (inbox / "faces.zip").write_bytes(data)
    assert use(inbox / "faces.zip", workspace, images=len(broken.GOOD) + (b"test/sad/odd.png" in data)) == []


def test_an_archive_of_too_many_entries_is_not_listed(inbox, workspace, monkeypatch):
    make_zip(inbox / "faces.zip", broken.GOOD)
    monkeypatch.setattr(limits, "ENTRIES", len(broken.GOOD))
    use(inbox / "faces.zip", workspace, images=len(broken.GOOD))
    monkeypatch.setattr(limits, "ENTRIES", len(broken.GOOD) - 1)
    with pytest.raises(SourceError, match=r"more than 20 entries\. Unpack it into a folder"):
        open_source(str(inbox / "faces.zip"))
    assert find_archives([inbox]) == []


@cases(broken.REFUSED_TABLES)
def test_a_broken_table_is_one_sentence(inbox, workspace, case):
    build, says = case
    (inbox / "fer2013.csv").write_bytes(build())
    refuse(inbox / "fer2013.csv", workspace, says)


@cases(broken.LEFT_OUT_TABLES)
def test_a_bad_row_is_listed_and_the_others_are_used(inbox, workspace, case):
    build, says = case
    (inbox / "fer2013.csv").write_bytes(build())
    left_out = use(inbox / "fer2013.csv", workspace, images=len(broken.ROWS))
    assert re.search(says, left_out[0])
    assert all(line.replace("\ufffd", "?").isprintable() for line in left_out)


@cases(broken.PICTURES)
def test_a_broken_picture_is_one_sentence_and_takes_little_memory(case):
    build, says = case
    data = build()

    def act() -> None:
        for gray in (False, True):
            with pytest.raises(ImageError, match=f"^the picture: .*({says})"):
                decode(data, "the picture", gray=gray)

    assert grown_by(act) < MOST_MB


@pytest.mark.parametrize(("pack", "name"), [(make_zip, "faces.zip"), (make_folder, "faces")])
def test_broken_pictures_are_listed_and_the_others_are_used(inbox, workspace, pack, name):
    bad = {f"train/happy/{called}.png": build() for called, (build, _) in broken.PICTURES.items()}
    source = pack(inbox / name, broken.GOOD | bad)
    left_out = use(source, workspace, images=len(broken.GOOD))
    said = {line.split("/")[-1].partition(".png: ")[0]: line for line in left_out}
    assert said.keys() == broken.PICTURES.keys()
    for called, (_, says) in broken.PICTURES.items():
        assert re.search(says, said[called])


def test_a_video_behind_a_photograph_is_no_scan():
    # Some telephones append one to a JPEG; by chance, it holds the bytes that begin a scan.
    assert decode(broken.JPEG + b"\xff\xda\0\x08" * 1000).shape == (48, 48, 3)


@pytest.mark.parametrize("name", ["f\udcff.csv", "f\x1b[2J.csv"])
def test_a_table_whose_name_is_no_text_is_read(inbox, workspace, name):
    (inbox / name).write_bytes(broken.table(*broken.ROWS))
    assert use(inbox / name, workspace, images=len(broken.ROWS)) == []


def test_a_table_in_an_archive_under_a_name_that_is_no_text_is_read(inbox, workspace):
    make_zip(inbox / "faces.zip", {"f\x1b[2J.csv": broken.table(*broken.ROWS)})
    use(inbox / "faces.zip", workspace, images=len(broken.ROWS))
    assert {entry.path.partition("#")[0] for entry in open_source(str(inbox / "faces.zip")).entries} == {
        "f\ufffd[2J.csv"
    }


def test_folders_inside_each_other_without_end_are_one_sentence(inbox):
    faces = make_folder(inbox / "faces", broken.GOOD)
    folder = os.open(faces, os.O_RDONLY)
    for _ in range(1500):  # one by one: the name of the whole is longer than a name may be
        os.mkdir("d", dir_fd=folder)
        folder, above = os.open("d", os.O_RDONLY, dir_fd=folder), folder
        os.close(above)
    os.close(folder)
    try:
        if sys.version_info >= (3, 12):  # whose os.walk does not call itself
            assert len(open_source(str(faces)).entries) == len(broken.GOOD)
        else:
            with pytest.raises(SourceError, match="too many folders inside each other"):
                open_source(str(faces))
    finally:
        subprocess.run(["rm", "-r", faces], check=True)  # nor can older Python remove them


@pytest.mark.parametrize("spec", ["a\0b", "mine=a\0b", "x" * 5000, "mine=" + "x" * 5000])
def test_a_path_that_cannot_be_is_one_sentence(spec):
    with pytest.raises(FerError, match=r"no such file|too long") as caught:
        open_source(spec)
    assert "\0" not in str(caught.value)


def laughs(levels: int) -> bytes:
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels))]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (laughs(30), "aliases"),
        (b"a: &a {x: happy}\n" + b"\n".join(b"s%d: *a" % n for n in range(1000)), "aliases"),
        (b"contempt: [drop, happy]", "'contempt' means 'list'"),
        (b"raf:\n  1: {2: happy}", "'1' means 'dict'"),
        (b"[" * 60_000, "cannot be read as YAML"),
        (b"? [a, b]\n: happy", "cannot be read as YAML"),
        (b"contempt: drop\0", "cannot be read as YAML"),
        (b"1" + b":1" * 400 + b": 0", "means '0'"),
    ],
)
def test_a_hostile_list_of_labels_is_one_sentence(tmp_path, content, says):
    file = tmp_path / "labels.yaml"
    file.write_bytes(content)

    def act() -> None:
        with pytest.raises(FerError, match=says):
            read_label_map(file)

    assert grown_by(act) < MOST_MB


def test_a_label_is_the_text_that_stands_there(tmp_path):
    file = tmp_path / "labels.yaml"
    file.write_text("no: angry\n01: happy\n2024-02-31: sad\n")
    assert read_label_map(file) == {"no": "angry", "01": "happy", "2024-02-31": "sad"}
