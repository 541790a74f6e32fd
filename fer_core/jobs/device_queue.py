"""The line in which jobs wait for the processor or GPU: whoever was started first is served first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job, list_jobs
from fer_core.workspace import Workspace

KINDS: Final = ("train", "measure", "labels")
"""Jobs that need the device to themselves."""

_IN_LINE: Final = (JobState.STARTING, JobState.QUEUED, JobState.RUNNING)


def line(space: Workspace) -> list[Job]:
    """Jobs that have the device or wait for it, in the order of their start; those that are being stopped are out."""
    return sorted(_waiting(space), key=_place)


def ahead_of(job: Job, space: Workspace) -> list[Job]:
    """The jobs in line before one that waits."""
    return [other for other in line(space) if other.folder != job.folder and _place(other) < _place(job)]


def _waiting(space: Workspace) -> Iterator[Job]:
    for job in (*list_jobs(space.runs), *list_jobs(space.jobs)):
        # The lock first, which costs least: of a thousand runs hardly one is at work, and who waits looks often.
        if job.lock_held() and job.state() in _IN_LINE and job.kind in KINDS:
            yield job


def _place(job: Job) -> tuple[float, str]:
    return job.status().started, job.name
