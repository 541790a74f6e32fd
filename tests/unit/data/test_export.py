from __future__ import annotations

import csv
import io
import zipfile
from pathlib import PurePosixPath

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_core.data.balance import BalanceConfig, balance
from fer_core.data.card import report
from fer_core.data.config import Policy
from fer_core.data.dataset import SPLITS, Dataset
from fer_core.data.export import (
    csv_files,
    export_csv,
    export_folders,
    manifest,
    manifest_csv,
    split_files_zip,
)
from fer_core.data.prepare import PrepareConfig, prepare
from fer_core.data.recall import RECALL
from fer_core.emotions import EMOTIONS
from fer_core.errors import ConfigError, DatasetError, Stopped

from .pictures import class_folders, face, jpeg, make_folder, make_zip, png

FOLDERS = {"TRAIN": "train", "VAL": "validation", "TEST": "test"}


@pytest.fixture(scope="module")
def balanced(leak_free, tmp_path_factory) -> Dataset:
    return balance(leak_free, tmp_path_factory.mktemp("made") / "even", BalanceConfig())


def read(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), keep_default_na=False)


def held(dataset: Dataset) -> dict[str, list[tuple[str, int]]]:
    """Pixels and labels of each split, in no order."""
    tables = {split: dataset.table(split) for split in SPLITS}
    return {split: sorted(zip(table["pixel_sha"], table["label"], strict=True)) for split, table in tables.items()}


@pytest.mark.parametrize("name", ["leak_free", "balanced"])
def test_an_exported_folder_is_read_back_into_the_same_splits(name, request, place):
    dataset = request.getfixturevalue(name)
    export_folders(dataset, place / "out")
    assert held(prepare([str(place / "out")], place / "again")) == held(dataset)


def test_what_was_published_with_leaks_is_read_back_with_them(demo, place):
    dataset = prepare(demo, place / "published", PrepareConfig(policy=Policy.AS_PUBLISHED))
    export_folders(dataset, place / "out")
    again = prepare([str(place / "out")], place / "again", PrepareConfig(policy=Policy.AS_PUBLISHED))
    assert held(again) == held(dataset)
    assert "Contaminated" in (place / "out" / "README.md").read_text()


def test_folders_hold_the_stored_bytes_and_the_manifest_says_where(balanced, place):
    export_folders(balanced, place / "out", k=3)
    table = pd.read_csv(place / "out" / "manifest.csv")
    pd.testing.assert_frame_equal(table.drop(columns="file"), pd.read_csv(io.StringIO(manifest_csv(balanced, 3))))
    files = [path for path in (place / "out").rglob("*.*") if path.parent.name in EMOTIONS]
    assert sorted(str(path.relative_to(place / "out")) for path in files) == sorted(table["file"])
    for split in SPLITS:
        part = table[table["split"] == split]
        assert [(place / "out" / file).read_bytes() for file in part["file"]] == balanced.encoded(
            split, range(len(part))
        )
    for file, split, label in table[["file", "split", "label"]].itertuples(index=False):
        assert (FOLDERS[PurePosixPath(file).parts[0]], PurePosixPath(file).parts[1]) == (split, label)


def test_names_are_those_of_the_source_made_unique_and_safe(tmp_path, place):
    files = class_folders(train=4, test=2)
    odd = {
        "train/happy/=cmd|' '!A0.png": png(100),  # a formula to some, no name on Windows
        "train/happy/Same.png": png(101),
        "train/happy/deeper/same.png": png(102),
        "train/happy/same.jpg": jpeg(face(103)),
        "train/happy/lügt.png": jpeg(face(104)),  # the content is a JPEG
        "train/happy/ .- .png": png(105),
        f"train/happy/{'ä' * 120}.png": png(106),
    }
    source = make_zip(tmp_path / "a.zip", files | odd)
    config = PrepareConfig(val_fraction=0.01)
    dataset = prepare([str(source)], place / "a", config)
    balanced = balance(dataset, place / "more", BalanceConfig(target_of={"happy": 14}))
    export_folders(balanced, place / "out")
    table = pd.read_csv(place / "out" / "manifest.csv").set_index("path")["file"]
    names = {path: PurePosixPath(file).name for path, file in table.items()}
    assert [names[path] for path in odd if "ä" not in path] == [
        "cmd-A0.png", "Same.png", "same-2.png", "same-3.jpg", "lügt.jpg", "image.png"
    ]  # fmt: skip
    assert all(len(name.encode()) <= 255 for name in names.values())
    children = {path: name for path, name in names.items() if "#" in path}
    assert len(children) == 3
    for path, name in children.items():
        parent, _, number = path.partition("#")
        assert PurePosixPath(name).stem.startswith(PurePosixPath(names[parent]).stem.removesuffix("-2"))
        assert f"-augmented-{number}" in name
    assert held(prepare([str(place / "out")], place / "again", config)) == held(balanced)


