"""Predict, video: what a visitor sees of a video that was read, and what is refused."""

import contextlib
import errno
import os
import re
import shutil

import pytest
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.testing.v1 import AppTest

from fer_core import limits
from fer_core.inference.frames import look_at_video
from fer_core.inference.predictor import Predictor
from fer_core.inference.video import KIND, VideoOptions
from fer_core.inference.video_results import Recorder
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job, JobStatus, list_jobs
from tests.pages.opened import open_page, text_of
from tests.unit.inference.test_tracking import face
from tests.unit.inference.videos import frame_with, write_video
from tests.unit.served_models import write_brightness_model


def view():
    import streamlit as st

    from dashboard.video_view import show_video
    from fer_core.inference.detector_options import DetectorChoice
    from fer_core.inference.served import find_model
    from fer_core.workspace import Workspace

    st.title("Predict")
    show_video(find_model("bright", Workspace.default()), DetectorChoice("haar"), 0.5)


@pytest.fixture
def clip(tmp_path):
    return write_video(tmp_path / "clip.mp4", [frame_with(size=(128, 96))] * 40)


@pytest.fixture(autouse=True)
def model(workspace):
    return Predictor.load(write_brightness_model(workspace.runs / "bright" / "model.onnx"))


def read(workspace, source, name="video-1", state="done", note=None):
    """A job that has ended: two faces, of which one shows two expressions and the other is briefly there."""
    from fer_core.inference.tracking import FaceTracker
    from fer_core.inference.video import FrameResult

    job = Job.create(workspace.jobs, KIND, name, ["predict", str(source), "--name", name])
    tracker = FaceTracker(smoothing=0)
    with Recorder(job.folder / "results", look_at_video(source), VideoOptions(), source.name, "bright") as recorder:
        for n in range(40):
            faces = [face(10 + n, emotion="happy" if n < 30 else "sad"), *([face(90)] if n < 5 else [])]
            recorder.add(FrameResult(n, n / 10, tracker.update(faces, n / 10), (128, 96)))
        recorder.finish(note, stopped=note is not None)
    job.write_status(JobStatus(state=state, message=note or "", result={"folder": str(job.folder / "results")}))
    return job


def opened(**query):
    app = AppTest.from_function(view, default_timeout=60)
    app.query_params.update(query)
    app.run()
    assert not app.exception, app.exception
    return app


def test_nothing_read_yet_says_what_will_happen():
    app = opened()
    assert "goes on when you close this page" in text_of(app)
    assert app.button[0].disabled


def test_a_video_that_was_read_is_told_in_a_sentence_and_by_moment(workspace, clip):
    read(workspace, clip)
    app = opened()
    assert "One face in 0:04; it appears happy for 75 % of the time." in text_of(app)
    assert "1 more were in sight only briefly" in text_of(app)
    assert "At 0:00: face 1 happy (90 %); face 2 happy (90 %)." in text_of(app)
    app.slider(key="video_at").set_value(3.5).run()
    assert "At 0:03: face 1 sad (90 %)." in text_of(app)
    shares = app.dataframe[0].value.set_index("share of its time, %")["face 1"]
    assert shares["happy"] == pytest.approx(75, abs=0.1)


def test_a_stopped_reading_shows_what_it_has(workspace, clip):
    read(workspace, clip, state="stopped", note="Stopped at 0:03.")
    assert "appears happy for 75 % of the time. Stopped at 0:03." in text_of(opened())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "gone.mp4", "no such file"),
        (lambda folder: folder, "not a regular file"),
        (lambda folder: ((folder / "a.mp4").write_bytes(b"") and None) or folder / "a.mp4", "the file is empty"),
        (lambda folder: folder / ("a" * 300), "File name too long"),
    ],
)
def test_a_path_that_cannot_be_read_is_one_sentence_and_no_job(workspace, tmp_path, make, message):
    app = opened()
    app.text_input(key="video_path").set_value(str(make(tmp_path))).run()
    app.button[0].click().run()
    assert message in app.error[0].value
    assert not list(workspace.jobs.glob("*/job.json"))


def upload(path, name="My wedding.MP4", app=None):
    app = app or opened()
    app.file_uploader(key="video_file").upload(name, path.read_bytes(), "video/mp4").run()
    app.button[0].click().run()
    assert not app.exception, app.exception
    return app


def test_an_upload_is_read_under_a_name_of_ours_and_deleted_at_the_end(workspace, clip):
    app = upload(clip)
    assert not app.error
    (job,) = list_jobs(workspace.jobs)
    assert re.fullmatch(r"video-[0-9a-f]{16}", job.name)
    assert supervisor.wait(job, 60)
    assert job.state() is JobState.DONE, job.log_tail()
    assert "No face is in sight for long in 0:04." in text_of(app.run())
    assert len(app.get("video")) == 1  # it plays from the browser's upload
    assert not list(job.folder.glob("upload*"))
    kept = [file for file in workspace.root.rglob("*") if file.is_file()]
    assert job.folder / "results" / "frames.csv" in kept
    for file in kept:
        assert b"wedding" not in file.read_bytes(), file


