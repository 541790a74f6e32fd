"""The commands that compare and tidy up runs, as a user at a terminal calls them."""

import io
import json
import os
import shutil

import pytest

from fer_core.inference.served import default_model
from fer_core.jobs.store import Job, JobStatus
from tests.unit.command_line import call
from tests.unit.runs import write_finished_run
from tests.unit.training.conftest import make_dataset


@pytest.fixture
def dataset(workspace):
    return make_dataset(workspace.datasets / "tiny", {"train": 14, "validation": 70, "test": 7})


@pytest.fixture
def two(workspace, dataset):
    write_finished_run(workspace, "a", dataset, wrong=range(40))
    write_finished_run(workspace, "b", dataset, wrong=range(30, 40), changes=["head_l2=0.1"])


def test_compare_says_the_difference_and_the_settings(capfd, two):
    code, out, _ = call(capfd, "runs", "compare", "a", "b")
    assert code == 0
    assert "+42.9 ± " in out
    assert "points on 70 shared images (only this one right: 30, only a: 0)" in out
    assert out.splitlines()[-1].split() == ["head_l2", "0.0", "0.1"]


def test_compare_as_json(capfd, two):
    code, out, _ = call(capfd, "runs", "compare", "b", "a", "--json")
    document = json.loads(out)
    assert (code, document["baseline"]) == (0, "b")
    found = document["runs"][1]["difference"]
    assert (found["n"], found["only_first_right"], found["only_this_right"]) == (70, 30, 0)
    assert found["ci95"][0] < found["accuracy"] < found["ci95"][1] < 0
    assert not found["within_noise"]
    assert document["runs"][0]["difference"] is None
    assert document["settings"] == {"head_l2": {"b": 0.1, "a": 0.0}}


def test_compare_tells_the_test_and_on_demand_every_image(capfd, workspace, dataset):
    write_finished_run(workspace, "a", dataset, wrong=[0, 1, 2])
    write_finished_run(workspace, "b", dataset, wrong=[2, 3])
    assert (
        "(only this one right: 2, only a: 1); exact McNemar test p = 1" in call(capfd, "runs", "compare", "a", "b")[1]
    )
    code, out, _ = call(capfd, "runs", "compare", "a", "b", "--details", "--json")
    found = json.loads(out)["runs"][1]["difference"]
    assert (code, found["p_value"]) == (0, 1)
    split = dataset.split("validation")
    assert [image["path"] for image in found["images"]] == split.table["path"][[0, 1, 3]].tolist()
    assert [image["label"] == image["this"] for image in found["images"]] == [True, True, False]
    assert [image["label"] == image["first"] for image in found["images"]] == [False, False, True]
    assert [sum(row) for row in found["confusion_difference"]] == [0] * 7
    assert sum(found["confusion_difference"][i][i] for i in range(7)) == 1
    _, out, _ = call(capfd, "runs", "compare", "a", "b", "--details")
    assert "Confusion matrix of b minus that of a" in out
    assert "Only b reads right: 2" in out
    assert f"{split.table['path'][3]}  {found['images'][2]['label']}, not {found['images'][2]['this']}" in out


def test_a_small_difference_is_called_noise(capfd, workspace, dataset):
    write_finished_run(workspace, "a", dataset, wrong=[0, 1])
    write_finished_run(workspace, "b", dataset, wrong=[2])
    _, out, _ = call(capfd, "runs", "compare", "a", "b")
    assert "within noise" in out
    assert "All settings are the same." in out


def test_what_cannot_be_compared_says_so(capfd, workspace, two):
    other = make_dataset(workspace.datasets / "other", {"train": 7, "validation": [3] * 7, "test": 7}, seed=2)
    write_finished_run(workspace, "c", other, wrong=[0])
    (workspace.run("b") / "predictions-validation.parquet").unlink()
    code, out, _ = call(capfd, "runs", "compare", "a", "b", "c")
    assert code == 1
    assert "no predictions here" in out.splitlines()[1]
    shutil.rmtree(other.folder)
    assert "cannot be compared: dataset other is gone or changed" in call(capfd, "runs", "compare", "a", "c")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "a"], "Name at least two different runs"),
        (["compare", "a", "a"], "Name at least two different runs"),
        (["compare", "a", "nope"], "No run named 'nope'"),
        (["rename", "a", "b"], "There is a run named 'b' already"),
        (["delete", "nope", "--yes"], "No run named 'nope'"),
        (["free"], "or give --all"),
        (["free", "a", "--all"], "or give --all"),
    ],
)
def test_a_wrong_call_is_one_line(capfd, two, arguments, said):
    code, out, err = call(capfd, "runs", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_training_does_not_take_the_name_of_a_model(capfd, workspace, dataset):
    name = default_model(workspace).name
    code, out, err = call(capfd, "train", "tiny", "--name", name)
    assert (code, out) == (2, "")
    assert f"There is a run or model named '{name}' already" in err
    assert not workspace.runs.exists()


def test_rename(capfd, workspace, two):
    code, _, err = call(capfd, "runs", "rename", "a", "c")
    assert (code, err) == (0, "a is now called c.\n")
    assert not (workspace.runs / "a").exists()
    assert call(capfd, "runs", "show", "c")[0] == 0


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("answer", "left"), [("n\n", {"a", "b"}), ("", {"a", "b"}), ("y\n", {"b"})])
def test_delete_asks(capfd, workspace, two, monkeypatch, answer, left):
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    call(capfd, "runs", "delete", "a")
    assert {path.name for path in workspace.runs.iterdir()} == left


