"""Ended at seeded moments, and without room: a dataset is whole or absent, and a run ends as if nothing had been."""

import os
import random
import resource
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
MOMENTS = 10  # at which each way of making a dataset is ended


def command(*arguments: str, **options) -> subprocess.Popen:
    log = Path(os.environ["FER_WORKSPACE"]).parent / "command.log"
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "fer_core", *arguments], cwd=ROOT, stdout=out, stderr=out, **options
        )


@pytest.fixture
def archives(tmp_path):
    return [str(path) for path in draw_demo(tmp_path / "drawn")]


@pytest.fixture
def making(request, workspace, archives) -> list[str]:
    """A command that makes a dataset, without the name of that."""
    prepare = ["data", "prepare", *archives]
    if request.param == "prepare":
        return prepare
    if request.param == "prepare and balance":
        return [*prepare, "--balance"]
    assert command(*prepare, "--out", "base").wait() == 0
    return ["data", "balance", "base", "--target", "300"]


every_way = pytest.mark.parametrize("making", ["prepare", "prepare and balance", "balance"], indirect=True)


def heeds_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell that runs tests in the background has them ignored


def left_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.name.startswith("."))


def assert_whole_or_absent(folder: Path, whole: Dataset) -> bool:
    """Checks what a command that was ended has left under its name; returns whether that is a dataset."""
    if not folder.exists():
        return False
    made = Dataset.open(folder)
    made.check()
    assert made.info.fingerprint == whole.info.fingerprint
    assert {file.name for file in folder.iterdir()} == {file.name for file in whole.folder.iterdir()}
    return True


@every_way
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_dataset_is_whole_or_absent_whenever_its_making_is_ended(workspace, making, number):
    started = time.monotonic()
    assert command(*making, "--out", "whole").wait() == 0
    seconds = time.monotonic() - started
    whole = Dataset.open(workspace.datasets / "whole")
    chance = random.Random(f"{SEED} {number}")
    made = 0
    for attempt in range(MOMENTS):
        name = f"faces-{attempt}"
        process = command(*making, "--out", name, preexec_fn=heeds_interrupts)
        # One moment in each of so many equal parts of its life, and a little beyond.
        time.sleep((attempt + chance.random()) / (MOMENTS - 2) * seconds)
        process.send_signal(number)
        process.wait()
        made += assert_whole_or_absent(workspace.datasets / name, whole)
        if number != signal.SIGKILL:
            assert left_in(workspace.datasets) == []  # it has put away what it had begun
    assert made < MOMENTS
    assert command(*making, "--out", "last").wait() == 0
    assert left_in(workspace.datasets) == []  # what the killed ones had begun is gone
    assert assert_whole_or_absent(workspace.datasets / "last", whole)


@every_way
def test_a_dataset_is_whole_or_absent_wherever_room_ends(workspace, making):
    assert command(*making, "--out", "whole").wait() == 0
    whole = Dataset.open(workspace.datasets / "whole")
    largest = max(file.stat().st_size for file in whole.folder.iterdir())
    for attempt in range(MOMENTS):
        limit = 10_000 + attempt * (largest - 10_000) // (MOMENTS - 1)  # from the room that the job's own files need

        def limited(limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        process = command(*making, "--out", f"faces-{attempt}", preexec_fn=limited)
        assert process.wait() == (0 if limit >= largest else 2)
        assert assert_whole_or_absent(workspace.datasets / f"faces-{attempt}", whole) == (limit >= largest)
        assert left_in(workspace.datasets) == []
    assert "Traceback" not in (workspace.root.parent / "command.log").read_text()


@every_way
def test_of_several_at_once_under_one_name_exactly_one_wins(workspace, making):
    assert command(*making, "--out", "whole").wait() == 0
    whole = Dataset.open(workspace.datasets / "whole")
    for attempt in range(4):
        together = [command(*making, "--out", f"faces-{attempt}") for _ in range(3)]
        assert sorted(process.wait() for process in together) == [0, 2, 2]
        assert assert_whole_or_absent(workspace.datasets / f"faces-{attempt}", whole)
        assert left_in(workspace.datasets) == []
    assert "Traceback" not in (workspace.root.parent / "command.log").read_text()


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
