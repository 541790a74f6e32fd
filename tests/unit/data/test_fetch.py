"""``data fetch`` with the real kagglehub, against a stand-in for Kaggle's server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from fer_core.data import fetch as fetch_module
from fer_core.data.fetch import cache_folder, fetch
from fer_core.data.sources import open_source
from fer_core.errors import FerError, Stopped
from fer_core.jobs.state import JobState
from fer_core.jobs.store import list_jobs

from ...conftest import ROOT
from ..command_line import call
from .kaggle_server import NOBODY, REDIRECT, KaggleServer
from .pictures import class_folders, make_zip


@pytest.fixture(autouse=True)
def kaggle(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(REDIRECT)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}{os.pathsep}{ROOT}")
    monkeypatch.setenv("STAND_IN_FOR_KAGGLE", NOBODY)
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def archive(tmp_path):
    return make_zip(tmp_path / "sent.zip", class_folders(train=3, test=1)).read_bytes()


@pytest.fixture
def large(tmp_path):
    """Larger than the megabytes that kagglehub writes at a time."""
    files = class_folders(train=3, test=1) | {"large.bin": os.urandom(3 << 20)}
    return make_zip(tmp_path / "large.zip", files).read_bytes()


def test_a_data_set_is_fetched_and_is_a_source_then(capfd, workspace, archive):
    with KaggleServer(archive) as server:
        code, out, err = call(capfd, "data", "fetch", "fer2013", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["name"] == "fer2013"
    source = open_source(found["source"])
    assert (source.name, len(source.entries)) == ("fer2013", 28)
    assert source.path.is_relative_to(cache_folder() / "msambare" / "fer2013")
    assert server.ranges == [0]
    (job,) = list_jobs(workspace.jobs)
    assert (job.kind, job.state()) == ("fetch", JobState.DONE)


def test_what_was_fetched_is_not_loaded_again(tmp_path, archive):
    with KaggleServer(archive) as server:
        assert fetch("emotion-detection-fer", tmp_path) == fetch("emotion-detection-fer", tmp_path)
    assert server.ranges == [0]


def test_a_stopped_download_goes_on_where_it_was(tmp_path, large):
    def stop_after_a_piece(phase, done, total):
        if "so far" in phase:
            raise Stopped("enough")

    with KaggleServer(large, piece=2 << 20) as server:
        with pytest.raises(Stopped):
            fetch("fer2013", tmp_path, stop_after_a_piece)
        server.piece = 0
        server.go_on.set()
        fetch("fer2013", tmp_path)
    assert server.ranges[0] == 0
    assert server.ranges[-1] > 0


def test_without_a_network_it_is_said_what_to_do(tmp_path):
    with pytest.raises(FerError) as refused:
        fetch("fer2013", tmp_path / "inbox")
    assert str(refused.value) == (
        "Kaggle cannot be reached from this machine. Try again later, or download "
        f"https://www.kaggle.com/datasets/msambare/fer2013 in a browser and put the zip into {tmp_path / 'inbox'}."
    )


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_refusal_is_one_sentence(tmp_path, archive, status):
    with KaggleServer(archive, status=status), pytest.raises(FerError, match="in a browser") as refused:
        fetch("fer2013", tmp_path)
    assert "Traceback" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("sent", [b"no zip", b""])
def test_what_is_no_archive_is_told(tmp_path, sent):
    with KaggleServer(sent), pytest.raises(FerError, match="in a browser"):
        fetch("fer2013", tmp_path)


def test_another_data_set_than_expected_is_told(tmp_path):
    sent = make_zip(tmp_path / "other.zip", {"readme.txt": b"text"}).read_bytes()
    with KaggleServer(sent), pytest.raises(FerError, match="What Kaggle sent is not fer2013"):
        fetch("fer2013", tmp_path)


def test_a_name_that_is_none_and_a_missing_extra_are_told_before_anything_starts(
    capfd, workspace, tmp_path, monkeypatch
):
    code, _, err = call(capfd, "data", "fetch", "affectnet")
    assert code == 2
    assert "There are fer2013, emotion-detection-fer." in err
    assert not workspace.jobs.exists()
    monkeypatch.setattr(fetch_module, "installed", lambda: False)
    with pytest.raises(FerError, match=r"pip install -r requirements-kaggle\.txt\. Or download https"):
        fetch("fer2013", tmp_path)


def test_a_fetch_that_is_stopped_leaves_no_process(workspace, large):
    command = [sys.executable, "-m", "fer_core", "data", "fetch", "fer2013"]
    with KaggleServer(large, piece=2 << 20):
        worker = subprocess.Popen(command, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not (jobs := list_jobs(workspace.jobs)) or "so far" not in jobs[0].status().phase:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        worker.terminate()
        assert worker.wait(30) != 0
    assert jobs[0].state() is JobState.STOPPED
    assert b"Traceback" not in worker.stderr.read()
    children = subprocess.run(["pgrep", "-f", "kagglehub.dataset_download"], capture_output=True, check=False)
    assert children.stdout == b""
