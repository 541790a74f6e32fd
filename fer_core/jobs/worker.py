"""The process that does a job: it holds the lock for its life and says what it is doing.

A long command *is* its job's worker, in the foreground as well as detached: ``work`` makes the job folder, or
takes over the one (and the lock) that ``supervisor.start`` prepared.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from fer_core.errors import FerError, JobError, Stopped, from_os_error
from fer_core.jobs import device_queue
from fer_core.jobs.progress import Progress, silent
from fer_core.jobs.state import StopWish
from fer_core.jobs.store import Job, JobStatus, take_lock
from fer_core.workspace import Workspace

JOB_FOLDER = "FER_JOB_FOLDER"
JOB_LOCK = "FER_JOB_LOCK_FD"
_STATUS_EVERY = 0.25  # seconds; a browser looks every 2, a person sees no difference below this


class Worker:
    """What long work holds of its job. Callable as a ``Progress``."""

    def __init__(self, job: Job, listener: Progress = silent) -> None:
        self.job = job
        self._listener = listener
        self._interrupted = False
        self._heeds_keep_best = False
        self._next_write = 0.0
        now, before = time.time(), job.status()
        # Its place in a queue is that of its start, not of the moment at which its process came up.
        started = before.started if before.state == "starting" and before.started else now
        self._status = JobStatus(state="running", pid=os.getpid(), started=started, updated=now)
        job.write_status(self._status)

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Reports progress; raises Stopped when the user wants the work to end."""
        changed = phase != self._status.phase
        self._status.phase, self._status.done, self._status.total = phase, done, total
        if changed:
            self.emit("phase", phase=phase)
        if changed or time.monotonic() >= self._next_write:
            self.heartbeat()
        self._listener(phase, done, total)
        if self.stop_requested():
            raise Stopped(f"Stopped while {phase[:1].lower()}{phase[1:]}.")

    def emit(self, kind: str, **fields: Any) -> None:
        """Appends an event. Values must be JSON; NaN is refused (write None)."""
        self.job.append_event({"type": kind, **fields})

    def heartbeat(self) -> None:
        """Writes the status with the current time."""
        self._status.updated = time.time()
        self.job.write_status(self._status)
        self._next_write = time.monotonic() + _STATUS_EVERY

    def say(self, message: str, **result: Any) -> None:
        """Sets the sentence, and results, that stand in the status from now on."""
        self._status.message = message
        self._status.result.update(result)

    def stop_requested(self) -> bool:
        """Whether the work is to end now: the user wants it to, or the machine goes down."""
        wish = self.job.stop_wish()
        return self._interrupted or (wish is not None and (wish is not StopWish.KEEP_BEST or self._heeds_keep_best))

    @property
    def keeps_best(self) -> bool:
        """Whether the user wants the work to finish with the best that it has so far."""
        return self.job.stop_wish() is StopWish.KEEP_BEST and not self._interrupted

    @contextlib.contextmanager
    def heeding_keep_best(self) -> Iterator[None]:
        """Within the block, ``Stopped`` is also raised where the user wants to finish with the best so far.

        Elsewhere that wish stops nothing: what comes before and after the block is needed to grant it.
        """
        self._heeds_keep_best = True
        try:
            yield
        finally:
            self._heeds_keep_best = False

    def interrupt(self, signum: int, frame: FrameType | None) -> None:
        """Signal handler: the first asks nicely, the second (Ctrl-C twice) ends the process."""
        if self._interrupted and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self._interrupted = True

    def wait_for_device(self, space: Workspace) -> int:
        """Waits as *queued* until the device is free and nobody is before this job; returns the lock's descriptor.

        Raises:
            Stopped: The user stopped waiting.
        """
        space.device_lock.parent.mkdir(parents=True, exist_ok=True)
        while True:
            ahead = device_queue.ahead_of(self.job, space)
            descriptor = None if ahead else take_lock(space.device_lock)
            if descriptor is not None:
                break
            self._status.state = "queued"
            place = f"behind {ahead[-1].name} (position {len(ahead) + 1})" if ahead else "for the device"
            self(f"Queued {place}", 0, 0)
            time.sleep(0.5)
        self._status.state = "running"
        self.heartbeat()
        return descriptor

    @property
    def message(self) -> str:
        """The sentence that stands in the status."""
        return self._status.message

    def finish(self, state: str, message: str = "") -> None:
        """Says the last word."""
        self._status.state, self._status.finished = state, time.time()
        self._status.updated = self._status.finished
        # A file's name in it need not be text.
        self._status.message = message.encode(errors="replace").decode() or self._status.message
        with contextlib.suppress(OSError):  # where even that cannot be said, the free lock says enough
            self.job.write_last_status(self._status)


def fail_before_work(message: str) -> None:
    """Tells the job that this process was started for, if any, why it ends before its work has begun."""
    handed = os.environ.get(JOB_FOLDER)
    if handed:
        job = Job(Path(handed))
        status = job.status()
        status.state, status.message, status.finished = "failed", message, time.time()
        with contextlib.suppress(OSError):
            job.write_status(status)


def _handed(descriptor: str | None, job: Job) -> int | None:
    """The lock that the parent took and passed on, if it is really that of this job and still held."""
    try:
        lock = int(descriptor or "")
        if not os.path.samestat(os.fstat(lock), (job.folder / "lock").stat()):
            return None
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ValueError, OSError):
        return None
    os.set_inheritable(lock, False)  # a program we start must not keep the job alive after us
    return lock


@contextlib.contextmanager
def work(
    parent: Path,
    kind: str,
    name: str,
    arguments: list[str],
    *,
    listener: Progress = silent,
    resume: bool = False,
) -> Iterator[Worker]:
    """Runs the body as the worker of a job, new or resumed or prepared by ``supervisor``.

    Args:
        parent: The workspace's ``jobs`` or ``runs``.
        kind: What it does, a word.
        name: The job's name.
        arguments: The command line that would do it again.
        listener: Also told of progress (a progress bar).
        resume: The job exists and is to go on.

    Raises:
        JobError: It exists already, or another process works on it.
    """
    handed = os.environ.pop(JOB_FOLDER, None)
    handed_lock = os.environ.pop(JOB_LOCK, None)
    if handed:
        job = Job.open(Path(handed))
    elif resume:
        job = Job.open(parent / name)
    else:
        job = Job.create(parent, kind, name, arguments)
    lock = _handed(handed_lock, job) if handed else None
    if lock is None:
        lock = job.take_lock()
    if lock is None:
        raise JobError(f"{name} is already running. Stop it first, or wait for its end.")
    if not handed:
        (job.folder / "stop").unlink(missing_ok=True)
    worker = Worker(job, listener)
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {s: signal.signal(s, worker.interrupt) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield worker
        worker.finish("done")
    except Stopped as stop:
        if job.stop_wish() is StopWish.DISCARD:
            job.discard()
            raise Stopped(f"{job.name}: stopped and discarded, its folder is deleted.") from None
        worker.finish("stopped", str(stop))
        raise
    except FerError as error:
        worker.finish("failed", str(error))
        raise
    except OSError as error:
        mended = from_os_error(error)
        worker.finish("failed", str(mended))
        raise mended from error
    except KeyboardInterrupt:
        worker.finish("stopped", "Interrupted.")
        raise
    except BaseException as error:
        worker.finish("failed", f"{type(error).__name__}: {error}. The log says more.")
        raise
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)
        os.close(lock)
