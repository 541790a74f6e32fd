"""Pages as Streamlit runs them, without a browser: empty, with a dataset, with a run, with broken files."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard.prepare_form import source_arguments
from fer_core.data import fetch
from fer_core.data.config import Policy
from fer_core.data.dataset import Dataset
from fer_core.data.prepare import PrepareConfig, prepare
from fer_core.inference.images import sample_photograph
from fer_core.inference.served import default_model
from fer_core.jobs import supervisor
from fer_core.jobs.state import StopWish
from fer_core.jobs.store import Job, JobStatus, list_jobs
from fer_core.training import runs
from fer_core.training.config import load_preset
from tests.pages.opened import open_page, text_of
from tests.unit.runs import write_finished_run
from tests.unit.served_models import write_brightness_model

PAGES = ("overview", "data", "balance", "labels", "train", "runs", "evaluate", "predict", "about")


@pytest.mark.parametrize("name", PAGES)
def test_every_page_says_what_to_do_when_there_is_nothing(name):
    app = open_page(name)
    expected = {
        "overview": "The model in the box",
        "data": "No archive found",
        "balance": "Prepare a dataset first",
        "labels": "Prepare a dataset first",
        "train": "Prepare a dataset first",
        "runs": "No run yet",
        "evaluate": "Prepare a dataset first",
        "predict": "Nothing uploaded yet",
        "about": "The temperature was fitted",
    }
    assert expected[name] in text_of(app)


@pytest.mark.parametrize("name", PAGES)
def test_a_link_to_something_that_is_gone_opens_the_page(name, dataset):
    open_page(name, dataset="gone", model="gone", run="gone")


def test_prepare_starts_a_job_with_the_settings_shown(workspace, archives):
    app = open_page("data")
    app.slider(key="prepare_share").set_value(30).run()
    app.toggle(key="prepare_usage").set_value(True).run()
    assert "Leak-free · PublicTest is validation · no balancing · seed 42" in text_of(app)
    app.toggle(key="prepare_usage").set_value(False).run()
    next(button for button in app.button if button.label == "Prepare dataset").click().run()
    assert not app.exception
    job = next(iter(list_jobs(workspace.jobs)))
    supervisor.stop(job, grace=30)
    arguments = job.spec().arguments
    assert arguments[arguments.index("--val-fraction") + 1] == "0.3"
    assert {Path(a).name for a in arguments if a.endswith(".zip")} == {"fer2013.zip", "emotion-detection-fer.zip"}


def test_labels_size_and_colour_go_along_and_a_wrong_label_starts_nothing(workspace, archives):
    app = open_page("data")
    app.text_area(key="prepare_labels").set_value("contempt=drop\n boredom ").run()
    assert "'boredom': give a label and what it means" in text_of(app)
    start = next(button for button in app.button if button.label == "Prepare dataset")
    assert start.disabled
    app.text_area(key="prepare_labels").set_value("contempt=drop\nboredom=neutral\n").run()
    app.number_input(key="prepare_size").set_value(32).run()
    app.toggle(key="prepare_color").set_value(True).run()
    app.selectbox(key="prepare_policy").set_value("evaluation-only").run()
    assert "Evaluation-only · no image to train on · 32 x 32 px, colour · 2 labels explained" in text_of(app)
    next(button for button in app.button if button.label == "Prepare dataset").click().run()
    job = next(iter(list_jobs(workspace.jobs)))
    assert supervisor.wait(job, 120)
    made = Dataset.open(workspace.datasets / "faces")
    assert made.info.config["labels"] == {"contempt": "drop", "boredom": "neutral"}
    assert (made.info.height, made.info.channels, made.info.trainable) == (32, 3, False)


def test_a_source_is_added_to_those_of_the_dataset_shown(workspace, dataset, tmp_path):
    (tmp_path / "more" / "happy").mkdir(parents=True)
    shutil.copy(sample_photograph(), tmp_path / "more" / "happy" / "1.png")
    app = open_page("data")
    app.text_input(key="prepare_path").set_value(str(tmp_path / "more")).run()
    app.checkbox(key="prepare_join").check().run()
    known = [source["path"] for source in dataset.info.config["sources"]]
    assert not {f"archive-{path}" for path in known} & {box.key for box in app.checkbox}
    next(button for button in app.button if button.label == "Prepare dataset").click().run()
    assert not app.exception
    job = next(iter(list_jobs(workspace.jobs)))
    assert supervisor.wait(job, 120)
    made = Dataset.open(Path(job.status().result["dataset"]))
    assert [source["path"] for source in made.info.config["sources"]] == [*known, str(tmp_path / "more")]


def test_kaggles_data_sets_are_fetched_by_a_job_where_kagglehub_is_there(workspace, monkeypatch):
    started = []
    monkeypatch.setattr(supervisor, "launch", lambda *arguments: started.append(arguments[2:]))
    app = open_page("data")
    app.button(key="fetch-emotion-detection-fer").click().run()
    assert started == [("fetch-emotion-detection-fer-1", ["data", "fetch", "emotion-detection-fer"])]
    monkeypatch.setattr(fetch, "installed", lambda: False)
    app = open_page("data")
    assert app.button(key="fetch-fer2013").disabled
    assert "pip install -r requirements-kaggle.txt" in text_of(app)


def test_paths_are_added_one_after_the_other_and_a_wrong_one_is_told(workspace, drawn):
    app = open_page("data")
    for path in drawn:
        app.text_input(key="prepare_path").set_value(str(path)).run()
    app.text_input(key="prepare_path").set_value("/no/such.zip").run()
    assert "/no/such.zip: no such file or folder" in text_of(app)
    assert [box.key for box in app.checkbox] == [f"archive-{path}" for path in drawn]


def test_an_upload_that_is_no_archive_is_refused_and_not_kept(workspace):
    app = open_page("data")
    app.file_uploader(key="prepare_upload").set_value([("mine.zip", b"just text", "application/zip")]).run()
    assert "mine.zip: not a zip archive" in text_of(app)
    assert list(workspace.sources.iterdir()) == []


def test_overview_tells_what_a_dataset_was_made_from_where_no_archive_lies_ready(dataset):
    text = text_of(open_page("overview"))
    assert "2 used: fer2013, emotion-detection-fer" in text
    assert "no archive found" not in text
    (dataset.folder / "dataset.json").write_text("{")
    assert "no archive found" in text_of(open_page("overview"))


def test_data_page_shows_finding_pairs_and_a_ledger_that_adds_up(dataset):
    app = open_page("data")
    text = text_of(app)
    assert "emotion-detection-fer adds no photograph: all of it is fer2013." in text
    assert f"{len(dataset.copies())} pairs" in text
    ledger = app.dataframe[1].value.set_index("step")
    for split in ("train", "validation", "test"):
        assert ledger.loc[ledger.index != "= dataset", split].sum() == ledger.loc["= dataset", split]


def test_leaky_data_is_not_trained_on_without_a_yes(workspace, drawn):
    config = PrepareConfig(policy=Policy.AS_PUBLISHED)
    prepare([str(path) for path in drawn], workspace.datasets / "leaky", config)
    app = open_page("train")
    start = next(button for button in app.button if button.label == "Start training")
    assert start.disabled
    app.checkbox(key="train_leaks").check().run()
    assert not next(button for button in app.button if button.label == "Start training").disabled
    assert "--allow-leaks" in app.code[0].value


def test_settings_of_the_form_become_the_command(dataset):
    app = open_page("train")
    app.number_input(key="set-compact-phases.0.epochs").set_value(3).run()
    app.number_input(key="set-compact-head_l2").set_value(0.4).run()
    assert "--set head_l2=0.4" in app.code[0].value
    assert "--set phases.0.epochs=3" in app.code[0].value


def test_a_recipe_of_two_phases_says_what_it_needs_and_which_phase_a_setting_is_of(dataset):
    app = open_page("train")
    app.button(key="preset-resnet50").click().run()
    assert not app.exception
    labels = {widget.label for widget in app.number_input}
    assert {"Epochs · 1 Head", "Epochs · 2 Fine-tuning"} <= labels
    app.number_input(key="set-resnet50-phases.1.decay_raise").set_value(3.0).run()
    app.text_input(key="set-resnet50-weights").set_value("none").run()
    assert not app.exception
    assert "--preset resnet50" in app.code[0].value
    assert "--set phases.1.decay_raise=3.0" in app.code[0].value
    assert "--set weights=none" in app.code[0].value


@pytest.mark.parametrize(
    ("status", "events", "expected"),
    [
        ('{"state": "running"}', "", "was killed or the machine went down"),
        ('{"state": "run', '{"type": "epo', "was killed or the machine went down"),
        ('{"state": "stopped", "message": "Stopped while training."}', "", "Stopped while training."),
    ],
)
def test_a_run_that_ended_badly_says_so_and_offers_resume(workspace, dataset, status, events, expected):
    complete = runs.complete(load_preset("compact"), dataset)
    job = runs.create(workspace, "r-1", complete, ["train", "faces"])
    (job.folder / "status.json").write_text(status)
    (job.folder / "events.jsonl").write_text(events)
    app = open_page("train")
    assert expected in text_of(app)
    assert "Resume" in [button.label for button in app.button]


@pytest.fixture
def at_work(workspace, dataset):
    """A run whose lock is held, as if a worker trained it."""
    job = runs.create(workspace, "r-1", runs.complete(load_preset("compact"), dataset), ["train", "faces"])
    now = time.time()
    job.write_status(JobStatus(state="running", pid=1, started=now, updated=now))
    lock = job.take_lock()
    yield job
    os.close(lock)


def button(app, label):
    return next(button for button in app.button if button.label == label)


def test_one_click_stops_a_run_and_keeps_everything(at_work):
    app = open_page("train")
    button(app, "Stop").click().run()
    assert not app.exception
    assert at_work.stop_wish() is StopWish.KEEP_ALL
    assert "Stopping after this step" in text_of(app)


def test_a_run_is_finished_with_its_best_epoch_once_there_is_one(at_work, workspace, dataset):
    app = open_page("train")
    assert button(app, "Finish with the best epoch").disabled
    shutil.copy(write_finished_run(workspace, "other", dataset) / "events.jsonl", at_work.folder)
    app.run()
    button(app, "Finish with the best epoch").click().run()
    assert at_work.stop_wish() is StopWish.KEEP_BEST
    assert "Finishing with the best epoch" in text_of(app)


def test_a_run_is_discarded_only_when_that_is_confirmed(at_work):
    app = open_page("train")
    assert button(app, "Discard").disabled
    app.checkbox(key="sure-r-1").check().run()
    button(app, "Discard").click().run()
    assert at_work.stop_wish() is StopWish.DISCARD


def test_a_page_that_watches_a_run_survives_that_it_is_discarded(at_work):
    app = open_page("train")
    at_work.discard()
    app.run()
    assert not app.exception
    assert "Start training" in [button.label for button in app.button]


@pytest.mark.parametrize(("page", "kind"), [("data", "prepare"), ("data", "fetch"), ("balance", "balance")])
def test_a_job_that_is_no_run_has_only_stop_in_sight_wherever_its_button_was(workspace, page, kind):
    job = Job.create(workspace.jobs, kind, f"{kind}-x-1", [])
    job.write_status(JobStatus(state="running", pid=1, started=time.time(), updated=time.time()))
    lock = job.take_lock()
    try:
        app = open_page(page)
    finally:
        os.close(lock)
    labels = [button.label for button in app.button]
    assert "Stop" in labels
    assert "Discard" not in labels
    assert "Stop" not in [button.label for button in app.main.button]  # which scrolls away


def test_a_run_that_says_nothing_for_minutes_is_told_of_and_can_be_forced(at_work):
    at_work.write_status(at_work.status().model_copy(update={"updated": time.time() - 400}))
    app = open_page("train")
    assert "No sign of life for 7 min" in text_of(app)
    assert "End it now" in [button.label for button in app.button]


def test_a_damaged_dataset_is_told_in_one_sentence(dataset):
    (dataset.folder / "dataset.json").write_text("{")
    app = open_page("data")
    assert "damaged or not ours" in text_of(app)


def test_predict_reads_a_picture_with_a_model(workspace):
    write_brightness_model(workspace.runs / "r-1" / "model.onnx")
    app = open_page("predict")
    assert "Nothing uploaded yet" in text_of(app)
    assert any("%" in part.value and part.value.startswith("**1 ·") for part in app.markdown)


def test_the_server_never_loads_a_training_framework(dataset):
    script = """
