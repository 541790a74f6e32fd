"""The Evaluate page as Streamlit runs it: sealed test, stored predictions, the pictures of a cell."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from dashboard.comparison_view import compare
from dashboard.evaluation import _csv, kept, most_confused
from fer_core.emotions import EMOTIONS
from fer_core.evaluation.predictions import Origin, predictions_file, read_predictions, write_predictions
from fer_core.evaluation.reveals import reveals
from fer_core.inference.served import CHOSEN_ON
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job, list_jobs
from tests.pages.opened import open_page, text_of
from tests.unit.runs import write_run


@pytest.fixture
def run(workspace, dataset):
    return write_run(workspace, "bright", dataset)


def button(app, label):
    return next(found for found in app.button if found.label == label)


def predict(folder, dataset, seen=None, every=3, **origin):
    """Predictions of random certainty; every so many-th picture is read as the class after the right one."""
    split = dataset.split("validation")
    random = np.random.default_rng(every)
    answers = random.uniform(0.0, 0.1, (len(split), 7))
    said = (split.labels + (np.arange(len(split)) % every == 0)) % 7
    answers[np.arange(len(split)), said] = random.uniform(0.4, 1.0, len(split))
    file = predictions_file(folder, "validation", origin.get("tta"))
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(
        file,
        paths=split.table["path"].tolist(),
        labels=split.labels,
        probabilities=answers / answers.sum(axis=1, keepdims=True),
        seen=seen(len(split)) if seen else None,
        origin=Origin(**{"model": folder.name, "dataset": dataset.name, "note": "Exact.", **origin}),
    )
    return read_predictions(file)


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
    assert CHOSEN_ON in text_of(app)
    assert len(app.get("plotly_chart")) == 2


@pytest.mark.parametrize(("true", "read"), [("happy", "happy"), ("angry", "disgust"), ("neutral", "angry")])
def test_a_link_shows_the_pictures_of_a_cell(run, dataset, true, read):
    table = predict(run, dataset)
    n = ((table["label"] == EMOTIONS.index(true)) & (table["predicted"] == EMOTIONS.index(read))).sum()
    total = (table["label"] == EMOTIONS.index(true)).sum()
    text = text_of(open_page("evaluate", model="bright", true=true, read=read))
    words = f"{true} read rightly" if true == read else f"{true} read as {read}"
    assert f"{n:,} of {total:,} {words}" in text


def test_an_address_without_the_first_class_shows_the_same_cell(run, dataset):
    predict(run, dataset)
    assert "angry read as surprise" in text_of(open_page("evaluate", model="bright", read="surprise"))


def test_it_opens_on_the_most_confused_pair_and_the_pickers_change_it(run, dataset):
    table = predict(run, dataset)
    wrong = table[table["label"] != table["predicted"]].groupby(["label", "predicted"]).size()
    true, read = (EMOTIONS[i] for i in wrong.idxmax())
    app = open_page("evaluate")
    assert f"Most often confused: {true} read as {read} ({wrong.max():,} of" in text_of(app)
    assert (app.selectbox(key="true").value, app.selectbox(key="read").value) == (true, read)
    app.selectbox(key="read").set_value(true).run()
    assert f"{true} read rightly" in text_of(app)
    words = f"{true} read as {read} {wrong.max():,} of "  # the same again, to choose the cell with
    next(found for found in app.button if found.label.startswith(words)).click().run()
    assert app.selectbox(key="read").value == read


def told(app, chart=-1):
    """What stands under the pointer in a contact sheet or a matrix."""
    return json.loads(app.get("plotly_chart")[chart].proto.spec)["data"][-1]["hovertext"]


def test_the_faces_of_a_cell_are_sorted(run, dataset):
    table = predict(run, dataset)
    cell = table[(table["label"] == 3) & (table["predicted"] == 4)]
    assert len(cell) > 3
    sure = [float(re.search(r"(\d+) %", words)[1]) for words in told(open_page("evaluate", true="happy", read="sad"))]
    app = open_page("evaluate", true="happy", read="sad", order="Least sure")
    assert [float(re.search(r"(\d+) %", words)[1]) for words in told(app)] == sorted(sure) == sure[::-1]
    app.selectbox(key="order").set_value("Highest loss").run()
    losses = np.sort(-np.log(cell["p_happy"]))[::-1]
    assert [words.rpartition(" ")[2] for words in told(app)] == [f"{loss:.1f}" for loss in losses]


def test_two_models_are_compared_picture_by_picture(workspace, run, dataset):
    this, other = predict(run, dataset), predict(write_run(workspace, "dim", dataset), dataset, every=5)
    right, there = (table["label"] == table["predicted"] for table in (this, other))
    app = open_page("evaluate", model="bright", cells="Difference")
    points = 100 * (right.mean() - there.mean())
    assert f"bright against dim: {points:+.1f} ± " in text_of(app)
    assert app.code[0].value.endswith("--split validation --against dim")
    assert f"points on {len(this):,} validation images; exact McNemar test p" in text_of(app)
    assert f"dim: {100 * there.mean():.1f} % ± " in text_of(app)
    only = app.get("button_group")[-1].options
    assert only == [f"bright · {(right & ~there).sum()}", f"dim · {(there & ~right).sum()}"]
    matrix = np.array(json.loads(app.get("plotly_chart")[0].proto.spec)["data"][0]["text"], int)
    assert not matrix.sum(axis=1).any()
    app.toggle(key="one_cell").set_value(True).run()
    app.selectbox(key="true").set_value("fear").run()
    app.selectbox(key="read").set_value("happy").run()
    here, away = (int(words.rpartition(" ")[2]) for words in app.get("button_group")[-1].options)
    assert here - away == matrix[2, 3] != 0
    assert all(words.startswith("labelled fear<br>bright: happy") for words in told(app))


def test_what_one_model_has_more_of_in_a_cell_is_what_it_alone_puts_there(workspace, run, dataset):
    this, other = predict(run, dataset), predict(write_run(workspace, "dim", dataset), dataset, every=4)
    found = compare(other, this.drop(index=range(9)))
    before, now = found.matrices
    for cell in np.ndindex(7, 7):
        only_other, only_this = found.alone(cell)
        assert len(only_this) - len(only_other) == now[cell] - before[cell]
        rows = this.loc[found.rows[only_this]]
        assert (rows["label"] == cell[0]).all()
        assert (rows["predicted"] == cell[1]).all()
        assert not (other.loc[rows.index, "predicted"] == cell[1]).any()


def test_without_another_model_it_says_how_to_compare(run, dataset):
    predict(run, dataset)
    assert "No other model has been evaluated on these" in text_of(open_page("evaluate", cells="Difference"))


def test_another_model_whose_predictions_are_damaged_is_told(workspace, run, dataset):
    predict(run, dataset)
    predictions_file(write_run(workspace, "dim", dataset), "validation").write_bytes(b"no parquet")
    for query in ({"cells": "Difference"}, {"view": "Models"}):
        assert "the predictions are damaged" in text_of(open_page("evaluate", model="bright", **query))


def test_models_hold_every_model_of_the_split_and_what_was_published(workspace, run, dataset):
    predict(run, dataset)
    table = predict(write_run(workspace, "dim", dataset), dataset, every=5)
    answers = workspace.evaluations / f"{'5' * 16}-{dataset.info.fingerprint[:16]}"
    predict(answers, dataset, every=7, model="theirs", file="theirs.csv")
    app = open_page("evaluate", model="bright", view="Models")
    rows = app.dataframe[0].value.set_index("Model")
    assert list(rows.index) == ["theirs", "dim", "bright", "ResNet50", "ResNet50V2"]
    accuracy = (table["label"] == table["predicted"]).mean()
    assert rows.loc["dim", "Accuracy"].startswith(f"{100 * accuracy:.1f} % ± ")
    assert rows.loc["dim", "n"] == len(table)
    assert "not measured here" in rows.loc["ResNet50V2", "What is known"]
    assert rows.loc["ResNet50V2"].drop("What is known").isna().all()
    against = open_page("evaluate", model="bright", cells="Difference").selectbox(key="against")
    assert against.options == ["dim", "theirs"]


def test_kept_answers_over_several_views_can_be_chosen_and_every_figure_names_them(workspace, run, dataset):
    predict(run, dataset)
    dim = write_run(workspace, "dim", dataset)
    predict(dim, dataset)
    assert not [found for found in open_page("evaluate", model="bright").segmented_control if found.key == "tta"]
    table = predict(run, dataset, every=5, tta="flip")
    app = open_page("evaluate", model="bright", tta="flip")
    assert app.segmented_control(key="tta").options == ["plain", "flip"]
    accuracy = 100 * (table["label"] == table["predicted"]).mean()
    assert f"{accuracy:.1f} % ± " in text_of(app)
    assert f"· validation · flip · n {len(table):,} · " in text_of(app)
    assert app.code[0].value.endswith("--split validation --tta flip")
    difference = open_page("evaluate", model="bright", tta="flip", cells="Difference", against="bright")
    assert "bright · flip against bright: +" in text_of(difference)
    predict(dim, dataset, tta="ten-crop")
    app.selectbox(key="model").set_value("dim").run()
    assert app.segmented_control(key="tta").options == ["plain", "ten-crop"]
    assert f"· validation · n {len(table):,} · " in text_of(app)


def test_results_made_elsewhere_are_listed_and_compared_like_a_model(workspace, run, dataset):
    table = predict(run, dataset)
    folder = workspace.evaluations / f"{'ab' * 8}-{dataset.info.fingerprint[:16]}"
    folder.mkdir(parents=True)
    write_predictions(
        predictions_file(folder, "validation"),
        paths=table["path"].tolist(),
        labels=table["label"].to_numpy(),
        probabilities=np.eye(7)[table["label"]],
        origin=Origin(model="the<b>irs", file="the<b>irs.csv", read_as="scores"),
    )
    app = open_page("evaluate", model="bright", view="Models")
    assert list(app.dataframe[0].value["Model"])[:2] == ["the<b>irs", "bright"]
    app = open_page("evaluate", model="bright", cells="Difference")
    assert "bright against the<b>irs: " in text_of(app)
    assert all("the&lt;b&gt;irs" in words for words in (*told(app), *told(app, 0)))
    app = open_page("evaluate", model="the<b>irs", view="Confidence")
    assert "taken for scores (divided by their sum); loss and calibration error hold only if they are" in text_of(app)
    assert not any("Predict with" in link.proto.label for link in app.get("page_link"))  # there is no model


def test_of_two_models_of_a_name_the_figures_are_of_the_one_that_is_chosen(workspace, run, dataset):
    predict(run, dataset)
    shutil.copytree(run, workspace.models / "bright")
    predictions_file(run, "validation").rename(predictions_file(workspace.models / "bright", "validation"))
    assert not kept(dataset, "validation")


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
    assert re.fullmatch(r"0\.\d\d to [01]\.\d\d", report.loc["happy", "recall_interval"])
    happy = table["label"] == EMOTIONS.index("happy")
    assert report.loc["happy", "support"] == happy.sum()
    assert report.loc["happy", "average_precision"] == pytest.approx(average_precision_score(happy, table["p_happy"]))
    lines = json.loads(app.get("plotly_chart")[0].proto.spec)["data"]
    assert [line["name"] for line in lines] == list(EMOTIONS)


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
    assert CHOSEN_ON not in text_of(app)
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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.assign(predicted=(table["predicted"] + 1) % 7), "its classes are in another order"),
        (lambda table: table.drop(columns="p_neutral"), "it lacks p_neutral"),
        (lambda table: table.assign(path="elsewhere/" + table["path"]), "are not of the validation images of faces"),
        (lambda table: table.assign(row=table["row"] + 1), "are not of the validation images of faces"),
    ],
    ids=["order", "six classes", "other pictures", "other rows"],
)
def test_predictions_of_something_else_are_told(run, dataset, change, words):
    change(predict(run, dataset)).to_parquet(predictions_file(run, "validation"))
    app = open_page("evaluate")
    assert words in text_of(app)
    assert button(app, "Evaluate now")


@pytest.mark.filterwarnings("error")
def test_predictions_of_a_part_without_a_class_are_marked_as_partial(run, dataset):
    table = predict(run, dataset)
    part = table[table["label"] != EMOTIONS.index("disgust")]
    part.to_parquet(predictions_file(run, "validation"))
    app = open_page("evaluate", true="disgust", read="fear")
    assert f"Partial: {len(part):,} of the {len(table):,} validation images were answered." in text_of(app)
    assert "0 of 0 disgust read as fear" in text_of(app)
    assert "No picture is in this cell." in text_of(app)
    assert "No curve of disgust: none," in text_of(open_page("evaluate", view="Classes"))


def test_a_path_is_no_formula_in_the_downloaded_predictions(run, dataset):
    table = predict(run, dataset).head(2).assign(path=["=1+1", "a.png"])
    assert [line.split(",")[1] for line in _csv(table).splitlines()] == ["path", "'=1+1", "a.png"]


def test_a_run_that_still_trains_is_told(workspace, run, dataset):
    predict(run, dataset)
    lock = Job.create(workspace.runs, "train", "young", ["train", dataset.name]).take_lock()
    try:
        assert "young is still training: its model can be chosen when training ends." in text_of(open_page("evaluate"))
    finally:
        os.close(lock)


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


def test_a_cell_that_nobody_chose_goes_with_the_model(workspace, run, dataset):
    predict(run, dataset)
    other = write_run(workspace, "other", dataset)
    table = predict(other, dataset, every=10_000)  # one mistake
    app = open_page("evaluate", model="bright")
    matrix = np.zeros((7, 7), int)
    np.add.at(matrix, (table["label"], table["predicted"]), 1)
    (true, read), *_ = most_confused(matrix)
    cell = EMOTIONS[true], EMOTIONS[read]
    assert (app.selectbox(key="true").value, app.selectbox(key="read").value) != cell
    app.selectbox(key="model").set_value("other").run()
    assert (app.selectbox(key="true").value, app.selectbox(key="read").value) == cell
    app.selectbox(key="true").set_value("happy").run()
    app.selectbox(key="model").set_value("bright").run()
    assert (app.selectbox(key="true").value, app.selectbox(key="read").value) == ("happy", cell[1])


def test_a_model_without_a_dataset_in_its_link_opens_where_its_predictions_are(workspace, run, dataset):
    newer = shutil.copytree(dataset.folder, workspace.datasets / "newer")
    info = json.loads((newer / "dataset.json").read_text())
    (newer / "dataset.json").write_text(json.dumps({**info, "fingerprint": "0" * 64}))
    predict(
        workspace.evaluations / f"{'a' * 16}-{dataset.info.fingerprint[:16]}",
        dataset,
        model="theirs",
        file="theirs.csv",
    )
    assert open_page("evaluate", model="theirs").selectbox(key="dataset").value == "faces"


def test_the_picture_that_is_open_stands_in_the_address(run, dataset):
    table = predict(run, dataset)
    rows = table[(table["label"] == 3) & (table["predicted"] == 3)]["row"]
    image = f"validation:{rows.iloc[0]}"
    app = open_page("evaluate", true="happy", read="happy", image=image)
    assert "Labelled happy" in text_of(app.run())
    assert app.query_params["image"] == image
    button(app, "Next").click().run()
    assert app.query_params["image"] not in ("", image)
    app = open_page("evaluate", true="happy", read="happy", image="validation:99999")
    assert "There is no picture validation:99999 here." in [toast.value.replace("\\", "") for toast in app.toast]
    assert "image" not in app.query_params