def test_where_nobody_can_be_asked_delete_wants_a_yes(capfd, workspace, two, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    code, out, err = call(capfd, "runs", "delete", "a", "b", "--json")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "Add --yes" in err
    assert len(list(workspace.runs.iterdir())) == 2


@pytest.fixture
def b_at_work(workspace, two):
    job = Job(workspace.run("b"))
    lock = job.take_lock()
    job.write_status(JobStatus(state="running"))
    yield
    os.close(lock)


@pytest.mark.parametrize(("action", "done"), [(["delete", "--yes"], "Deleted a"), (["free"], "checkpoints of a")])
def test_what_fails_is_told_and_the_rest_is_done(capfd, workspace, b_at_work, action, done):
    code, out, err = call(capfd, "runs", *action, "b", "a")
    assert (code, out) == (1, "")
    assert "b is at work" in err
    assert done in err
    assert [path.parts[-3] for path in workspace.runs.rglob("*.npz")] == ["b"]


@pytest.mark.parametrize("action", [["delete", "--yes"], ["free"]])
def test_what_fails_is_in_the_json_with_its_reason(capfd, b_at_work, action):
    code, out, _ = call(capfd, "runs", *action, "a", "b", "--json")
    document = json.loads(out)
    assert code == 1
    assert list(document["runs"]) == ["a"]
    assert document["freed_bytes"] == document["runs"]["a"] > 1_900_000
    assert list(document["failed"]) == ["b"]
    assert "b is at work" in document["failed"]["b"]


@pytest.mark.parametrize("action", [["delete", "--yes"], ["free"]])
def test_a_name_that_is_no_run_stops_before_anything_is_done(capfd, workspace, two, action):
    code, out, err = call(capfd, "runs", *action, "a", "nope")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "No run named 'nope'" in err
    assert len(list(workspace.runs.rglob("*.npz"))) == 2


def test_delete_several_without_asking(capfd, workspace, two):
    code, out, _ = call(capfd, "runs", "delete", "a", "b", "--yes", "--json")
    assert code == 0
    assert json.loads(out)["freed_bytes"] > 4_000_000
    assert list(workspace.runs.iterdir()) == []


def test_free_says_what_is_freed(capfd, workspace, two):
    code, _, err = call(capfd, "runs", "free", "--all")
    assert code == 0
    assert "Deleted the checkpoints of a: 1.9 MB freed." in err
    assert not any(workspace.runs.rglob("*.npz"))
    assert "nothing to free" in call(capfd, "runs", "free", "--all")[2]


def test_seeds_of_a_recipe_are_told_together(capfd, workspace, dataset):
    for seed, wrong in ((1, 10), (2, 20), (3, 30)):
        write_finished_run(workspace, f"wide-{seed}", dataset, wrong=range(wrong), changes=[f"seed={seed}"])
    words = "wide, 3 seeds (1, 2, 3): validation 71.4 % mean, 14.3 standard deviation, 57.1 to 85.7 %, n 70, Clean"
    assert call(capfd, "runs", "list")[1].splitlines()[-1] == words
    assert call(capfd, "runs", "compare", "wide-1", "wide-2", "wide-3")[1].splitlines()[-1] == words
    for run in json.loads(call(capfd, "runs", "list", "--json")[1]):
        assert (run["seeds"]["name"], run["seeds"]["seeds"], run["seeds"]["n"]) == ("wide", [1, 2, 3], 70)
    (group,) = json.loads(call(capfd, "runs", "compare", "wide-1", "wide-2", "--json")[1])["seeds"]
    assert (group["runs"], group["lowest"], group["highest"]) == (["wide-1", "wide-2"], 50 / 70, 60 / 70)


def test_runs_of_other_settings_are_no_seeds(capfd, two):
    assert "seeds (" not in call(capfd, "runs", "list")[1]
    assert [run["seeds"] for run in json.loads(call(capfd, "runs", "list", "--json")[1])] == [None, None]


def test_export_and_import(capfd, workspace, two, tmp_path):
    file = tmp_path / "a.zip"
    assert call(capfd, "runs", "export", "a", "--out", file)[0] == 0
    small = file.stat().st_size
    file.unlink()
    _, out, _ = call(capfd, "runs", "export", "a", "--out", file, "--checkpoints", "--json")
    assert json.loads(out)["bytes"] == file.stat().st_size > small + 1_900_000
    code, out, err = call(capfd, "runs", "export", "b", "--out", file)
    assert (code, out, err.count("\n")) == (2, "", 1)
    code, out, err = call(capfd, "runs", "import", file)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "'a' already" in err
    _, out, _ = call(capfd, "runs", "import", file, "--name", "c", "--json")
    assert json.loads(out) == {"name": "c", "folder": str(workspace.run("c")), "left_out": 0}
    assert "All settings are the same." in call(capfd, "runs", "compare", "a", "c")[1]
