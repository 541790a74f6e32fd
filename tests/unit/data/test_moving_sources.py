"""Sources that change while a dataset is made of them: the dataset is as they were, or there is none."""

from __future__ import annotations

import zipfile

import pytest

from fer_core.data.prepare import PrepareConfig, prepare
from fer_core.errors import SourceError

from .pictures import class_folders, face, jpeg, make_folder, make_zip, png

FILES = class_folders(train=6, test=3)
SIZES = [48, 40]  # pictures are copied as they are, and made smaller


def shorten(archive):
    archive.write_bytes(archive.read_bytes()[:2000])


def overwrite(archive):
    with archive.open("r+b") as file:  # the same file on disk, not a new one of this name
        file.write(make_zip(archive.with_name("other.zip"), class_folders(train=6, test=3, start=50)).read_bytes())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.write_bytes(png(901, "sad")),
        lambda file: file.write_bytes(jpeg(face(0, "happy"))),
        lambda file: file.write_bytes(b""),
        lambda file: file.unlink(),
        lambda file: file.parent.rename(file.parent.with_name("elsewhere")),
    ],
    ids=["another picture", "another format", "emptied", "deleted", "folder renamed"],
)
@pytest.mark.parametrize("phase", ["Looking for copies", "Writing train"])
def test_a_file_that_changes_after_it_was_read_is_told(tmp_path, place, change, phase, size):
    root = make_folder(tmp_path / "faces", FILES)
    moved = []

    def move(now, done, total):
        if now == phase and not moved:
            moved.append(change(root / "test/happy/001.png"))

    with pytest.raises(SourceError, match=r"faces: test/happy/\d+\.png has changed or gone since it was first read"):
        prepare([str(root)], place / "mine", PrepareConfig(size=size), move)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("change", [shorten, overwrite])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_that_changes_after_it_was_read_is_told(tmp_path, place, change, compression):
    archive = make_zip(tmp_path / "faces.zip", FILES, compression)
    moved = []

    def move(now, done, total):
        if now == "Looking for copies" and not moved:
            moved.append(change(archive))

    with pytest.raises(SourceError, match=r"faces\.zip: .*has changed or gone since it was first read"):
        prepare([str(archive)], place / "mine", progress=move)
    assert list(place.iterdir()) == []


def test_an_archive_that_is_replaced_or_deleted_is_read_to_the_end(tmp_path, place):
    archive = make_zip(tmp_path / "faces.zip", FILES)
    whole = prepare([str(archive)], place / "whole")

    def replace(phase, done, total):
        if phase == "Looking for copies":
            archive.unlink()
            make_zip(archive, class_folders(train=6, test=3, start=50))

    again = prepare([str(archive)], place / "again", progress=replace)
    assert again.info.fingerprint == whole.info.fingerprint
    assert again.split("train").images.tobytes() == whole.split("train").images.tobytes()
