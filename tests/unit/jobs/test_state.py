"""The state of a job follows from its files and its lock alone."""

import pytest

from fer_core.jobs.state import JobState, StopWish, derive, silence, summary


@pytest.mark.parametrize(
    ("written", "lock_held", "stop", "expected"),
    [
        ("starting", True, False, JobState.STARTING),
        ("running", True, False, JobState.RUNNING),
        ("queued", True, False, JobState.QUEUED),
        ("running", True, True, JobState.STOPPING),
        ("running", False, False, JobState.CRASHED),  # killed: the kernel freed the lock
        ("queued", False, False, JobState.CRASHED),
        ("running", False, True, JobState.CRASHED),  # killed while it was asked to stop
        ("done", False, False, JobState.DONE),
        ("done", True, False, JobState.DONE),  # about to exit
        ("stopped", False, True, JobState.STOPPED),
        ("failed", False, False, JobState.FAILED),
        ("rubbish", False, False, JobState.CRASHED),  # a damaged status file
        ("rubbish", True, False, JobState.STARTING),
    ],
)
def test_derive(written, lock_held, stop, expected):
    assert derive(written, lock_held, stop) is expected


@pytest.mark.parametrize(
    ("state", "message", "log", "expected"),
    [
        (JobState.CRASHED, "", "reading\nMemoryError", "out of memory"),
        (JobState.CRASHED, "", "Traceback\nValueError: bad shape\n", "ValueError: bad shape"),
        # the reason of an earlier attempt is not that of this one
        (JobState.CRASHED, "", "MemoryError\n--- started 2026-01-01\nReading ROOM", "killed or the machine went down"),
        (JobState.CRASHED, "", "Reading pictures", "killed or the machine went down"),
        (JobState.FAILED, "The disk is full.", "", "The disk is full."),
        (JobState.DONE, "4 images read.", "", "4 images read."),
        (JobState.STOPPED, "", "", "Stopped."),
    ],
)
def test_summary_says_what_happened(state, message, log, expected):
    assert expected in summary(state, message, log)


def test_a_job_that_cannot_go_on_is_started_again():
    for log in ("Reading pictures", "MemoryError", "ValueError: bad shape"):
        said = summary(JobState.CRASHED, "", log, goes_on=False)
        assert "tart it again." in said
        assert "resume" not in said
    assert summary(JobState.STOPPED, "", "", goes_on=False) == "Stopped. Start it again."


@pytest.mark.parametrize(
    ("state", "updated", "expected"),
    [
        (JobState.RUNNING, 1000 - 60, ""),  # compiling takes a minute
        (JobState.RUNNING, 1000 - 179, ""),
        (JobState.RUNNING, 1000 - 360, "No sign of life for 6 min. If that is longer than its work can take, force"),
        (JobState.STOPPING, 1000 - 360, "No sign of life for 6 min"),  # it does not hear that it is to stop
        (JobState.STARTING, 1000 - 200, "No sign of life for 3 min"),
        (JobState.QUEUED, 1000 - 1, ""),
        (JobState.RUNNING, 1000 + 500, ""),  # the clock was set back
        (JobState.STARTING, 0, ""),  # a damaged status file
        (JobState.DONE, 10, ""),
        (JobState.CRASHED, 10, ""),
        (JobState.STOPPED, 10, ""),
        (JobState.FAILED, 10, ""),
    ],
)
def test_a_worker_that_says_nothing_for_minutes_is_told_of(state, updated, expected):
    said = silence(state, updated, now=1000)
    assert said.startswith(expected)
    assert bool(said) == bool(expected)


def test_a_stronger_wish_takes_the_place_of_a_weaker_one():
    for weak, one in enumerate(StopWish):
        assert one.beyond(None)
        assert [one.beyond(other) for other in StopWish] == [True] * weak + [False] * (3 - weak)
