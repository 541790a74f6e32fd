"""What state a job is in: a pure function of what is on disk and whether its lock is held."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final


class JobState(StrEnum):
    """States a user sees."""

    STARTING = "starting"
    QUEUED = "queued"
    RUNNING = "running"
    STOPPING = "stopping"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    CRASHED = "crashed"

    @property
    def alive(self) -> bool:
        """Whether a worker is at it."""
        return self in (JobState.STARTING, JobState.QUEUED, JobState.RUNNING, JobState.STOPPING)

    @property
    def resumable(self) -> bool:
        """Whether starting it again makes sense."""
        return self in (JobState.STOPPED, JobState.CRASHED, JobState.FAILED)


class StopWish(StrEnum):
    """What a user wants of a stop, from the weakest to the strongest; a stronger wish takes a weaker one's place."""

    KEEP_ALL = "keep"
    """End at the next step and keep what is finished, to go on later."""
    KEEP_BEST = "best"
    """End the training and finish with the best epoch so far."""
    DISCARD = "discard"
    """End at the next step and delete the job's folder."""

    def beyond(self, other: StopWish | None) -> bool:
        """Whether it is stronger than ``other``."""
        order = list(StopWish)
        return other is None or order.index(self) > order.index(other)


SILENCE_SECONDS: Final = 180.0
"""After so long without a word from a worker, people are told: compiling or loading takes a minute at the most."""

LOG_MARK: Final = "--- started"
"""Begins the line that every attempt at a job puts into its log."""

_OUT_OF_MEMORY: Final = re.compile(r"MemoryError|ResourceExhausted|\bOOM\b")
_FINAL: Final = {JobState.DONE, JobState.FAILED, JobState.STOPPED}


def derive(written: str, lock_held: bool, stop_requested: bool) -> JobState:
    """The state from the status on disk and the lock.

    The lock decides: a process number can be reused and a killed child can linger as a zombie, but the kernel
    frees a lock at the moment its holder dies.

    Args:
        written: ``state`` in ``status.json``.
        lock_held: Whether a live process holds the job's lock.
        stop_requested: Whether the ``stop`` file exists.
    """
    try:
        state = JobState(written)
    except ValueError:
        state = JobState.STARTING
    if not lock_held:
        return state if state in _FINAL else JobState.CRASHED
    if state in _FINAL:
        # The worker has said its last word and is about to exit, or a new one has not said its first.
        return state
    return JobState.STOPPING if stop_requested else state


def silence(state: JobState, updated: float, now: float) -> str:
    """One sentence about a worker that holds its lock but has said nothing for minutes; empty for any other.

    It may only be slow, so its state stays what it is, and a person decides.

    Args:
        state: From ``derive``.
        updated: When it last wrote its status, seconds since the epoch; 0 where that is not known.
        now: Seconds since the epoch.
    """
    quiet = now - updated
    if not state.alive or not updated or quiet < SILENCE_SECONDS:
        return ""
    return (
        f"No sign of life for {quiet / 60:.0f} min. If that is longer than its work can take, force it to stop: "
        "what was saved is kept."
    )


def summary(state: JobState, message: str, log_tail: str, *, goes_on: bool = True) -> str:
    """One sentence about a job that is not running: what happened and what to do next.

    Args:
        state: From ``derive``.
        message: The worker's last word.
        log_tail: The end of its log, searched for the reason of a crash.
        goes_on: Whether such a job can go on from where it was; others are started again.
    """
    again = "What was saved is kept; resume to go on." if goes_on else "Start it again."
    if state is JobState.CRASHED:
        attempt = log_tail.rpartition(LOG_MARK)[2]
        last = next((line.strip() for line in reversed(attempt.splitlines()) if line.strip()), "")
        if _OUT_OF_MEMORY.search(attempt):
            what = "Choose a smaller batch, then resume." if goes_on else "Close other programs, then start it again."
            return f"The worker ran out of memory. {what}"
        if "Error" in last:
            return f"The worker crashed: {last[:200]}. {again}"
        return f"The worker was killed or the machine went down. {again}"
    if state is JobState.STOPPED:
        return message or f"Stopped. {again}"
    if state is JobState.FAILED:
        return message or "It failed; the log says why."
    return message
