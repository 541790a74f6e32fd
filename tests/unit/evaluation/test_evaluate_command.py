"""``evaluate`` as a user at a terminal sees it, on drawn faces."""

import contextlib
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_core.cli import evaluate as command
from fer_core.data.dataset import Dataset
from fer_core.data.demo import draw_demo
from fer_core.data.prepare import PrepareConfig, prepare
from fer_core.emotions import EMOTIONS
from fer_core.evaluation.predictions import origin_of, predictions_file, predictions_table, read_predictions
from fer_core.evaluation.report import report_of
from fer_core.evaluation.reveals import reveals
from fer_core.inference.served import CHOSEN_ON, ModelCard, find_model
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job, list_jobs
from tests.unit.command_line import call
from tests.unit.runs import write_run
from tests.unit.served_models import write_brightness_model


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    return draw_demo(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module", params=["leak-free", "as-published"])
def prepared(request, archives, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / request.param
    return prepare([str(path) for path in archives], folder, PrepareConfig(policy=request.param))


@pytest.fixture
def run(workspace, prepared):
    return write_run(workspace, "bright", prepared)


def _evaluate(capfd, *arguments):
    code, out, err = call(capfd, "evaluate", *arguments, "--json")
    assert code == 0, err
    document = json.loads(out)
    about = {key: document.pop(key) for key in ("model", "data", "split")}
    assert all(about.values())
    return document, err


def test_validation_comes_first_and_reveals_nothing(capfd, workspace, run, prepared):
    report, _ = _evaluate(capfd, "bright", prepared.folder)
    assert report["n"] == sum(prepared.counts()["validation"].values())
    assert sum(map(sum, report["confusion_matrix"])) == report["n"]
    assert not (workspace.root / "test_reveals.jsonl").exists()
    table = read_predictions(run / "predictions-validation.parquet")
    assert (table["label"] == table["predicted"]).mean() == pytest.approx(report["accuracy"])
    assert table["path"].tolist() == prepared.table("validation")["path"].tolist()


def test_leak_free_is_exact_on_the_models_own_dataset(capfd, run, prepared):
    report, _ = _evaluate(capfd, "bright", prepared.folder, "--split", "test")
    leak_free = report["leak_free"]
    assert leak_free["n"] == report["n"] - prepared.info.leaked["test"]
    assert "Exact" in leak_free["note"]
    if prepared.info.contaminated:
        assert leak_free["accuracy"] is None
        assert "No image is left" in leak_free["note"]
    else:
        assert leak_free["accuracy"] == report["accuracy"]


def test_looking_at_test_is_counted_printed_and_kept(capfd, run, prepared):
    (run / "metrics.json").write_text('{"temperature": 1.0, "validation": {}}')
    for times, words in ((1, "of 48 x 48 pixels have now been looked at once"), (2, "looked at 2 times")):
        report, err = _evaluate(capfd, "bright", prepared.folder, "--split", "test")
        assert words in err
        card = ModelCard.model_validate_json((run / "model_card.json").read_bytes())
        assert card.test_reveals == times
        assert card.metrics["test"].accuracy == report["accuracy"]
        assert card.notes == ["The epoch was chosen on validation."]
        metrics = json.loads((run / "metrics.json").read_text())
        assert metrics == {"temperature": 1.0, "validation": {}, "test": report}
    assert len(read_predictions(run / "predictions-test.parquet")) == report["n"]


def test_the_same_pictures_at_another_size_are_counted_anew(capfd, workspace, run, prepared, archives, tmp_path):
    _evaluate(capfd, "bright", prepared.folder, "--split", "test")
    config = PrepareConfig(policy=prepared.info.config["policy"], size=64)
    large = prepare([str(path) for path in archives], tmp_path / "large", config)
    _, err = _evaluate(capfd, "bright", large.folder, "--split", "test")
    assert "of 64 x 64 pixels have now been looked at once" in err


def test_a_raw_archive_is_read_as_test_and_writes_nothing_into_the_run(capfd, run, prepared, archives):
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    report, err = _evaluate(capfd, "bright", archives[0])
    assert report["n"] == sum(prepared.counts()["test"].values())
    assert "looked at once" in err
    assert {file.name: file.read_bytes() for file in run.iterdir()} == before
    note = report["leak_free"]["note"]
    assert "Approximate" in note  # the dataset lies outside the workspace, so only fingerprints are known


def test_class_folders_are_no_validation_where_they_hold_test_images(capfd, workspace, run, prepared, tmp_path):
    shutil.copytree(prepared.folder, workspace.datasets / "faces")
    for split in ("validation", "test"):
        images, labels = prepared.split(split).images, prepared.split(split).labels
        for row in (0, 1):
            file = tmp_path / split / EMOTIONS[labels[row]] / f"{row}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), images[row])
    report, err = _evaluate(capfd, "bright", tmp_path / "validation", "--split", "validation")
    assert report["n"] == 2
    assert "looked at" not in err
    code, out, err = call(capfd, "evaluate", "bright", tmp_path / "test", "--split", "validation")
    assert (code, out) == (2, "")
    told = "test: 2 of its 2 pictures are test images of faces. Only `evaluate --split test` looks at such"
    assert told in err
    file = write_brightness_model(tmp_path / "theirs.onnx")
    code, _, err = call(capfd, "models", "import", file, "--labels", "detect", "--dataset", tmp_path / "test")
    assert (code, told in err) == (2, True)
    assert reveals(workspace, prepared.split("test").table["pixel_sha"].head(2)) == 0
    both = tmp_path / "both"  # a source that says which of its pictures are validation may have copies across splits
    shutil.copytree(tmp_path / "validation", both / "validation")
    shutil.copytree(tmp_path / "test", both / "test")
    copy = next(path for path in (both / "test").rglob("*.png"))
    shutil.copy(copy, next((both / "validation").glob("*")) / "copy.png")
    assert _evaluate(capfd, "bright", both, "--split", "validation")[0]["n"] == 3


def test_a_raw_archive_is_exact_where_the_training_dataset_is_in_the_workspace(
    capfd, workspace, run, prepared, archives
):
    shutil.copytree(prepared.folder, workspace.datasets / prepared.name)
    raw, _ = _evaluate(capfd, "bright", f"raw={archives[0]}")
    own, err = _evaluate(capfd, "bright", prepared.name, "--split", "test")
    assert raw == own
    assert "looked at 2 times" in err  # the same pictures are the same test


def test_a_source_can_be_kept_as_a_dataset_that_the_pages_show(capfd, workspace, run, prepared, archives):
    raw, _ = _evaluate(capfd, "bright", archives[0])
    report, err = _evaluate(capfd, "bright", archives[0], "--keep", "album")
    assert {**report, "leak_free": None} == {**raw, "leak_free": None}
    assert "looked at 2 times" in err
    kept = Dataset.open(workspace.datasets / "album")
    assert kept.counts()["train"] == dict.fromkeys(EMOTIONS, 0)
    folder = find_model("bright", workspace).results(workspace.evaluations, kept.info.fingerprint)
    table = read_predictions(predictions_file(folder, "test"))
    assert (table["label"] == table["predicted"]).mean() == pytest.approx(report["accuracy"])


@pytest.mark.parametrize(
    ("on", "options", "message"),
    [
        ("source", ["--split", "validation"], "What is kept is a test split"),
        ("dataset", [], "is a dataset already"),
        ("source", [], "exists already"),
    ],
)
def test_what_cannot_be_kept_is_one_line(capfd, workspace, run, prepared, archives, on, options, message):
    (workspace.datasets / "album").mkdir(parents=True)
    (workspace.datasets / "album" / "dataset.json").write_text("{}")
    source = archives[0] if on == "source" else prepared.folder
    code, _, err = call(capfd, "evaluate", "bright", source, "--keep", "album", *options)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_predictions_on_another_dataset_are_kept_apart_from_the_run(
    capfd, workspace, run, prepared, archives, tmp_path
):
    config = PrepareConfig(policy=prepared.info.config["policy"], seed=7)
    other = prepare([str(path) for path in archives], tmp_path / "other", config)
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    report, _ = _evaluate(capfd, "bright", other.folder)
    assert {file.name: file.read_bytes() for file in run.iterdir()} == before
    served = find_model("bright", workspace)
    assert served.results(workspace.evaluations, prepared.info.fingerprint) == run
    table = read_predictions(
        predictions_file(served.results(workspace.evaluations, other.info.fingerprint), "validation")
    )
    assert report_of(table).document() == report  # everything can be read back from the predictions
    assert origin_of(table).dataset == "other"


@pytest.mark.parametrize("fails", [False, True])
def test_two_processes_keep_the_same_predictions_and_leave_nothing_else(
    workspace, prepared, tmp_path, monkeypatch, fails
):
    split = prepared.split("test")
    answers = np.eye(7, dtype=np.float32)[split.labels]
    table = predictions_table(paths=split.table["path"].tolist(), labels=split.labels, probabilities=answers)
    arguments = (workspace, tmp_path, "bright", command.Material("faces", "test", split, prepared), table)
    count = command.count_look

    def meanwhile(*looked):
        monkeypatch.setattr(command, "count_look", count)
        with monkeypatch.context() as other:
            other.setattr(os, "getpid", lambda: 1)
            assert command.keep(*arguments) == 1
        if fails:
            raise OSError("disk full")
        return count(*looked)

    monkeypatch.setattr(command, "count_look", meanwhile)
    with pytest.raises(OSError, match="disk full") if fails else contextlib.nullcontext():
        assert command.keep(*arguments) == 2
    assert [file.name for file in tmp_path.glob("*.parquet")] == ["predictions-test.parquet"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("tta", ["flip", "ten-crop"])
def test_augmented_results_are_named_and_kept_beside_the_plain_ones(capfd, workspace, run, prepared, tta):
    plain, _ = _evaluate(capfd, "bright", prepared.folder, "--split", "test")
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    report, err = _evaluate(capfd, "bright", prepared.folder, "--split", "test", "--tta", tta)
    assert (plain["tta"], report["tta"]) == (None, tta)
    assert "looked at 2 times" in err
    after = {file.name: file.read_bytes() for file in run.iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {
        f"predictions-test-{tta}.parquet",
        "model_card.json",
    }
    card = ModelCard.model_validate_json(after["model_card.json"])
    assert (card.test_reveals, card.metrics["test"].tta) == (2, None)
    table = read_predictions(predictions_file(run, "test", tta))
    assert origin_of(table).tta == tta
    assert report_of(table).document() == report
    assert f"test-time augmentation {tta}: " in list_jobs(workspace.jobs)[0].status().message
    assert (
        f"test, test-time augmentation {tta} ("
        in call(capfd, "evaluate", "bright", prepared.folder, "--split", "test", "--tta", tta)[1]
    )


def test_two_models_are_compared_on_what_both_said(capfd, workspace, run, prepared):
    write_run(workspace, "dim", prepared)
    shutil.copytree(prepared.folder, workspace.datasets / prepared.name)
    arguments = ["evaluate", "bright", prepared.name, "--against", "dim"]
    code, out, err = call(capfd, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"Evaluate it first: python -m fer_core evaluate dim {prepared.name} --split validation" in err
    _evaluate(capfd, "dim", prepared.name)
    report, _ = _evaluate(capfd, *arguments[1:], "--details")
    assert report["against"] == {
        "model": "dim", "n": report["n"], "accuracy": 0, "ci95": report["against"]["ci95"], "within_noise": True,
        "p_value": 1, "only_first_right": 0, "only_this_right": 0,
        "confusion_difference": [[0] * 7] * 7, "images": [],
    }  # fmt: skip
    _, out, _ = call(capfd, *arguments, "--details", "--tta", "flip")
    assert "Against dim: +0.0 ± " in out
    assert "Confusion matrix of bright, test-time augmentation flip minus that of dim" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--against", "bright"], "Predictions are kept of a prepared dataset alone"),
        (["--against", "no"], "No model named or at 'no'"),
        (["--against", "bright", "--detach"], "leave --detach out"),
        (["--details"], "name the other one with --against"),
    ],
)
def test_what_cannot_be_compared_is_one_line(capfd, run, archives, options, message):
    code, out, err = call(capfd, "evaluate", "bright", archives[0], *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_an_unknown_augmentation_is_one_line(capfd, run, prepared):
    code, out, err = call(capfd, "evaluate", "bright", prepared.folder, "--tta", "mirror")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "'flip', 'ten-crop'" in err


def test_an_evaluation_is_a_job(capfd, workspace, run, prepared):
    _evaluate(capfd, "bright", prepared.folder)
    job = list_jobs(workspace.jobs)[0]
    assert (job.kind, job.state()) == ("evaluate", JobState.DONE)
    assert "bright on" in job.status().message
    code, out, _ = call(capfd, "evaluate", "bright", prepared.folder, "--detach", "--json")
    assert code == 0
    detached = Job(Path(json.loads(out)["folder"]))
    assert supervisor.wait(detached, 60)
    assert detached.state() is JobState.DONE, detached.log_tail()
    assert detached.status().message == job.status().message


def test_a_bare_model_file_knows_nothing_of_leaks_and_says_so(capfd, run, prepared, tmp_path):
    shutil.copy(run / "model.onnx", tmp_path / "mine.onnx")
    report, _ = _evaluate(capfd, tmp_path / "mine.onnx", prepared.folder)
    assert report["leak_free"]["accuracy"] is None
    assert "Not known" in report["leak_free"]["note"]


def test_the_terminal_shows_both_accuracies_and_every_class(capfd, run, prepared):
    code, out, _ = call(capfd, "evaluate", "bright", prepared.folder)
    assert code == 0
    assert "Accuracy" in out
    assert "Never seen in train" in out
    assert all(row in out for row in (*EMOTIONS, "macro avg", "Confusion matrix"))
    assert "stratified bootstrap, 2,000 resamples, seed 0" in out
    assert "Ang    Dis    Fea    Hap    Sad    Sur    Neu\n   angry " in out
    assert CHOSEN_ON in out
    assert CHOSEN_ON not in call(capfd, "evaluate", "bright", prepared.folder, "--split", "test")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope", "."], "No model named or at 'nope'"),
        (["bright", "nope"], "No prepared dataset named or at 'nope'"),
        (["~nouser/a.onnx", "."], "no home folder of that user"),
        (["bright", "~nouser/faces"], "no home folder of that user"),
        (["bright", "./nope.zip"], "nope.zip: no such file or folder"),
        (["bright", ".", "--split", "train"], "Invalid value for '--split'"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_two(capfd, run, arguments, message):
    code, out, err = call(capfd, "evaluate", *arguments)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err


def test_without_validation_images_test_is_named_before_anything_is_done(capfd, workspace, run, archives):
    config = PrepareConfig(policy="evaluation-only")
    prepare([str(archives[0])], workspace.datasets / "album", config)
    code, _, err = call(capfd, "evaluate", "bright", "album")
    assert (code, err.strip()) == (2, "album has no validation images. Give --split test, a look that is counted.")
    assert list_jobs(workspace.jobs) == []
    for words in (["data", "balance", "album", "--out", "more"], ["train", "album"]):
        code, _, err = call(capfd, *words)
        assert code == 2
        assert "album has no images to train on: it is for scoring models. Choose another dataset." in err
