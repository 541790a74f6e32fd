"""Starts, stops and resumes jobs as processes of their own. Keeps nothing in memory."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import fer_core
from fer_core.errors import JobError
from fer_core.jobs.state import LOG_MARK, JobState, StopWish
from fer_core.jobs.store import Job, JobStatus
from fer_core.jobs.worker import JOB_FOLDER, JOB_LOCK

GRACE_SECONDS: Final = 10.0
"""How long a worker may take to stop by itself before it is signalled."""


def launch(parent: Path, kind: str, name: str, arguments: list[str]) -> Job:
    """Makes a job and starts its worker detached from this process.

    Args:
        parent: The workspace's ``jobs`` or ``runs``.
        kind: What it does, a word.
        name: The job's name.
        arguments: The command line, without the interpreter: ``["data", "prepare", ...]``.
    """
    job = Job.create(parent, kind, name, arguments)
    start(job, arguments)
    return job


def start(job: Job, arguments: list[str], prepare: Callable[[], object] = lambda: None) -> None:
    """Starts a worker for an existing job; it outlives this process and its terminal.

    The lock is taken here and handed to the child, so there is no moment at which the job looks dead.

    Args:
        job: Which.
        arguments: The command line, without the interpreter.
        prepare: Is done first, while the job counts as starting already; what it raises is raised.

    Raises:
        JobError: A worker is at it.
    """
    lock = job.take_lock()
    if lock is None:
        raise JobError(f"{job.name} is already running. Stop it first, or wait for its end.")
    try:
        (job.folder / "stop").unlink(missing_ok=True)
        now = time.time()
        job.write_status(JobStatus(state="starting", phase="Starting worker", started=now, updated=now))
        prepare()
        root = str(Path(fer_core.__file__).parents[1])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, JOB_FOLDER: str(job.folder), JOB_LOCK: str(lock), "PYTHONPATH": path}
        with (job.folder / "worker.log").open("ab") as log:
            log.write(f"{LOG_MARK} {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
            log.flush()
            process = subprocess.Popen(
                [sys.executable, "-m", "fer_core", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=(lock,),
                start_new_session=True,  # a child in our session would die with our Ctrl-C
            )
    finally:
        os.close(lock)  # the child's copy keeps the lock
    # Reaps the child when it ends while we live; nothing depends on it.
    threading.Thread(target=process.wait, name=f"reap-{job.name}", daemon=True).start()


def delete(job: Job) -> None:
    """Deletes a job that has ended, with all that is in its folder.

    Raises:
        JobError: A worker is at it.
    """
    with job.held("deleted"):
        job.discard()


def request_stop(job: Job, wish: StopWish = StopWish.KEEP_ALL) -> None:
    """Asks the worker to end at its next step, in one of three ways; it is not waited for."""
    if job.state().alive:
        job.ask_to_stop(wish)


def terminate(job: Job, *, force: bool = False) -> None:
    """Signals the worker: SIGTERM, or SIGKILL with ``force``. Only a process that holds the lock is signalled."""
    pid = job.status().pid
    if not job.lock_held() or pid <= 1:
        return
    number = signal.SIGKILL if force else signal.SIGTERM
    with contextlib.suppress(ProcessLookupError, PermissionError):
        # A detached worker leads a group of its own, which takes its loaders with it; a foreground one is in the
        # shell's group, which is not ours to kill.
        if os.getpgid(pid) == pid and pid != os.getpgrp():
            os.killpg(pid, number)
        else:
            os.kill(pid, number)


def stop(
    job: Job, wish: StopWish = StopWish.KEEP_ALL, *, grace: float = GRACE_SECONDS, force: bool = False
) -> JobState:
    """Stops a job and waits for its end: asks, then after ``grace`` seconds signals, then kills if ``force``.

    Args:
        job: Which.
        wish: What becomes of it. Not ``KEEP_BEST``, which is no end but more work: see ``finish_with_best``.
        grace: Seconds to wait before each next step.
        force: Whether to kill it in the end.

    Returns:
        The state it is in afterwards; of a discarded job that means nothing, as it does not exist any more.
    """
    request_stop(job, wish)
    if wait(job, grace):
        return job.state()
    terminate(job)
    if not wait(job, grace) and force:
        terminate(job, force=True)
        wait(job, grace)
    return job.state()


def finish_with_best(job: Job) -> JobState:
    """Asks a training run to finish with its best epoch so far and waits for its end, however long that takes.

    Returns:
        The state it is in afterwards.
    """
    request_stop(job, StopWish.KEEP_BEST)
    wait(job, math.inf)
    return job.state()


def wait(job: Job, seconds: float) -> bool:
    """Waits until no process works on a job; returns whether that came within ``seconds``."""
    deadline = time.monotonic() + seconds
    while job.lock_held():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
