"""What is done to run folders: renamed, deleted, freed, noted; never while a worker is at it."""

import json
import os
import shutil

import pytest

from fer_core.errors import FerError, JobError
from fer_core.inference.served import default_model, find_model
from fer_core.jobs.store import Job, JobStatus, list_jobs
from fer_core.training import run_folder, runs
from fer_core.training.run_folder import Notes
from tests.unit.runs import write_finished_run
from tests.unit.served_models import write_brightness_model


@pytest.fixture
def run(workspace, tiny):
    return write_finished_run(workspace, "first", tiny)


@pytest.fixture
def at_work(run):
    job = Job(run)
    lock = job.take_lock()
    job.write_status(JobStatus(state="running"))
    yield job
    os.close(lock)


def names(workspace):
    return [job.name for job in list_jobs(workspace.runs)]


def test_a_run_keeps_everything_under_its_new_name(workspace, tiny, run):
    write_finished_run(workspace, "newer", tiny)
    run_folder.write_notes(run, Notes(tags=["keep"], note="The first that worked."))
    run_folder.set_baseline(workspace, "first")
    order = names(workspace)
    job = run_folder.rename(workspace, "first", "better.name")
    assert names(workspace) == [job.name if name == "first" else name for name in order]
    assert find_model("better.name", workspace).card.name == "better.name"
    assert job.spec().name == "better.name"
    assert run_folder.read_notes(job.folder).tags == ["keep"]
    assert run_folder.baseline(workspace) == "better.name"


def test_the_command_of_a_renamed_run_names_it(workspace, tiny):
    complete = runs.complete(runs.read_config(write_finished_run(workspace, "first", tiny) / "config.yaml"), tiny)
    runs.create(workspace, "second", complete, ["train", "tiny", "--name", "second"])
    assert run_folder.rename(workspace, "second", "third").spec().arguments == ["train", "tiny", "--name", "third"]


@pytest.mark.parametrize(
    ("name", "new", "said"),
    [
        ("first", "second", "There is a run named 'second' already"),
        ("first", "first", "There is a run named 'first' already"),
        ("first", "../out", "cannot be the name of a run"),
        ("first", "", "cannot be the name of a run"),
        ("gone", "new", "No run named 'gone'"),
        ("first", "mine", "There is a run or model named 'mine' already"),
    ],
)
def test_a_name_that_is_taken_or_bad_is_refused(workspace, tiny, run, name, new, said):
    write_finished_run(workspace, "second", tiny)
    write_brightness_model(workspace.models / "mine" / "model.onnx")
    with pytest.raises(FerError, match=said):
        run_folder.rename(workspace, name, new)
    assert sorted(names(workspace)) == ["first", "second"]


def test_the_name_of_the_model_in_the_box_is_taken(workspace, run):
    taken = default_model(workspace).name
    assert taken != "first"
    with pytest.raises(FerError, match=f"There is a run or model named '{taken}' already"):
        run_folder.rename(workspace, "first", taken)
    assert names(workspace) == ["first"]


@pytest.mark.parametrize(
    "change",
    [
        lambda space: run_folder.rename(space, "first", "second"),
        lambda space: run_folder.delete(space, "first"),
        lambda space: run_folder.free_checkpoints(space, "first"),
    ],
)
def test_a_run_at_work_is_left_alone(workspace, at_work, change):
    with pytest.raises(JobError, match="first is at work"):
        change(workspace)
    assert at_work.folder.is_dir()
    assert run_folder.freeable(at_work) == 0


def test_a_deleted_run_is_gone_with_what_referred_to_it(workspace, tiny, run):
    write_finished_run(workspace, "second", tiny)
    run_folder.set_baseline(workspace, "first")
    size = run_folder.disk_use(run).total
    assert run_folder.delete(workspace, "first") == size > 2_000_000
    assert names(workspace) == ["second"]
    assert run_folder.baseline(workspace) is None
    assert sorted(path.name for path in workspace.runs.iterdir()) == ["second"]


def test_a_crash_while_deleting_leaves_no_run_and_the_rest_goes_next_time(workspace, tiny, run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # as if killed here
        run_folder.delete(workspace, "first")
    assert names(workspace) == []
    assert any(workspace.runs.rglob("model.onnx"))
    write_finished_run(workspace, "first", tiny)  # its name is free
    run_folder.delete(workspace, "first")
    assert not any(workspace.runs.rglob("*"))


def test_a_damaged_run_can_be_deleted_and_another_job_cannot(workspace, run):
    (run / "job.json").write_text("{")
    run_folder.delete(workspace, "first")
    job = Job.create(workspace.jobs, "prepare", "p-1", [])
    with pytest.raises(JobError, match="not a training run of this workspace"):
        run_folder.delete(workspace, str(job.folder))


def test_only_checkpoints_of_finished_runs_are_freed(workspace, run):
    job = Job(run)
    assert run_folder.freeable(job) == run_folder.free_checkpoints(workspace, "first") == 2_000_000
    assert not (run / runs.CHECKPOINTS).exists()
    assert find_model("first", workspace).path.is_file()
    assert run_folder.freeable(job) == 0


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda run: Job(run).write_status(JobStatus(state="stopped")), "is not finished"),
        (lambda run: Job(run).write_status(JobStatus(state="failed")), "is not finished"),
        (lambda run: Job(run).write_status(JobStatus(state="running")), "is not finished"),  # crashed
        (lambda run: (run / "model.onnx").unlink(), "lacks its model or scores"),
        (lambda run: (run / "metrics.json").unlink(), "lacks its model or scores"),
    ],
)
def test_checkpoints_that_may_be_needed_are_kept(workspace, run, prepare, said):
    prepare(run)
    assert run_folder.freeable(Job(run)) == 0
    with pytest.raises(JobError, match=said):
        run_folder.free_checkpoints(workspace, "first")
    assert (run / runs.CHECKPOINTS).is_dir()


@pytest.mark.parametrize("content", ["{", "[]", '{"run": 3}', '{"run": "gone"}', None])
def test_a_baseline_that_is_damaged_or_gone_is_none(workspace, run, content):
    run_folder.set_baseline(workspace, "first")
    assert run_folder.baseline(workspace) == "first"
    if content is None:
        run_folder.set_baseline(workspace, None)
    else:
        (workspace.runs / "baseline.json").write_text(content)
    assert run_folder.baseline(workspace) is None


def test_damaged_notes_are_no_notes(run):
    assert run_folder.read_notes(run) == Notes()
    (run / "notes.json").write_text(json.dumps({"tags": 3}))
    assert run_folder.read_notes(run) == Notes()
