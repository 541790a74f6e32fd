"""``evaluate RESULTS.csv`` as a user at a terminal sees it, on drawn faces."""

import json
from pathlib import Path

import numpy as np
import pytest

from fer_core.data.demo import draw_demo
from fer_core.data.prepare import PrepareConfig, prepare
from fer_core.emotions import EMOTIONS
from fer_core.evaluation.predictions import evaluation_folder, origin_of, predictions_file, read_predictions
from fer_core.evaluation.report import report_of
from fer_core.inference.kept_results import list_results
from fer_core.inference.served import find_model
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job, list_jobs
from tests.unit.command_line import call
from tests.unit.runs import write_run
from tests.unit.served_models import write_brightness_model


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    return draw_demo(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def prepared(archives, tmp_path_factory):
    """A dataset whose train and test share photographs."""
    folder = tmp_path_factory.mktemp("prepared") / "as-published"
    return prepare([str(path) for path in archives], folder, PrepareConfig(policy="as-published"))


@pytest.fixture(scope="module")
def clean(archives, tmp_path_factory):
    return prepare([str(path) for path in archives], tmp_path_factory.mktemp("prepared") / "clean", PrepareConfig())


def write_results(file, dataset, *, split="test", wrong=(), left_out=(), more="", order=EMOTIONS, header=True):
    """Results on a split; ``wrong`` rows are read as the next class. Returns the file."""
    table = dataset.table(split)
    lines = [",".join(["file", *order])] if header else []
    for row, (path, label) in enumerate(zip(table["path"], table["label"], strict=True)):
        answer = np.full(7, 0.05)
        answer[(label + (row in wrong)) % 7] = 0.7
        if row not in left_out:
            lines.append(",".join([f"/data/{path}", *(f"{answer[EMOTIONS.index(name)]:.2f}" for name in order)]))
    file.write_text("\n".join([*lines, more]))
    return file


def evaluated(capfd, *arguments):
    code, out, err = call(capfd, "evaluate", *arguments, "--json")
    assert code == 0, err
    return json.loads(out), err


def test_results_are_evaluated_like_a_run(capfd, workspace, clean, tmp_path):
    file = write_results(tmp_path / "theirs.csv", clean, wrong=[0, 1])
    report, err = evaluated(capfd, file, clean.folder, "--split", "test")
    assert (report["model"], report["data"], report["split"]) == ("theirs", "clean", "test")
    assert report["n"] == sum(clean.counts()["test"].values())
    assert report["accuracy"] == pytest.approx(1 - 2 / report["n"])
    assert "looked at once" in err
    assert report["results"] == {
        "read_as": "probabilities",
        "files_without_image": [],
        "images_without_result": 0,
        "warning": None,
    }
    kept = predictions_file(evaluation_folder(workspace.evaluations, file, clean.info.fingerprint), "test")
    table = read_predictions(kept)
    assert (origin_of(table).model, origin_of(table).dataset) == ("theirs", "clean")
    assert report_of(table).document() == {key: report[key] for key in report_of(table).document()}
    job = list_jobs(workspace.jobs)[0]
    assert (job.kind, job.state()) == ("evaluate", JobState.DONE)
    assert "theirs on clean, test: " in job.status().message


def test_it_ends_with_what_is_left_of_it_on_images_never_seen(capfd, workspace, prepared, clean, tmp_path):
    file = write_results(tmp_path / "theirs.csv", clean, wrong=[0])
    code, out, _ = call(capfd, "evaluate", file, clean.folder, "--split", "test")
    assert code == 0
    assert out.splitlines()[-1].startswith("What it was trained on is not known")
    assert "--trained-on DATASET" in out.splitlines()[-1]
    asked = ["evaluate", file, clean.folder, "--split", "test", "--trained-on"]
    _, out, _ = call(capfd, *asked, clean.folder)
    n = sum(clean.counts()["test"].values())
    share = f"{1 - 1 / n:.1%}"
    assert f"{share} is {share} on images never seen in training ({n:,} of {n:,}). Exact" in out.splitlines()[-1]
    _, out, _ = call(capfd, *asked, prepared.folder)
    assert out.splitlines()[-1].startswith("No image is left")


def test_of_a_raw_source_leaks_are_found_by_the_look_of_the_pictures(capfd, workspace, archives, clean, tmp_path):
    file = write_results(tmp_path / "theirs.csv", clean)
    report, err = evaluated(capfd, file, archives[0], "--trained-on", clean.folder)
    assert report["accuracy"] == 1
    assert "looked at once" in err
    assert report["finding"].startswith("100.0% is 100.0% on images never seen in training")
    assert not workspace.evaluations.exists()


def test_what_is_not_matched_is_told_and_not_scored(capfd, workspace, clean, tmp_path):
    n = sum(clean.counts()["test"].values())
    file = write_results(
        tmp_path / "theirs.csv", clean, wrong=[0], left_out=[0, 3], more="strange.png" + ",0" * 6 + ",1"
    )
    report, err = evaluated(capfd, file, clean.folder, "--split", "test")
    assert (report["n"], report["accuracy"]) == (n - 2, 1)
    assert report["results"]["files_without_image"] == ["strange.png"]
    assert report["results"]["images_without_result"] == 2
    assert "Files that are no image of clean, test: 1 (strange.png)." in err
    assert f"Images of clean, test without a result, which are not scored: 2 of {n:,}." in err
    kept = predictions_file(evaluation_folder(workspace.evaluations, file, clean.info.fingerprint), "test")
    assert read_predictions(kept)["row"].tolist() == [row for row in range(n) if row not in (0, 3)]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_bare_numbers_need_their_order_which_test_tells_only_as_a_counted_look(
    capfd, workspace, clean, tmp_path, split
):
    order, n = sorted(EMOTIONS), sum(clean.counts()[split].values())
    file = write_results(tmp_path / "theirs.csv", clean, split=split, order=order, header=False)
    arguments = ["evaluate", file, clean.folder, "--split", split]
    code, out, err = call(capfd, *arguments)
    told = err.splitlines()[-1]
    assert (code, out) == (2, "")
    log = workspace.root / "test_reveals.jsonl"
    if split == "test":
        assert "%" not in told
        assert not log.exists()
        code, _, err = call(capfd, *arguments, "--labels", "detect")
        told = err.splitlines()[-1]
        assert (code, len(log.read_text().splitlines())) == (2, 1)
    assert "Alphabetical order fits 100 %, FER2013 order " in told
    assert f"of {n:,} {split} images of clean: if that is right, say --labels alphabetical." in told
    assert not workspace.evaluations.exists()
    for labels in ("alphabetical", ",".join(order)):
        report, _ = evaluated(capfd, *arguments[1:], "--labels", labels)
        assert (report["accuracy"], report["results"]["warning"]) == (1, None)
    report, err = evaluated(capfd, *arguments[1:], "--labels", "fer2013")
    assert "they fit 100 %" not in err
    assert (
        "but 100 % if what is called sad is neutral, surprise is sad, neutral is surprise"
        in report["results"]["warning"]
    )
    assert report["results"]["warning"] in err


def test_results_of_other_images_are_warned_of(capfd, workspace, clean, tmp_path):
    n = sum(clean.counts()["validation"].values())
    file = write_results(tmp_path / "theirs.csv", clean, split="validation")
    lines = file.read_text().splitlines()
    answers = [line.split(",", 1)[1] for line in lines[1:]]
    np.random.default_rng(0).shuffle(answers)
    files = [line.split(",", 1)[0] for line in lines[1:]]
    file.write_text("\n".join([lines[0], *map(",".join, zip(files, answers, strict=True))]))
    report, _ = evaluated(capfd, file, clean.folder)
    assert report["n"] == n
    assert "less than always naming the most frequent class" in report["results"]["warning"]


def test_results_are_compared_with_a_model(capfd, workspace, clean, tmp_path):
    write_run(workspace, "bright", clean)
    file = write_results(tmp_path / "theirs.csv", clean, split="validation")
    bright, _ = evaluated(capfd, "bright", clean.folder)
    report, _ = evaluated(capfd, file, clean.folder, "--against", "bright", "--details")
    against = report["against"]
    wrong = round(bright["n"] * (1 - bright["accuracy"]))
    assert (against["model"], against["only_first_right"], against["only_this_right"]) == ("bright", 0, wrong)
    assert len(against["images"]) == wrong
    assert "Against bright: " in call(capfd, "evaluate", file, clean.folder, "--against", "bright")[1]


def test_results_are_compared_with_other_results_by_file_or_name(capfd, workspace, clean, tmp_path):
    write_run(workspace, "bright", clean)
    first = write_results(tmp_path / "first.csv", clean, split="validation", wrong=[0, 1])
    second = write_results(tmp_path / "bright.csv", clean, split="validation", wrong=[1])
    assert "No predictions of first are kept" in call(capfd, "evaluate", second, clean.folder, "--against", first)[2]
    evaluated(capfd, first, clean.folder)
    for other in (first, "first"):
        report, _ = evaluated(capfd, second, clean.folder, "--against", other)
        against = report["against"]
        assert (against["only_first_right"], against["only_this_right"]) == (0, 1)
    names = {kept.name for kept in list_results(workspace)}
    assert "first" in names
    assert "bright" not in names  # that is the run
    assert all(name == "first" or name.startswith("bright-") for name in names)
    assert "No predictions of bright are kept" in call(capfd, "evaluate", first, clean.folder, "--against", "bright")[2]
    assert "no such file" in call(capfd, "evaluate", first, clean.folder, "--against", tmp_path / "none.csv")[2]
    n = sum(clean.counts()["validation"].values())
    for name, left_out in (("early", range(10, n)), ("late", range(10))):
        file = write_results(tmp_path / f"{name}.csv", clean, split="validation", left_out=left_out)
        report, err = evaluated(capfd, file, clean.folder, *([] if name == "early" else ["--against", "early"]))
    assert "against" not in report
    assert "Nothing to compare: early answered other images" in err


def test_of_a_model_without_a_card_leaks_are_told_by_its_training_data(capfd, workspace, clean, prepared, tmp_path):
    write_run(workspace, "bright", clean)
    file = write_brightness_model(tmp_path / "theirs.onnx")  # of another size than the pictures
    unknown, _ = evaluated(capfd, file, clean.folder)
    assert unknown["leak_free"]["accuracy"] is None
    known, _ = evaluated(capfd, file, clean.folder, "--trained-on", prepared.folder)
    assert known["trained_on"] == str(prepared.folder)
    assert "Exact" in known["leak_free"]["note"]
    assert "leave --trained-on out" in call(capfd, "evaluate", "bright", clean.folder, "--trained-on", clean.folder)[2]
    code, _, _ = call(capfd, "models", "import", file, "--name", "mine", "--trained-on", clean.folder)
    assert code == 0
    report, _ = evaluated(capfd, "mine", clean.folder)
    assert (report["leak_free"]["n"], report["leak_free"]["accuracy"]) == (report["n"], report["accuracy"])
    card = find_model("mine", workspace).card
    assert not any("not known" in note for note in card.notes)


def test_it_can_go_on_in_the_background(capfd, workspace, clean, tmp_path):
    file = write_results(tmp_path / "theirs.csv", clean)
    code, out, _ = call(
        capfd, "evaluate", file, clean.folder, "--split", "test", "--trained-on", clean.folder, "--detach", "--json"
    )
    assert code == 0
    job = Job(Path(json.loads(out)["folder"]))
    assert supervisor.wait(job, 60)
    assert job.state() is JobState.DONE, job.log_tail()


@pytest.mark.parametrize(
    ("more", "options", "message"),
    [
        ("a.png,1", [], "has 2 columns, expected 8"),
        ("a.png" + ",x" * 7, [], "where a number is expected"),
        ("", ["--labels", "fer2013"], "Leave --labels out"),
        ("", ["--labels", "angry,happy"], "not each class once"),
        ("", ["--trained-on", "nope"], "No prepared dataset named or at 'nope'"),
        ("", ["--tta", "flip"], "leave --keep and --tta out"),
        ("", ["--keep", "album"], "leave --keep and --tta out"),
        ("", ["--against", "nope"], "No model named or at 'nope'"),
        ("", ["--split", "validation"], "can be matched to an image of clean, validation"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_nothing_is_revealed(
    capfd, workspace, clean, tmp_path, more, options, message
):
    file = write_results(tmp_path / "theirs.csv", clean, more=more)
    options = options if "--split" in options else [*options, "--split", "test"]
    code, out, err = call(capfd, "evaluate", file, clean.folder, *options)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not (workspace.root / "test_reveals.jsonl").exists()


def test_options_of_results_are_refused_for_a_model(capfd, workspace, clean):
    code, out, err = call(capfd, "evaluate", "bright", clean.folder, "--labels", "fer2013")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "is for a CSV of results" in err
