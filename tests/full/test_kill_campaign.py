"""``kill -9`` at seeded random moments: a dataset is whole or absent, and a run ends as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fer_core.data.dataset import Dataset
from fer_core.data.demo import draw_demo
from fer_core.jobs.state import JobState
from fer_core.training.runs import TIME_COLUMNS, Run, list_runs

ROOT = Path(__file__).parents[2]
SEED = 20


def command(*arguments: str) -> subprocess.Popen:
    log = Path(os.environ["FER_WORKSPACE"]).parent / "command.log"
    with log.open("ab") as out:
        return subprocess.Popen([sys.executable, "-m", "fer_core", *arguments], cwd=ROOT, stdout=out, stderr=out)


@pytest.fixture
def archives(tmp_path):
    return [str(path) for path in draw_demo(tmp_path / "drawn")]


def test_prepare_leaves_the_whole_dataset_or_nothing(workspace, archives):
    moments = random.Random(SEED)
    for attempt in range(12):
        name = f"faces-{attempt}"
        process = command("data", "prepare", *archives, "--out", name)
        time.sleep(moments.uniform(0.5, 3.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        folder = workspace.datasets / name
        if folder.exists():
            assert len(Dataset.open(folder).split("train")) > 0
    assert command("data", "prepare", *archives, "--out", "last").wait() == 0
    left = [entry.name for entry in workspace.datasets.iterdir() if entry.name.startswith(".")]
    assert left == []  # what the killed ones had begun is gone


@pytest.fixture
def settings(request, tmp_path):
    """A recipe that takes about a minute: the compact network, or both phases of a published one at a tiny size."""
    short = ["--set", "phases.0.epochs=4", "--set", "threads=1", "--set", "reveal_test=false"]
    if request.param == "compact":
        return ["--preset", request.param, *short]
    import keras

    network = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(32, 32, 3))
    network.save_weights(tmp_path / "resnet50.weights.h5")
    small = ["--set", f"weights={tmp_path}/resnet50.weights.h5", "--set", "side=32", "--set", "phases.1.epochs=3"]
    return ["--preset", request.param, *short, *small]


@pytest.mark.parametrize("settings", ["compact", "resnet50"], indirect=True)
def test_a_run_killed_again_and_again_ends_like_one_that_was_not(workspace, archives, settings):
    assert command("data", "prepare", *archives, "--out", "faces").wait() == 0
    assert command("train", "faces", *settings, "--name", "whole").wait() == 0
    moments = random.Random(SEED)
    process = command("train", "faces", *settings, "--name", "killed")
    for _ in range(8):
        time.sleep(moments.uniform(3.0, 14.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed = next((run for run in list_runs(workspace) if run.name == "killed"), None)
        if killed is None:  # killed before its settings were written
            process = command("train", "faces", *settings, "--name", "killed")
        elif killed.state is JobState.DONE:
            break
        else:
            process = command("train", "--resume", "killed")
    process.wait()
    runs = {run.name: run for run in list_runs(workspace)}
    assert runs["killed"].state is JobState.DONE
    assert_same(runs["whole"], runs["killed"])


def assert_same(whole: Run, killed: Run) -> None:
    columns = [column for column in whole.history.columns if column not in TIME_COLUMNS]
    assert whole.history[columns].equals(killed.history[columns])
    read = [_weights(run) for run in (whole, killed)]
    assert len(read[0]) > 0
    for a, b in zip(*read, strict=True):
        np.testing.assert_array_equal(a, b)


def _weights(run: Run) -> list[np.ndarray]:
    script = (
        "import sys, keras, numpy as np\n"
        "import fer_core.models.layers\n"
        "np.savez(sys.argv[2], *keras.saving.load_model(sys.argv[1]).get_weights())"
    )
    out = run.folder / "weights.npz"
    subprocess.run([sys.executable, "-c", script, run.folder / "best.keras", out], cwd=ROOT, check=True)
    with np.load(out) as stored:
        return [stored[name] for name in stored.files]
