"""Decisions about single pictures: recorded, undone, read back, and replayed."""

from __future__ import annotations

import csv
import io
import threading

import pytest

from fer_core.data.config import PrepareConfig, Validation
from fer_core.data.dataset import LEFT_OUT, Dataset
from fer_core.data.decisions import (
    Action,
    Pending,
    Picture,
    decisions_csv,
    now,
    pictures_found,
    pictures_named,
    read_decisions,
)
from fer_core.data.prepare import prepare
from fer_core.data.split import Policy
from fer_core.emotions import EMOTIONS, INDEX
from fer_core.errors import DatasetError, FerError, SourceError

from .pictures import class_folders, make_csv, make_zip, pixels, png


@pytest.fixture
def source(tmp_path):
    files = class_folders(train=8, test=4)
    files["train/sad/conflict.png"] = files["train/happy/conflict.png"] = png(77, "sad")
    return str(make_zip(tmp_path / "faces.zip", files))


def where(dataset: Dataset) -> dict[str, tuple[str, str]]:
    """path -> (split, label) of every image of a dataset."""
    return {
        path: (split, EMOTIONS[label])
        for split in ("train", "validation", "test")
        for path, label in zip(dataset.table(split)["path"], dataset.table(split)["label"], strict=True)
    }


def decided(source, place, name, decisions, **settings):
    return prepare([source], place / name, PrepareConfig(decisions=decisions, **settings))


def first(dataset: Dataset, split: str, n: int = 1) -> list[Picture]:
    return pictures_named(dataset, dataset.table(split)["path"].head(n).tolist())


def test_each_action_does_what_it_says_and_moves_nothing_else(source, place):
    base = prepare([source], place / "base")
    train, test = first(base, "train", 3), first(base, "test", 2)
    made = decided(
        source,
        place,
        "made",
        [
            train[0].decision(Action.DROP),
            train[1].decision(Action.DROP_EVALUATION),  # it is in train: nothing happens
            train[2].decision(Action.RELABEL, "neutral"),
            test[0].decision(Action.DROP_EVALUATION),
            test[1].decision(Action.DROP_TRAIN),
        ],
    )
    expected = where(base)
    del expected[train[0].path], expected[test[0].path]
    expected[train[2].path] = ("train", "neutral")
    assert where(made) == expected
    left = made.table(LEFT_OUT)
    assert dict(zip(left["path"], left["why"], strict=True))[train[0].path] == "decided: drop"
    assert sum(made.info.counts["decided"]["train"].values()) == sum(made.info.counts["split"]["train"].values()) - 1
    assert made.info.unmatched_decisions == 0


def test_a_conflict_is_settled_by_relabelling_or_keeping(source, place):
    base = prepare([source], place / "base", PrepareConfig(val_fraction=0.05))
    assert not [path for path in where(base) if "conflict" in path]
    (picture,) = pictures_found(base, "conflicting labels")
    relabelled = decided(source, place, "a", [picture.decision(Action.RELABEL, "sad")], val_fraction=0.05)
    kept = decided(source, place, "b", [picture.decision(Action.KEEP)], val_fraction=0.05)
    assert [label for path, (_, label) in where(relabelled).items() if "conflict" in path] == ["sad"]
    assert len([path for path in where(kept) if "conflict" in path]) == 1
    assert "conflicting labels" not in [entry.reason for entry in relabelled.info.findings]


def test_merging_keeps_the_first_of_a_photograph(tmp_path, place):
    from .pictures import face, jpeg

    files = class_folders(train=8, test=4)
    files["train/happy/zz-near.jpg"] = jpeg(face(3))
    source = str(make_zip(tmp_path / "faces.zip", files))
    config = {"policy": Policy.AS_PUBLISHED, "val_fraction": 0.01}
    base = prepare([source], place / "base", PrepareConfig(**config))
    pictures = pictures_named(base, ["train/happy/003.png", "train/happy/zz-near.jpg"])
    made = decided(source, place, "made", [p.decision(Action.MERGE, date="2026-01-01") for p in pictures], **config)
    assert where(base).keys() - where(made).keys() == {"train/happy/zz-near.jpg"}


