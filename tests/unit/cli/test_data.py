"""``python -m fer_core data``, as its users call it: a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fer_core.data.config import AugmentConfig
from fer_core.data.dataset import Dataset
from fer_core.data.prepare import prepare
from fer_core.emotions import EMOTIONS
from fer_core.jobs.store import Job, list_jobs

from ...conftest import ROOT
from ..command_line import call as run
from ..data.pictures import class_folders, make_zip, png


def call(*words: object, cwd=None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fer_core", "data", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # also from another folder
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """An archive and the dataset made of it."""
    archive = make_zip(tmp_path_factory.mktemp("drawn") / "fer2013.zip", class_folders(train=6, test=2))
    return archive, prepare([str(archive)], archive.with_name("base"))


@pytest.fixture
def archive(tmp_path, drawn):
    return Path(shutil.copy(drawn[0], tmp_path))


@pytest.fixture
def base(workspace, drawn):
    """A copy of the dataset in the workspace."""
    return Dataset.open(Path(shutil.copytree(drawn[1].folder, workspace.datasets / "base")))


AUDIT_KEYS = {"images", "exact_groups", "redundant", "conflicting_groups", "constant", "cross_split"}


def test_prepare_balance_and_audit_print_their_documents(archive, workspace):
    prepared = call("prepare", archive, "--out", "mine", "--json")
    assert prepared.returncode == 0, prepared.stderr
    document = json.loads(prepared.stdout)
    assert set(document) == {"counts", "audit", "findings", "left_out", "seconds"}
    assert set(document["audit"]) == AUDIT_KEYS | {"reexports", "sources"}
    assert set(document["audit"]["sources"]["fer2013"]) == AUDIT_KEYS
    assert document["audit"]["cross_split"]["train/test"] == {"exact": 0, "near": 0, "mirrored": 0, "any": 0}
    assert list(document["counts"]["cleaned"]["train"]) == list(EMOTIONS)
    (job,) = list_jobs(workspace.jobs)
    assert (job.name, job.spec().kind, str(job.state())) == ("prepare-mine-1", "prepare", "done")
    assert job.status().result["dataset"] == str(workspace.datasets / "mine")

    balanced = call("balance", "mine", "--out", "even", "--target-of", "disgusted=9", "--json")
    assert balanced.returncode == 0, balanced.stderr
    assert json.loads(balanced.stdout)["counts"]["balanced"]["train"]["disgust"] == 9

    for what in ("mine", archive):
        audited = json.loads(call("audit", what, "--json").stdout)
        assert set(audited) == {"counts", "audit", "findings", "left_out", "seconds"}


def test_a_detached_prepare_is_a_job_that_can_be_run_again_from_anywhere(archive, workspace):
    started = call("prepare", archive.name, "--out", "mine", "--detach", cwd=archive.parent)
    assert started.returncode == 0, started.stderr
    job = Job.open(workspace.jobs / started.stdout.strip())
    assert str(archive) in " ".join(job.spec().arguments)
    deadline = time.monotonic() + 60
    while job.state().alive and time.monotonic() < deadline:
        time.sleep(0.05)
    assert str(job.state()) == "done", job.log_tail()
    assert (workspace.datasets / "mine" / "dataset.json").is_file()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["prepare", "nowhere.zip", "--out", "x"], "no such file"),
        (["prepare", "ARCHIVE", "--out", "x y"], "cannot be the name"),
        (["prepare", "ARCHIVE", "--out", "x", "--policy", "anything"], "leak-free"),
        (["prepare", "ARCHIVE", "--out", "x", "--val-fraction", "2"], "0.9"),
        (["prepare", "ARCHIVE", "again=ARCHIVE", "again=ARCHIVE", "--out", "x"], "Two sources are named"),
        (["balance", "nothing", "--out", "x"], "No prepared dataset"),
        (["prepare", "ARCHIVE", "--out", "~nouser/x"], "no home folder of that user"),
        (["prepare", "ARCHIVE", "--out", "./x\udcff"], "not plain text"),
        (["audit", "~nouser/x"], "no home folder of that user"),
        (["balance", "x", "--out", "y", "--target", "99999999999999"], "1000000"),
        (["balance", "x", "--out", "y", "--cap", "99999999999999"], "1000000"),
        (["audit", "nothing"], "neither a prepared dataset nor a file"),
    ],
)
def test_wrong_calls_end_with_one_line_and_exit_code_2(archive, workspace, capfd, words, says):
    code, out, err = run(capfd, "data", *(word.replace("ARCHIVE", str(archive)) for word in words))
    assert (code, out) == (2, "")
    assert says in err
    assert "Traceback" not in err


def test_a_source_whose_name_is_no_text_is_one_line(tmp_path, archive):
    odd = archive.rename(tmp_path / "faces\udcff.zip")
    done = call("prepare", odd, "--out", "x")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.endswith(
        "faces\ufffd.zip: this name is not plain text, so the command cannot be written down. Rename it."
    )


@pytest.mark.parametrize("target", ["disgust=99999999999999", "disgust=" + "9" * 5000, "disgust=many", "bored=5"])
def test_a_senseless_target_of_a_class_is_refused(base, workspace, capfd, target):
    code, _, err = run(capfd, "data", "balance", "base", "--out", "even", "--target-of", target)
    assert code == 2
    assert "N from 1 to 1,000,000" in err
    assert list_jobs(workspace.jobs) == []


@pytest.mark.parametrize(
    ("strengths", "says"),
    [
        (["rotatoin=20"], "--augment rotatoin=20: expected STRENGTH=X with one of flip (0 to 1), rotation (0 to 45), "),
        (["rotation=90"], "rotation (0 to 45)"),
        (["flip"], "expected STRENGTH=X"),
        (["brightness=nan"], "brightness (0 to 0.5)"),
        (["rotation=0", "shear=0", "brightness=0", "contrast=0"], "children would equal their original"),
    ],
)
def test_senseless_strengths_of_augmentation_are_refused(base, workspace, capfd, strengths, says):
    words = [word for strength in strengths for word in ("--augment", strength)]
    code, out, err = run(capfd, "data", "balance", "base", "--out", "even", *words)
    assert (code, out) == (2, "")
    assert says in err
    assert len(err.strip().splitlines()) == 1
    assert list_jobs(workspace.jobs) == []


def test_balancing_that_changes_nothing_is_told(archive, workspace, capfd):
    code, _, err = run(capfd, "data", "prepare", archive, "--out", "mine", "--balance")
    assert (code, "Balancing changed nothing" in err) == (0, True)
    assert run(capfd, "data", "prepare", archive, "--out", "plain")[0] == 0
    code, _, err = run(capfd, "data", "balance", "plain", "--out", "same")
    assert (code, err.startswith("Nothing would change: no class of plain is below its target")) == (2, True)
    code, _, err = run(capfd, "data", "balance", "plain", "--out", "same", "--target", "9", "--cap", "8")
    assert (code, "A target of 9 is above the cap of 8" in err) == (2, True)
    assert [job.name for job in list_jobs(workspace.jobs)] == ["prepare-plain-1", "prepare-mine-1"]


def test_strengths_of_augmentation_are_taken_and_hue_on_gray_is_told(base, workspace, capfd):
    how = ["--target", "9", "--augment", "rotation=20", "--augment", "hue=40"]
    code, _, err = run(capfd, "data", "balance", "base", "--out", "grown", *how)
    assert code == 0
    assert "base is gray: hue changes nothing there." in err
    made = Dataset.open(workspace.datasets / "grown").info.config["balance"]["augment"]
    assert made == AugmentConfig(rotation=20, hue=40).model_dump()
    (job,) = list_jobs(workspace.jobs)
    assert job.spec().arguments[-4:] == ["--augment", "rotation=20", "--augment", "hue=40"]


def test_what_cannot_be_used_is_said(tmp_path, workspace):
    files = class_folders(train=4, test=2) | {"train/happy/torn.png": png(1)[:100]}
    done = call("prepare", make_zip(tmp_path / "a.zip", files), "--out", "mine")
    assert done.returncode == 0
    assert "train/happy/torn.png" in done.stderr


def test_a_source_is_added_to_those_of_a_dataset_which_stays_as_it_is(archive, tmp_path, workspace, capfd):
    how = ["--val-fraction", "0.5", "--seed", "7", "--label", "contempt=drop"]
    assert run(capfd, "data", "prepare", archive, "--out", "base", *how)[0] == 0
    base = Dataset.open(workspace.datasets / "base")
    more = {f"train/happy/{n}.png": png(7000 + n) for n in range(5)} | {"train/joyous/x.png": png(7100)}
    added = make_zip(tmp_path / "more.zip", more)

    code, _, err = run(capfd, "data", "prepare", added, "--add-to", "base", "--out", "both", "--label", "joyous=happy")
    assert code == 0, err
    both = Dataset.open(workspace.datasets / "both")
    assert both.info.counts["read"]["train"]["happy"] == base.info.counts["read"]["train"]["happy"] + 6
    assert [source["name"] for source in both.info.config["sources"]] == ["fer2013", "more"]
    for split in ("validation", "test"):  # what models are compared on
        assert both.table(split)["path"].tolist() == base.table(split)["path"].tolist()
    kept = {name: base.info.config[name] for name in ("policy", "val_fraction", "seed", "size", "color")}
    assert {name: both.info.config[name] for name in kept} == kept
    assert both.info.config["labels"] == {"contempt": "drop", "joyous": "happy"}
    assert Dataset.open(workspace.datasets / "base").info == base.info

    code, _, err = run(capfd, "data", "prepare", added, "--add-to", "base", "--out", "third", "--seed", "8")
    assert code == 0, err
    config = Dataset.open(workspace.datasets / "third").info.config
    assert (config["seed"], config["val_fraction"]) == (8, 0.5)


@pytest.mark.parametrize("wrong", ["twice", "gone", "no dataset"])
def test_what_cannot_be_added_is_one_line(archive, tmp_path, workspace, capfd, wrong):
    assert run(capfd, "data", "prepare", archive, "--out", "base")[0] == 0
    more = make_zip(tmp_path / "more.zip", {"happy/1.png": png(7000)})
    if wrong == "gone":
        archive.unlink()
    sources, base, says = {
        "twice": (archive, "base", "base has this source already"),
        "gone": (more, "base", "fer2013.zip: no such file or folder"),
        "no dataset": (more, "other", "other"),
    }[wrong]
    code, _, err = run(capfd, "data", "prepare", sources, "--add-to", base, "--out", "new")
    assert code == 2
    assert says in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not (workspace.datasets / "new").exists()


def test_a_decision_that_changes_nothing_about_an_image_is_told(base, capfd):
    train, test = (base.table(split)["path"].iloc[0] for split in ("train", "test"))
    told = {}
    for action in ("drop-train", "drop-evaluation", "drop"):
        code, _, err = run(capfd, "data", "decide", "base", train, test, "--action", action)
        assert code == 0
        told[action] = "changes nothing about 1 of them: they are in no split that it is about." in err
    assert told == {"drop-train": True, "drop-evaluation": True, "drop": False}


def test_decisions_are_made_listed_taken_back_and_replayed(archive, workspace, capfd, tmp_path):
    base = prepare([str(archive)], workspace.datasets / "base")
    first, second = base.table("train")["path"].head(2)
    words = ["data", "decide", "base"]
    why = ["--reason", "a grin"]
    assert run(capfd, *words, first, "--action", "relabel", "--label", "Neutrality", *why)[0] == 0
    code, out, err = run(capfd, *words, f"fer2013:{second}", "--action", "drop", "--json")
    assert code == 0, err
    assert [decision["path"] for decision in json.loads(out)] == [second]
    _, out, _ = run(capfd, *words)
    listed = tmp_path / "decisions.csv"
    listed.write_text(out)
    assert [line.split(",")[1:3] for line in out.splitlines()[1:]] == [["relabel", "neutral"], ["drop", ""]]
    assert run(capfd, *words, "--undo")[0] == 0
    _, out, err = run(capfd, *words)
    assert ("drop" in out, err) == (False, "")

    code, out, err = run(capfd, "data", "prepare", "--add-to", "base", "--decisions", listed, "--out", "next", "--json")
    assert code == 0, err
    made = Dataset.open(workspace.datasets / "next")
    table = made.table("train").set_index("path")
    assert second not in table.index
    assert EMOTIONS[table.loc[first, "label"]] == "neutral"
    assert [decision["reason"] for decision in made.info.config["decisions"]] == ["a grin", ""]
    assert run(capfd, *words)[2] == "next was made with them.\n"
    # Once more, on top of what was decided before.
    code, out, err = run(capfd, "data", "prepare", "--add-to", "next", "--decisions", listed, "--out", "third")
    assert code == 0, err
    assert Dataset.open(workspace.datasets / "third").info.fingerprint == made.info.fingerprint
    assert "Decisions replayed: 4 of 4." in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["decide", "base", "nope.png", "--action", "drop"], "is no image of it"),
        (["decide", "base", "nope.png"], "Say what to do with them"),
        (["decide", "base", "--action", "drop"], "Say which images"),
        (["decide", "base", "--finding", "ugly", "--action", "drop"], "no findings 'ugly'"),
        (["decide", "base", "--undo", "--action", "drop"], "--undo takes nothing else"),
        (["decide", "base", "FIRST", "--action", "relabel"], "needs a label, one of"),
        (["decide", "base", "FIRST", "--action", "relabel", "--label", "glad"], "needs a label, one of"),
        (["prepare", "--out", "x"], "name at least one source"),
        (["prepare", "--add-to", "base", "--decisions", "none.csv", "--out", "x"], "no such file"),
        (["prepare", "ARCHIVE", "--validation", "usage", "--out", "x"], "no image of usage PublicTest"),
        (["audit", "base", "--findings", "ARCHIVE"], "exists already"),
    ],
)
def test_what_cannot_be_decided_is_one_line(archive, base, capfd, words, says):
    names = {"ARCHIVE": str(archive), "FIRST": base.table("train")["path"].iloc[0]}
    code, out, err = run(capfd, "data", *(names.get(word, word) for word in words))
    assert code == 2
    assert says in err
    assert "Traceback" not in err
    assert out == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["prepare", "nowhere.zip"], "no such file"),
        (["prepare", "ARCHIVE", "again=ARCHIVE", "again=ARCHIVE"], "Two sources are named"),
        (["prepare", "ARCHIVE", "--label", "contempt=bored"], "give one of angry"),
        (["prepare", "ARCHIVE", "--map", "MAP"], "'raf', which is no source here: put them under one of fer2013."),
        (["prepare", "ARCHIVE", "--decisions", "none.csv"], "no such file"),
        (["prepare", "--add-to", "other"], "No prepared dataset"),
        (["balance", "other"], "No prepared dataset"),
        (["balance", "base", "--target-of", "bored=5"], "--target-of bored=5"),
        (["prepare", "ARCHIVE"], "exists already"),
        (["balance", "base", "--target", "9"], "exists already"),
    ],
)
def test_a_name_that_is_taken_is_told_after_what_else_is_wrong(archive, base, workspace, capfd, tmp_path, words, says):
    (tmp_path / "map.yaml").write_text("raf:\n  1: surprise\n")
    names = {"ARCHIVE": str(archive), "MAP": str(tmp_path / "map.yaml")}
    words = [word.replace("=ARCHIVE", f"={archive}") for word in words]
    code, out, err = run(capfd, "data", *(names.get(word, word) for word in words), "--out", "base")
    assert (code, out) == (2, "")
    assert says in err
    assert len(err.strip().splitlines()) == 1
    assert list_jobs(workspace.jobs) == []


def test_an_audit_writes_its_findings(archive, base, capfd, tmp_path):
    for what in (archive, "base"):
        file = tmp_path / f"{Path(what).stem}.csv"
        code, _, err = run(capfd, "data", "audit", what, "--findings", file)
        assert code == 0, err
        assert "findings to" in err
        assert file.read_text().startswith("reason,n,sources,splits,labels,similarity,told,action,images,pixel_sha")
