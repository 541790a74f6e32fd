"""The Balance page as Streamlit runs it: counts follow the settings, and a second dataset is made of the first."""

import pytest

from dashboard.sentences import balance_finding
from fer_core.data.balance import BalanceConfig, ClassPlan, Recipe, balance, plan
from fer_core.data.config import Policy
from fer_core.data.prepare import PrepareConfig, prepare
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState
from fer_core.jobs.store import list_jobs
from tests.pages.opened import open_page, text_of


def button(app, label):
    return next(found for found in app.button if found.label == label)


def test_counts_follow_the_settings_and_nothing_is_made(workspace, dataset):
    app = open_page("balance")
    counts = dataset.counts()["train"]
    even = plan(counts, BalanceConfig())
    assert balance_finding(even, done=False) in text_of(app)
    app.number_input(key="one_target").set_value(5 * counts["disgust"] + 50).run()
    assert "most for disgust" in text_of(app)
    assert "children per original" in app.warning[0].value
    app.number_input(key="cap").set_value(5).run()
    assert "would shrink" in text_of(app)
    assert f"--cap 5 --target-of disgust={5 * counts['disgust'] + 50}" in app.code[0].value
    assert [folder.name for folder in workspace.list_datasets()] == ["faces"]
    assert list_jobs(workspace.jobs) == []


def test_settings_that_change_nothing_cannot_be_started(dataset):
    app = open_page("balance")
    app.segmented_control(key="recipe").set_value("none").run()
    assert "would stay as it is" in text_of(app)
    assert button(app, "Create balanced dataset").disabled


def test_validation_and_test_are_shown_as_not_touched(dataset):
    app = open_page("balance")
    app.segmented_control(key="split").set_value("test").run()
    assert not app.exception
    assert "Not touched" in text_of(app)


def test_a_link_carries_the_settings(dataset):
    app = open_page("balance", target="3", one_class="Sad", one_target="7")
    assert app.number_input(key="target").value == 3
    assert "--target 3 --target-of sad=7" in app.code[0].value


def test_a_leaky_dataset_is_balanced_as_published_and_says_what_it_is(workspace, drawn, dataset):
    prepare([str(path) for path in drawn], workspace.datasets / "leaky", PrepareConfig(policy=Policy.AS_PUBLISHED))
    app = open_page("balance", dataset="leaky")
    assert app.segmented_control(key="recipe").value == Recipe.PUBLISHED
    assert "Leaky" in text_of(app)
    app.selectbox(key="dataset").set_value("faces").run()
    assert app.segmented_control(key="recipe").value == Recipe.EVEN


def test_a_face_is_augmented_when_asked_for(dataset):
    app = open_page("balance")
    assert "child 1" not in text_of(app)
    button(app, "Show 6 children").click().run()
    assert not app.exception
    first = text_of(app)
    assert "child 6" in first
    assert "or more for making the children" in first
    button(app, "Another face").click().run()
    assert "child 6" in text_of(app)
    assert text_of(app) != first


def test_a_balanced_dataset_is_made_and_chosen(workspace, dataset):
    app = open_page("balance")
    button(app, "Create balanced dataset").click().run()
    assert not app.exception
    job = list_jobs(workspace.jobs)[0]
    assert supervisor.wait(job, 60)
    assert job.state() is JobState.DONE, job.log_tail()
    app.run()
    assert app.selectbox(key="dataset").value == "faces-even"
    text = text_of(app)
    assert "Train grew from" in text
    assert "child 1" in text
    assert "start from its parent" in text
    button(app, "Another face").click().run()
    assert text_of(app) != text
    assert {path.name for path in (workspace.datasets / "faces-even").glob("*.png")} == {
        "distribution_before_after.png",
        "samples.png",
    }


def test_a_balanced_dataset_whose_parent_is_gone_says_so(workspace, dataset):
    balance(dataset, workspace.datasets / "cut", BalanceConfig(recipe=Recipe.NONE, cap=10))
    (dataset.folder / "dataset.json").unlink()
    app = open_page("balance")
    assert "made from faces, which is no longer here" in text_of(app)
    assert "Train shrank" in text_of(app)


def test_a_damaged_dataset_is_told_in_one_sentence(dataset):
    next(dataset.folder.glob("train-*.parquet")).write_bytes(b"PAR1")
    app = open_page("balance")
    button(app, "Show 6 children").click().run()
    assert not app.exception
    assert "a file of the dataset is missing or damaged" in text_of(app)


@pytest.mark.parametrize(
    ("plans", "done", "sentence"),
    [
        ({"sad": ClassPlan(10, 20, 10, 0)}, False,
         "Train would grow from 10 to 20: 10 augmented children, most for sad: 1.0 per original."),
        ({"sad": ClassPlan(10, 6, 0, 4)}, True, "Train shrank from 10 to 6: 4 originals were left out."),
        ({"sad": ClassPlan(10, 6, 0, 4), "fear": ClassPlan(2, 6, 4, 0)}, False,
         "Train would go from 12 to 12: 4 augmented children, most for fear: 2.0 per original; "
         "4 originals would be left out."),
        ({"sad": ClassPlan(10, 10, 0, 0)}, True, "Train stayed as it was: 10 images."),
    ],
)  # fmt: skip
def test_the_finding(plans, done, sentence):
    assert balance_finding(plans, done=done) == sentence