def test_a_decision_holds_for_the_same_picture_in_another_source(demo, place):
    config = PrepareConfig(policy=Policy.AS_PUBLISHED)
    base = prepare(demo, place / "base", config)
    table = base.table("train")
    path = table.loc[(table["source"] == "fer2013") & (table["label"] == INDEX["happy"]), "path"].iloc[0]
    (picture,) = pictures_named(base, [f"fer2013:{path}"])
    made = prepare(
        demo, place / "made", config.model_copy(update={"decisions": [picture.decision(Action.RELABEL, "disgust")]})
    )
    grown = [made.counts()["train"][emotion] - base.counts()["train"][emotion] for emotion in ("disgust", "happy")]
    assert grown[0] >= 2  # the JPEG and the PNG
    assert grown[0] == -grown[1]


def test_where_no_image_has_those_pixels_the_name_tells_and_else_it_is_counted(source, place):
    base = prepare([source], place / "base")
    (picture,) = first(base, "train")
    stranger = Picture("faces", "train/happy/none.png", "0" * 64)
    decisions = [picture.decision(Action.DROP), stranger.decision(Action.DROP)]
    larger = decided(source, place, "larger", decisions, size=64)
    assert picture.path not in where(larger)
    assert larger.info.unmatched_decisions == 1


def test_pending_decisions_are_kept_in_order_and_undone_together(source, place):
    dataset = prepare([source], place / "base")
    pending = Pending(dataset.folder)
    one, *others = first(dataset, "train", 3)
    assert pending.undo() == []
    pending.add([one.decision(Action.RELABEL, "sad", reason='mouth, "down"\r and = so on')])
    together = now()
    pending.add([picture.decision(Action.DROP, date=together) for picture in others])
    assert [decision.action for decision in read_decisions(pending.file)] == ["relabel", "drop", "drop"]
    assert [decision.path for decision in pending.undo()] == [picture.path for picture in others]
    (left,) = pending.read()
    assert (left.label, left.reason) == ("sad", 'mouth, "down" and = so on')
    assert pending.undo(together) == []  # another than what is meant
    pending.add([picture.decision(Action.KEEP) for picture in (one, others[0])], over=False)
    assert [decision.path for decision in pending.read()] == [one.path, others[0].path]
    pending.undo()
    pending.undo(left.date)
    assert not pending.file.exists()


def test_decisions_that_could_not_be_read_again_are_refused_and_those_there_stay(tmp_path, monkeypatch):
    pending = Pending(tmp_path)
    picture = Picture("fer2013", "train/sad/1.png", "0" * 64)
    pending.add([picture.decision(Action.DROP)])
    before = pending.file.read_bytes()
    monkeypatch.setattr("fer_core.data.decisions._MAX_BYTES", len(before) + 64)
    with pytest.raises(FerError, match=r"with these decisions it would be larger than .* Create a dataset with those"):
        pending.add([picture.decision(Action.KEEP)])
    assert pending.file.read_bytes() == before
    assert [decision.action for decision in pending.undo()] == [Action.DROP]


def test_a_decision_is_added_behind_thousands_without_writing_them_anew(tmp_path, monkeypatch):
    pending, pictures = Pending(tmp_path), [Picture("fer2013", f"train/sad/{n}.png", f"{n:064}") for n in range(3000)]
    pending.add([picture.decision(Action.DROP) for picture in pictures])
    known, written = pending.read(), []
    write = decisions_csv
    monkeypatch.setattr("fer_core.data.decisions.decisions_csv", lambda new: written.append(len(new)) or write(new))
    monkeypatch.setattr("fer_core.data.decisions.unguarded", lambda text: written.append(text) or text)
    pending.add([pictures[0].decision(Action.KEEP, date=now())])
    assert pending.read()[:-1] == known
    assert [entry for entry in written if isinstance(entry, int)] == [1]
    assert len(written) == 1 + 7  # nor are the cells of known lines looked at again


