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

from .conftest import write_backbone

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


@pytest.mark.slow  # without a kill: test_nothing_lost.py
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
    assert_same(killed, uninterrupted, "phase1-epoch003.npz")
    result = command("never", *go_on)
    assert result.returncode == 2
    assert "killed is finished" in result.stderr


def assert_same(killed, whole, last):
    """History, weights, optimizer, scores and predictions, to the last bit."""
    columns = [*TIME_COLUMNS]
    pd.testing.assert_frame_equal(killed.history.drop(columns=columns), whole.history.drop(columns=columns))
    with np.load(killed.folder / "checkpoints" / last) as a, np.load(whole.folder / "checkpoints" / last) as b:
        assert a.files == b.files
        for key in a.files:
            np.testing.assert_array_equal(a[key], b[key], err_msg=key)
    assert killed.metrics == whole.metrics
    predictions = "predictions-validation.parquet"
    pd.testing.assert_frame_equal(
        read_predictions(killed.folder / predictions), read_predictions(whole.folder / predictions)
    )


TWO_PHASES = """
weights: {weights}
head: norm, dense 16, dropout 0.5
head_l2: 0.001
threads: 2
seed: 5
phases:
  - {{name: Head, epochs: 3, trainable: head, batch_size: 16, optimizer: adam, weight_decay: 0, schedule: plateau,
     plateau_patience: 1, monitor: val_loss, restore_best: true,
     augmentation: {{flip: false, rotate: 0, scale_min: 1, scale_max: 1, shift: 0}}}}
  - {{name: Top, epochs: 9, trainable: top, top_layers: 8, freeze_norm: true, batch_size: 8, optimizer: adamw,
     learning_rate: 1.0e-12, schedule: plateau, plateau_patience: 1, monitor: val_accuracy, decay_raise: 2,
     weight_decay: 0.01, early_stopping: 3, class_weights: inverse, mixup: 0.3, ema: 0.8, clip_norm: 1, accumulate: 2}}
"""


@pytest.mark.slow
def test_two_phases_with_everything_that_counts_resume_to_the_same_bits(workspace, tiny, tmp_path):
    """Plateau, raised decay and early stopping count on; means, features, blends and accumulated gradients, too."""
    from fer_core.training import backend

    backend.load(2)
    recipe = tmp_path / "two.yaml"
    recipe.write_text(TWO_PHASES.format(weights=write_backbone(tmp_path / "compact.weights.h5")))
    result = command("never", "train", "tiny", f"--preset={recipe}", "--name=whole")
    assert result.returncode == 0, result.stderr
    whole = Run(Job(workspace.runs / "whole"))
    assert whole.phases == [("Head", 3), ("Top", 4)]  # it stopped early: nothing improves at such a rate

    begin = ["train", "tiny", f"--preset={recipe}", "--name=killed"]
    go_on = ["train", "--resume=killed"]
    for point, arguments in (("batch", begin), ("second phase", go_on), ("state.json", go_on)):
        result = command(point, *arguments)
        assert result.returncode == -signal.SIGKILL, result.stderr
    result = command("never", *go_on)
    assert result.returncode == 0, result.stderr
    assert_same(Run(Job(workspace.runs / "killed")), whole, "phase2-epoch004.npz")
