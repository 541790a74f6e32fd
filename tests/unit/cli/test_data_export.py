"""``python -m fer_core data export``."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest

from fer_core.data.config import Policy
from fer_core.data.prepare import PrepareConfig, prepare

from ...conftest import ROOT
from ..command_line import call
from ..data.pictures import class_folders, make_zip


@pytest.fixture
def dataset(tmp_path, workspace):
    archive = make_zip(tmp_path / "fer2013.zip", class_folders(train=6, test=2))
    return prepare([str(archive)], workspace.datasets / "mine")


def test_a_dataset_becomes_class_folders(dataset, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capfd, "data", "export", "mine", "--out", "out")
    assert (code, out) == (0, f"{tmp_path / 'out'}\n")
    assert "Writing train" in err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md", "TEST", "TRAIN", "VAL", "manifest.csv"
    ]  # fmt: skip
    pictures = list((tmp_path / "out" / "TRAIN").glob("*/*.png"))
    assert len(pictures) == sum(dataset.counts()["train"].values())


def test_a_dataset_becomes_csv_files_with_folds(dataset, tmp_path, capfd):
    out = tmp_path / "deep" / "out"
    how = ("--format", "csv", "--folds", "5", "--seed", "7", "--json")
    code, printed, _ = call(capfd, "data", "export", "mine", "--out", out, *how)
    assert code == 0
    assert json.loads(printed) == {
        "dataset": "mine", "format": "csv", "folder": str(out), "counts": dataset.counts()
    }  # fmt: skip
    files = {path.name for path in out.iterdir()}
    assert files == {"README.md", "manifest.csv", "train.csv", "validation.csv", "test.csv"}
    table = pd.read_csv(out / "manifest.csv")
    assert set(table.loc[table["split"] == "train", "fold"]) == set(range(5))


def test_what_a_reader_should_know_is_said(tmp_path, workspace, capfd):
    archive = make_zip(tmp_path / "fer2013.zip", class_folders(train=6, test=2))
    again = make_zip(tmp_path / "again.zip", class_folders(train=6, test=2))
    prepare([str(archive), str(again)], workspace.datasets / "leaky", PrepareConfig(policy=Policy.AS_PUBLISHED))
    assert call(capfd, "data", "balance", "leaky", "--out", "more", "--recipe", "none", "--target", "20")[0] == 0
    code, _, err = call(capfd, "data", "export", "more", "--out", tmp_path / "out", "--format", "csv")
    assert code == 0
    assert "Contaminated" in err
    assert "Augmented images have no file in a source" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nothing", "--out", "OUT/new"], "No prepared dataset named or at 'nothing'"),
        (["mine", "--out", "OUT"], "exists already"),
        (["mine", "--out", "OUT/new", "--format", "png"], "folders"),
        (["mine", "--out", "OUT/new", "--folds", "1"], "--folds"),
        (["mine", "--out", "OUT/new", "--folds", "999"], "999 folds of"),
        (["mine", "--out", "OUT/file/new"], "file"),
        (["mine", "--out", "~nouser/x"], "no home folder of that user"),
    ],
)
def test_wrong_calls_end_with_one_line_and_exit_code_2(dataset, tmp_path, capfd, words, says):
    place = tmp_path / "place"
    place.mkdir()
    (place / "file").write_text("x")
    code, out, err = call(capfd, "data", "export", *(word.replace("OUT", str(place)) for word in words))
    assert (code, out) == (2, "")
    assert says in err.splitlines()[-1]
    assert "Traceback" not in err
    assert [path.name for path in place.iterdir()] == ["file"]


INTERRUPTED = """
import contextlib, os, signal, sys
from fer_core.cli import data_export
from fer_core.cli.app import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started without it

def interrupt(phase, done, total):
    if phase == "Writing validation":
        print(*os.listdir(os.path.dirname(sys.argv[-1])))
        os.kill(os.getpid(), signal.SIGINT)

data_export.progress_bar = lambda: contextlib.nullcontext(interrupt)
main()
"""


def test_ctrl_c_leaves_nothing(dataset, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    command = [sys.executable, "-c", INTERRUPTED, "data", "export", "mine", "--out", str(place / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.startswith(".preparing-out-")
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert list(place.iterdir()) == []