def test_a_decision_is_added_to_what_a_spreadsheet_has_written(tmp_path):
    pending, picture = Pending(tmp_path), Picture("fer2013", "train/sad/1.png", "0" * 64)
    rows = [["pixel_sha", "note", "path", "source", "label", "action", "date"], ["1" * 64, "x", "a", "b", "", "drop"]]
    rows[1].append(now())
    text = "\r\n".join(",".join([*row, "reason" if row is rows[0] else "seen"]) for row in rows)
    pending.file.write_text(f"\ufeff{text}")  # no end of the last line
    pending.add([picture.decision(Action.KEEP)])
    assert [(one.action, one.path, one.reason) for one in pending.read()] == [
        ("drop", "a", "seen"),
        ("keep", "train/sad/1.png", ""),
    ]


def test_a_quote_that_was_never_closed_swallows_no_later_decision(tmp_path):
    pending, picture = Pending(tmp_path), Picture("fer2013", "train/sad/1.png", "0" * 64)
    pending.add([picture.decision(Action.DROP)])
    with pending.file.open("a") as file:
        file.write(f'{now()},keep,,a,b,{"1" * 64},"seen\n')
    pending.add([picture.decision(Action.KEEP)])
    assert [(one.action, one.reason) for one in pending.read()] == [("drop", ""), ("keep", "seen"), ("keep", "")]


def test_writers_at_the_same_time_lose_nothing(source, place):
    dataset = prepare([source], place / "base")
    pictures = first(dataset, "train", 8)
    writers = [
        threading.Thread(target=Pending(dataset.folder).add, args=([picture.decision(Action.DROP)],))
        for picture in pictures
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert {decision.path for decision in Pending(dataset.folder).read()} == {picture.path for picture in pictures}


def test_the_same_decisions_give_the_same_dataset(source, place, tmp_path):
    base = prepare([source], place / "base")
    Pending(base.folder).add([picture.decision(Action.RELABEL, "fear", "seen") for picture in first(base, "train", 4)])
    decisions = read_decisions(Pending(base.folder).file)
    one, two = decided(source, place, "one", decisions), decided(source, place, "two", decisions)
    assert one.info.fingerprint == two.info.fingerprint != base.info.fingerprint
    again = PrepareConfig.of_dataset(one.info.config)
    assert again.decisions == decisions  # with reason and date
    file = tmp_path / "again.csv"
    file.write_text(decisions_csv(again.decisions))
    assert read_decisions(file) == decisions


HEAD = "date,action,label,source,path,pixel_sha,reason\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not a list of decisions"),
        ("a,b\n1,2\n", "not a list of decisions"),
        (HEAD + "2026-01-01,burn,,a,b,0123456789,\n", "decision 1, action"),
        (HEAD + "2026-01-01,relabel,glad,a,b,0123456789,\n", "relabel needs a label"),
        (HEAD + "2026-01-01,relabel,3,a,b,0123456789,\n", "relabel needs a label"),
        (HEAD + "2026-01-01,drop,sad,a,b,0123456789,\n", "drop takes no label"),
        (HEAD + "yesterday,drop,,a,b,0123456789,\n", "decision 1"),
        (HEAD + "2026-01-01,drop\n", "decision 1"),
        (HEAD + "2026-01-01,drop,,a,b,0123456789,'" + "x" * 200_000, "not a readable CSV"),
        ("\x00\udcff", "not a readable CSV"),
    ],
)  # fmt: skip
def test_files_that_are_no_decisions_are_told(tmp_path, text, told):
    file = tmp_path / "decisions.csv"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(FerError, match=told):
        read_decisions(file)


