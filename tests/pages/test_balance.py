"""The Balance page as Streamlit runs it: counts follow the settings, and a second dataset is made of the first."""

import numpy as np
import pytest

from dashboard.sentences import balance_finding, weights_finding
from fer_core.data.balance import BalanceConfig, ClassPlan, Recipe, balance, plan
from fer_core.data.class_weights import inverse_class_weights
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
    app.number_input(key="target_disgust").set_value(5 * counts["disgust"] + 50).run()
    assert "most for disgust" in text_of(app)
    assert "children per original" in app.warning[0].value
    app.number_input(key="target_sad").set_value(counts["sad"] + 7).run()
    told = plan(counts, BalanceConfig(target_of={"disgust": 5 * counts["disgust"] + 50, "sad": counts["sad"] + 7}))
    assert balance_finding(told, done=False) in text_of(app)
    of = f"--target-of disgust={5 * counts['disgust'] + 50} --target-of sad={counts['sad'] + 7}"
    assert of in app.code[0].value
    app.number_input(key="cap").set_value(5).run()
    assert "above the cap of 5" in text_of(app)
    app.number_input(key="target_disgust").set_value(5).run()
    app.number_input(key="target_sad").set_value(None).run()
    assert "would shrink" in text_of(app)
    assert "--cap 5 --target-of disgust=5" in app.code[0].value
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
    app = open_page("balance", target="3", target_sad="7", target_neutral="9", rotation="30", step="Read")
    assert app.number_input(key="target").value == 3
    assert "--target 3 --target-of sad=7 --target-of neutral=9 --augment rotation=30" in app.code[0].value
    assert "Targets of single classes, before all others: sad 7, neutral 9." in text_of(app)
    assert f"**Read** · {sum(map(sum, (n.values() for n in dataset.info.counts['read'].values()))):,}" in text_of(app)


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


def test_the_preview_follows_the_sliders_and_says_what_is_changed(dataset, monkeypatch):
    shown = []
    monkeypatch.setattr("dashboard.families._faces", shown.append)
    app = open_page("balance")
    assert "hue" not in {slider.key for slider in app.slider}  # gray
    assert "The usual strengths." in text_of(app)
    button(app, "Show 6 children").click().run()
    app.slider(key="rotation").set_value(40.0).run()
    assert "Changed: rotation 40 instead of 15." in text_of(app)
    usual, turned = shown[-2:]
    np.testing.assert_array_equal(usual.original, turned.original)
    assert not any(np.array_equal(*pair) for pair in zip(usual.children, turned.children, strict=True))
    button(app, "Usual strengths").click().run()
    assert "The usual strengths." in text_of(app)
    np.testing.assert_array_equal(shown[-1].children, usual.children)


def test_strengths_that_vary_nothing_are_told_and_cannot_be_started(dataset):
    nothing = dict.fromkeys(("rotation", "shear", "brightness", "contrast"), "0")
    app = open_page("balance", **nothing)
    assert "children would equal their original or its mirror image" in app.error[0].value
    assert button(app, "Create balanced dataset").disabled


def test_hue_is_offered_for_colour_data(workspace, drawn):
    prepare([str(path) for path in drawn], workspace.datasets / "colour", PrepareConfig(color=True))
    app = open_page("balance", dataset="colour", hue="60")
    assert "--augment hue=60" in app.code[0].value


def test_class_weights_make_nothing_and_lead_to_training(workspace, dataset):
    app = open_page("balance", recipe="Class weights")
    text = text_of(app)
    counts = dataset.counts()["train"]
    assert f"one disgust image would count as much as {counts['happy'] / counts['disgust']:.1f} happy images" in text
    assert not [found for found in app.button if found.label == "Create balanced dataset"]
    of = f"python -m fer_core train {dataset.folder} --preset"
    assert app.code[0].value == f"{of} compact --set phases.0.class_weights=inverse --name compact-1"
    app.selectbox(key="weights_preset").set_value("resnet50").run()
    both = "--set phases.0.class_weights=inverse --set phases.1.class_weights=inverse"
    assert app.code[0].value == f"{of} resnet50 {both} --name resnet50-1"
    assert list_jobs(workspace.jobs) == []


def test_images_are_counted_by_step_and_by_source(dataset):
    app = open_page("balance")
    for step, counts in dataset.info.counts.items():
        app.segmented_control(key="step").set_value(step).run()
        assert f"**{step.capitalize()}** · {sum(sum(split.values()) for split in counts.values()):,}" in text_of(app)
    app.segmented_control(key="counts_by").set_value("Sources").run()
    app.segmented_control(key="source_split").set_value("test").run()
    assert f"solid to pale: fer2013 {sum(dataset.counts()['test'].values()):,}" in text_of(app)


def test_a_step_that_another_dataset_lacks_is_forgotten(workspace, drawn, dataset):
    prepare([str(path) for path in drawn], workspace.datasets / "leaky", PrepareConfig(policy=Policy.AS_PUBLISHED))
    app = open_page("balance", dataset="faces")
    app.segmented_control(key="step").set_value("cleaned").run()
    app.segmented_control(key="step").set_value("merged").run()
    app.selectbox(key="dataset").set_value("leaky").run()
    assert not app.exception
    assert app.segmented_control(key="step").value == "split"


def test_a_balanced_dataset_is_made_and_chosen(workspace, dataset):
    app = open_page("balance", shear="12")
    button(app, "Create balanced dataset").click().run()
    assert not app.exception
    job = list_jobs(workspace.jobs)[0]
    assert supervisor.wait(job, 60)
    assert job.state() is JobState.DONE, job.log_tail()
    app.run()
    assert app.selectbox(key="dataset").value == "faces-even"
    text = text_of(app)
    assert "Train grew from" in text
    assert "Made with flip 0.5, rotation 15, shear 12, brightness 0.2, contrast 0.2." in text
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
    assert "this file of the dataset is missing or damaged" in text_of(app)


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


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        (
            {"sad": 10, "fear": 30, "happy": 0},
            "No copies: in the loss, one sad image would count as much as 3.0 fear images.",
        ),
        ({"sad": 10, "fear": 10, "happy": 0}, "Every image counts 1: each class that is there has 10 images."),
        ({"sad": 10, "fear": 0, "happy": 0}, "Every image counts 1: each class that is there has 10 images."),
    ],
)
def test_the_finding_of_class_weights(counts, sentence):
    weights = dict(zip(counts, inverse_class_weights(list(counts.values())), strict=True))
    assert weights_finding(counts, weights) == sentence
