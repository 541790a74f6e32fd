"""JAX and PyTorch in TensorFlow's place; several devices, and several processes that lose one of them."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from fer_core.inference.predictor import Predictor
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job, list_jobs
from fer_core.training.checkpoints import load_state
from fer_core.training.runs import TIME_COLUMNS, Run

from ..unit.training.conftest import make_dataset, write_backbone
from . import backends

RECIPE = """
weights: {weights}
head: norm, dense 16, dropout 0.5
head_l2: 0.001
seed: 5
phases:
  - {{name: Head, epochs: 3, trainable: head, batch_size: 16, optimizer: adam, weight_decay: 0, schedule: plateau,
     plateau_patience: 1, monitor: val_loss, restore_best: true,
     augmentation: {{flip: false, rotate: 0, scale_min: 1, scale_max: 1, shift: 0}}}}
  - {{name: Top, epochs: 5, trainable: top, top_layers: 8, freeze_norm: true, batch_size: 8, optimizer: adamw,
     learning_rate: 1.0e-3, schedule: plateau, plateau_patience: 1, monitor: val_accuracy, decay_raise: 2,
     weight_decay: 0.01, class_weights: inverse, mixup: 0.3, ema: 0.8, clip_norm: 1, accumulate: 2}}
"""
"""Everything that a phase can do; batches that two devices share evenly."""

LOSSES = ("loss", "val_loss")


@pytest.fixture
def recipe(workspace, tmp_path):
    from fer_core.training import backend

    backend.load(2)
    make_dataset(workspace.datasets / "tiny", {"train": 48, "validation": 21, "test": 7})
    file = tmp_path / "two.yaml"
    file.write_text(RECIPE.format(weights=write_backbone(tmp_path / "compact.weights.h5")))
    return file


def look(workspace, name):
    return Run(Job(workspace.runs / name))


def assert_close(run, other, tolerance=1e-5):
    assert len(run.history) == len(other.history) == 8
    for column in LOSSES:
        np.testing.assert_allclose(run.history[column], other.history[column], rtol=0, atol=tolerance, err_msg=column)


def export(name):
    subprocess.run([sys.executable, "-m", "fer_core", "export", name], cwd=backends.ROOT, check=True)


@pytest.mark.parametrize("name", ["jax", "torch"])
def test_a_run_of_another_backend_is_served_where_tensorflow_is(workspace, recipe, name):
    said = backends.run(name, "train", "tiny", "--preset", recipe, "--name", "first")
    assert "`export first` writes the model to serve" in said
    run = look(workspace, "first")
    assert (run.state, run.model) == (JobState.DONE, None)
    export("first")
    answer = Predictor.load(run.folder / "model.onnx").classify(np.zeros((3, 16, 16, 1), np.uint8))
    assert answer.shape == (3, 7)
    assert look(workspace, "first").card.size_mib == round((run.folder / "model.onnx").stat().st_size / 2**20, 2)


def test_a_killed_run_goes_on_to_the_same_bits_under_jax(workspace, recipe):
    """One device, as in ``make test`` for TensorFlow."""
    script = backends.ROOT / "tests/unit/training/killed.py"
    backends.run("jax", "never", "train", "tiny", "--preset", recipe, "--name", "whole", script=script)
    begin, go_on = ["train", "tiny", "--preset", recipe, "--name", "killed"], ["train", "--resume", "killed"]
    for point, arguments in (("batch", begin), ("second phase", go_on), ("state.json", go_on)):
        assert backends.start("jax", point, *arguments, script=script).wait() == -signal.SIGKILL
    backends.run("jax", "never", *go_on, script=script)
    whole, killed = look(workspace, "whole"), look(workspace, "killed")
    columns = [column for column in whole.history.columns if column not in TIME_COLUMNS]
    assert whole.history[columns].equals(killed.history[columns])
    for file in sorted((whole.folder / "checkpoints").glob("*.npz")):
        with np.load(file) as a, np.load(killed.folder / "checkpoints" / file.name) as b:
            for key in a.files:
                np.testing.assert_array_equal(a[key], b[key], err_msg=f"{file.name} {key}")


def test_two_devices_and_two_processes_end_with_the_losses_of_one(workspace, recipe):
    backends.run("jax", "train", "tiny", "--preset", recipe, "--name", "one")
    backends.run("jax", "train", "tiny", "--preset", recipe, "--name", "devices", "--set", "devices=2")
    processes = backends.together("jax", "train", "tiny", "--preset", recipe, "--name", "processes")
    for process in processes:
        assert process.wait() == 0, process.log.read_text()
    one, devices, both = (look(workspace, name) for name in ("one", "devices", "processes"))
    assert_close(devices, one)
    assert_close(both, one)
    assert [event["processes"] for event in both.job.events("device")] == [2]
    # The second process keeps a log and nothing else.
    (other,) = list_jobs(workspace.jobs)
    assert (other.name, other.state()) == ("processes-process1-1", JobState.DONE)
    assert not (other.folder / "checkpoints").exists()


def wait_for_epoch(workspace, name, finished, process):
    """Returns when a run has a checkpoint after so many epochs."""
    folder = workspace.runs / name / "checkpoints"
    deadline = time.monotonic() + 600
    while not (folder.exists() and (state := load_state(folder)) and state.finished >= finished):
        assert process.poll() is None, process.log.read_text()
        assert time.monotonic() < deadline, process.log.read_text()
        time.sleep(0.05)


def test_a_lost_process_ends_the_run_and_it_goes_on(workspace, recipe):
    backends.run("jax", "train", "tiny", "--preset", recipe, "--name", "one")
    first, second = backends.together("jax", "train", "tiny", "--preset", recipe, "--name", "lost")
    wait_for_epoch(workspace, "lost", 2, first)
    second.kill()
    assert first.wait() == 2, first.log.read_text()
    second.wait()
    run = look(workspace, "lost")
    assert run.state is JobState.FAILED
    assert "another process of this run is lost" in run.status.message
    assert "train --resume lost" in run.status.message

    first, second = backends.together("jax", "train", "--resume", "lost")
    wait_for_epoch(workspace, "lost", 5, first)
    first.kill()
    first.wait()
    assert second.wait() != 0
    assert look(workspace, "lost").state is JobState.CRASHED

    backends.run("jax", "train", "--resume", "lost")  # alone
    run = look(workspace, "lost")
    assert run.state is JobState.DONE
    assert_close(run, look(workspace, "one"))


def test_a_process_with_other_data_is_told_apart(workspace, recipe, tmp_path):
    make_dataset(tmp_path / "other", {"train": 40, "validation": 14, "test": 7}, seed=1)
    join = ["--hosts", backends.two_hosts(), "--process-id"]
    first = backends.start("jax", "train", "tiny", "--preset", recipe, "--name", "mixed", *join, "0")
    second = backends.start("jax", "train", tmp_path / "other", *join, "1")
    assert (first.wait(), second.wait()) == (2, 2)
    assert "holds other data than tiny" in look(workspace, "mixed").status.message


def test_a_run_that_waits_for_the_others_stops_at_once(workspace, recipe):
    join = ["--hosts", backends.two_hosts(), "--process-id", "0"]
    first = backends.start("jax", "train", "tiny", "--preset", recipe, "--name", "waiting", *join)
    deadline = time.monotonic() + 300
    job = Job(workspace.runs / "waiting")
    while job.status().phase != "Waiting for the other processes":
        assert time.monotonic() < deadline, first.log.read_text()
        time.sleep(0.05)
    subprocess.run([sys.executable, "-m", "fer_core", "jobs", "stop", "waiting"], cwd=backends.ROOT, check=True)
    assert first.wait() == 130
    assert job.state() is JobState.STOPPED


def test_tensorflow_shares_batches_among_devices(workspace, recipe):
    """On one machine; gradients cannot be accumulated then, which is told."""
    command = [sys.executable, "-m", "fer_core", "train", "tiny", "--preset", recipe, "--set", "devices=2"]
    refused = subprocess.run([*command, "--name", "refused"], cwd=backends.ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "phases.1.accumulate" in refused.stderr
    odd = ["--set", "phases.1.accumulate=1", "--set", "phases.1.batch_size=9"]
    refused = subprocess.run([*command, *odd, "--name", "odd"], cwd=backends.ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "phases.1.batch_size=8" in refused.stderr
    subprocess.run([*command, "--set", "phases.1.accumulate=1", "--name", "two"], cwd=backends.ROOT, check=True)
    run = look(workspace, "two")
    assert run.state is JobState.DONE
    assert run.job.events("device")[0]["name"] == "2 x CPU"
    assert run.model is not None
