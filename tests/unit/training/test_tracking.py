"""Runs in TensorBoard and MLflow, read back with their own libraries."""

import errno
import importlib.util
import json
import os

import numpy as np
import pytest
import yaml

from fer_core.errors import ConfigError
from fer_core.jobs.store import Job, JobStatus, take_lock
from fer_core.training.config import TRACKING, apply_overrides, load_preset, read_config
from fer_core.training.differences import changed_settings, flat, settings_that_differ
from fer_core.training.runs import CONFIG_FILE, write_config
from fer_core.training.tracking import follow as following
from fer_core.training.tracking.epochs import EpochLog
from fer_core.training.tracking.follow import follow, followed
from fer_core.training.tracking.places import check_trackable, mlflow_place
from tests.unit.command_line import call
from tests.unit.runs import write_finished_run

from .mlflow_server import MlflowServer

EPOCH_SCORES = {
    "loss/train": 0.5,
    "accuracy/train": 0.25,
    "validation/macro_precision": 0.4,
    "validation/macro_recall": 0.5,
    "validation/macro_f1": 0.6,
    "rates/learning_rate": 2e-3,
    "rates/weight_decay": 0.02,
    "speed/images_per_second": 100.0,
    "recall/angry": 0.75,
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Servers that hang are given up after a second, and asked again at once."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setattr(following, "_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(following, "PATIENCE_SECONDS", 240.0)  # a busy machine may take its time


@pytest.fixture
def server():
    server = MlflowServer()
    yield server
    server.close()


@pytest.fixture
def job(workspace, tiny):
    """A finished run with two epochs, without training; its events are written by the test."""
    job = Job(write_finished_run(workspace, "one", tiny))
    (job.folder / "events.jsonl").unlink()
    (job.folder / "confusion_matrix_val.png").write_bytes(picture())
    (job.folder / "prediction_samples.png").write_bytes(picture())
    job.write_status(JobStatus(state="done", finished=1_700_000_999.0, message="Validation 90.0 %"))
    return job


def picture():
    import cv2

    return cv2.imencode(".png", np.zeros((4, 6), np.uint8))[1].tobytes()


def settings(job, *changes):
    return apply_overrides(read_config(job.folder / CONFIG_FILE), changes)


def batches(job, epoch, numbers, *, phase=0, of=4):
    for number in numbers:
        place = {"phase": phase, "epoch": epoch, "batch": number, "batches": of}
        job.append_event({"type": "batch", **place, "loss": 2 - number / 8, "accuracy": number / 8})


def epoch(job, epoch, *, phase=0, number=None, **scores):
    scores = {"val_loss": 1.5 - epoch, "val_accuracy": 0.5, "val_recall": {"angry": 0.75, "sad": None}} | scores
    rates = {"learning_rate": 2e-3, "weight_decay": 0.02, "images_per_second": 100.0}
    macro = {"val_macro_precision": 0.4, "val_macro_recall": 0.5, "val_macro_f1": 0.6}
    place = {"phase": phase, "epoch": epoch, "global_epoch": epoch if number is None else number}
    job.append_event({"type": "epoch", **place, "loss": 0.5, "accuracy": 0.25, **scores, **rates, **macro})


def train_two(job):
    for number in range(2):
        batches(job, number, (0, 2))
        epoch(job, number)


def tensorboard(folder):
    """What TensorBoard reads of a run; ``Reload`` reads on."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()


def points(board, tag):
    return [(event.step, event.value) for event in board.Scalars(tag)]


def steps(run, name="loss/validation"):
    return [int(point["step"]) for point in run["metrics"] if point["key"] == name]


def failures(job):
    return job.events("tracking_failed")


def tracked(job):
    """Whether a process is still writing the run to its trackers."""
    lock = take_lock(job.folder / "tracking.lock")
    if lock is not None:
        os.close(lock)
    return lock is None


def reveal_test(job):
    file = job.folder / "metrics.json"
    scores = json.loads(file.read_text())
    file.write_text(json.dumps(scores | {"test": scores["validation"]}))


class Scene:
    """Stands for the process that trains: each look of the follower is followed by the next thing that happens."""

    def __init__(self, *happenings):
        self._left = list(happenings)

    def __call__(self, seconds):
        if not self._left:
            return True
        self._left.pop(0)()
        return False


# What is read of a run


def test_an_epoch_that_was_trained_twice_counts_once_and_batches_count_on(job):
    batches(job, 0, (0, 1, 2))  # killed here, and trained anew
    batches(job, 0, (0, 3))
    epoch(job, 0)
    batches(job, 1, (0, 2))
    epoch(job, 1, val_loss=9.0)  # killed before its checkpoint
    batches(job, 1, (0, 1))
    with (job.folder / "events.jsonl").open("a") as file:
        file.write('{"type": "epoch", "phase": 0\n{"type": "batch"}\n{"type": "epoch", "phase": "x", "epoch": 1}\n')
    batches(job, 1, (2,))
    epoch(job, 1)
    batches(job, 0, (0, 1), phase=1, of=2)
    epoch(job, 0, phase=1, number=2)
    batches(job, 1, (0,), phase=1, of=2)  # not finished: it may be trained again

    found = EpochLog(job.folder / "events.jsonl").look()
    assert [each.step for each in found] == [1, 2, 3]
    assert [[point.step for point in each.batches] for each in found] == [[1, 4], [5, 6, 7], [9, 10]]
    assert found[1].scores["loss/validation"] == 0.5
    assert list(found[0].scores)[-1] == "loss/validation"
    assert found[0].scores.items() >= EPOCH_SCORES.items()
    assert "recall/sad" not in found[0].scores


# TensorBoard


def test_tensorboard_reads_every_score_settings_and_the_matrix(job, capfd):
    train_two(job)
    code, out, _ = call(capfd, "runs", "track", "one", "--tensorboard", "--json")
    assert (code, json.loads(out)["mlflow"]) == (0, None)
    board = tensorboard(job.folder)
    for name, value in EPOCH_SCORES.items():
        assert points(board, name) == [(1, pytest.approx(value)), (2, pytest.approx(value))]
    assert points(board, "loss/validation") == [(1, 1.5), (2, 0.5)]
    assert points(board, "batch/loss") == [(1, 2.0), (3, 1.75), (5, 2.0), (7, 1.75)]
    (text,) = board.Tensors("settings")
    assert b"architecture: compact" in text.tensor_proto.string_val[0]
    (matrix,) = board.Tensors("confusion_matrix/validation")
    assert (matrix.step, *matrix.tensor_proto.string_val[:2]) == (2, b"6", b"4")
    assert matrix.tensor_proto.string_val[2] == picture()
    told = [event["time"] for event in job.events("epoch")]
    assert [event.wall_time for event in board.Scalars("loss/train")] == pytest.approx(told)


def test_a_resumed_run_has_no_point_twice_even_in_a_tensorboard_that_was_open(job):
    config = settings(job, "tensorboard=true")
    job.write_status(JobStatus(state="stopped"))
    batches(job, 0, (0, 2))
    epoch(job, 0)
    follow(job, config, Scene(lambda: batches(job, 1, (0, 1))))
    open_since = tensorboard(job.folder)
    assert points(open_since, "batch/loss") == [(1, 2.0), (3, 1.75)]

    def trains():
        batches(job, 1, (0, 3))
        epoch(job, 1)

    follow(job, config, Scene(trains))
    for board in (open_since.Reload(), tensorboard(job.folder)):
        assert [step for step, _ in points(board, "batch/loss")] == [1, 3, 5, 8]
        assert [step for step, _ in points(board, "accuracy/train")] == [1, 2]
    assert len(list((job.folder / "tensorboard").iterdir())) == 1


def test_an_epoch_is_on_disk_before_the_next_begins(job):
    seen = []

    def look():
        seen.append([step for step, _ in points(tensorboard(job.folder), "loss/train")])

    epoch(job, 0)
    follow(job, settings(job, "tensorboard=true"), Scene(look, lambda: epoch(job, 1), look))
    assert seen == [[1], [1, 2]]


def test_a_full_disk_costs_what_stood_there_nothing_and_is_told_once(job, monkeypatch, capfd):
    from fer_core.training.tracking import tensorboard as writing

    full = []

    class Disk(writing.RecordWriter):
        def write(self, data):
            if full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().write(data)

    monkeypatch.setattr(writing, "RecordWriter", Disk)
    train_two(job)
    config = settings(job, "tensorboard=true")

    def fills():
        full.append(True)
        epoch(job, 2)

    follow(job, config, Scene(fills, lambda: epoch(job, 3), lambda: None))
    assert [event["tracker"] for event in failures(job)] == ["TensorBoard"]
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "No space left on device. Training goes on." in said
    assert [step for step, _ in points(tensorboard(job.folder), "loss/train")] == [1, 2]
    assert not list((job.folder / "tensorboard").glob("*writing*"))

    full.clear()
    follow(job, config, Scene())
    assert [step for step, _ in points(tensorboard(job.folder), "loss/train")] == [1, 2, 3, 4]


# MLflow


def test_mlflow_has_the_whole_run_once_however_often_it_is_sent(job, tmp_path, capfd, tiny):
    from mlflow import MlflowClient

    train_two(job)
    uri = (tmp_path / "store").as_uri()
    for _ in range(2):
        code, out, err = call(capfd, "runs", "track", "one", "--mlflow", uri, "--json")
        assert code == 0, err
        reveal_test(job)
    place = json.loads(out)["mlflow"]
    client = MlflowClient(uri)
    (found,) = client.search_runs([place["experiment_id"]])
    assert found.info.run_id == place["run_id"]
    assert (found.info.run_name, found.info.status, found.info.end_time) == ("one", "FINISHED", 1_700_000_999_000)
    assert client.get_experiment(place["experiment_id"]).name == "tiny"
    for name, value in EPOCH_SCORES.items():
        history = client.get_metric_history(place["run_id"], name)
        assert [(point.step, point.value) for point in history] == [(1, value), (2, value)]
    assert [point.timestamp for point in history] == [round(1000 * event["time"]) for event in job.events("epoch")]
    (final,) = client.get_metric_history(place["run_id"], "final/validation_accuracy")
    assert final.value == json.loads((job.folder / "metrics.json").read_text())["validation"]["accuracy"]
    assert found.data.metrics["final/test_images"] == 21  # revealed after the run was sent
    assert found.data.params == {key: str(value) for key, value in flat(settings(job)).items()}
    wanted = {"policy": "leak-free", "leaks": "Clean", "leaks_validation": "Clean", "dataset": "tiny"}
    assert found.data.tags.items() >= {**wanted, "dataset_fingerprint": tiny.info.fingerprint}.items()
    files = {entry.path for entry in client.list_artifacts(place["run_id"])}
    assert files == {"model.onnx", "model_card.json", "metrics.json", "config.yaml", "confusion_matrix_val.png"}


@pytest.mark.parametrize(("mood", "reason"), [("refuse", "too many 503 error responses."), ("hang", "timed out.")])
def test_a_server_that_is_away_is_told_of_once_and_gets_everything_when_it_is_back(job, server, capfd, mood, reason):
    def away():
        server.mood = mood
        epoch(job, 1)

    def back():
        server.mood = "answer"

    epoch(job, 0)
    happenings = Scene(away, lambda: epoch(job, 2), lambda: None, back, lambda: epoch(job, 3))
    follow(job, settings(job, f"mlflow={server.uri}"), happenings)
    (run,) = server.runs.values()
    assert steps(run) == steps(run, "loss/train") == [1, 2, 3, 4]
    assert (run["info"]["status"], "model.onnx" in server.files) == ("FINISHED", True)
    (failure,) = failures(job)
    assert (failure["tracker"], failure["reason"].endswith(reason)) == ("MLflow", True)
    assert capfd.readouterr().err.count("\n") == 1


def test_a_run_whose_making_was_not_answered_is_found_again(job, server):
    def loses():
        server.mood = "lose"

    def back():
        server.mood = "answer"

    server.mood = "refuse"
    follow(job, settings(job, f"mlflow={server.uri}"), Scene(loses, lambda: None, lambda: None, back))
    assert list(server.runs) == [mlflow_place(job.folder).run_id]


@pytest.mark.parametrize(
    ("state", "shown"), [("done", "FINISHED"), ("stopped", "KILLED"), ("failed", "FAILED"), ("running", "FAILED")]
)
def test_mlflow_shows_the_state_of_the_run(job, server, state, shown):
    job.write_status(JobStatus(state=state))
    epoch(job, 0)
    follow(job, settings(job, f"mlflow={server.uri}"), Scene())
    (run,) = server.runs.values()
    assert run["info"]["status"] == shown
    assert bool(server.files) == (state == "done")


def test_a_run_that_goes_on_under_another_name_goes_on_in_mlflow(job, server, workspace, capfd):
    job.write_status(JobStatus(state="stopped"))
    epoch(job, 0)
    config = settings(job, f"mlflow={server.uri}")
    follow(job, config, Scene())
    assert call(capfd, "runs", "rename", "one", "two")[0] == 0
    job = Job(workspace.runs / "two")
    lock, seen = job.take_lock(), []
    job.write_status(JobStatus(state="running"))

    def ends():
        seen.extend(run["info"]["status"] for run in server.runs.values())
        epoch(job, 1)
        job.write_status(JobStatus(state="done"))
        os.close(lock)

    follow(job, config, Scene(ends))
    (run,) = server.runs.values()
    assert (seen, run["info"]["status"], run["info"]["run_name"]) == (["RUNNING"], "FINISHED", "two")
    assert steps(run) == [1, 2]


def test_a_discarded_run_is_killed_there_and_nothing_is_said(job, server, capfd):
    config = settings(job, f"mlflow={server.uri}", "tensorboard=true")
    follow(job, config, Scene(lambda: epoch(job, 0), job.discard, lambda: None))
    (run,) = server.runs.values()
    assert run["info"]["status"] == "KILLED"
    assert not job.folder.exists()
    assert capfd.readouterr().err == ""


def test_one_process_at_a_time_writes(job, capfd):
    lock = take_lock(job.folder / "tracking.lock")
    try:
        code, _, err = call(capfd, "runs", "track", "one", "--tensorboard")
        assert (code, err.count("\n")) == (2, 1)
        assert "Try again when it has ended" in err
    finally:
        os.close(lock)


def test_training_goes_on_where_no_process_can_be_started(job, monkeypatch, capfd):
    def refuse(*args, **kwargs):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(following.subprocess, "Popen", refuse)
    trained = []
    with followed(job, settings(job)):
        trained.append("without trackers")
    assert not failures(job)
    with followed(job, settings(job, "tensorboard=true")):
        trained.append("with one")
    assert len(trained) == 2
    assert [event["reason"] for event in failures(job)] == ["Cannot allocate memory."]
    assert capfd.readouterr().err.count("\n") == 1


def test_what_ends_the_training_passes_and_the_trackers_have_what_was_trained(job):
    config = settings(job, "tensorboard=true")
    write_config(job, config)

    def train():
        with followed(job, config):
            train_two(job)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert points(tensorboard(job.folder), "loss/validation") == [(1, 1.5), (2, 0.5)]


# Wrong calls and settings


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "Say where to write one: --tensorboard, --mlflow URI, or both."),
        (["--mlflow", "http://127.0.0.1:9"], "one was not written to MLflow: Connection refused."),
        (["--mlflow", "file:///tmp/x?token=abc"], "MLFLOW_TRACKING_TOKEN"),
    ],
)
def test_a_wrong_call_is_one_line(job, capfd, options, said):
    code, out, err = call(capfd, "runs", "track", "one", *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


@pytest.mark.parametrize(
    "uri", ["http://localhost:5000", "https://x.org/mlflow", "sqlite:////tmp/m.db", "file:///tmp/store", ""]
)
def test_addresses_that_a_run_can_be_written_to(uri):
    assert apply_overrides(load_preset("compact"), [f"mlflow={uri}"]).mlflow == uri


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://me:secret@host", "be without user"),
        ("https://secret@host/", "be without user"),
        ("https://host/?token=secret", "be without user"),
        ("postgresql://me:secret@host/db", "be without user"),
        ("http://", "be the address"),
        ("http://[secret", "be the address"),
        ("localhost:5000", "be the address"),
        ("sqlite:///secret.db", "be the address"),
        ("file:secret", "be the address"),
        ("secret", "be the address"),
        ("5", "be the address"),
    ],
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused_without_repeating_it(uri, said):
    with pytest.raises(ConfigError) as refused:
        apply_overrides(load_preset("compact"), [f"mlflow={uri}"])
    assert "secret" not in str(refused.value)
    assert str(refused.value).startswith(f"--set: mlflow should {said}")
    assert str(refused.value).count("\n") == 0


def test_trackers_are_no_difference_between_runs_but_are_repeated(job, tiny):
    changes = ["tensorboard=true", "mlflow=http://host:5000"]
    plain, tracked = settings(job), settings(job, *changes)
    assert settings_that_differ({"plain": plain, "tracked": tracked}) == {}
    assert changed_settings(tracked).items() >= {"tensorboard": True, "mlflow": "http://host:5000"}.items()


def test_settings_from_before_trackers_are_valid_and_null_is_none(job):
    file = job.folder / CONFIG_FILE
    document = settings(job).model_dump(mode="json", exclude=set(TRACKING))
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    assert read_config(file) == settings(job)
    assert settings(job, "mlflow=null").mlflow == ""


@pytest.mark.parametrize("detach", [[], ["--detach"]])
@pytest.mark.parametrize(
    ("setting", "package"), [("tensorboard=true", "tensorboard"), ("mlflow=http://127.0.0.1:9", "mlflow")]
)
def test_what_is_not_installed_is_told_before_a_run_begins(
    workspace, tiny, capfd, monkeypatch, detach, setting, package
):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == package else find(name, *rest))
    code, out, err = call(capfd, "train", "tiny", f"--set={setting}", *detach)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"pip install -r requirements-{package}.txt" in err
    assert not workspace.runs.exists()


def test_what_is_gone_when_a_run_goes_on_is_an_event(job, capfd, monkeypatch):
    config = settings(job, "mlflow=http://127.0.0.1:9", "tensorboard=true")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "mlflow" else find(name, *rest)
    )
    train_two(job)
    follow(job, config, Scene())
    (failure,) = failures(job)
    assert "pip install -r requirements-mlflow.txt" in failure["reason"]
    assert points(tensorboard(job.folder), "loss/validation") == [(1, 1.5), (2, 0.5)]


def test_local_stores_say_what_they_need(monkeypatch):
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    with pytest.raises(ConfigError, match="MLFLOW_ALLOW_FILE_STORE=true"):
        check_trackable(apply_overrides(load_preset("compact"), ["mlflow=file:///tmp/store"]))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "alembic" else find("json"))
    with pytest.raises(ConfigError, match="pip install sqlalchemy alembic"):
        check_trackable(apply_overrides(load_preset("compact"), ["mlflow=sqlite:////tmp/m.db"]))