def test_no_file_is_named_as_a_device_of_windows(tmp_path, place):
    names = {
        "CON": "image-CON",
        "com¹.old": "image-com¹.old",
        "lpt1": "image-lpt1",
        "nul . ": "image-nul",
        "console": "console",
        "null": "null",
    }
    files = {f"{emotion}/{name}.png": png(n, emotion) for emotion in EMOTIONS for n, name in enumerate(names)}
    dataset = prepare([str(make_zip(tmp_path / "a.zip", files))], place / "a", PrepareConfig(policy="evaluation-only"))
    export_folders(dataset, place / "out")
    assert sorted(path.stem for path in (place / "out" / "TEST" / "happy").iterdir()) == sorted(names.values())


def test_pictures_of_one_name_get_one_each(tmp_path, place):
    files = {f"{emotion}/{part}/face.png": png(n, emotion) for emotion in EMOTIONS for n, part in enumerate("abc")}
    files |= {"happy/face-2.png": png(90), "happy/a/FACE.png": png(91)}
    dataset = prepare([str(make_folder(tmp_path / "f", files))], place / "a", PrepareConfig(policy="evaluation-only"))
    export_folders(dataset, place / "out")
    happy = sorted(path.name for path in (place / "out" / "TEST" / "happy").iterdir())
    assert len({name.casefold() for name in happy}) == 5
    assert [path.name for path in (place / "out").iterdir() if path.is_dir()] == ["TEST"]


def test_the_manifest_says_all_that_is_known_of_an_image(balanced):
    table = manifest(balanced)
    assert list(table) == [
        "source", "path", "usage", "label", "split", "pixel_sha", "photo_id", "parent_id", "flags"
    ]  # fmt: skip
    for split in SPLITS:
        stored = balanced.table(split)
        part = table[table["split"] == split]
        assert part["label"].tolist() == [EMOTIONS[label] for label in stored["label"]]
        for column in ("source", "path", "usage", "pixel_sha", "photo_id", "flags"):
            assert part[column].tolist() == stored[column].tolist(), column
        assert part["parent_id"].notna().sum() == (split == "train") * stored["parent_id"].notna().sum()


def test_folds_are_those_of_train_alone(leak_free):
    table = read(manifest_csv(leak_free, k=4, seed=3))
    assert set(table[table["split"] != "train"]["fold"]) == {""}
    train = table[table["split"] == "train"]
    assert set(train["fold"]) == {"0", "1", "2", "3"}
    assert train.groupby("photo_id")["fold"].nunique().max() == 1
    assert manifest_csv(leak_free, k=4, seed=4) != manifest_csv(leak_free, k=4, seed=3)


def test_split_files_list_the_sources_own_files(balanced, demo):
    with zipfile.ZipFile(io.BytesIO(split_files_zip(balanced))) as packed:
        assert {name: packed.read(name).decode() for name in packed.namelist()} == csv_files(balanced)
        lists = {split: read(packed.read(f"{split}.csv").decode()) for split in SPLITS}
    with zipfile.ZipFile(demo[0].partition("=")[2]) as archive:
        there = set(archive.namelist())
    for split, listed in lists.items():
        stored = balanced.table(split)
        originals = stored[stored["parent_id"].isna()]
        assert listed["path"].tolist() == originals["path"].tolist()
        assert listed["label"].tolist() == [EMOTIONS[label] for label in originals["label"]]
        assert set(listed["path"]) <= there


