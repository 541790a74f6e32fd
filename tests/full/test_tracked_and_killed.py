"""A run that is killed, and whose trackers are away, is whole in both in the end."""

import signal

from fer_core.jobs.store import Job
from fer_core.training.runs import Run, write_config
from tests.unit.training.test_resume import SETTINGS, assert_same, command
from tests.unit.training.test_tracking import (
    failures,
    points,
    quick,  # noqa: F401 a fixture
    settings,
    steps,
    tensorboard,
    tracked,
)


def test_a_run_that_is_killed_and_goes_on_is_whole_in_both_and_has_the_weights_of_one_without(workspace, tiny, server):
    result = command("never", "train", "tiny", "--name=plain", *SETTINGS)
    assert result.returncode == 0, result.stderr
    trackers = ["--set=tensorboard=true", f"--set=mlflow={server.uri}"]
    result = command("batch", "train", "tiny", "--name=tracked", *SETTINGS, *trackers)
    assert result.returncode == -signal.SIGKILL, result.stderr
    job = Job(workspace.runs / "tracked")
    assert server.wait_for(lambda: [run["info"]["status"] for run in server.runs.values()] == ["FAILED"])
    assert [steps(run) for run in server.runs.values()] == [[1]]
    open_since = tensorboard(job.folder)
    assert [step for step, _ in points(open_since, "loss/train")] == [1]

    # The address written otherwise, by hand: that is no other setting to learn by, and the same run at the server.
    write_config(job, settings(job, f"mlflow={server.uri}/"))
    server.mood = "refuse"  # until the run is over
    result = command("never", "train", "--resume=tracked")
    assert result.returncode == 0, result.stderr
    assert server.wait_for(lambda: not tracked(job))
    assert [event["tracker"] for event in failures(job)] == ["MLflow"]
    assert_same(*(Run(Job(workspace.runs / name)) for name in ("tracked", "plain")), "phase1-epoch003.npz")
    for board in (open_since.Reload(), tensorboard(job.folder)):
        assert [step for step, _ in points(board, "loss/train")] == [1, 2, 3]
        batch_steps = [step for step, _ in points(board, "batch/loss")]
        assert batch_steps == sorted(set(batch_steps))
    assert len(board.Tensors("confusion_matrix/validation")) == 1

    server.mood = "answer"
    result = command("never", "runs", "track", "tracked")
    assert result.returncode == 0, result.stderr
    (run,) = server.runs.values()
    assert steps(run) == [1, 2, 3]
    assert (run["info"]["status"], server.files["model.onnx"]) == (
        "FINISHED",
        (job.folder / "model.onnx").read_bytes(),
    )
