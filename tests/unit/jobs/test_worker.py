"""A worker in a real process: stopped, killed, failing, and started twice."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fer_core.errors import FerError, JobError, SourceError, Stopped
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState, StopWish
from fer_core.jobs.store import Job, JobStatus
from fer_core.jobs.worker import work

ROOT = Path(__file__).parents[3]

COUNTING = """
import sys, time
from pathlib import Path
from fer_core.jobs.worker import work
with work(Path(sys.argv[1]), "count", "c-1", []) as worker:
    for number in range(100_000):
        worker("Counting", number, 100_000)
        time.sleep(0.005)
"""


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def counting(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", COUNTING, str(tmp_path)], cwd=ROOT, start_new_session=True)
    job = Job(tmp_path / "c-1")
    wait_for(lambda: job.status().done > 2)
    yield job, process
    process.kill()
    process.wait()


def test_stop_request_ends_it_and_it_says_so(counting):
    job, process = counting
    assert job.state() is JobState.RUNNING
    assert supervisor.stop(job) is JobState.STOPPED
    assert process.wait(10) != 0
    assert "counting" in job.status().message


def test_kill_is_seen_as_crash_even_while_the_process_is_a_zombie(counting):
    job, process = counting
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not job.lock_held())
    assert process.returncode is None  # not reaped yet
    assert job.state() is JobState.CRASHED


def test_terminate_signal_stops_it_cleanly(counting):
    job, _ = counting
    supervisor.terminate(job)
    wait_for(lambda: not job.lock_held())
    assert job.state() is JobState.STOPPED


def test_forced_stop_kills_a_worker_that_does_not_listen(counting):
    job, process = counting
    os.kill(process.pid, signal.SIGSTOP)
    assert supervisor.stop(job, grace=0.2, force=True) is JobState.CRASHED


def test_a_running_job_is_not_started_twice(counting):
    job, _ = counting
    with pytest.raises(JobError, match="already running"):
        supervisor.start(job, ["jobs", "list"])
    with (
        pytest.raises(JobError, match="already running"),
        work(job.folder.parent, "count", job.name, [], resume=True),
    ):
        pass


def test_a_worker_that_fails_before_its_work_begins_says_why(tmp_path):
    job = supervisor.launch(tmp_path, "prepare", "p-1", ["data", "prepare", "/no/such.zip", "--out", "x"])
    wait_for(lambda: not job.lock_held())
    assert job.state() is JobState.FAILED
    assert "/no/such.zip: no such file or folder" in job.status().message


def test_a_lock_that_was_not_handed_over_is_taken(tmp_path, monkeypatch):
    job = Job.create(tmp_path, "count", "c-1", [])
    monkeypatch.setenv("FER_JOB_FOLDER", str(job.folder))
    monkeypatch.setenv("FER_JOB_LOCK_FD", "999")
    with work(tmp_path, "count", "c-1", []):
        assert job.lock_held()
    assert job.state() is JobState.DONE


def test_failure_keeps_its_message(tmp_path):
    with pytest.raises(SourceError), work(tmp_path, "prepare", "p-1", []):
        raise SourceError("a.zip: not a zip file.")
    job = Job(tmp_path / "p-1")
    assert job.state() is JobState.FAILED
    assert job.status().message == "a.zip: not a zip file."


def test_names_that_are_no_text_are_told_in_words(tmp_path):
    # \udcff is how Python reads the byte ff in a name.
    with pytest.raises(SourceError), work(tmp_path, "prepare", "p-1", []):
        raise SourceError("a\udcff.zip: not a zip file.")
    assert Job(tmp_path / "p-1").status().message == "a?.zip: not a zip file."
    with pytest.raises(JobError, match=r"a\ufffd\.zip: this name is not plain text"):
        Job.create(tmp_path, "prepare", "p-2", ["data", "prepare", "a\udcff.zip"])
    assert not (tmp_path / "p-2").exists()


def test_a_full_disk_is_told_in_words(tmp_path):
    with pytest.raises(Exception, match="disk is full"), work(tmp_path, "prepare", "p-1", []):
        raise OSError(28, "No space left on device", str(tmp_path / "x"))


def test_stop_file_of_the_last_attempt_does_not_stop_the_next(tmp_path):
    with contextlib.suppress(Stopped), work(tmp_path, "count", "c-1", []) as worker:
        (tmp_path / "c-1" / "stop").touch()
        worker("Counting", 1, 2)
    assert Job(tmp_path / "c-1").state() is JobState.STOPPED
    with work(tmp_path, "count", "c-1", [], resume=True) as worker:
        worker("Counting", 2, 2)
    assert Job(tmp_path / "c-1").state() is JobState.DONE


def test_torn_last_event_is_ignored(tmp_path):
    job = Job.create(tmp_path, "count", "c-1", [])
    job.append_event({"type": "phase", "phase": "a"})
    with (job.folder / "events.jsonl").open("ab") as file:
        file.write(b'{"type": "pha')
    assert [event["type"] for event in job.events()] == ["phase"]
    job.append_event({"type": "resumed"})  # the next worker goes on in a line of its own
    assert [event["type"] for event in job.events()] == ["phase", "resumed"]


def test_damaged_status_reads_as_crashed(tmp_path):
    job = Job.create(tmp_path, "count", "c-1", [])
    (job.folder / "status.json").write_bytes(b'{"state": "run')
    assert job.state() is JobState.CRASHED


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ([], None),
        ([StopWish.KEEP_ALL], StopWish.KEEP_ALL),
        ([StopWish.KEEP_ALL, StopWish.KEEP_BEST], StopWish.KEEP_BEST),
        ([StopWish.KEEP_BEST, StopWish.KEEP_ALL], StopWish.KEEP_BEST),
        ([StopWish.DISCARD, StopWish.KEEP_BEST], StopWish.DISCARD),
        ([StopWish.KEEP_BEST, StopWish.DISCARD], StopWish.DISCARD),
    ],
)
def test_the_strongest_wish_stands_in_the_stop_file(tmp_path, wishes, expected):
    job = Job.create(tmp_path, "train", "r-1", [])
    for wish in wishes:
        job.ask_to_stop(wish)
    assert job.stop_wish() is expected


@pytest.mark.parametrize("content", [b"", b"bes", b"\xff\xff", b"discard now"])
def test_a_damaged_wish_keeps_everything(tmp_path, content):
    job = Job.create(tmp_path, "train", "r-1", [])
    (job.folder / "stop").write_bytes(content)
    assert job.stop_wish() is StopWish.KEEP_ALL


def test_to_keep_the_best_stops_only_work_that_heeds_it(tmp_path):
    with work(tmp_path, "train", "r-1", []) as worker:
        worker.job.ask_to_stop(StopWish.KEEP_BEST)
        worker("Reading", 1, 2)
        with pytest.raises(Stopped), worker.heeding_keep_best():
            worker("Training", 1, 2)
        worker("Exporting", 1, 2)
        assert worker.keeps_best
        worker.interrupt(15, None)
        assert not worker.keeps_best  # the machine goes down, or somebody lost patience
        with pytest.raises(Stopped):
            worker("Exporting", 2, 2)


def test_discarding_deletes_the_folder_of_the_job_and_nothing_else(counting):
    job, process = counting
    Job.create(job.folder.parent, "count", "c-2", [])
    (job.folder / "checkpoints").mkdir()
    (job.folder / "checkpoints" / "x.npz").write_text("x")
    supervisor.stop(job, StopWish.DISCARD)
    assert process.wait(10) != 0
    assert not job.exists()
    assert [entry.name for entry in job.folder.parent.iterdir()] == ["c-2"]


def test_a_job_killed_before_it_was_discarded_is_still_there_and_forgets_the_wish(counting):
    job, process = counting
    os.kill(process.pid, signal.SIGSTOP)
    supervisor.request_stop(job, StopWish.DISCARD)
    supervisor.terminate(job, force=True)
    wait_for(lambda: not job.lock_held())
    assert job.state() is JobState.CRASHED
    with work(job.folder.parent, "count", job.name, [], resume=True) as worker:
        worker("Counting", 1, 2)
    assert job.state() is JobState.DONE
    assert job.stop_wish() is None


def test_what_a_crash_left_of_a_discarded_job_goes_with_the_next(tmp_path):
    (tmp_path / ".deleted" / "old-1-2" / "checkpoints").mkdir(parents=True)
    Job.create(tmp_path, "count", "c-1", []).discard()
    assert list(tmp_path.iterdir()) == []


def test_two_starts_at_once_run_one(tmp_path):
    """Eight processes that start the same job at the same moment."""
    script = f"""