@pytest.mark.parametrize("label", ["fear", "Fearful", " AFRAID", "2_fear"])
def test_a_new_label_may_be_spelled_as_in_sources(tmp_path, label):
    file = tmp_path / "decisions.csv"
    file.write_text(HEAD + f"2026-01-01,relabel,{label},a,b,0123456789,\n")
    (decision,) = read_decisions(file)
    assert decision.label == "fear"
    assert Picture("a", "b", "0123456789").decision(Action.RELABEL, label).label == "fear"


@pytest.mark.parametrize(
    ("path", "cell"),
    [
        ("a .jpg", "a .jpg"),
        (" a.jpg", " a.jpg"),
        ("a.jpg ", "a.jpg "),
        ("=1+1/a.jpg", "'=1+1/a.jpg"),
        ("'=1+1/a.jpg", "''=1+1/a.jpg"),
        ("'a.jpg", "'a.jpg"),
        ("\ta.jpg", "'\ta.jpg"),
    ],
)
def test_paths_and_reasons_of_strangers_are_no_formulas_and_come_back_as_they_were(tmp_path, path, cell):
    decision = Picture("a", path, "0123456789").decision(Action.DROP, reason="@SUM(A1) - looks sad")
    text = decisions_csv([decision])
    row = next(csv.DictReader(io.StringIO(text)))
    assert (row["path"], row["reason"]) == (cell, "'@SUM(A1) - looks sad")
    file = tmp_path / "decisions.csv"
    file.write_text(text)
    assert read_decisions(file) == [decision]


def test_images_that_are_not_there_are_told(source, place):
    dataset = prepare([source], place / "base")
    with pytest.raises(DatasetError, match="is no image of it"):
        pictures_named(dataset, ["train/happy/nope.png"])
    sha = dataset.table("train")["pixel_sha"].iloc[0]
    assert pictures_named(dataset, [sha[:12]])[0].pixel_sha == sha
    with pytest.raises(DatasetError, match="no findings 'ugly'"):
        pictures_found(dataset, "ugly")


def test_fer2013s_own_usage_can_be_the_split(tmp_path, place):
    rows = [
        f"{label},{pixels(1000 * part + 10 * label + n, emotion)},{usage}"
        for label, emotion in enumerate(EMOTIONS)
        for part, usage in enumerate(("Training", "PublicTest", "PrivateTest"))
        for n in range(3)
    ]
    file = str(make_csv(tmp_path / "fer2013.csv", rows))
    dataset = prepare([file], place / "usage", PrepareConfig(validation=Validation.USAGE))
    usages = {split: set(dataset.table(split)["usage"]) for split in ("train", "validation", "test")}
    assert usages == {"train": {"Training"}, "validation": {"PublicTest"}, "test": {"PrivateTest"}}
    assert {split: sum(n.values()) for split, n in dataset.counts().items()} == dict.fromkeys(usages, 21)
    folder = str(make_zip(tmp_path / "none.zip", class_folders(train=2, test=1)))
    with pytest.raises(SourceError, match="no image of usage PublicTest"):
        prepare([folder], place / "none", PrepareConfig(validation=Validation.USAGE))


def test_a_decision_holds_for_no_other_picture_of_its_source(tmp_path, place):
    from fer_core.data.decode import encode_png

    from .pictures import face

    files = class_folders(train=8, test=4)
    files["train/sad/twin.png"] = encode_png(face(3, "sad") + 1)  # nearly, not quite, train/sad/003.png
    source = str(make_zip(tmp_path / "faces.zip", files))
    config = {"policy": Policy.AS_PUBLISHED, "val_fraction": 0.01}
    base = prepare([source], place / "base", PrepareConfig(**config))
    (twin,) = pictures_named(base, ["train/sad/twin.png"])
    made = decided(source, place, "made", [twin.decision(Action.DROP)], **config)
    assert where(base).keys() - where(made).keys() == {twin.path}
    # Another picture under a name that was decided about is not what was meant.
    other = Picture(twin.source, "train/happy/000.png", "0" * 64)
    again = decided(source, place, "again", [twin.decision(Action.DROP), other.decision(Action.DROP)], **config)
    assert where(again) == where(made)
    assert again.info.unmatched_decisions == 1