import sys
from streamlit.testing.v1 import AppTest
app = AppTest.from_file(sys.argv[1], default_timeout=30).run()
for page in ("data", "balance", "labels", "train", "runs", "evaluate", "predict", "about"):
    assert not app.switch_page(f"../pages/{page}.py").run().exception
print(*sys.modules)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script, root / "dashboard/app.py"], cwd=root, check=True, capture_output=True, text=True
    )
    loaded = set(done.stdout.split())
    assert "streamlit" in loaded
    assert not {"tensorflow", "keras", "jax", "torch", "tf2onnx", "sklearn", "albumentations", "matplotlib"} & loaded


def test_a_second_run_is_started_and_becomes_the_chosen_one(workspace, dataset):
    complete = runs.complete(load_preset("compact"), dataset)
    runs.create(workspace, "compact-1", complete, ["train", "faces"])
    app = open_page("train")
    next(button for button in app.button if button.label == "Start training").click().run()
    assert not app.exception
    started = Job(workspace.run("compact-2"))
    supervisor.stop(started, grace=60)
    assert app.selectbox(key="run").value == "compact-2"


def test_names_from_strangers_are_shown_letter_by_letter(workspace):
    job = Job.create(workspace.jobs, "prepare", "prepare-x-1", [])
    job.write_status(JobStatus(state="failed", message="![x](https://evil.example/p.png): not a picture"))
    app = open_page("data")
    shown = next(part.value for part in app.markdown if "evil.example" in part.value)
    assert "\\!\\[x\\](https\\://" in shown


