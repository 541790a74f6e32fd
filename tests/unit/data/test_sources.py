from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_core.archive import MAX_ENTRY_BYTES
from fer_core.data.layouts import Layout, Source
from fer_core.data.sources import find_archives, open_source, open_sources, parse_spec, read_split
from fer_core.data.table import read_material
from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError, SourceError

from .pictures import face, jpeg, make_csv, make_folder, make_zip, pixels, png


def found(source: Source) -> set[tuple[str, str, str]]:
    return {(EMOTIONS[entry.label], entry.split, entry.usage) for entry in source.entries}


@pytest.mark.parametrize(
    ("names", "layout", "expected"),
    [
        pytest.param(
            ["train/happy/Training_1.jpg", "test/sad/PublicTest_2.jpg", "test/fear/PrivateTest_3.jpg"],
            Layout.FER2013_FOLDERS,
            {("happy", "train", "Training"), ("sad", "test", "PublicTest"), ("fear", "test", "PrivateTest")},
            id="msambare/fer2013",
        ),
        pytest.param(
            ["train/disgusted/im0.png", "test/surprised/im1.png"],
            Layout.EDF,
            {("disgust", "train", ""), ("surprise", "test", "")},
            id="ananthu017/emotion-detection-fer",
        ),
        pytest.param(
            ["faces/Training/0_angry/a.png", "faces/val/Happiness/b.webp"],
            Layout.SPLIT_FOLDERS,
            {("angry", "train", ""), ("happy", "validation", "")},
            id="split folders with aliases below another folder",
        ),
        pytest.param(
            ["joy/person 1/a.jpeg", "6/b.bmp"],
            Layout.CLASS_FOLDERS,
            {("happy", "", ""), ("neutral", "", "")},
            id="plain class folders",
        ),
    ],
)
@pytest.mark.parametrize("pack", [make_zip, make_folder])
def test_layouts_are_recognised_in_zips_and_folders(tmp_path, pack, names, layout, expected):
    source = open_source(str(pack(tmp_path / "data.zip", dict.fromkeys(names, png(1)))))
    assert source.layout is layout
    assert found(source) == expected
    assert source.quarantined == []


@pytest.mark.parametrize("header", ["emotion,pixels,Usage", "emotion, Usage, pixels"])
@pytest.mark.parametrize("zipped", [False, True])
def test_the_csv_is_read_in_both_column_orders_and_inside_a_zip(tmp_path, header, zipped):
    values = {"emotion": "3", "pixels": pixels(5), "Usage": "PrivateTest"}
    row = ",".join(values[title.strip()] for title in header.split(","))
    path = make_csv(tmp_path / "fer2013.csv", [row], header)
    if zipped:
        path = make_zip(tmp_path / "challenge.zip", {"fer2013/fer2013.csv": path.read_bytes(), "README": b"x"})
    source = open_source(str(path))
    assert source.layout is Layout.FER2013_CSV
    assert found(source) == {("happy", "test", "PrivateTest")}
    decoded = cv2.imdecode(np.frombuffer(source.read(0), np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(decoded, face(5))


def test_bad_csv_rows_are_listed_and_the_others_used(tmp_path):
    good = pixels(1)
    rows = [
        f"3,{good},Training",
        "3,1 2 3,Training",
        f"9,{good},Training",
        f"3,{good.replace(' ', ' x ', 1)},Training",
        f"3,{good.rsplit(' ', 1)[0]} 900,Training",
        f"3,{good},Holiday",
        "3",
    ]
    source = open_source(str(make_csv(tmp_path / "f.csv", rows)))
    assert len(source.entries) == 1
    reasons = {entry.path: entry.reason for entry in source.quarantined}
    assert list(reasons) == [f"f.csv#{number}" for number in range(2, 8)]
    assert reasons["f.csv#2"] == "3 pixels, expected 2304 (48 x 48)"
    assert "'9'" in reasons["f.csv#3"]
    assert "900" in reasons["f.csv#5"]


HEADER_ONLY = "emotion,pixels,Usage\n"


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.zip", b"hello", "not a zip archive"),
        ("a.zip", b"", "empty"),
        ("a.zip", b"PK\x03\x04 and then the line broke", "cut short"),
        ("a.bin", b"hello", "Expected a folder, a .zip or a FER2013 CSV"),
        ("a.csv", b"name,age\nx,1\n", "expected emotion, pixels and Usage"),
        ("a.csv", HEADER_ONLY.encode(), "no picture"),
        ("a.csv", f"{HEADER_ONLY}7,1 2,Training\n".encode(), "label '7'"),
        ("a.csv", b"emotion,pixels\n3," + b"1" * 2**21, "longer than"),
    ],
)
def test_files_that_are_no_source_are_refused_in_one_sentence(tmp_path, name, data, says):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(SourceError, match=says) as caught:
        open_source(str(path))
    assert str(path) in str(caught.value)


