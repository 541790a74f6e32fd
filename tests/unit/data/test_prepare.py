from __future__ import annotations

import errno
import itertools
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from fer_core.data import dataset as dataset_module
from fer_core.data.dataset import SPLITS, Dataset
from fer_core.data.info import DatasetInfo
from fer_core.data.prepare import PrepareConfig, prepare
from fer_core.data.split import Policy
from fer_core.emotions import EMOTIONS
from fer_core.errors import DatasetError, FerError, SourceError, Stopped

from .pictures import black, class_folders, face, jpeg, make_csv, make_folder, make_zip, pixels, png


def tables(dataset: Dataset) -> dict[str, pd.DataFrame]:
    return {split: dataset.table(split) for split in SPLITS}


def sums(info: DatasetInfo) -> dict[str, dict[str, int]]:
    return {step: {split: sum(n.values()) for split, n in counts.items()} for step, counts in info.counts.items()}


def assert_ledger_adds_up(info: DatasetInfo) -> None:
    steps = list(sums(info).items())
    for (_, before), (step, after) in itertools.pairwise(steps):
        for split in SPLITS:
            left = sum(change.n for change in info.removed if (change.step, change.split) == (step, split))
            assert before[split] - left == after[split], (step, split)
    assert all(list(counts[split]) == list(EMOTIONS) for counts in info.counts.values() for split in SPLITS)
    assert all(change.why for change in info.removed)
    order = [(list(info.counts).index(change.step), SPLITS.index(change.split), change.why) for change in info.removed]
    assert order == sorted(order)


def test_the_ledger_adds_up_and_ends_with_what_is_stored(prepared):
    assert_ledger_adds_up(prepared.info)
    for step, counts in prepared.info.counts.items():
        by_source = prepared.info.source_counts[step].values()
        for split, emotion in itertools.product(SPLITS, EMOTIONS):
            assert sum(found[split][emotion] for found in by_source) == counts[split][emotion]
    for split, table in tables(prepared).items():
        stored = table["label"].value_counts().reindex(range(len(EMOTIONS)), fill_value=0).tolist()
        assert stored == list(prepared.counts()[split].values())


def test_leak_free_keeps_every_photograph_in_one_split(leak_free):
    photos = {split: set(table["photo_id"]) for split, table in tables(leak_free).items()}
    assert not photos["train"] & photos["test"]
    assert not photos["train"] & photos["validation"]
    assert not photos["validation"] & photos["test"]
    assert leak_free.info.leaked == {"validation": 0, "test": 0}
    assert not leak_free.info.contaminated
    assert sums(leak_free.info)["merged"] == {"train": 624, "validation": 0, "test": 132}
    train = leak_free.table("train")
    assert set(train["source"]) == {"fer2013"}
    assert train["pixel_sha"].is_unique
    assert set(train["flags"]) == {""}


def test_test_rows_are_those_of_fer2013_byte_by_byte(leak_free, demo):
    import zipfile

    table = leak_free.table("test")
    assert set(table["usage"]) == {"PublicTest"}
    with zipfile.ZipFile(demo[0].partition("=")[2]) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("test/"))
        assert table["path"].tolist() == names
        assert leak_free.encoded("test", range(len(names))) == [archive.read(name) for name in names]


def test_validation_is_a_stratified_quarter_of_fer2013_train(leak_free):
    parts = tables(leak_free)
    share = parts["validation"]["label"].value_counts() / (
        parts["validation"]["label"].value_counts() + parts["train"]["label"].value_counts()
    )
    assert share.between(0.2, 0.35).all()
    assert set(parts["validation"]["source"]) == {"fer2013"}