@pytest.mark.parametrize("name", ["overview", "data", "train", "runs"])
def test_one_damaged_job_does_not_hide_the_rest(name, workspace, dataset):
    for parent in (workspace.jobs, workspace.runs):
        (parent / "broken").mkdir(parents=True)
        (parent / "broken" / "job.json").write_text("{")
    (workspace.runs / "broken" / "config.yaml").write_text("{")
    app = open_page(name)
    assert len(app.button) > 0


def test_uploads_of_the_same_name_are_both_kept_and_nothing_is_overwritten(workspace, archives):
    before = archives[0].read_bytes()
    app = open_page("data")
    other = archives[1].read_bytes()
    uploads = [("fer2013.zip", content, "application/zip") for content in (before, other)]
    app.file_uploader(key="prepare_upload").set_value(uploads).run()
    assert not app.exception
    kept = {path.name: path.read_bytes() for path in workspace.sources.glob("fer2013*.zip")}
    assert kept == {"fer2013.zip": before, "fer2013-2.zip": before, "fer2013-3.zip": other}


def test_sources_get_names_that_differ(tmp_path):
    cache = tmp_path / "datasets"
    paths = [cache / "a/fer2013/versions/1", cache / "b/emotion-detection-fer/versions/1", tmp_path / "fer2013.zip"]
    names = [argument.partition("=")[0] for argument in source_arguments(paths)]
    assert names == ["fer2013", "emotion-detection-fer", "fer2013-3"]