def test_a_truncated_zip_is_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", {f"train/happy/{n}.png": png(n) for n in range(4)})
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(SourceError, match="Download it again"):
        open_source(str(path))


def test_a_missing_path_and_an_empty_folder_are_refused(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        open_source(str(tmp_path / "nowhere"))
    with pytest.raises(SourceError, match="no picture in it"):
        open_source(str(tmp_path))


def test_unknown_class_folders_are_named(tmp_path):
    files = {"train/contempt/1.png": png(1), "train/bored/2.png": png(2)}
    with pytest.raises(SourceError, match=r"train/bored/.*train/contempt/.*expected folders named angry"):
        open_source(str(make_zip(tmp_path / "a.zip", files)))
    files["train/happy/3.png"] = png(3)
    source = open_source(str(make_zip(tmp_path / "b.zip", files)))
    assert len(source.entries) == 1
    assert {entry.path for entry in source.quarantined} == {"train/bored/", "train/contempt/"}


def test_hostile_zip_entries_are_listed_and_never_read(tmp_path):
    path = make_zip(
        tmp_path / "a.zip",
        {
            "../train/happy/up.png": png(1),
            "/train/happy/root.png": png(2),
            "C:\\happy\\drive.png": png(3),
            "train/happy/ok.png": png(4),
            "train/happy/bomb.png": b"\0" * (MAX_ENTRY_BYTES + 1),
            "__MACOSX/train/happy/._ok.png": b"junk",
        },
    )
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("train/happy/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    source = open_source(str(path))
    assert [entry.path for entry in source.entries] == ["train/happy/ok.png"]
    reasons = {Path(entry.path.replace("\\", "/")).name: entry.reason for entry in source.quarantined}
    assert reasons == {
        "up.png": "a path that leaves the archive",
        "root.png": "an absolute path",
        "drive.png": "an absolute path",
        "bomb.png": "unpacks to 64 MB, too large for a picture",
        "link.png": "a link",
    }


def test_an_archive_that_claims_far_more_than_its_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("fer_core.archive._SMALL", 2**20)
    path = make_zip(tmp_path / "a.zip", {f"train/happy/{n}.png": b"\0" * 2**22 for n in range(4)})
    with pytest.raises(SourceError, match="decompression bomb"):
        open_source(str(path))


def test_damaged_pictures_are_quarantined_and_the_rest_is_used(tmp_path):
    stored = make_zip(
        tmp_path / "a.zip",
        {
            "happy/good.png": png(1),
            "happy/torn.png": png(2)[:300],
            "happy/text.jpg": b"no picture",
            "sad/x.png": png(3),
        },
        zipfile.ZIP_STORED,
    )
    raw = bytearray(stored.read_bytes())
    place = raw.find(png(3)) + 200
    raw[place] ^= 0xFF  # the checksum of sad/x.png no longer fits
    stored.write_bytes(raw)
    material = read_material([open_source(str(stored))], (48, 48), 1)
    assert material.table["path"].tolist() == ["happy/good.png"]
    assert {entry.path for entry in material.quarantined} == {"a:happy/torn.png", "a:happy/text.jpg", "a:sad/x.png"}
    assert all(entry.reason for entry in material.quarantined)


def test_a_source_without_one_readable_picture_is_refused(tmp_path):
    source = open_source(str(make_zip(tmp_path / "a.zip", {"happy/a.png": b"x", "sad/b.png": b"y"})))
    with pytest.raises(SourceError, match="none of its 2 pictures can be read"):
        read_material([source], (48, 48), 1)


def test_specs_carry_names(tmp_path):
    odd = make_zip(tmp_path / "my faces (1).zip", {"happy/a.png": png(1)})
    assert parse_spec(f"mine={odd}") == ("mine", odd)
    assert parse_spec(str(odd)) == ("my-faces-1", odd)
    with_equals = make_zip(tmp_path / "a=b.zip", {"happy/a.png": png(1)})
    assert parse_spec(str(with_equals))[1] == with_equals
    with pytest.raises(FerError, match="cannot be the name"):
        parse_spec(f"a b!={odd}")
    with pytest.raises(SourceError, match="Two sources are named 'mine'"):
        open_sources([f"mine={odd}", f"mine={with_equals}"])


def test_archives_are_found_by_their_names_alone(tmp_path):
    make_zip(tmp_path / "fer2013.zip", {"train/happy/Training_1.jpg": b"not even a picture"})
    make_csv(tmp_path / "fer2013.csv", [])
    make_folder(tmp_path / "plain", {"sad/a.png": b"", "sad/b.png": b""})
    make_zip(tmp_path / "holiday.zip", {"beach.png": b""})
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04")
    archives = {archive.path.name: archive for archive in find_archives([tmp_path, tmp_path / "missing"])}
    assert {name: (archive.layout, archive.images) for name, archive in archives.items()} == {
        "fer2013.zip": (Layout.FER2013_FOLDERS, 1),
        "fer2013.csv": (Layout.FER2013_CSV, None),
        "plain": (Layout.CLASS_FOLDERS, 2),
    }


def test_pipes_are_passed_over_not_waited_for(tmp_path):
    folder = make_folder(tmp_path / "faces", {"happy/good.png": png(1)})
    for name in ("pipe.csv", "pipe.zip", "faces/happy/zz.png"):
        os.mkfifo(tmp_path / name)
    assert [archive.path for archive in find_archives([tmp_path])] == [folder]
    for name in ("pipe.csv", "pipe.zip"):
        with pytest.raises(SourceError, match="not a regular file"):
            open_source(str(tmp_path / name))
    material = read_material([open_source(str(folder))], (48, 48), 1)
    assert material.table["path"].tolist() == ["happy/good.png"]
    assert [(entry.path, entry.reason) for entry in material.quarantined] == [
        ("faces:happy/zz.png", "not a regular file")
    ]
    (tmp_path / "only").mkdir()
    os.mkfifo(tmp_path / "only" / "fer2013.csv")
    with pytest.raises(SourceError, match="no picture in it"):
        open_source(str(tmp_path / "only"))


def test_a_zip_whose_names_are_no_text_is_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"happy/é.png": png(1)})
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xff"))
    with pytest.raises(SourceError, match="damaged"):
        open_source(str(path))
    assert find_archives([tmp_path]) == []


def test_an_unknown_users_home_is_refused():
    for spec in ("~nouser/faces", "mine=~nouser/faces"):
        with pytest.raises(FerError, match="no home folder of that user"):
            open_source(spec)


def test_a_raw_source_is_read_as_one_split(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"train/happy/1.png": png(1), "test/sad/2.jpg": jpeg(face(2, "sad"))})
    split = read_split(str(path), "test", (24, 24), 3)
    assert split.images.shape == (1, 24, 24, 3)
    assert split.labels.tolist() == [EMOTIONS.index("sad")]
    with pytest.raises(SourceError, match="no validation images, only test, train"):
        read_split(str(path), "validation", (48, 48), 1)
    plain = make_folder(tmp_path / "plain", {"sad/a.png": png(3), "sad/b.png": b"junk"})
    assert len(read_split(str(plain), "validation", (48, 48), 1)) == 1
