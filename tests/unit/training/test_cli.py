"""``train``, ``runs`` and ``models`` as typed at a terminal."""

import contextlib
import json
import os
import sys
import time

import pytest

from fer_core.errors import FerError
from fer_core.jobs import device_queue
from fer_core.jobs.state import JobState, StopWish
from fer_core.jobs.store import Job, take_lock
from fer_core.jobs.supervisor import stop, wait

from .conftest import make_dataset


@pytest.fixture
def fer(monkeypatch, capsys):
    """Runs the command line in this process; returns its exit code, stdout and stderr."""

    def run(*arguments):
        from fer_core.cli import main

        monkeypatch.setattr(sys, "argv", ["fer_core", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train"], "Name a dataset"),
        (["train", "no-such-dataset"], "No prepared dataset named or at 'no-such-dataset'"),
        (["train", "nowhere", "--preset=compact"], "No prepared dataset named or at 'nowhere'"),
        (["train", "tiny", "--preset=compat"], "Did you mean compact?"),
        (["train", "tiny", "--preset=compact", "--set=phases.0.epoch=1"], "Did you mean phases.0.epochs"),
        (["train", "tiny", "--preset=compact", "--set=phases.0.epochs=0"], "greater than or equal to 1"),
        (["train", "tiny", "--preset=compact", "--name=a/b"], "cannot be the name of a run"),
        (["train", "leaky", "--preset=compact"], "--allow-leaks"),
        (["train", "tiny", "--seeds=1,x"], "Seeds: found '1,x'"),
        (["train", "tiny", "--seeds=1,1"], "each once"),
        (["train", "tiny", "--seeds="], "expected whole numbers"),
        (["train", "tiny", "--seeds=-1"], "expected whole numbers"),
        (["train", "tiny", "--seeds=4294967296"], "from 0 to 4294967295"),
        (["train", "tiny", "--seeds=1,2", "--set=seed=3"], "both give the seed"),
        (["train", "tiny", "--seeds=1,2", "--name=a/b"], "cannot be the name of a run"),
        (["train", "--resume=nothing", "--seeds=1"], "--resume goes on with a run's own settings"),
        (["train", "--resume=nothing"], "No run named 'nothing'"),
        (["train", "tiny", "--resume=nothing"], "--resume goes on with a run's own settings"),
        (["runs", "show", "nothing"], "No run named 'nothing'"),
        (["models", "show", "nothing"], "No model named or at 'nothing'"),
    ],
)
def test_a_wrong_call_is_one_line_and_leaves_nothing(workspace, tiny, fer, arguments, said):
    make_dataset(
        workspace.datasets / "leaky", {"train": 7, "validation": 7, "test": 7}, leaked={"validation": 0, "test": 5}
    )
    code, out, err = fer(*arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not workspace.runs.exists()


def test_an_epoch_with_json_prints_one_document(workspace, tiny, fer):
    options = ["--preset=compact", "--set=phases.0.epochs=1", "--set=threads=2", "--name=one", "--json"]
    code, out, _ = fer("train", "tiny", *options)
    document = json.loads(out)
    assert (code, document["run"], document["state"]) == (0, "one", "done")
    assert document["metrics"]["validation"]["n"] == 21

    code, out, _ = fer("runs", "show", "one", "--json")
    shown = json.loads(out)
    assert (shown["epochs"], shown["total_epochs"], len(shown["history"])) == (1, 1, 1)
    assert shown["config"]["dataset"]["name"] == "tiny"
    assert any(event["type"] == "device" for event in Job(workspace.runs / "one").events())
    assert json.loads(fer("runs", "list", "--json")[1])[0]["best"]["epoch"] == 0
    assert "Validation" in fer("runs", "list")[1]
    model, *bundled = json.loads(fer("models", "list", "--json")[1])
    assert all(entry["bundled"] for entry in bundled)
    assert (model["name"], model["bundled"], model["preset"]) == ("one", False, "compact")
    assert json.loads(fer("models", "show", "one", "--json")[1])["input"] == {"height": 16, "width": 16, "channels": 1}

    code, _, err = fer("train", "tiny", *options)
    assert code == 2
    assert "already" in err
    code, _, err = fer("train", "--resume=one")
    assert code == 2
    assert "is finished" in err


def test_the_network_of_a_preset(workspace, fer):
    code, out, _ = fer("models", "show", "compact", "--json")
    assert code == 0
    assert json.loads(out) == {
        "name": "compact",
        "input": {"height": 48, "width": 48, "channels": 1},
        "side": None,
        "size_mib": 4.69,
        "parameters": {"total": 1_230_503, "trainable": 1_227_623, "non_trainable": 2_880},
        "phases": [
            {"name": "Train", "trainable": 1_227_623, "non_trainable": 2_880}
            | dict.fromkeys(("images_per_second", "scored_per_second", "memory_mb", "busy"))  # nothing was measured
        ],
    }


def test_a_second_run_waits_for_the_device_and_can_be_stopped(workspace, tiny, fer):
    workspace.root.mkdir(exist_ok=True)
    device = take_lock(workspace.device_lock)
    try:
        code, out, _ = fer("train", "tiny", "--preset=compact", "--name=second", "--detach", "--json")
        assert (code, json.loads(out)["run"]) == (0, "second")
        job = Job(workspace.runs / "second")
        while job.state().alive and job.status().phase != "Queued for the device":
            time.sleep(0.05)
        assert job.state() is JobState.QUEUED
        assert stop(job, grace=60) is JobState.STOPPED
    finally:
        os.close(device)


SHORT = ("--preset=compact", "--set=phases.0.epochs=1", "--set=threads=2")


def test_of_several_seeds_none_is_begun_where_one_name_is_taken(workspace, tiny, fer):
    Job.create(workspace.runs, "train", "mine-seed2", [])
    for options in ([], ["--detach"]):
        code, out, err = fer("train", "tiny", *SHORT, "--name=mine", "--seeds=1,2,3", *options)
        assert (code, out) == (2, "")
        assert "There is a run named 'mine-seed2' already" in err
        assert [folder.name for folder in workspace.runs.iterdir()] == ["mine-seed2"]


@pytest.mark.slow
def test_runs_train_in_the_order_of_their_start(workspace, tiny, fer):
    workspace.root.mkdir(exist_ok=True)
    device = take_lock(workspace.device_lock)
    try:
        code, out, err = fer("train", "tiny", *SHORT, "--name=r", "--seeds=3,1,2", "--detach", "--json")
        assert code == 0, err
        jobs = [Job(workspace.runs / entry["run"]) for entry in json.loads(out)]
        wanted = ["Queued for the device", "Queued behind r-seed3 (position 2)", "Queued behind r-seed1 (position 3)"]
        while [job.status().phase for job in jobs] != wanted:
            assert all(job.state().alive for job in jobs)
            time.sleep(0.05)
        assert device_queue.line(workspace) == jobs
        assert stop(jobs[1], StopWish.DISCARD, grace=60)  # one in the middle leaves at once
        assert not jobs[1].exists()
    finally:
        os.close(device)
    assert all(wait(job, 240) for job in (jobs[0], jobs[2]))
    ended = [job.status().finished for job in (jobs[0], jobs[2])]
    trained = [next(e["time"] for e in job.events() if e["type"] == "phase_start") for job in (jobs[0], jobs[2])]
    assert trained[0] < ended[0] < trained[1]


def test_a_recipe_that_reveals_test_does_so_once_and_counts_it(workspace, tiny, fer):
    short = ["--set=phases.0.epochs=1", "--set=reveal_test=true"]
    code, out, err = fer("train", "tiny", "--preset=compact", "--name=published", *short, "--json")
    assert code == 0, err
    assert "have now been looked at once" in err
    assert json.loads(out)["metrics"].keys() >= {"validation", "test"}
    folder = workspace.runs / "published"
    assert (folder / "predictions-test.parquet").is_file()
    assert (folder / "confusion_matrix_test.png").is_file()
    card = json.loads((folder / "model_card.json").read_text())
    assert card["test_reveals"] == 1


def test_phases_that_would_learn_from_noise_are_left_out_and_named(workspace, tiny, fer):
    code, _, err = fer("train", "tiny", "--preset=resnet50", "--set=weights=none", "--set=side=16", "--name=r")
    assert code == 2  # of the size, which comes later
    assert "Left out: Head. Without initial weights" in err
    assert "ResNet50 reads pictures of 32x32 pixels and more; side is 16" in err


def test_weights_that_cannot_be_downloaded_are_named_with_their_place(workspace, tiny, fer, monkeypatch):
    monkeypatch.setenv("FER_WEIGHTS_URL", "http://127.0.0.1:1")  # nobody answers there
    code, _, err = fer("train", "tiny", "--preset=resnet50v2", "--set=side=32", "--name=r")
    assert code == 2
    last = err.strip().splitlines()[-1]
    assert "resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5" in last
    assert "into the folder" in last
    assert "--set weights=none" in last


def test_the_trackers_of_a_seed_end_before_the_next_seed_begins(workspace, tiny, fer, monkeypatch):
    from fer_core.cli import train
    from fer_core.training import backend, loop

    said = []

    @contextlib.contextmanager
    def followed(job, config):
        said.append(f"{job.name} begins")
        yield
        said.append(f"{job.name} ends, {job.state()}")

    monkeypatch.setattr(train, "followed", followed)
    monkeypatch.setattr(train, "_export_with_tensorflow", lambda worker: None)
    monkeypatch.setattr(backend, "load", lambda *_: None)
    monkeypatch.setattr(loop, "train", lambda *_: None)
    assert fer("train", "tiny", "--seeds=1,2", "--name=mine")[0] == 0
    assert said == [f"mine-seed{seed} {what}" for seed in (1, 2) for what in ("begins", "ends, done")]


@pytest.mark.parametrize("run", [["--resume=/some/where/mine"], ["tiny", f"--name={'x' * 64}"]])
def test_a_process_of_a_cluster_has_a_job_whatever_the_run_is_called(workspace, tiny, fer, monkeypatch, run):
    from fer_core.training import backend

    def refuse(*_):
        raise FerError("no peers")

    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(backend, "load", refuse)
    code, _, err = fer("train", *run, "--hosts=a:1,b", "--process-id=1")
    assert (code, err.strip().splitlines()[-1]) == (2, "no peers")
