"""Brings the trackers of a run up to date: once, or in a process of its own while the run trains."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import fer_core
from fer_core.errors import FerError, JobError
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job, take_lock
from fer_core.training.config import RunConfig
from fer_core.training.runs import Run
from fer_core.training.tracking.epochs import Epoch, EpochLog
from fer_core.training.tracking.places import check_mlflow, check_tensorboard

PATIENCE_SECONDS: Final = 10.0
"""How long the end of a command waits for its trackers; then they go on without it."""

_LOOK_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 15.0
_LOCK: Final = "tracking.lock"
_LONGEST_REASON: Final = 200  # characters

_MLFLOW_SETTINGS: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing calls home
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # we try again ourselves
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # where our JSON goes
}


class Tracker(Protocol):
    """Where a run is written to besides its folder. Its methods may raise anything."""

    def update(self, epochs: Sequence[Epoch]) -> None:
        """Writes the epochs that it does not have."""

    def finish(self, state: JobState) -> None:
        """Writes what the run leaves, now that it is not at work, and lets go of what it holds."""

    def close(self) -> None:
        """Lets go of what it holds."""


def track(job: Job, config: RunConfig) -> None:
    """Writes what a run has so far to the trackers that ``config`` names.

    Args:
        job: A training run.
        config: Names the trackers; the settings that are written are the run's own.

    Raises:
        JobError: A tracker does not answer or refuses, or another process is writing to it.
    """
    lock = take_lock(job.folder / _LOCK)
    if lock is None:
        raise JobError(f"{job.name} is being written to its trackers at this moment. Try again when it has ended.")
    try:
        epochs = EpochLog(job.folder / "events.jsonl").look()
        for name, begin in _trackers(job, config).items():
            try:
                tracker = begin()
                with contextlib.closing(tracker):
                    tracker.update(epochs)
                    tracker.finish(job.state())
            except Exception as error:
                raise JobError(f"{job.name} was not written to {name}: {_reason(error)}") from error
    finally:
        os.close(lock)


@contextlib.contextmanager
def followed(job: Job, config: RunConfig) -> Iterator[None]:
    """Within the block, a process of its own keeps the trackers of a run up to date.

    It learns of the end, and of this process's death, by the end of a pipe. What it cannot do, it says in an event
    and a line of the log; this process goes on as if there were no trackers.

    Args:
        job: The run, at work in this process.
        config: Its settings; where they name no tracker, nothing is started.
    """
    if not (config.tensorboard or config.mlflow):
        yield
        return
    paths = filter(None, (str(Path(fer_core.__file__).parents[1]), os.environ.get("PYTHONPATH")))
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "fer_core", "runs", "track", str(job.folder), "--follow"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # what ends us, it has to tell of
        )
    except OSError as error:
        _tell(job, "Its trackers", error)
        yield
        return
    assert process.stdin is not None
    try:
        yield
    finally:
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_SECONDS)


def follow(job: Job, config: RunConfig, over: Callable[[float], bool]) -> None:
    """Keeps the trackers of a run up to date until it is over; never raises on their account.

    Args:
        job: The run.
        config: Its settings.
        over: Waits so many seconds; whether the process that trains has ended, or the command that it was.
    """
    ended = False
    while (lock := take_lock(job.folder / _LOCK)) is None:
        ended = over(_LOOK_SECONDS) or ended  # that of the attempt before is sending its last
    try:
        log = EpochLog(job.folder / "events.jsonl")
        keepers = [_Keeper(job, name, begin) for name, begin in _trackers(job, config).items()]
        while not ended:
            epochs = log.look()
            for keeper in keepers:
                keeper.update(epochs)
            ended = over(_LOOK_SECONDS)
        deadline = time.monotonic() + 5
        while job.lock_held() and time.monotonic() < deadline:
            time.sleep(0.05)  # a killed process's pipe may end before its lock is free
        epochs = log.look()
        for keeper in keepers:
            keeper.finish(epochs, job.state() if job.exists() else JobState.STOPPED)
    finally:
        os.close(lock)


@dataclass
class _Keeper:
    """Keeps one tracker up to date. One that failed is made anew, and finds out itself what it lacks."""

    job: Job
    name: str
    begin: Callable[[], Tracker]
    tracker: Tracker | None = None
    written: int = -1
    told: bool = False
    next_try: float = 0.0

    def update(self, epochs: Sequence[Epoch]) -> None:
        if len(epochs) == self.written or time.monotonic() < self.next_try:
            return
        try:
            self._write(epochs)
        except Exception as error:
            self._failed(error)

    def finish(self, epochs: Sequence[Epoch], state: JobState) -> None:
        try:
            self._write(epochs).finish(state)
        except Exception as error:
            self._failed(error)

    def _write(self, epochs: Sequence[Epoch]) -> Tracker:
        self.tracker = self.tracker or self.begin()
        self.tracker.update(epochs)
        self.written = len(epochs)
        return self.tracker

    def _failed(self, error: Exception) -> None:
        if self.tracker:
            with contextlib.suppress(Exception):
                self.tracker.close()
        self.tracker, self.written = None, -1
        self.next_try = time.monotonic() + _RETRY_SECONDS
        if not self.told:
            self.told = True
            _tell(self.job, self.name, error)


def _trackers(job: Job, config: RunConfig) -> dict[str, Callable[[], Tracker]]:
    """What begins each tracker that settings name, and loads its package."""
    found: dict[str, Callable[[], Tracker]] = {}
    if config.tensorboard:
        found["TensorBoard"] = lambda: _tensorboard(Run(job))
    if config.mlflow:
        found["MLflow"] = lambda: _mlflow(Run(job), config.mlflow)
    return found


def _tensorboard(run: Run) -> Tracker:
    check_tensorboard()
    from fer_core.training.tracking.tensorboard import TensorBoard

    return TensorBoard(run)


def _mlflow(run: Run, uri: str) -> Tracker:
    check_mlflow(uri)
    for name, value in _MLFLOW_SETTINGS.items():
        os.environ.setdefault(name, value)
    from fer_core.training.tracking.mlflow import Mlflow

    return Mlflow(run, uri)


def _tell(job: Job, name: str, error: Exception) -> None:
    """One event and one line: what failed, that training does not care, and what to do."""
    if not job.exists():  # discarded: nobody misses it
        return
    reason = _reason(error)
    with contextlib.suppress(OSError):
        job.append_event({"type": "tracking_failed", "tracker": name, "reason": reason})
    with contextlib.suppress(OSError):
        print(
            f"{name} could not be written: {reason} Training goes on. What is missing follows when it can be written "
            f"again, or with `runs track {job.name}`.",
            file=sys.stderr,
            flush=True,
        )


def _reason(error: Exception) -> str:
    """What went wrong as a sentence: in the words of the system or of the connection where it is their error."""
    if isinstance(error, FerError):
        return str(error)
    text, cause = str(error), error.__cause__ or error.__context__
    if isinstance(error, OSError):
        text = error.strerror or text
    while cause is not None:  # MLflow wraps what requests wraps of what urllib3 wraps
        if isinstance(cause, OSError) or type(cause).__module__.startswith("urllib3"):
            text = getattr(cause, "strerror", None) or str(cause)
        cause = cause.__cause__ or cause.__context__
    line = (text.strip().splitlines() or [""])[0][:_LONGEST_REASON].rstrip(" .")
    return f"{line or type(error).__name__}."