def test_as_published_is_marked_as_contaminated(demo, place):
    dataset = prepare(demo, place / "published", PrepareConfig(policy=Policy.AS_PUBLISHED))
    parts = tables(dataset)
    assert dataset.info.contaminated
    # Every evaluation photograph is in train through the second archive, the black picture aside or not.
    assert dataset.info.leaked == {"validation": len(parts["validation"]), "test": len(parts["test"])}
    origin = parts["train"]["source"].value_counts()
    assert origin["edf"] == 759  # all of it, its test folder included
    assert len(parts["validation"]) == pytest.approx(627 * 0.25, abs=4)
    assert origin["fer2013"] + len(parts["validation"]) == 627
    assert "Contaminated" in (dataset.folder / "README.md").read_text()


def test_the_same_seed_gives_the_same_dataset(demo, leak_free, place):
    again = prepare(demo, place / "again")
    other = prepare(demo, place / "other", PrepareConfig(seed=7))
    assert again.info.fingerprint == leak_free.info.fingerprint
    assert other.info.fingerprint != leak_free.info.fingerprint


def test_a_zip_its_unpacked_folder_and_its_csv_give_the_same_pixels(tmp_path, place):
    files = class_folders(train=4, test=2)
    zipped = prepare([str(make_zip(tmp_path / "faces.zip", files))], place / "zip")
    folder = prepare([str(make_folder(tmp_path / "faces", files))], place / "folder")
    assert zipped.info.fingerprint == folder.info.fingerprint
    rows = []
    for split, usage, start in (("train", "Training", 0), ("test", "PublicTest", 1000)):
        for emotion in sorted(EMOTIONS):
            for number in range(4 if split == "train" else 2):
                rows.append(f"{EMOTIONS.index(emotion)},{pixels(start + number, emotion)},{usage}")
    csv = prepare([str(make_csv(tmp_path / "faces.csv", rows))], place / "csv")
    assert set(csv.table("test")["pixel_sha"]) == set(zipped.table("test")["pixel_sha"])
    assert csv.counts() == zipped.counts()


def test_reading_back_gives_the_pictures_that_went_in(leak_free, demo):
    split = leak_free.split("validation")
    assert split.images.dtype == np.uint8
    assert split.images.shape == (len(leak_free.table("validation")), 48, 48, 1)
    again = leak_free.encoded("validation", [3, 0, 3])
    assert again[0] == again[2] != again[1]
    schema = pq.read_schema(next(leak_free.folder.glob("train-*.parquet")))
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["label"]["names"] == list(EMOTIONS)


def test_pairs_across_splits_can_be_looked_at(leak_free):
    copies = leak_free.copies()
    assert set(copies["kind"]) == {"exact", "near", "mirrored"}
    assert copies["removed"].all()
    assert copies["similarity"].is_monotonic_decreasing
    counts = copies.drop_duplicates("eval_path").groupby("eval_split").size()
    assert counts["test"] == leak_free.info.audit.sources["fer2013"].cross_split["train/test"].any
    assert copies["eval_image"].iloc[0].startswith(b"\xff\xd8")


def test_conflicting_and_constant_images_leave_train_only(tmp_path, place):
    files = class_folders(train=8, test=4)
    # Every class has a picture that sad has too, so some of them stay in train whatever is drawn.
    for emotion in EMOTIONS:
        files[f"train/{emotion}/conflict.png"] = files["train/sad/conflict.png"] = png(77, "sad")
    files["train/fear/black.png"] = black()
    files["test/sad/black.png"] = black()
    dataset = prepare([str(make_zip(tmp_path / "a.zip", files))], place / "a", PrepareConfig(val_fraction=0.05))
    assert "black.png" in {path.rpartition("/")[2] for path in dataset.table("test")["path"]}
    assert set(dataset.table("train")["flags"]) == {""}
    assert "conflict constant" in set(dataset.table("test")["flags"])
    assert {change.why for change in dataset.info.removed if change.step == "cleaned"} == {
        "identical pictures carry different labels",
        "the photograph is in test",
    }


def test_a_source_without_test_gives_one_by_drawing(tmp_path, place):
    files = {f"{emotion}/{n}.png": png(n, emotion) for emotion in EMOTIONS for n in range(8)}
    dataset = prepare([str(make_folder(tmp_path / "plain", files))], place / "plain")
    assert sums(dataset.info)["split"] == {"train": 28, "validation": 14, "test": 14}
    assert any("no test split" in change.why for change in dataset.info.removed)
    assert_ledger_adds_up(dataset.info)