import sys, time
from pathlib import Path
from fer_core.errors import JobError
from fer_core.jobs.worker import work
while time.time() < float(sys.argv[1]):
    pass
try:
    with work(Path({str(tmp_path)!r}), "count", "c-1", [], resume=True) as worker:
        worker("Counting", 1, 2)
        time.sleep(3)
        print("ran")
except JobError as error:
    print(error)
"""
    Job.create(tmp_path, "count", "c-1", [])
    moment = str(time.time() + 2)
    started = [
        subprocess.Popen([sys.executable, "-c", script, moment], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    said = sorted(process.communicate()[0].strip() for process in started)
    assert said == ["c-1 is already running. Stop it first, or wait for its end."] * 7 + ["ran"]


def test_a_full_disk_does_not_hide_how_a_job_ended(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    def train():
        with work(tmp_path, "train", "r-1", []) as worker:
            monkeypatch.setattr("fer_core.jobs.store.write_atomically", full)
            worker("Training", 1, 2)

    with pytest.raises(FerError, match="disk is full"):
        train()
    job = Job(tmp_path / "r-1")
    assert job.state() is JobState.FAILED
    assert "disk is full" in job.status().message


def test_events_of_a_kind(tmp_path):
    job = Job.create(tmp_path, "count", "c-1", [])
    for event in ({"type": "epoch", "n": 1}, {"type": "phase", "phase": '"epoch"'}, {"type": "epoch", "n": 2}):
        job.append_event(event)
    assert [event["n"] for event in job.events("epoch")] == [1, 2]
    assert len(job.events()) == 3


def test_a_silent_job_is_told_of_in_the_terminal(tmp_path, counting):
    from fer_core.cli.jobs import describe

    job, process = counting
    os.kill(process.pid, signal.SIGSTOP)
    status = job.status()
    status.updated -= 400
    job.write_status(JobStatus(**status.model_dump()))
    assert "No sign of life for" in describe(job)["message"]


def test_a_job_is_deleted_only_after_its_end(tmp_path):
    job = Job.create(tmp_path, "data", "one", [])
    lock = job.take_lock()
    with pytest.raises(JobError, match="is at work and cannot be deleted now"):
        supervisor.delete(job)
    os.close(lock)
    supervisor.delete(job)
    assert list(tmp_path.iterdir()) == []


def test_what_is_done_before_the_worker_starts_is_part_of_the_job(tmp_path):
    job = Job.create(tmp_path, "data", "one", [])

    def prepare():
        assert job.state() is JobState.STARTING
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        supervisor.start(job, [], prepare)
    assert not job.lock_held()