def test_an_upload_that_another_takes_the_place_of_is_let_go(clip, monkeypatch):
    gone = []
    monkeypatch.setattr(MemoryUploadedFileManager, "remove_file", lambda manager, session, file: gone.append(file))
    app = opened()
    app.file_uploader(key="video_file").upload("first.mp4", clip.read_bytes(), "video/mp4").run()
    (first,) = app.session_state["video_uploads_kept"]
    app.file_uploader(key="video_file").set_value([("second.mp4", clip.read_bytes(), "video/mp4")]).run()
    assert gone == [first]


def test_an_upload_that_is_no_video_is_one_sentence_and_leaves_nothing(workspace, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video" * 1000)
    assert len(upload(tmp_path / "a.mp4").error) == 1
    assert list(workspace.jobs.iterdir()) == []


def test_a_disk_that_is_full_is_told_and_nothing_is_left(workspace, clip, monkeypatch):
    def full(source, target):
        target.write(source.read(1000))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    app = upload(clip)
    assert "the disk is full" in app.error[0].value
    assert list(workspace.jobs.iterdir()) == []


def test_the_upload_of_somebody_else_is_not_shown_and_is_deleted_at_the_end(workspace, clip):
    folder = workspace.jobs / "video-0123456789abcdef"
    upload = folder / "upload.mp4"
    job = Job.create(workspace.jobs, KIND, folder.name, ["predict", str(upload)])
    upload.write_bytes(clip.read_bytes())
    job.discard()
    # The same with its results.
    job = read(workspace, clip, name=folder.name)
    spec = job.spec()
    spec.arguments[1] = str(upload)
    (folder / "job.json").write_text(spec.model_dump_json())
    upload.write_bytes(clip.read_bytes())
    assert "goes on when you close this page" in text_of(opened())
    linked = text_of(opened(video=folder.name))
    assert "appears happy" in linked
    assert "The upload was deleted" in linked
    assert not upload.exists()


@pytest.fixture
def someone_reads(workspace):
    """Somebody else's upload, which is being read."""
    folder = workspace.jobs / "video-0123456789abcdef"
    job = Job.create(workspace.jobs, KIND, folder.name, ["predict", str(folder / "upload.mp4")])
    (folder / "upload.mp4").write_bytes(b"somebody")
    job.write_status(JobStatus(state="running", phase="Reading the video"))
    lock = job.take_lock()
    yield job
    with contextlib.suppress(OSError):
        os.close(lock)


def links(app):
    """What the sidebar says of the job that runs."""
    return [link.proto.label for link in app.sidebar.get("page_link")]


def test_no_page_names_the_upload_of_somebody_else(someone_reads):
    assert links(open_page("overview")) == links(open_page("predict", predict="Video")) == []
    assert links(open_page("predict", predict="Video", video=someone_reads.name)) == [f"{someone_reads.name} "]


def test_an_upload_stays_private_when_the_workspace_has_moved(workspace, clip):
    job = read(workspace, clip, name="video-0123456789abcdef")
    spec = job.spec()
    spec.arguments[1] = f"/where/it/was/{job.name}/upload.mp4"
    (job.folder / "job.json").write_text(spec.model_dump_json())
    assert "goes on when you close this page" in text_of(opened())
    assert "appears happy" in text_of(opened(video=job.name))


def test_an_upload_whose_worker_was_killed_is_deleted_when_anybody_opens_the_view(workspace, someone_reads):
    upload = someone_reads.folder / "upload.mp4"
    opened()
    assert upload.exists()  # it is being read
    place = workspace.jobs / "video-fedcba9876543210" / "upload.mp4"
    Job.create(workspace.jobs, KIND, place.parent.name, ["predict", str(place)])
    place.write_bytes(b"somebody")
    opened()
    assert not place.exists()
    assert upload.exists()


def test_no_more_videos_are_read_at_a_time_than_the_machine_can(workspace, clip, someone_reads, monkeypatch):
    monkeypatch.setattr(limits, "VIDEO_JOBS", 1)
    app = upload(clip)
    assert app.error[0].value.startswith("This machine reads one video at a time")
    assert list_jobs(workspace.jobs) == [someone_reads]
    monkeypatch.setattr(limits, "VIDEO_JOBS", 2)
    app.button[0].click().run()
    assert not app.error
    (job,) = [job for job in list_jobs(workspace.jobs) if job != someone_reads]
    assert supervisor.wait(job, 60)


def test_results_are_deleted_with_the_pictures_of_faces(workspace, clip):
    job = read(workspace, clip)
    app = opened(video=job.name)
    next(button for button in app.button if button.label == "Delete them").click().run()
    assert not app.exception
    assert "goes on when you close this page" in text_of(app)
    assert not app.toast
    assert not job.folder.exists()
    assert clip.exists()


def test_results_that_somebody_put_elsewhere_are_not_deleted_here(workspace, clip, tmp_path):
    job = read(workspace, clip)
    shutil.move(job.folder / "results", tmp_path / "out")
    job.write_status(JobStatus(state="done", result={"folder": str(tmp_path / "out")}))
    assert "Delete them" not in [button.label for button in opened().button]