def test_for_evaluation_only_every_picture_is_test(tmp_path, place):
    config = PrepareConfig(policy=Policy.EVALUATION_ONLY)
    files = {f"{emotion}/{n}.png": png(n, emotion) for emotion in EMOTIONS for n in range(2)}
    files["sad/again.png"] = files["sad/0.png"]  # what it is scored on is what lies there
    dataset = prepare([str(make_folder(tmp_path / "plain", files))], place / "plain", config)
    assert sums(dataset.info)["split"] == {"train": 0, "validation": 0, "test": 15}
    assert not dataset.info.trainable
    assert_ledger_adds_up(dataset.info)
    published = make_zip(tmp_path / "a.zip", class_folders(train=4, test=2))
    dataset = prepare([str(published)], place / "a", config)
    assert sums(dataset.info)["split"] == {"train": 0, "validation": 0, "test": 14}
    assert {path.split("/")[0] for path in dataset.table("test")["path"]} == {"test"}
    assert_ledger_adds_up(dataset.info)


def test_a_published_validation_split_is_kept(tmp_path, place):
    files = class_folders(train=6, test=2)
    files |= {f"val/{emotion}/v.png": png(500, emotion) for emotion in EMOTIONS}
    files["val/happy/leak.png"] = files["test/happy/000.png"]
    dataset = prepare([str(make_zip(tmp_path / "a.zip", files))], place / "a")
    assert sums(dataset.info)["cleaned"] == {"train": 42, "validation": 7, "test": 14}
    assert_ledger_adds_up(dataset.info)


def test_another_sources_new_pictures_join_train(tmp_path, place):
    fer = make_zip(tmp_path / "fer2013.zip", class_folders(train=4, test=2))
    own = {f"test/{emotion}/{n}.png": png(9000 + n, emotion) for emotion in EMOTIONS for n in range(2)}
    own["train/happy/known.jpg"] = jpeg(face(0, "happy"))  # fer2013 has it as PNG
    mine = make_zip(tmp_path / "mine.zip", own)
    dataset = prepare([str(mine), str(fer)], place / "both")
    assert dataset.info.config["primary"] == "fer2013"
    assert set(dataset.table("test")["source"]) == {"fer2013"}
    assert (dataset.table("train")["source"] == "mine").sum() == 14
    assert_ledger_adds_up(dataset.info)


def test_colour_and_other_sizes_are_stored_at_native_size(tmp_path, place):
    rgb = np.zeros((60, 40, 3), np.uint8)
    rgb[..., 2] = np.arange(40)
    from fer_core.data.decode import encode_png

    files = class_folders(train=4, test=2) | {"train/happy/colour.png": encode_png(rgb)}
    source = str(make_zip(tmp_path / "a.zip", files))
    dataset = prepare([source], place / "rgb", PrepareConfig(size=32, color=True, val_fraction=0.2))
    assert (dataset.info.height, dataset.info.width, dataset.info.channels) == (32, 32, 3)
    train = dataset.split("train")
    assert train.images.shape[1:] == (32, 32, 3)
    row = train.table["path"].tolist().index("train/happy/colour.png")
    assert train.images[row, :, :, 2].max() > 30
    assert train.images[row, :, :, 0].max() == 0


# What goes wrong ------------------------------------------------------------------------------------


def leftovers(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_existing_dataset_is_never_overwritten(demo, place):
    (place / "mine").mkdir()
    (place / "mine" / "precious.txt").write_text("x")
    with pytest.raises(DatasetError, match="exists already"):
        prepare(demo, place / "mine")
    assert leftovers(place / "mine") == ["precious.txt"]


@pytest.mark.parametrize("after", [0, 2])
def test_a_full_disk_leaves_nothing_behind(demo, place, monkeypatch, after):
    write, calls = pq.ParquetWriter.write_table, []

    def full(self, *arguments, **options):
        calls.append(1)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, *arguments, **options)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(FerError, match="the disk is full"):
        prepare(demo, place / "full")
    assert leftovers(place) == []


