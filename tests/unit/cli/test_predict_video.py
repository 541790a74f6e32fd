"""``predict`` on videos as a user at a terminal sees it."""

import csv
import json
import re
import signal

import numpy as np
import pytest

from fer_core.inference.video import KIND
from fer_core.inference.video_results import VideoSummary
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job, list_jobs
from tests.unit.command_line import call
from tests.unit.inference.test_predict_command import start, wait_for
from tests.unit.inference.videos import drawn_face, frame_with, write_video
from tests.unit.served_models import write_brightness_model

HOW = ("--model", "bright", "--detector", "haar", "--every", "1")


@pytest.fixture(autouse=True)
def model(workspace):
    write_brightness_model(workspace.runs / "bright" / "model.onnx")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """``happy.mp4``: a second of a face at 10 frames per second; ``empty.mp4``: one without; ``broken.mp4``."""
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "happy.mp4", [frame_with((drawn_face("happy"), 240, 160))] * 10)
    write_video(folder / "empty.mp4", [frame_with(size=(128, 96))] * 10)
    (folder / "broken.mp4").write_bytes(b"no video" * 100)
    return folder


@pytest.fixture
def long(tmp_path):
    """A video that takes much longer to read than it takes to interrupt that."""
    # Noise is dear to look for faces in; one picture serves as all frames.
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8)
    return write_video(tmp_path / "long.avi", (noise for _ in range(2000)), codec="mjpeg")


def frames(folder):
    with (folder / "frames.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_video_is_told_in_a_sentence_and_a_line_per_face(capfd, workspace, clips):
    code, out, err = call(capfd, "predict", clips / "happy.mp4", *HOW)
    assert (code, err.strip()) == (0, "Reading the video")
    assert out.splitlines() == [
        f"{clips / 'happy.mp4'}: One face in 0:01; it appears happy for 100 % of the time.",
        "  face 1  0:00 to 0:00  happy 100%",
    ]
    assert not workspace.jobs.exists()


def test_json_holds_every_frame_and_nothing_else_is_printed(capfd, clips):
    code, out, _ = call(capfd, "predict", clips / "happy.mp4", *HOW, "--every", "3", "--json")
    (document,) = json.loads(out)
    assert code == 0
    assert list(document) == ["path", "faces", "frames", "error"]
    assert [frame["time"] for frame in document["frames"]] == [0, 0.3, 0.6, 0.9]
    assert {face["emotion"] for frame in document["frames"] for face in frame["faces"]} == {"happy"}


@pytest.mark.parametrize(("detector", "times"), [("haar", [0, 0.4, 0.8]), ("none", [n / 10 for n in range(10)])])
def test_a_slow_detector_reads_fewer_frames_and_says_so(capfd, clips, detector, times):
    code, out, err = call(capfd, "predict", clips / "happy.mp4", *HOW[:2], "--detector", detector, "--json")
    assert code == 0
    assert [frame["time"] for frame in json.loads(out)[0]["frames"]] == times
    assert ("every 4th frame" in err) == (detector == "haar")


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_broken_video_among_others_is_one_line_and_exit_code_one(capfd, clips, as_json):
    code, out, err = call(capfd, "predict", clips / "broken.mp4", clips / "empty.mp4", *HOW, *as_json)
    assert code == 1
    assert "Traceback" not in err
    if as_json:
        broken, empty = json.loads(out)
        assert broken["frames"] == []
        assert "broken.mp4: " in broken["error"]
        assert (len(empty["frames"]), empty["error"]) == (10, None)
    else:
        assert len([line for line in err.splitlines() if "broken.mp4: " in line]) == 1
        assert "empty.mp4: No face is in sight" in out


def test_pictures_and_videos_are_read_together(capfd, clips, tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), drawn_face("happy"))
    code, out, _ = call(
        capfd, "predict", clips / "empty.mp4", tmp_path / "a.png", "--detector", "none", "--model", "bright", "--json"
    )
    picture, video = json.loads(out)
    assert code == 0
    assert len(picture["faces"]) == 1
    assert len(video["frames"]) == 10