def test_of_several_sources_a_path_says_which(tmp_path, place):
    one = make_zip(tmp_path / "fer2013.zip", class_folders(train=4, test=2))
    two = make_zip(tmp_path / "mine.zip", {f"happy/{n}.png": png(900 + n) for n in range(3)})
    files = csv_files(prepare([str(one), str(two)], place / "both"))
    assert {path.partition("/")[0] for path in read(files["train.csv"])["path"]} == {"fer2013", "mine"}
    assert "mine/happy/0.png" in set(read(files["train.csv"])["path"])


def test_no_cell_is_a_formula(tmp_path, place):
    starts = ("=", "+", "-", "@", " =", "＝")
    files = {
        f'{start}1+1,"x"/{path}': png(1000 * number + index)
        for number, start in enumerate(starts)
        for index, path in enumerate(class_folders(train=2, test=1))
    }
    source = make_folder(tmp_path / "f", files)
    texts = csv_files(prepare([str(source)], place / "a", PrepareConfig(policy=Policy.AS_PUBLISHED)))
    for name in ("manifest.csv", "train.csv", "validation.csv", "test.csv"):
        rows = list(csv.DictReader(io.StringIO(texts[name])))
        assert rows
        for row in rows:
            assert not [cell for cell in row.values() if cell.strip()[:1] in set("=+-@＝")]
            assert (source / row["path"]).is_file()  # it still leads to the file


def test_what_exists_is_not_touched_and_a_stop_leaves_nothing(leak_free, place):
    (place / "there").mkdir()
    (place / "there" / "mine.txt").write_text("x")
    for export in (export_folders, export_csv):
        with pytest.raises(DatasetError, match="exists already"):
            export(leak_free, place / "there")

    def stop(phase, done, total):
        if phase == "Writing validation":
            raise Stopped("Stopped.")

    with pytest.raises(Stopped):
        export_folders(leak_free, place / "out", progress=stop)
    with pytest.raises(ConfigError, match="folds"):
        export_csv(leak_free, place / "out", k=10_000)
    assert [path.name for path in place.iterdir()] == ["there"]


def test_the_report_says_what_the_audit_can_have_missed(leak_free):
    text = csv_files(leak_free)["README.md"]
    assert text.startswith(f"# {leak_free.name}\n")  # not with what the hub reads
    assert f"crop by 2 px ({RECALL['crop by 2 px']:.0%})" in text
    assert "JPEG quality 95" not in text  # found always
    old = leak_free.info.model_copy(update={"copy_rule": {"recall": None}})
    assert "planted" not in report(old)


def saved(image: np.ndarray, kind: str, mode: str = "L", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).convert(mode).save(file, kind, **options)
    return file.getvalue()


def test_a_picture_looks_the_same_to_readers_who_know_less_than_we(tmp_path, place):
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown turned by a quarter
    seen_through = np.dstack([np.repeat(face(800)[:, :, None], 3, axis=2), np.tile(np.uint8(100), (48, 48))])
    odd = {
        "plain.jpg": saved(face(801), "JPEG"),
        "turned.jpg": saved(face(802), "JPEG", exif=turned),
        "turned.png": saved(face(803), "PNG", exif=turned),
        "transparent.png": saved(seen_through, "PNG", "RGBA"),
        "palette.png": saved(face(804), "PNG", "P", transparency=3),
        "deep.png": cv2.imencode(".png", face(805).astype(np.uint16) * 257)[1].tobytes(),
        "other.webp": saved(face(806), "WEBP", lossless=True),
    }
    files = class_folders(train=2, test=2) | {f"test/happy/{name}": data for name, data in odd.items()}
    dataset = prepare([str(make_zip(tmp_path / "a.zip", files))], place / "a")
    test = dataset.split("test")
    paths = [PurePosixPath(path).name for path in test.table["path"]]
    stored = dict(zip(paths, dataset.encoded("test", range(len(paths))), strict=True))
    for name, data in odd.items():
        elsewhere = np.asarray(Image.open(io.BytesIO(stored[name])).convert("L"))
        ours = test.images[paths.index(name), :, :, 0]
        assert np.abs(elsewhere.astype(int) - ours).max() <= 2, name  # two decoders of JPEG may differ by that
        assert (stored[name] == data) == (name == "plain.jpg"), name
