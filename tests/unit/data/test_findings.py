"""What the audit finds, one by one: the reason, the images, where they are, what to do."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from fer_core.data.audit import audit_sources
from fer_core.data.config import PrepareConfig, Validation
from fer_core.data.dataset import LEFT_OUT, SPLITS
from fer_core.data.decode import encode_png
from fer_core.data.findings import ADVICE, FLAGS, Reason, flag_words, write_findings
from fer_core.data.prepare import prepare
from fer_core.data.quality import measure
from fer_core.emotions import EMOTIONS

from .pictures import black, class_folders, face, jpeg, make_csv, make_zip, pixels, png


def dim(image):
    """So dark that hardly anything is seen."""
    return (image.astype(float) * 0.3).astype(np.uint8)


@pytest.fixture
def files():
    files = class_folders(train=4, test=2)
    files["test/happy/exact.png"] = files["train/happy/000.png"]
    files["test/sad/near.jpg"] = jpeg(face(1, "sad"))
    files["test/fear/mirrored.png"] = encode_png(np.ascontiguousarray(face(2, "fear")[:, ::-1]))
    files["train/angry/twice.png"] = files["train/angry/000.png"]
    files["train/disgust/other.png"] = files["train/neutral/001.png"]
    files["train/surprise/near.jpg"] = jpeg(face(1, "surprise"))
    files["train/happy/black.png"] = black()
    files["train/happy/noise.png"] = encode_png(np.random.default_rng(1).integers(100, 104, (48, 48), np.uint8))
    files["train/sad/dark.png"] = encode_png(dim(face(900, "sad")))
    return files


def paths(found, reason):
    return [
        sorted(found.table["path"].iloc[rows].map(lambda path: path.partition("/")[2]))
        for told, rows in zip(found.findings.table["reason"], found.findings.members, strict=True)
        if told == reason
    ]


def test_every_kind_is_found_and_tells_its_images(tmp_path, files):
    found = audit_sources([str(make_zip(tmp_path / "a.zip", files))], (48, 48), 1)
    assert paths(found, Reason.EXACT_LEAK) == [["happy/000.png", "happy/exact.png"]]
    assert paths(found, Reason.NEAR_LEAK) == [["sad/001.png", "sad/near.jpg"]]
    assert paths(found, Reason.MIRRORED_LEAK) == [["fear/002.png", "fear/mirrored.png"]]
    assert paths(found, Reason.EXACT) == [
        ["angry/000.png", "angry/twice.png"],
        ["disgust/other.png", "neutral/001.png"],
    ]
    assert paths(found, Reason.CONFLICT) == [["disgust/other.png", "neutral/001.png"]]
    assert paths(found, Reason.NEAR) == [["surprise/001.png", "surprise/near.jpg"]]
    assert paths(found, Reason.CONSTANT) == [["happy/black.png"]]
    assert paths(found, Reason.FLAT) == [["happy/noise.png"]]
    assert paths(found, Reason.DARK) == [["sad/dark.png"]]
    table = found.findings.table
    assert table["action"].tolist() == [ADVICE[Reason(reason)] for reason in table["reason"]]
    assert table["n"].tolist() == [len(rows) or n for rows, n in zip(found.findings.members, table["n"], strict=True)]
    leak = table[table["reason"] == Reason.EXACT_LEAK].iloc[0]
    assert (leak["sources"], leak["splits"], leak["labels"], leak["similarity"]) == ("a", "train, test", "happy", 1.0)


def test_what_another_source_repeats_is_told_once(demo):
    alone = audit_sources(demo[:1], (48, 48), 1).findings.counts()
    both = audit_sources(demo, (48, 48), 1).findings.counts()
    assert [entry.reason for entry in both] == ["re-export", *(entry.reason for entry in alone)]
    told = {entry.reason: (entry.findings, entry.images) for entry in both if entry.reason not in ("class imbalance",)}
    for entry in alone:
        if entry.reason in told:
            assert told[entry.reason] == (entry.findings, entry.images), entry.reason


def test_imbalance_is_told_in_words(tmp_path):
    files = {f"train/happy/{n}.png": png(n) for n in range(12)} | {
        f"train/sad/{n}.png": png(n, "sad") for n in range(3)
    }
    files |= {f"test/sad/{n}.png": png(100 + n, "sad") for n in range(40)}
    table = audit_sources([str(make_zip(tmp_path / "a.zip", files))], (48, 48), 1).findings.table
    told = table[table["told"] != ""].set_index("reason")["told"]
    assert told["class imbalance"] == "happy has 4.0 times as many images as sad (12 and 3)"
    assert "sad is 20.0% of train and 100.0% of test" in told["split imbalance"].tolist()
    assert "test has no image of angry, disgust, fear, happy, surprise, neutral" in told["split imbalance"].tolist()


def test_blurry_and_bright_pictures_are_measured():
    import cv2

    sharp = face(3)
    smeared = cv2.GaussianBlur(sharp, (0, 0), 6)
    bright = (255 - (255 - sharp.astype(int)) // 4).astype(np.uint8)
    looks = measure(np.stack([sharp, smeared, bright, np.full((48, 48), 250, np.uint8)])).looks()
    assert {name: marked.tolist() for name, marked in looks.items()} == {
        "flat": [False, False, False, True],
        "dark": [False] * 4,
        "bright": [False, False, True, False],
        "blurry": [False, True, False, False],
    }


def test_a_dataset_keeps_its_findings_and_what_was_left_out(tmp_path, place, files):
    dataset = prepare([str(make_zip(tmp_path / "a.zip", files))], place / "a")
    table = dataset.findings()
    assert table is not None
    reasons = table["reason"].to_pylist()
    assert [(entry.reason, entry.findings) for entry in dataset.info.findings] == [
        (reason, reasons.count(reason)) for reason in dict.fromkeys(reasons)
    ]
    images = {image["path"]: image for group in table["images"].to_pylist() for image in group}
    assert images["train/happy/000.png"]["why"] == "the photograph is in test"
    assert images["train/happy/000.png"]["split"] == ""
    assert images["test/happy/exact.png"]["split"] == "test"
    left = dataset.table(LEFT_OUT)
    why = dict(zip(left["path"], left["why"], strict=True))
    assert why["train/happy/black.png"] == "one constant colour" or images["train/happy/black.png"]["split"]
    assert why["train/sad/001.png"] == "the photograph is in test"
    # The same pixels as a picture that is in test: nothing is kept twice.
    assert "train/happy/000.png" not in why
    assert dataset.encoded(LEFT_OUT, [left.index[left["path"] == "train/sad/001.png"][0]]) == [
        files["train/sad/001.png"]
    ]
    stored = {sha for split in (*SPLITS, LEFT_OUT) for sha in dataset.table(split)["pixel_sha"]}
    assert {image["pixel_sha"] for image in images.values()} <= stored
    flags = dict(zip(dataset.table("train")["path"], dataset.table("train")["flags"], strict=True))
    assert flags.get("train/sad/dark.png", "dark") == "dark"
    every = {flag for split in (*SPLITS, LEFT_OUT) for text in dataset.table(split)["flags"] for flag in text.split()}
    assert every <= set(FLAGS)
    assert {reason for reason in reasons if reason in flag_words(" ".join(FLAGS))} == set(flag_words(" ".join(every)))


def test_findings_can_be_written_as_a_table(tmp_path, files):
    found = audit_sources([str(make_zip(tmp_path / "a.zip", files))], (48, 48), 1)
    file = tmp_path / "findings.csv"
    write_findings(file, found.findings, found.table)
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(found.findings.table)
    leak = next(row for row in rows if row["reason"] == "exact copy across splits")
    assert sorted(leak["images"].splitlines()) == [
        "a:test/happy/exact.png (test, happy)",
        "a:train/happy/000.png (train, happy)",
    ]
    known = {f"a:{path}": sha for path, sha in zip(found.table["path"], found.table["pixel_sha"], strict=True)}
    for row in rows:
        images = [line.partition(" (")[0] for line in row["images"].splitlines()]
        assert row["pixel_sha"].splitlines() == [known[image] for image in images]


def test_every_class_has_a_name_in_the_findings(demo, place):
    dataset = prepare(demo, place / "demo")
    table = dataset.findings()
    assert table is not None
    labels = {image["label"] for group in table["images"].to_pylist() for image in group}
    assert labels <= set(EMOTIONS)


def test_a_near_copy_stays_one_whatever_split_another_source_repeats_it_in(tmp_path):
    one, other = face(5), (face(5) * 0.8 + 25).astype(np.uint8)
    fer = class_folders(train=2, test=2) | {"train/happy/a.png": encode_png(one), "test/happy/b.png": encode_png(other)}
    first = str(make_zip(tmp_path / "fer2013.zip", fer))
    second = str(make_zip(tmp_path / "edf.zip", {"test/happy/c.png": encode_png(one)}))
    found = audit_sources([first, second], (48, 48), 1)
    assert paths(found, Reason.NEAR_LEAK) == [["happy/a.png", "happy/b.png"]]
    assert paths(found, Reason.EXACT_LEAK) == []


def test_with_fer2013s_usage_its_repeats_are_judged_as_validation(tmp_path, place):
    rows = [
        f"{label},{pixels(1000 * part + label, emotion)},{usage}"
        for label, emotion in enumerate(EMOTIONS)
        for part, usage in enumerate(("Training", "PublicTest", "PrivateTest"))
    ]
    csv_file = make_csv(tmp_path / "fer2013.csv", [*rows, rows[1]])  # a PublicTest picture twice
    dataset = prepare([str(csv_file)], place / "usage", PrepareConfig(validation=Validation.USAGE))
    table = dataset.findings()
    assert table is not None
    splits = dict(zip(table["reason"].to_pylist(), table["splits"].to_pylist(), strict=True))
    assert splits["exact copies"] == "validation"
