"""The state of a job follows from its files and its lock alone."""

import pytest

from fer_core.jobs.state import JobState, derive, summary


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
