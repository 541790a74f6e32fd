"""``predict`` as a user at a terminal sees it."""

import json
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import pytest

from fer_core.emotions import EMOTIONS
from fer_core.inference.batch import read_summary
from fer_core.inference.images import sample_photograph
from fer_core.inference.served import default_model
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job, list_jobs
from tests.unit.command_line import call
from tests.unit.inference.test_faces import FACE, overlap
from tests.unit.served_models import write_brightness_model


@pytest.fixture(autouse=True)
def model(workspace):
    write_brightness_model(workspace.runs / "bright" / "model.onnx")


def test_json_of_a_photograph_is_one_document_with_the_promised_keys(capfd, workspace):
    code, out, err = call(capfd, "predict", sample_photograph(), "--json")
    (picture,) = json.loads(out)
    assert code == 0
    assert picture["path"] == str(sample_photograph())
    assert picture["error"] is None
    (face,) = picture["faces"]
    assert list(face) == ["box", "score", "emotion", "uncertain", "unreliable", "probabilities"]
    assert overlap(face["box"], FACE) > 0.7
    assert list(face["probabilities"]) == list(EMOTIONS)
    assert max(face["probabilities"], key=face["probabilities"].get) == face["emotion"]
    assert f"Model: {default_model(workspace).name}" in err


def test_some_unreadable_pictures_give_exit_code_one(capfd, tmp_path):
    folder = tmp_path / "album"
    folder.mkdir()
    shutil.copy(sample_photograph(), folder / "a.png")
    (folder / "b.jpg").write_text("no picture")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(sample_photograph(), "c.png")
        archive.writestr("../d.png", b"")
    code, out, _ = call(capfd, "predict", folder, tmp_path / "more.zip", "--json")
    assert code == 1
    pictures = {picture["path"].rpartition("/")[2]: picture for picture in json.loads(out)}
    assert [len(pictures[name]["faces"]) for name in ("a.png", "b.jpg", "c.png", "d.png")] == [1, 0, 1, 0]
    assert "not a picture" in pictures["b.jpg"]["error"]
    assert "leaves the archive" in pictures["d.png"]["error"]


def test_a_picture_without_a_face_says_what_to_try(capfd, tmp_path):
    from PIL import Image

    Image.new("RGB", (200, 200), "gray").save(tmp_path / "wall.png")
    code, out, err = call(capfd, "predict", tmp_path / "wall.png")
    assert code == 0
    assert "no face found" in out
    assert "--detector none" in err
    code, out, _ = call(capfd, "predict", tmp_path / "wall.png", "--detector", "none", "--json")
    assert json.loads(out)[0]["faces"][0]["box"] == [0, 0, 200, 200]


@pytest.mark.parametrize("name", ["fer2013-wide", "bright"])
def test_explain_writes_a_map_for_each_face(capfd, tmp_path, name):
    maps = tmp_path / "maps"
    code, out, _ = call(capfd, "predict", sample_photograph(), "--explain", maps, "--model", name, "--json")
    said = json.loads(out)[0]["faces"][0]["emotion"]
    assert code == 0
    assert [file.name for file in maps.iterdir()] == [f"00001-astronaut-1-{said}.png"]
    code, _, err = call(capfd, "predict", sample_photograph(), "--explain", maps)
    assert code == 2
    assert "there is something here already" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.jpg"], "nowhere.jpg: no such file or folder"),
        (["--detector", "retina", "."], "No face detector is named 'retina'"),
        (["--model", "nope", "."], "No model named or at 'nope'"),
        (["."], "No pictures in ."),
        ([".", "--out", "results"], "No pictures in "),
        (["clip.mp4"], "clip.mp4: no such file or folder"),
        ([".", "--explain", "maps", "--detach"], "--explain is for pictures whose results are printed"),
        (["--threshold", "1.5", "."], "Invalid value for '--threshold'"),
        (["--name", "../x", "."], "'../x' cannot be the name of a job"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_two(capfd, tmp_path, monkeypatch, arguments, message):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    code, out, err = call(capfd, "predict", *arguments)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith(message)
    assert "Traceback" not in err


@pytest.fixture
def album(tmp_path):
    folder = tmp_path / "album"
    folder.mkdir()
    shutil.copy(sample_photograph(), folder / "a.png")
    (folder / "b.jpg").write_text("no picture")
    return folder


def test_out_writes_results_and_prints_their_summary(capfd, workspace, tmp_path, album):
    code, out, err = call(capfd, "predict", album, "--out", tmp_path / "out", "--annotated", "--json")
    summary = json.loads(out)
    assert code == 1
    assert "1 of 2 pictures could not be read" in err
    assert (summary["pictures"], summary["faces"], summary["folder"]) == (2, 1, str(tmp_path / "out"))
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "annotated",
        "faces.csv",
        "results.jsonl",
        "summary.json",
    ]
    (job,) = list_jobs(workspace.jobs)
    assert (job.kind, job.state(), job.status().done) == ("predict", JobState.DONE, 2)
    code, _, err = call(capfd, "predict", album, "--out", tmp_path / "out")
    assert code == 2
    assert "there is something here already" in err


def test_a_detached_job_reads_the_same_and_keeps_it_in_its_folder(capfd, workspace, album, monkeypatch):
    monkeypatch.chdir(album.parent)
    code, out, _ = call(capfd, "predict", "album", "--detach", "--name", "mine", "--threshold", "0.9")
    assert (code, out.strip()) == (0, "mine")
    job = Job(workspace.jobs / "mine")
    assert supervisor.wait(job, 60)
    assert job.state() is JobState.DONE, job.log_tail()
    summary = read_summary(job.folder / "results")
    assert (summary.pictures, summary.threshold) == (2, 0.9)
    assert "1 face in 2 pictures" in job.status().message


@pytest.fixture
def many(tmp_path):
    """An archive that takes much longer to read than it takes to interrupt that."""
    import cv2
    import numpy as np

    data = cv2.imencode(".png", np.zeros((48, 48), np.uint8))[1].tobytes()
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number:05d}.png", data)
    return tmp_path / "many.zip"


def start(*arguments):
    command = [sys.executable, "-m", "fer_core", "predict", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # As in a terminal: what a shell starts in the background ignores Ctrl-C, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


def test_ctrl_c_keeps_the_results_so_far(tmp_path, many):
    process = start(many, "--out", tmp_path / "out")
    results = tmp_path / "out" / "results.jsonl"
    wait_for(lambda: results.is_file() and results.stat().st_size, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    summary = read_summary(tmp_path / "out")
    assert process.returncode == 130
    assert f"Stopped after {summary.pictures:,} of 20,000 pictures" in err
    assert "Traceback" not in err
    assert summary.stopped
    assert len(results.read_text().splitlines()) == summary.pictures > 0


def test_ctrl_c_prints_what_was_read_so_far(many):
    process = start(many, "--json")
    line = ""
    while "Reading" not in line:
        line = process.stderr.readline()
        assert line, "it ended"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"Interrupted after {len(json.loads(out)):,} of 20,000 pictures" in err
    assert "Traceback" not in err


def test_a_reader_that_goes_away_is_no_traceback(many):
    process = start(sample_photograph(), "--json")
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    assert process.wait() == 1
