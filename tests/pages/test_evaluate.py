"""The Evaluate page as Streamlit runs it: sealed test, stored predictions, the pictures of a cell."""

import numpy as np
import pytest

from fer_core.emotions import EMOTIONS
from fer_core.evaluation.predictions import Origin, predictions_file, read_predictions, write_predictions
from fer_core.evaluation.reveals import reveals
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState
from fer_core.jobs.store import list_jobs
from tests.pages.opened import open_page, text_of
from tests.unit.runs import write_run


@pytest.fixture
def run(workspace, dataset):
    return write_run(workspace, "bright", dataset)


def button(app, label):
    return next(found for found in app.button if found.label == label)


def predict(run, dataset, seen=None):
    """Predictions of random certainty; every third picture is read as the class after the right one."""
    split = dataset.split("validation")
    random = np.random.default_rng(0)
    answers = random.uniform(0.0, 0.1, (len(split), 7))
    said = (split.labels + (np.arange(len(split)) % 3 == 0)) % 7
    answers[np.arange(len(split)), said] = random.uniform(0.4, 1.0, len(split))
    write_predictions(
        predictions_file(run, "validation"),
        paths=split.table["path"].tolist(),
        labels=split.labels,
        probabilities=answers / answers.sum(axis=1, keepdims=True),
        seen=seen(len(split)) if seen else None,
        origin=Origin(model="bright", dataset=dataset.name, note="Exact."),
    )
    return read_predictions(predictions_file(run, "validation"))


def wait_for_job(workspace):
    job = list_jobs(workspace.jobs)[0]
    assert supervisor.wait(job, 60)
    assert job.state() is JobState.DONE, job.log_tail()
    return job


def test_without_a_dataset_it_says_what_comes_first():
    assert "Prepare a dataset first" in text_of(open_page("evaluate"))


def test_evaluate_now_scores_the_model_as_a_job(workspace, run, dataset):
    app = open_page("evaluate")
    assert "has not been scored" in text_of(app)
    button(app, "Evaluate now").click().run()
    assert not app.exception
    wait_for_job(workspace)
    app.run()
    report = read_predictions(predictions_file(run, "validation"))
    assert f"validation · n {len(report):,} · Clean" in text_of(app)
    assert len(app.get("plotly_chart")) == 2


@pytest.mark.parametrize(("true", "read"), [("happy", "happy"), ("angry", "disgust"), ("neutral", "angry")])
def test_a_link_shows_the_pictures_of_a_cell(run, dataset, true, read):
    table = predict(run, dataset)
    n = ((table["label"] == EMOTIONS.index(true)) & (table["predicted"] == EMOTIONS.index(read))).sum()
    total = (table["label"] == EMOTIONS.index(true)).sum()
    text = text_of(open_page("evaluate", model="bright", true=true, read=read))
    words = f"{true} read rightly" if true == read else f"{true} read as {read}"
    assert f"{n:,} of {total:,} {words}" in text


def test_it_opens_on_the_most_confused_pair_and_the_pickers_change_it(run, dataset):
    table = predict(run, dataset)
    wrong = table[table["label"] != table["predicted"]].groupby(["label", "predicted"]).size()
    true, read = (EMOTIONS[i] for i in wrong.idxmax())
    app = open_page("evaluate")
    assert f"Most often confused: {true} read as {read} ({wrong.max():,} of" in text_of(app)
    assert (app.selectbox(key="true").value, app.selectbox(key="read").value) == (true, read)
    app.selectbox(key="read").set_value(true).run()
    assert f"{true} read rightly" in text_of(app)


@pytest.mark.parametrize(
    ("seen", "badge"),
    [
        (None, "Leaks not known"),
        (lambda n: np.zeros(n, bool), "Clean"),
        (lambda n: np.arange(n) < 5, "Leaky · 5 of"),
    ],
)
def test_accuracy_says_whether_the_photographs_are_known(run, dataset, seen, badge):
    predict(run, dataset, seen)
    assert badge in text_of(open_page("evaluate"))


def test_classes_hold_the_report(run, dataset):
    table = predict(run, dataset)
    app = open_page("evaluate", view="Classes")
    report = app.dataframe[0].value.set_index("class")
    assert report.loc["accuracy", "support"] == len(table)
    assert report.loc["happy", "support"] == (table["label"] == EMOTIONS.index("happy")).sum()


def test_the_test_split_is_sealed_until_it_is_revealed_and_that_is_counted(workspace, run, dataset):
    predict(run, dataset)
    sha = dataset.table("test")["pixel_sha"]
    app = open_page("evaluate", split="test")
    text = text_of(app)
    assert "The test result is sealed" in text
    assert "have never been looked at" in text
    assert "· n " not in text  # no accuracy
    assert reveals(workspace, sha) == 0
    button(app, "Reveal test result").click().run()
    wait_for_job(workspace)
    app.run()
    assert "have been looked at once in this workspace" in text_of(app)
    assert f"test · n {len(sha):,}" in text_of(app)
    assert reveals(workspace, sha) == 1


def test_a_second_tab_does_not_reveal_again(workspace, run, dataset):
    tabs = [open_page("evaluate", split="test") for _ in range(2)]
    for app in tabs:
        button(app, "Reveal test result").click().run()
        assert not app.exception
        wait_for_job(workspace)
    assert reveals(workspace, dataset.table("test")["pixel_sha"]) == 1


@pytest.mark.parametrize("damage", ["no parquet", "label", "text"])
def test_damaged_predictions_are_told_and_can_be_made_again(workspace, run, dataset, damage):
    file = predictions_file(run, "validation")
    table = predict(run, dataset)
    if damage == "no parquet":
        file.write_bytes(b"no parquet")
    elif damage == "label":
        table.assign(label=9).to_parquet(file)
    else:
        table.assign(p_happy="much").to_parquet(file)
    app = open_page("evaluate")
    assert "the predictions are damaged" in text_of(app)
    button(app, "Evaluate now").click().run()
    wait_for_job(workspace)
    app.run()
    assert "validation · n" in text_of(app)


def test_the_number_field_opens_a_picture_with_its_story(run, dataset):
    table = predict(run, dataset)
    app = open_page("evaluate", true="happy", read="happy")
    n = ((table["label"] == 3) & (table["predicted"] == 3)).sum()
    field = next(field for field in app.number_input if field.label == f"Open picture 1 to {n:,}")
    app.session_state["explain-drawer"] = True  # as if it had been unfolded
    field.set_value(2).run()
    assert not app.exception
    text = text_of(app)
    assert "Labelled happy" in text
    assert f"2 of {n:,}" in text
    assert "Grad-CAM is not possible with it" in text  # the brightness model gives probabilities alone
    assert "It shows where the model looked, not why." in text or "Nothing in this face speaks for happy." in text
