"""What is known of all runs: read once, kept beside the runs, and never older than their files."""

import json
import os
import shutil

import pytest

from fer_core.evaluation.predictions import predictions_file
from fer_core.jobs.store import Job, JobStatus
from fer_core.training import catalog, run_folder, runs
from fer_core.training.catalog import CATALOG_FILE, Catalog
from fer_core.training.comparison import compare_runs
from fer_core.training.run_folder import Notes
from tests.unit.runs import write_finished_run
from tests.unit.training.conftest import make_dataset


@pytest.fixture
def dataset(workspace):
    return make_dataset(workspace.datasets / "faces", {"train": 14, "validation": 70, "test": 7})


@pytest.fixture
def two(workspace, dataset):
    write_finished_run(workspace, "a", dataset, wrong=range(40))
    write_finished_run(workspace, "b", dataset, wrong=range(30, 43))


@pytest.fixture
def read(monkeypatch):
    """Names of the runs whose files were read."""
    found = []
    original = catalog.read_facts
    monkeypatch.setattr(catalog, "read_facts", lambda job: found.append(job.name) or original(job))
    return found


def by_name(found):
    return {summary.name: summary for summary in found.look()}


def test_runs_are_read_once_and_by_one_server(workspace, two, read):
    first = Catalog(workspace)
    assert [summary.name for summary in first.look()] == ["b", "a"]
    first.look()
    before = sorted(read)
    again = Catalog(workspace).look()
    assert before == sorted(read) == ["a", "b"]
    assert again == first.look()
    assert again[0].facts.config == runs.read_config(workspace.run("b") / "config.yaml")


@pytest.mark.parametrize("content", ["{", "[]", '{"version": "0", "runs": {}}', '{"version": 3}'])
def test_what_was_kept_may_be_damaged_old_or_gone(workspace, two, read, content):
    found = Catalog(workspace).look()
    (workspace.runs / CATALOG_FILE).write_text(content)
    assert Catalog(workspace).look() == found
    (workspace.runs / CATALOG_FILE).unlink()
    assert Catalog(workspace).look() == found
    assert len(read) == 6


def test_the_kept_file_is_no_second_truth(workspace, two):
    file = workspace.runs / CATALOG_FILE
    Catalog(workspace).look()
    kept = json.loads(file.read_text())
    assert set(kept["runs"]) == {"a", "b"}
    shutil.rmtree(workspace.run("a"))
    assert set(by_name(Catalog(workspace))) == {"b"}


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (lambda space: run_folder.write_notes(space.run("a"), Notes(tags=["x"])), lambda run: run.notes.tags == ["x"]),
        (lambda space: run_folder.free_checkpoints(space, "a"), lambda run: run.freeable == run.disk.checkpoints == 0),
        (lambda space: (space.run("a") / "config.yaml").write_text("{"), lambda run: run.facts.config is None),
        (lambda space: (space.run("a") / "predictions-validation.parquet").unlink(), lambda run: run.answers is None),
        (lambda space: shutil.rmtree(space.datasets / "faces"), lambda run: "dataset gone" in run.facts.problems),
        (
            lambda space: Job(space.run("a")).write_status(JobStatus(state="stopped")),
            lambda run: run.state == "stopped",
        ),
    ],
)
def test_every_change_of_a_run_is_seen(workspace, two, change, seen):
    known = Catalog(workspace)
    assert not seen(by_name(known)["a"])
    change(workspace)
    assert seen(by_name(known)["a"])
    assert seen(by_name(Catalog(workspace))["a"])


def test_a_run_at_work_is_looked_at_every_time_and_not_kept(workspace, two):
    job = Job(workspace.run("a"))
    known = Catalog(workspace)
    job.write_status(JobStatus(state="running"))
    lock = job.take_lock()
    try:
        assert by_name(known)["a"].state == "running"
        assert set(json.loads((workspace.runs / CATALOG_FILE).read_text())["runs"]) == {"b"}
        job.append_event({"type": "epoch", "phase": 0, "epoch": 9, "val_accuracy": 0.9, "val_loss": 0.1, "seconds": 1})
        assert by_name(known)["a"].facts.accuracies[-1] == 0.9
    finally:
        os.close(lock)
    assert by_name(known)["a"].state == "crashed"


def test_a_renamed_run_is_the_same_run(workspace, two):
    known = Catalog(workspace)
    before = by_name(known)["a"]
    run_folder.rename(workspace, "a", "c")
    after = by_name(known)
    assert set(after) == {"b", "c"}
    assert (after["c"].facts.score, after["c"].facts.name) == (before.facts.score, "c")


def test_other_jobs_and_stray_files_are_no_runs(workspace, two):
    Job.create(workspace.runs, "prepare", "p-1", [])
    (workspace.runs / "stray.txt").write_text("")
    (workspace.runs / "empty").mkdir()
    assert set(by_name(Catalog(workspace))) == {"a", "b"}


def test_no_run_at_all(workspace):
    assert Catalog(workspace).look() == []
    assert not workspace.runs.exists()


def test_a_folder_that_cannot_be_written_is_read_all_the_same(workspace, two, monkeypatch):
    def refused(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(catalog, "write_atomically", refused)
    assert len(Catalog(workspace).look()) == 2


def test_differences_are_those_of_the_predictions(workspace, two):
    known = Catalog(workspace)
    a, b = (by_name(known)[name] for name in ("a", "b"))
    found, _ = known.difference(a, b)
    assert found == compare_runs(a.run, b.run)
    assert (found.n, found.only_a, found.only_b) == (70, 3, 30)


def test_differences_over_two_datasets_count_what_both_hold(workspace, two):
    other = make_dataset(workspace.datasets / "other", {"train": 7, "validation": 35, "test": 7})
    for name in ("c", "d"):
        write_finished_run(workspace, name, other, wrong=[0, 34])
    known = Catalog(workspace)
    rows = by_name(known)
    for name in ("c", "d"):
        found, _ = known.difference(rows["a"], rows[name])
        assert found == compare_runs(rows["a"].run, rows[name].run)
        assert found.n == 35
    shutil.rmtree(other.folder)
    rows = by_name(known)
    assert known.difference(rows["a"], rows["c"]) == (
        None,
        "cannot be compared: dataset other is gone or changed",
    )


def test_damaged_predictions_are_no_answers(workspace, two):
    predictions_file(workspace.run("a"), "validation").write_text("{")
    known = Catalog(workspace)
    rows = by_name(known)
    assert known.difference(rows["b"], rows["a"]) == (None, "no answers to compare")


def test_a_curve_with_a_gap_is_kept(workspace, two):
    with (workspace.run("a") / "events.jsonl").open("a") as lines:
        event = {"type": "epoch", "phase": 0, "epoch": 9, "val_accuracy": 0.9, "seconds": 1}
        lines.write(json.dumps({**event, "val_loss": float("nan")}) + "\n")
    Catalog(workspace).look()
    losses = by_name(Catalog(workspace))["a"].facts.losses
    assert losses[-1] != losses[-1]


def test_progress_is_told_of_runs_that_are_new(workspace, two):
    said = []
    known = Catalog(workspace)
    known.look(lambda *words: said.append(words))
    known.look(lambda *words: said.append(words))
    assert said == [("Reading runs", 0, 2), ("Reading runs", 1, 2)]
