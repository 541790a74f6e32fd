"""What a power cut, a full disk, a vanished dataset and a user who stops it can do to a run: nothing is lost."""

import errno
import json
import os
import shutil
import sys

import numpy as np
import pandas as pd
import pytest

from fer_core.errors import JobError
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState, StopWish
from fer_core.jobs.store import Job
from fer_core.training import runs
from fer_core.training.facts import read_facts
from fer_core.training.runs import TIME_COLUMNS, Run, list_runs
from fer_core.workspace import Workspace

from .conftest import make_dataset

SETTINGS = ("phases.0.epochs=3", "phases.0.batch_size=16", "threads=2", "seed=5")
FILES = ("status.json", "events.jsonl", "job.json", "config.yaml", "checkpoints/state.json", "checkpoints/NEWEST")


def call(*arguments):
    """The command line in this process; returns its exit code."""
    from fer_core.cli import main

    before, sys.argv = sys.argv, ["fer_core", *map(str, arguments)]
    try:
        with pytest.raises(SystemExit) as end:
            main()
    finally:
        sys.argv = before
    return end.value.code


def begin(name, dataset, patch, *, wish=None, at="epoch 3 of 3", settings=SETTINGS):
    """Trains a run as the command line does, and has it stopped after a batch of an epoch."""
    from fer_core.jobs.worker import Worker

    report = Worker.__call__

    def speak(self, phase, done, total):
        if wish and phase.endswith(at) and done == 1:
            self.job.ask_to_stop(wish)
        report(self, phase, done, total)

    with patch.context() as during:
        during.setattr(Worker, "__call__", speak)
        return call("train", dataset.folder, "--name", name, *(f"--set={setting}" for setting in settings))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A workspace with a run that was stopped after two of three epochs, and one that was not."""
    patch = pytest.MonkeyPatch()
    space = Workspace(tmp_path_factory.mktemp("home") / "workspace")
    patch.setenv("FER_WORKSPACE", str(space.root))
    dataset = make_dataset(space.datasets / "tiny", {"train": 45, "validation": 21, "test": 7})
    assert begin("stopped", dataset, patch, wish=StopWish.KEEP_ALL) == 130
    assert begin("whole", dataset, patch) == 0
    patch.undo()
    return space


@pytest.fixture
def stopped(home, workspace):
    """A copy of the stopped run in a workspace of its own."""
    return Job(shutil.copytree(home.runs / "stopped", workspace.runs / "stopped"))


@pytest.fixture
def dataset(workspace):
    return make_dataset(workspace.datasets / "tiny", {"train": 45, "validation": 21, "test": 7})


def file_of(job, name):
    return job.folder / name.replace("NEWEST", "phase1-epoch002.npz")


def cut(file, size):
    """Cuts a file to a size; a negative one is counted from its end."""
    size = max(0, file.stat().st_size + size) if size < 0 else min(size, file.stat().st_size - 1)
    os.truncate(file, size)


def assert_same(job, home):
    """The run ended with the bits of the one that was never interrupted."""
    mine, whole = Run(job), Run(Job(home.runs / "whole"))
    assert mine.state is JobState.DONE
    left = [*TIME_COLUMNS]
    pd.testing.assert_frame_equal(mine.history.drop(columns=left), whole.history.drop(columns=left))
    last = "checkpoints/phase1-epoch003.npz"
    with np.load(mine.folder / last) as a, np.load(whole.folder / last) as b:
        assert a.files == b.files
        for key in set(a.files) - {"state"}:  # it holds a hash of settings, with the path of the dataset
            np.testing.assert_array_equal(a[key], b[key], err_msg=key)
    assert mine.metrics == whole.metrics


def look(capsys):
    """Everything that shows runs, and what it says on stderr."""
    space = Workspace.default()
    for job in [run.job for run in list_runs(space)]:
        read_facts(job)
    for command in (("runs", "list"), ("runs", "show", "stopped"), ("jobs", "list"), ("jobs", "show", "stopped")):
        assert call(*command) in (0, 2)
    return capsys.readouterr()


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_run_is_shown_or_told_of_in_one_sentence(stopped, capsys, name):
    file = file_of(stopped, name)
    whole = file.read_bytes()
    for share in (0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 40, len(whole) - 2, len(whole) - 1):
        file.write_bytes(whole)
        cut(file, share)
        said = look(capsys)
        assert "Traceback" not in said.out + said.err


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("status.json", 20),
        pytest.param("events.jsonl", 0, marks=pytest.mark.slow),
        pytest.param("events.jsonl", -300, marks=pytest.mark.slow),
        pytest.param("checkpoints/state.json", 0, marks=pytest.mark.slow),
        pytest.param("checkpoints/state.json", -1, marks=pytest.mark.slow),
        pytest.param("checkpoints/NEWEST", 0, marks=pytest.mark.slow),
        ("checkpoints/NEWEST", -1),
        pytest.param("config.yaml", -1, marks=pytest.mark.slow),  # only the end of its last line
    ],
)
def test_a_damaged_run_goes_on_to_the_same_bits(home, stopped, capsys, caplog, name, size):
    cut(file_of(stopped, name), size)
    assert call("train", "--resume", "stopped", "--json") == 0
    assert json.loads(capsys.readouterr().out)["state"] == "done"
    assert_same(stopped, home)
    assert ("damaged" in caplog.text) == name.startswith("checkpoints/")


@pytest.mark.parametrize("started", [True, False])
@pytest.mark.parametrize(
    ("name", "sizes", "said"),
    [
        ("job.json", (0, 30, -1), "job.json: missing or damaged, so it cannot go on. Start it anew, or delete it."),
        ("config.yaml", (0, 40, 200, 700, -320, -100, -40, -8), "config.yaml"),
    ],
)
def test_a_run_whose_settings_are_damaged_trains_nothing_else(stopped, capsys, name, sizes, said, started):
    if not started:
        shutil.rmtree(stopped.folder / "checkpoints")
    file = file_of(stopped, name)
    whole = file.read_bytes()
    for size in sizes:
        file.write_bytes(whole)
        cut(file, size)
        assert call("train", "--resume", "stopped") == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert said in error
        assert "Traceback" not in error


def test_with_no_whole_checkpoint_it_says_which_file_and_what_to_do(stopped, capsys):
    from fer_core.training import checkpoints

    folder = stopped.folder / "checkpoints"
    for file in folder.glob("*.npz"):
        cut(file, -100)
    assert call("train", "--resume", "stopped") == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "phase1-epoch002.npz: missing or damaged" in said
    assert f"delete the folder {folder} and resume" in said
    (folder / "state.json").write_text("{")
    with pytest.raises(JobError, match=r"state.json: missing or damaged"):
        checkpoints.load_state(folder)


def test_every_cut_of_a_checkpoint_is_noticed(stopped):
    from fer_core.training import checkpoints

    folder = stopped.folder / "checkpoints"
    file = folder / "phase1-epoch002.npz"
    whole = file.read_bytes()
    for size in np.linspace(0, len(whole) - 1, 23).astype(int):
        file.write_bytes(whole[:size])
        assert checkpoints.load_state(folder).epoch == 0
    file.write_bytes(whole[: len(whole) // 2] + bytes(4096) + whole[len(whole) // 2 + 4096 :])  # a block of zeros
    assert checkpoints.load_state(folder).epoch == 0


def test_results_that_were_torn_are_written_again(home, stopped, workspace, capsys):
    """Killed while writing results, and the disk lost their ends."""
    shutil.copytree(home.runs / "whole", workspace.runs / "whole")
    job = Job(workspace.runs / "whole")
    for name in ("metrics.json", "model_card.json"):
        file = job.folder / name
        whole = file.read_bytes()
        for size in (0, len(whole) // 2, len(whole) - 1):
            file.write_bytes(whole[:size])
            assert "Traceback" not in look(capsys).err
    (job.folder / "status.json").write_text("{")
    assert call("train", "--resume", "whole") == 0
    assert_same(job, home)
    assert Run(job).card is not None


def test_a_finished_run_without_checkpoints_is_not_trained_again_when_its_status_is_lost(home, stopped, capsys):
    shutil.copytree(home.runs / "whole", stopped.folder.with_name("whole"))
    job = Job(stopped.folder.with_name("whole"))
    shutil.rmtree(job.folder / "checkpoints")
    (job.folder / "status.json").write_text("")
    assert call("train", "--resume", "whole") == 0
    assert job.state() is JobState.DONE
    assert job.status().message == Job(home.runs / "whole").status().message


@pytest.mark.slow
def test_a_full_disk_keeps_the_checkpoint_before(workspace, dataset, monkeypatch, home, capsys):
    from fer_core.training import checkpoints

    write = checkpoints.write_atomically

    def full(path, content):
        if path.name == "phase1-epoch002.npz":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, content)

    with monkeypatch.context() as during:
        during.setattr(checkpoints, "write_atomically", full)
        assert begin("full", dataset, monkeypatch) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    for part in ("the disk is full. A checkpoint takes 1", "1 finished epoch is kept", "`train --resume full`"):
        assert part in said
    job = Job(workspace.runs / "full")
    assert job.state() is JobState.FAILED
    assert said == job.status().message
    assert checkpoints.load_state(job.folder / "checkpoints").finished == 1
    assert call("train", "--resume", "full") == 0
    assert_same(job, home)


def test_keep_best_ends_with_a_model_and_says_so(workspace, dataset, monkeypatch, capsys):
    assert begin("best", dataset, monkeypatch, wish=StopWish.KEEP_BEST) == 0
    run = Run(Job(workspace.runs / "best"))
    assert run.state is JobState.DONE
    assert len(run.history) == 2
    assert run.metrics["best"]["epoch"] == run.best["epoch"]
    assert run.model is not None
    assert run.card.metrics["validation"].n == 21
    assert run.card.notes[-1] == "Training was stopped after 2 of 3 epochs, on request; the model is the best of them."
    assert run.card.ended_after == 2
    assert run.status.message.endswith("Clean · stopped after 2 of 3 epochs")
    assert run.total_epochs == 2


def test_keep_best_before_the_first_epoch_is_a_stop(workspace, dataset, monkeypatch, capsys):
    assert begin("none", dataset, monkeypatch, wish=StopWish.KEEP_BEST, at="epoch 1 of 3") == 130
    assert "nothing is kept" in capsys.readouterr().err
    job = Job(workspace.runs / "none")
    assert job.state() is JobState.STOPPED
    assert not Run(job).model


@pytest.mark.slow
def test_a_resumed_run_forgets_that_the_best_was_to_be_kept(home, stopped):
    (stopped.folder / "stop").write_text(StopWish.KEEP_BEST)  # killed before it could be done
    (stopped.folder / "status.json").write_text('{"state": "running"}')
    assert stopped.state() is JobState.CRASHED
    assert call("train", "--resume", "stopped") == 0
    assert_same(stopped, home)


def test_discard_deletes_the_run_and_nothing_else(stopped, workspace, dataset, monkeypatch, capsys):
    assert begin("gone", dataset, monkeypatch, wish=StopWish.DISCARD) == 130
    assert "gone: stopped and discarded, its folder is deleted." in capsys.readouterr().err
    assert [entry.name for entry in workspace.runs.iterdir()] == ["stopped"]
    assert dataset.folder.is_dir()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--keep-best"], "stopped is not running (stopped): go on with `train --resume stopped`"),
        (["--discard", "--yes"], "stopped is not running (stopped): delete it with `runs delete stopped`"),
        (["--discard", "--keep-best"], "exclude each other"),
        (["--discard", "--force"], "exclude each other"),
    ],
)
def test_what_cannot_be_stopped_so_says_what_to_use_instead(stopped, capsys, options, said):
    assert call("jobs", "stop", "stopped", *options) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert stopped.exists()


def test_only_runs_are_discarded(workspace, capsys):
    job = Job.create(workspace.jobs, "prepare", "p-1", [])
    assert call("jobs", "stop", "p-1", "--discard", "--yes") == 2
    assert "p-1 is no training run" in capsys.readouterr().err
    assert job.exists()


@pytest.mark.parametrize("options", [[], ["--keep-best"], ["--discard", "--yes"]])
def test_a_queued_run_is_stopped_in_each_way(stopped, workspace, capsys, options):
    from fer_core.jobs.store import take_lock

    shutil.rmtree(stopped.folder / "checkpoints")
    (stopped.folder / "events.jsonl").unlink()
    device = take_lock(workspace.device_lock)
    try:
        runs.start(stopped)
        assert call("jobs", "stop", "stopped", *options) == 0
    finally:
        os.close(device)
    said = capsys.readouterr().err
    assert stopped.exists() == ("--discard" not in options)
    assert ("nothing to keep" in said) == ("--keep-best" in options)


def test_a_discard_is_not_done_without_asking(stopped, workspace, monkeypatch, capsys):
    lock = stopped.take_lock()
    (stopped.folder / "stop").unlink()  # as at every start
    stopped.write_status(stopped.status().model_copy(update={"state": "running"}))
    try:
        monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: PTH123, SIM115
        assert call("jobs", "stop", "stopped", "--discard") == 2
        assert "Add --yes to discard without asking" in capsys.readouterr().err
        assert stopped.stop_wish() is None
    finally:
        os.close(lock)


def test_a_dataset_that_is_gone_is_told_when_the_run_goes_on(stopped, home, workspace, capsys):
    file = stopped.folder / "config.yaml"
    file.write_text(file.read_text().replace(str(home.root), str(workspace.root)))
    assert call("train", "--resume", "stopped") == 2
    error = capsys.readouterr().err
    assert "no prepared dataset here" in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_a_dataset_that_is_deleted_while_a_run_trains_is_told_when_it_is_needed(
    workspace, dataset, monkeypatch, capsys, home
):
    from fer_core.training import loop

    write = loop.write_results

    def write_without(*arguments):
        dataset.folder.rename(dataset.folder.with_name("away"))
        write(*arguments)

    with monkeypatch.context() as during:
        during.setattr(loop, "write_results", write_without)
        assert begin("r", dataset, monkeypatch) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "is gone or damaged, and this run still needs it. Put it back." in said
    assert "3 of 3 epochs are kept" in said
    job = Job(workspace.runs / "r")
    assert job.state() is JobState.FAILED
    dataset.folder.with_name("away").rename(dataset.folder)
    assert call("train", "--resume", "r") == 0
    assert_same(job, home)


def test_the_same_run_started_twice_runs_once(stopped):
    runs.start(stopped)
    with pytest.raises(JobError, match=r"already running"):
        runs.start(stopped)
    assert call("train", "--resume", "stopped") == 2
    assert supervisor.stop(stopped, grace=60) is JobState.STOPPED
