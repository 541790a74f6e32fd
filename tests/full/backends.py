"""The command line under another backend of Keras, in the environment that ``make test-full`` makes for it."""

import contextlib
import os
import socket
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def interpreter(name):
    """The Python that has the backend; skips with a reason where it is not there."""
    python = ROOT / f".venv-{name}" / "bin" / "python"
    if not (python.parents[1] / ".ready").is_file():
        pytest.skip(f"no environment with {name}: make .venv-{name}/.ready")
    return python


def start(name, *arguments, script=None):
    """Starts a command; its output goes to a file beside the workspace, whose path is the process' ``log``."""
    command = [script] if script else ["-m", "fer_core"]
    log = Path(os.environ["FER_WORKSPACE"]).parent / f"{name}-{os.urandom(4).hex()}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [interpreter(name), *map(str, (*command, *arguments))],
            cwd=ROOT,
            env={**os.environ, "KERAS_BACKEND": name, "PYTHONPATH": str(ROOT)},
            stdout=out,
            stderr=out,
        )
    process.log = log
    return process


def run(name, *arguments, **options):
    """Runs a command to its end, which must be a good one."""
    process = start(name, *arguments, **options)
    assert process.wait() == 0, process.log.read_text()
    return process.log.read_text()


def two_hosts():
    """What ``--hosts`` takes for two processes on this machine."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]},127.0.0.1"


def together(name, *arguments):
    """Starts two processes that train one run; the first one keeps it."""
    hosts = two_hosts()
    return [start(name, *arguments, "--hosts", hosts, "--process-id", number) for number in (0, 1)]
