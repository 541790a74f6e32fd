"""Predictions made elsewhere on the Evaluate page: added, confirmed, looked at like a model's, removed."""

import os

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from fer_core import limits
from fer_core.emotions import EMOTIONS
from fer_core.evaluation.reveals import reveals
from fer_core.inference.kept_results import list_results
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job, list_jobs
from tests.pages.opened import open_page, text_of


def write_csv(dataset, split, order, *, named):
    """Answers of which every fourth is the next class; returns the text of the file."""
    lines = [",".join(["file", *(order if named else "abcdefg")])]
    table = dataset.table(split)
    for row, (path, label) in enumerate(zip(table["path"], table["label"], strict=True)):
        answer = np.full(7, 0.05)
        answer[(label + (row % 4 == 0)) % 7] = 0.7
        lines.append(",".join([path, *(f"{answer[EMOTIONS.index(name)]:.2f}" for name in order)]))
    return "\n".join(lines)


def add(app, text, name="theirs.csv"):
    app.segmented_control(key="add_what").set_value("Predictions").run()
    app.file_uploader[0].upload(name, text.encode(), "text/csv")
    app.run()
    assert not app.exception, app.exception
    return text_of(app)


def button(app, label):
    return next(found for found in app.button if found.label == label)


def test_predictions_are_scored_in_the_confirmed_order_and_chosen_like_a_model(workspace, dataset):
    app = open_page("evaluate")
    n = len(dataset.table("validation"))
    told = add(app, write_csv(dataset, "validation", sorted(EMOTIONS), named=False))
    assert f"{n:,} of its {n:,} files are images of validation of faces" in told
    assert "alphabetical order fits 75 %, FER2013 order " in told
    order = next(box for box in app.selectbox if box.label == "Order of its columns")
    assert order.value == "alphabetical"
    next(box for box in app.selectbox if box.label == "Trained on").set_value("faces").run()
    button(app, "Evaluate").click().run()
    job = list_jobs(workspace.jobs)[0]
    assert supervisor.wait(job, 60)
    assert job.state() is JobState.DONE, job.log_tail()
    assert not list(job.folder.glob("*.csv"))  # also where the visitor does not come back
    app.run()
    assert not app.exception
    text = text_of(app)
    assert app.selectbox(key="model").value == "theirs"
    assert f"validation · n {n:,} · Clean" in text
    assert f"on images never seen in training ({n:,} of {n:,})" in text
    command = "evaluate theirs.csv faces --split validation --labels alphabetical --trained-on faces"
    assert command in app.code[0].value
    assert "holds no predictions on test" in text_of(open_page("evaluate", model="theirs", split="test"))
    assert "theirs" not in open_page("predict").selectbox(key="model").options
    button(app, "Remove these predictions").click().run()
    assert not app.exception
    assert not list_results(workspace)
    assert not app.toast
    assert "theirs" not in app.selectbox(key="model").options


def test_the_order_is_found_out_on_test_only_as_a_counted_look(workspace, dataset):
    app = open_page("evaluate", split="test")
    told = add(app, write_csv(dataset, "test", sorted(EMOTIONS), named=False))
    sha = dataset.table("test")["pixel_sha"]
    assert " fits " not in told
    assert reveals(workspace, sha) == 0
    assert button(app, "Reveal test result").disabled
    button(app, "Find the order out on test").click().run()
    assert "alphabetical order fits 75 %" in text_of(app)
    app.run()
    assert reveals(workspace, sha) == 1


def test_an_order_that_is_none_in_use_is_preselected_and_images_without_a_result_are_counted(workspace, dataset):
    order = ["neutral", *EMOTIONS[:6]]
    lines = write_csv(dataset, "validation", order, named=False).splitlines()
    app = open_page("evaluate")
    told = add(app, "\n".join(lines[:-5]))
    assert f"but the order {', '.join(order)} fits " in told
    assert "--labels" not in told
    assert next(box for box in app.selectbox if box.label == "Order of its columns").value == ",".join(order)
    assert "The other 5 images have no result and are not scored." in told


def test_a_second_click_neither_looks_nor_starts_again(workspace, dataset):
    """The browser sends both before the page has answered the first."""

    def script() -> None:
        from pathlib import Path
        from types import SimpleNamespace

        from dashboard import results_upload
        from fer_core.data.dataset import Dataset
        from fer_core.workspace import Workspace

        dataset = Dataset.open(Path(Workspace.default().datasets / "faces"))
        upload = SimpleNamespace(name="theirs.csv", file_id="1")
        for _ in range(2):
            results_upload._look_at_test(upload, dataset)  # type: ignore[arg-type]
        results_upload._start(upload, "", dataset, "test", None, None)  # type: ignore[arg-type]

    lock = Job.create(workspace.jobs, "evaluate", "evaluate-test-1", ["evaluate"]).take_lock()
    try:
        app = AppTest.from_function(script).run()
    finally:
        os.close(lock)
    assert not app.exception, app.exception
    assert reveals(workspace, dataset.table("test")["pixel_sha"]) == 1
    assert len(list_jobs(workspace.jobs)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "the file is empty"),
        (lambda text: text + "\n" * 2**20, "larger than 1 MB"),
        (lambda text: text.splitlines()[0], "no results below its first line"),
        (lambda text: text.replace("0.70", "70%"), "'70%' where a number is expected"),
        (lambda text: text.replace("neutral", "contempt"), "a column is of contempt, none of the seven"),
        (lambda text: "\n".join([*text.splitlines(), text.splitlines()[1]]), "keep one of them"),
        (lambda text: f"file,{','.join(EMOTIONS)}\nelsewhere/1.png,1,0,0,0,0,0,0", "0 of its 1 files are images of"),
    ],
)
def test_what_cannot_be_scored_is_said_and_starts_nothing(workspace, dataset, monkeypatch, change, message):
    monkeypatch.setattr(limits, "RESULTS_MB", 1)
    app = open_page("evaluate")
    assert message in add(app, change(write_csv(dataset, "validation", EMOTIONS, named=True)))
    assert button(app, "Evaluate").disabled
    assert not list_jobs(workspace.jobs)