def test_a_dataset_that_is_being_written_is_not_offered(workspace, dataset):
    shutil.copytree(dataset.folder, workspace.datasets / ".preparing-faces-abc")
    app = open_page("balance")
    assert app.selectbox(key="dataset").options == ["faces"]


def test_an_imported_model_is_not_taken_for_the_one_in_the_box(workspace):
    write_brightness_model(workspace.models / "mine" / "model.onnx")
    assert "mine" not in text_of(open_page("overview"))
    assert open_page("predict").selectbox(key="model").value == default_model(workspace).name


def test_a_link_to_a_model_that_is_gone_says_so():
    assert any("There is no model named gone" in toast.value for toast in open_page("about", model="gone").toast)


def test_a_job_that_failed_and_left_nothing_can_be_dismissed(workspace):
    (workspace.root / "empty").mkdir(parents=True)
    supervisor.launch(
        workspace.jobs, "prepare", "wrong", ["data", "prepare", str(workspace.root / "empty"), "--out", "x"]
    )
    job = Job(workspace.jobs / "wrong")
    assert supervisor.wait(job, 60)
    app = open_page("data")
    assert "wrong" in text_of(app)
    app.button(key="dismiss-wrong").click().run()
    assert not app.exception
    assert not job.folder.exists()
    assert "wrong" not in text_of(app)


def test_a_choice_whose_page_was_left_meanwhile_is_ignored():
    """Streamlit calls back for a widget whose value went with the page that another click left (seen in CI)."""

    def script() -> None:
        from dashboard import cells, components, decisions, drawer, models_view, prepare_form

        components._settle_chosen("model")
        drawer._typed("sheet-number")
        drawer._clicked("sheet", 0, 24)
        cells._clicked()
        models_view._choose("models-bright", ["bright"])
        prepare_form._take_path()
        decisions._relabel(None, [], "decide", "")  # type: ignore[arg-type]

    app = AppTest.from_function(script).run()
    assert not app.exception, app.exception
    assert "model" not in app.session_state
    assert "drawer" not in app.session_state


def test_the_address_names_nothing_of_a_page_that_was_left_while_it_was_drawn(dataset, monkeypatch):
    written = []
    monkeypatch.setattr("dashboard.address._writer", lambda key, data: written.append(data))
    monkeypatch.setattr("dashboard.components.leak_badge", lambda dataset: st.stop())
    app = open_page("data")
    app.switch_page("../pages/overview.py").run()
    assert not any(written)
    monkeypatch.setattr("dashboard.components.leak_badge", lambda dataset: None)
    app.switch_page("../pages/data.py").run()
    assert written[-1] == {"dataset": "faces"}