def test_out_is_a_job_that_writes_a_table_a_summary_and_faces(capfd, workspace, clips, tmp_path):
    out_folder = tmp_path / "out"
    code, out, _ = call(capfd, "predict", clips / "happy.mp4", *HOW, "--every", "2", "--out", out_folder, "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["folder"], told["frames"], told["every"]) == (str(out_folder), 5, 2)
    assert sorted(file.name for file in out_folder.iterdir()) == ["faces", "frames.csv", "summary.json"]
    assert [row["emotion"] for row in frames(out_folder)] == ["happy"] * 5
    (job,) = list_jobs(workspace.jobs)
    assert (job.kind, job.name, job.state()) == (KIND, told["job"], JobState.DONE)
    assert (clips / "happy.mp4").exists()
    code, _, err = call(capfd, "predict", clips / "happy.mp4", *HOW, "--out", out_folder)
    assert code == 2
    assert "there is something here already" in err


def test_a_video_cut_short_is_a_job_with_exit_code_one_and_results(capfd, clips, tmp_path):
    broken = tmp_path / "cut.mp4"
    whole = write_video(
        tmp_path / "whole.mp4",
        [np.random.default_rng(n).integers(0, 256, (96, 128, 3)).astype(np.uint8) for n in range(20)],
        container_options={"movflags": "faststart"},
    ).read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    code, out, err = call(capfd, "predict", broken, *HOW, "--out", tmp_path / "out")
    assert code == 1
    assert "Traceback" not in err
    assert VideoSummary.read(tmp_path / "out").note in out
    assert 0 < len(frames(tmp_path / "out")) < 20


def test_a_detached_job_reads_the_same(capfd, workspace, clips, monkeypatch):
    monkeypatch.chdir(clips)
    code, out, _ = call(capfd, "predict", "happy.mp4", *HOW, "--detach", "--name", "mine", "--threshold", "0.9")
    assert (code, out.strip()) == (0, "mine")
    job = Job(workspace.jobs / "mine")
    assert supervisor.wait(job, 60)
    assert job.state() is JobState.DONE, job.log_tail()
    assert "it appears happy for 100 % of the time. Results are in" in job.status().message
    summary = VideoSummary.read(job.folder / "results")
    assert (summary.threshold, summary.frames) == (0.9, 10)


def test_a_detached_job_that_cannot_read_says_why(capfd, workspace, clips):
    call(capfd, "predict", clips / "broken.mp4", *HOW, "--detach", "--name", "mine")
    job = Job(workspace.jobs / "mine")
    assert supervisor.wait(job, 60)
    assert job.state() is JobState.FAILED
    assert "broken.mp4: " in job.status().message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.mp4", "--out", "out"], "gone.mp4: no such file"),
        (["happy.mp4", "empty.mp4", "--out", "out"], "A job reads one video"),
        (["happy.mp4", "--annotated"], "A job reads one video"),
        (["happy.mp4", "--name", "../x"], "'../x' cannot be the name of a job"),
        (["happy.mp4", "--every", "0"], "Invalid value for '--every'"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_two(capfd, workspace, clips, monkeypatch, arguments, message):
    monkeypatch.chdir(clips)
    code, out, err = call(capfd, "predict", *HOW, *arguments)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith(message)
    assert not workspace.jobs.exists()
    assert not (clips / "out").exists()


def test_ctrl_c_keeps_the_frames_so_far(workspace, tmp_path, long):
    process = start(long, *HOW, "--out", tmp_path / "out")
    status = workspace.jobs / "video-1" / "status.json"
    wait_for(lambda: status.is_file() and json.loads(status.read_text())["done"] > 3, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    summary = VideoSummary.read(tmp_path / "out")
    assert process.returncode == 130
    assert f"The {summary.frames:,} frames read until there are kept" in err
    assert "Traceback" not in err
    assert summary.stopped
    assert len(frames(tmp_path / "out")) == summary.frames > 0
    assert Job(workspace.jobs / "video-1").state() is JobState.STOPPED


def test_ctrl_c_prints_what_was_read_so_far(long):
    process = start(long, *HOW)
    line = ""
    while "Reading" not in line:
        line = process.stderr.readline()
        assert line, "it ended"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted; what was read until then is above." in err
    assert "Traceback" not in err
    assert re.search(r"long\.avi: .* Stopped at 0:", out)


def test_ctrl_c_prints_the_json_of_what_was_read_so_far(long):
    process = start(long, *HOW, "--json")
    line = ""
    while "Reading" not in line:
        line = process.stderr.readline()
        assert line, "it ended"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    (document,) = json.loads(out)
    assert process.returncode == 130
    assert document["error"].startswith("Stopped at 0:")
    assert document["frames"]
    assert "Interrupted; what was found until then is above." in err
    assert "Traceback" not in err
