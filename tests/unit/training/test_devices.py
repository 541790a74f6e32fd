"""Training on several devices: a processor that is divided, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fer_core
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job
from fer_core.training.runs import Run
from fer_core.training.speeds import Speeds, read_speeds

SETTINGS = ("devices=2", "phases.0.epochs=2", "phases.0.batch_size=16", "threads=2")


def train(*arguments):
    path = filter(None, (str(Path(fer_core.__file__).parents[1]), os.environ.get("PYTHONPATH")))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "fer_core", "train", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_two_devices_share_batches_and_leave_one_model(workspace, tiny):
    result = train("tiny", "--name=two", *(f"--set={setting}" for setting in SETTINGS))
    assert result.returncode == 0, result.stderr
    run = Run(Job(workspace.runs / "two"))
    assert run.state is JobState.DONE
    assert run.model  # it was compared with the network when it was written
    assert [event["name"] for event in run.job.events("device")] == ["2 x CPU"]
    assert len(run.history) == 2
    assert read_speeds(workspace) == Speeds()  # what is known of speeds is known of one device


def test_batches_that_devices_cannot_share_are_refused_with_advice(workspace, tiny):
    result = train("tiny", "--name=two", "--set=devices=2", "--set=phases.0.batch_size=15")
    assert result.returncode == 2
    assert "--set phases.0.batch_size=14" in result.stderr