def test_a_stop_leaves_nothing_behind(demo, place):
    def stop(phase, done, total):
        if phase == "Writing train":
            raise Stopped("Stopped.")

    with pytest.raises(Stopped):
        prepare(demo, place / "stopped", progress=stop)
    assert leftovers(place) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from fer_core.data.prepare import prepare

def kill(phase, done, total):
    if phase == "Writing validation":
        os.kill(os.getpid(), signal.SIGKILL)

prepare(sys.argv[2:], Path(sys.argv[1]), progress=kill)
"""


def test_what_a_killed_prepare_left_is_removed_by_the_next(demo, place):
    subprocess.run([sys.executable, "-c", KILLED, str(place / "killed"), *demo], check=False)
    assert len(leftovers(place)) == 1
    assert leftovers(place)[0].startswith(".preparing-killed-")
    prepare(demo, place / "next")
    assert leftovers(place) == ["next"]


def test_the_folder_of_a_living_prepare_is_left_alone(place):
    with dataset_module.partial_folder(place / "one") as one, dataset_module.partial_folder(place / "two"):
        assert one.is_dir()
    assert leftovers(place) == ["one", "two"]


def test_without_training_images_there_is_no_dataset(tmp_path, place):
    files = {f"test/{emotion}/{n}.png": png(n, emotion) for emotion in EMOTIONS for n in range(2)}
    with pytest.raises(SourceError, match="no image is left for train"):
        prepare([str(make_zip(tmp_path / "a.zip", files))], place / "a")
    assert leftovers(place) == []


def test_damaged_datasets_are_told_from_missing_ones(demo, place):
    with pytest.raises(DatasetError, match="no prepared dataset here"):
        Dataset.open(place)
    dataset = prepare(demo, place / "a")
    with pytest.raises(DatasetError, match="No split named 'exam'"):
        dataset.split("exam")
    shard = next(dataset.folder.glob("test-*.parquet"))
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(DatasetError, match="missing or damaged"):
        dataset.split("test")
    path = dataset.folder / "dataset.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 99'))
    with pytest.raises(DatasetError, match="schema version 99"):
        Dataset.open(dataset.folder)
    path.write_text("{")
    with pytest.raises(DatasetError, match="damaged or not ours"):
        Dataset.open(dataset.folder)


def test_quarantined_pictures_are_listed_in_the_dataset(tmp_path, place):
    files = class_folders(train=4, test=2) | {"train/happy/torn.png": png(1)[:200], "train/bored/x.png": png(2)}
    dataset = prepare([str(make_zip(tmp_path / "a.zip", files))], place / "a")
    assert {entry.path for entry in dataset.info.quarantined} == {"a:train/happy/torn.png", "a:train/bored/"}


def test_file_names_that_are_no_text_are_stored_in_a_printable_form(tmp_path, place):
    # \udcff is how Python reads the byte ff in a name.
    files = class_folders(train=4, test=2) | {
        "train/happy/ok\udcff.png": png(50),
        "train/happy/torn\udcff.png": png(1)[:200],
        "train/happy/note\udcff.txt": b"",
        "train/bored\udcff/x.png": png(2),
    }
    folder = make_folder(tmp_path / "f\udcff", files)
    (folder / "train/happy/link\udcff.png").symlink_to("nowhere")
    dataset = prepare([str(folder)], place / "a")
    again = Dataset.open(dataset.folder)
    stored = pd.concat(tables(again).values())
    assert "train/happy/ok\ufffd.png" in set(stored["path"])
    assert {entry.path for entry in again.info.quarantined} == {
        "f:train/happy/torn\ufffd.png",
        "f:train/happy/note\ufffd.txt",
        "f:train/happy/link\ufffd.png",
        "f:train/bored\ufffd/",
    }
