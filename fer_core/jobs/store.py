"""A job is a folder: ``job.json``, ``status.json``, ``events.jsonl``, ``worker.log``, ``lock`` and ``stop``."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

import fer_core
from fer_core.errors import JobError
from fer_core.jobs.state import JobState, StopWish, derive
from fer_core.workspace import newest_first, printable

_DISCARDED: Final = ".deleted"  # beside the jobs; what lies in it is none any more


class JobSpec(BaseModel):
    """``job.json``: what was asked for. Written once."""

    kind: str
    name: str
    arguments: list[str]
    created: float
    versions: dict[str, str] = {}


class JobStatus(BaseModel):
    """``status.json``: what the worker last said. Times are seconds since the epoch."""

    state: str = "starting"
    phase: str = ""
    done: int = 0
    total: int = 0
    message: str = ""
    pid: int = 0
    started: float = 0.0
    updated: float = 0.0
    finished: float | None = None
    result: dict[str, Any] = {}


@dataclass(frozen=True)
class Job:
    """One job folder. Reads are safe at any moment, also while a worker writes."""

    folder: Path

    @classmethod
    def create(cls, parent: Path, kind: str, name: str, arguments: list[str]) -> Job:
        """Makes the folder of a new job.

        Args:
            parent: Where it goes, the workspace's ``jobs`` or ``runs``.
            kind: What it does, a word: ``prepare``, ``balance``, ``train``.
            name: Its folder name.
            arguments: The command line that does it, without the interpreter.

        Raises:
            JobError: There is one of that name, or an argument is a path that is no text.
        """
        for word in arguments:
            try:
                word.encode()
            except UnicodeEncodeError:
                raise JobError(
                    f"{printable(word)}: this name is not plain text, so the command cannot be written down. Rename it."
                ) from None
        folder = parent / name
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            raise JobError(f"There is a job named {name!r} already. Choose another name.") from None
        spec = JobSpec(
            kind=kind,
            name=name,
            arguments=arguments,
            created=time.time(),
            versions={
                "fer_core": fer_core.__version__,
                "python": platform.python_version(),
                "system": sys.platform,
            },
        )
        write_atomically(folder / "job.json", spec.model_dump_json(indent=2))
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> Job:
        """A job that exists.

        Raises:
            JobError: The folder holds none.
        """
        if not (folder / "job.json").is_file():
            raise JobError(f"{folder}: no job here.")
        return cls(folder)

    @property
    def name(self) -> str:
        return self.folder.name

    def spec(self) -> JobSpec:
        """Raises JobError if ``job.json`` is missing or damaged."""
        try:
            return JobSpec.model_validate_json((self.folder / "job.json").read_bytes())
        except (OSError, ValidationError) as error:
            raise JobError(
                f"{self.folder / 'job.json'}: missing or damaged, so it cannot go on. Start it anew, or delete it."
            ) from error

    @property
    def kind(self) -> str:
        """What it does, a word; empty where ``job.json`` is damaged."""
        try:
            return self.spec().kind
        except JobError:
            return ""

    def status(self) -> JobStatus:
        """What the worker last wrote; an empty status where there is none or it is damaged."""
        try:
            return JobStatus.model_validate_json((self.folder / "status.json").read_bytes())
        except (OSError, ValidationError):
            return JobStatus()

    def write_status(self, status: JobStatus) -> None:
        write_atomically(self.folder / "status.json", status.model_dump_json())

    def write_last_status(self, status: JobStatus) -> None:
        """Like ``write_status``; on a full disk over the old file, in whose place there is room for a new word."""
        try:
            self.write_status(status)
        except OSError:
            with (self.folder / "status.json").open("r+b") as file:
                file.write(status.model_dump_json().encode())
                file.truncate()

    def state(self) -> JobState:
        """What is true now, from the files and the lock alone."""
        held = self.lock_held()
        return derive(self.status().state, held, self.stop_requested())

    def lock_held(self) -> bool:
        """Whether a live process holds the job's kernel lock."""
        try:
            with (self.folder / "lock").open("rb") as file:
                # A shared probe: two pages that look at once do not see each other.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def take_lock(self) -> int | None:
        """Takes the job's lock and returns the descriptor that holds it, or None if another process has it."""
        return take_lock(self.folder / "lock")

    @contextlib.contextmanager
    def held(self, done: str) -> Iterator[None]:
        """Holds the lock, so that no worker starts while the job is changed.

        Args:
            done: What is done to it, for the message.

        Raises:
            JobError: A worker is at it.
        """
        lock = self.take_lock()
        if lock is None:
            raise JobError(f"{self.name} is at work and cannot be {done} now. Stop it first, or wait for its end.")
        try:
            yield
        finally:
            os.close(lock)

    def stop_requested(self) -> bool:
        return (self.folder / "stop").exists()

    def stop_wish(self) -> StopWish | None:
        """What the ``stop`` file asks for; a file without a known word asks to keep everything."""
        try:
            return StopWish((self.folder / "stop").read_text().strip())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return StopWish.KEEP_ALL

    def ask_to_stop(self, wish: StopWish) -> None:
        """Writes a wish into the ``stop`` file, unless one that is as strong stands there."""
        if wish.beyond(self.stop_wish()):
            write_atomically(self.folder / "stop", wish)

    def discard(self) -> None:
        """Deletes the folder with everything in it. Only whoever holds the job's lock may do so.

        It first leaves its place in one step, so that a crash never leaves half a job that looks whole; what a crash
        left behind goes with the next one.
        """
        waste = self.folder.parent / _DISCARDED
        while self.exists():
            waste.mkdir(exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # another process has just removed its own waste, and ours
                self.folder.rename(waste / f"{self.name}-{os.getpid()}-{time.time_ns()}")
        shutil.rmtree(waste, ignore_errors=True)

    def append_event(self, event: Mapping[str, Any]) -> None:
        """Appends one line to ``events.jsonl`` in a single write, so that readers never see half of two lines."""
        line = json.dumps({"time": round(time.time(), 3), **event}, allow_nan=False) + "\n"
        with (self.folder / "events.jsonl").open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # the last worker died in mid-line: do not lose this event with it
                    line = "\n" + line
            file.write(line.encode())

    def exists(self) -> bool:
        """Whether its folder is still there: it may have been discarded."""
        return (self.folder / "job.json").is_file()

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        """All complete events in order, or those of a kind; a torn or damaged line is left out."""
        try:
            lines = (self.folder / "events.jsonl").read_bytes().split(b"\n")
        except OSError:
            return []
        # Most lines are of other kinds, and looking for a word is much faster than parsing.
        mark = json.dumps(kind).encode() if kind else b""
        events = parse_events(line for line in lines if mark in line)
        return [event for event in events if kind in ("", event.get("type"))]

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of ``worker.log``, without control codes' line rewrites."""
        try:
            with (self.folder / "worker.log").open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - 200 * lines))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(line.rsplit("\r", 1)[-1] for line in text.splitlines()[-lines:])


def parse_events(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The events of lines; one that is torn or damaged is left out."""
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def list_jobs(parent: Path) -> list[Job]:
    """Jobs in a folder, newest first."""
    return [Job(file.parent) for file in newest_first(parent.glob("*/job.json"))]


def take_lock(path: Path) -> int | None:
    """Takes an exclusive kernel lock; returns its descriptor, or None if it is held elsewhere."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    for _ in range(5):  # a page probing the lock holds it for microseconds
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        time.sleep(0.02)
    os.close(descriptor)
    return None


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes to a temporary name on the same disk and renames, so that no reader or crash sees half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
