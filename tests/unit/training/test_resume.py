"""A run that is killed again and again ends as one that was not."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fer_core
from fer_core.evaluation.predictions import read_predictions
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job
from fer_core.training.checkpoints import load_state
from fer_core.training.runs import TIME_COLUMNS, Run

SETTINGS = [f"--set={setting}" for setting in ("phases.0.epochs=3", "phases.0.batch_size=16", "threads=2", "seed=5")]


def command(point, *arguments):
    """Runs the command line in a process of its own, which kills itself at ``point``."""
    script = Path(__file__).with_name("killed.py")
    path = filter(None, (str(Path(fer_core.__file__).parents[1]), os.environ.get("PYTHONPATH")))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    return subprocess.run(
        [sys.executable, str(script), point, *arguments], env=environment, capture_output=True, text=True
    )


@pytest.fixture
def uninterrupted(workspace, tiny):
    result = command("never", "train", "tiny", "--preset=compact", "--name=whole", *SETTINGS)
    assert result.returncode == 0, result.stderr
    return Run(Job(workspace.runs / "whole"))


def test_killed_run_resumes_to_the_same_bits(workspace, uninterrupted):
    begin = ["train", "tiny", "--preset=compact", "--name=killed", *SETTINGS]
    go_on = ["train", "--resume=killed"]
    job = Job(workspace.runs / "killed")
    deaths = [
        ("batch", begin, 0),  # in the middle of the second epoch: it is trained again
        ("state.json", go_on, 0),  # the second epoch's weights are on disk, but not yet in force
        ("model_card.json", go_on, 2),  # all epochs are done, the results half
    ]
    for point, arguments, last_epoch in deaths:
        result = command(point, *arguments)
        assert result.returncode == -signal.SIGKILL, result.stderr
        assert job.state() is JobState.CRASHED
        assert load_state(job.folder / "checkpoints").epoch == last_epoch
    result = command("never", *go_on, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["state"] == "done"

    killed = Run(job)
    pd.testing.assert_frame_equal(
        killed.history.drop(columns=[*TIME_COLUMNS]), uninterrupted.history.drop(columns=[*TIME_COLUMNS])
    )
    last = "checkpoints/phase1-epoch003.npz"
    with np.load(killed.folder / last) as a, np.load(uninterrupted.folder / last) as b:
        assert a.files == b.files
        for key in a.files:
            np.testing.assert_array_equal(a[key], b[key], err_msg=key)
    assert killed.metrics == uninterrupted.metrics
    predictions = "predictions-validation.parquet"
    pd.testing.assert_frame_equal(
        read_predictions(killed.folder / predictions), read_predictions(uninterrupted.folder / predictions)
    )

    result = command("never", *go_on)
    assert result.returncode == 2
    assert "killed is finished" in result.stderr
