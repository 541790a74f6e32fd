"""The Runs page as Streamlit runs it: table, comparison, baseline, and what is done with a run."""

import io
import itertools
import json
import shutil

import pytest

from dashboard.charts import RUN_COLOURS, RunCurves, run_overlay, smoothed
from dashboard.run_table import ticked_too
from fer_core.emotions import PALETTES
from fer_core.jobs import supervisor
from fer_core.jobs.store import Job
from fer_core.training import run_archive, run_folder
from fer_core.training.run_archive import export_run
from fer_core.training.runs import read_config
from tests.pages.opened import open_page, text_of
from tests.unit.command_line import call
from tests.unit.runs import write_finished_run
from tests.unit.training.conftest import make_dataset


@pytest.fixture
def dataset(workspace):
    return make_dataset(workspace.datasets / "faces", {"train": 14, "validation": 70, "test": 7})


@pytest.fixture
def three(workspace, dataset):
    """Runs with 30, 68 and 69 of 70 images right."""
    write_finished_run(workspace, "poor", dataset, wrong=range(40))
    write_finished_run(workspace, "good", dataset, wrong=[0, 1], changes=["head_l2=0.1"])
    write_finished_run(workspace, "fine", dataset, wrong=[2], accuracies=(0.4, 0.6, 0.7))


def button(app, label):
    return next(found for found in app.button if found.label == label)


def cells(app):
    return app.dataframe[0].value.set_index("Run")


def test_without_runs_it_shows_an_example_and_where_to_start():
    app = open_page("runs")
    assert "No run yet" in text_of(app)
    assert app.dataframe[0].value["Run"].tolist() == ["example"]
    assert "Start training" in [link.label for link in app.get("page_link")]


def test_every_run_is_a_row_with_its_score_and_data(three):
    table = cells(open_page("runs"))
    assert set(table.index) == {"poor", "good", "fine"}
    assert table.loc["poor", "Validation"].startswith("42.9 % ± ")
    assert table.loc["poor", "Validation"].endswith("· n 70 · Clean")
    assert table.loc["poor", "Dataset"] == "faces"
    assert table.loc["fine", "Accuracy by epoch"] == pytest.approx([40, 60, 70])
    assert len(table.columns) < 7
    assert "vs baseline" not in table


def test_the_finding_names_the_best_run_and_those_that_are_as_good(workspace, dataset, three):
    assert "fine is best so far of 3 runs (1 more within noise of it): 98.6 % (92.3 to 99.7) " in text_of(
        open_page("runs")
    )
    run_folder.delete(workspace, "poor")
    assert "Differences of 2 runs so far are inside noise. Highest is fine: 98.6 %" in text_of(open_page("runs"))
    run_folder.delete(workspace, "good")
    assert "fine is the only finished run: 98.6 % (92.3 to 99.7) " in text_of(open_page("runs"))


def test_a_leaky_score_is_not_the_best_one(workspace, three):
    leaky = make_dataset(workspace.datasets / "leaky", {"train": 14, "validation": 70, "test": 7}, leaked={"test": 5})
    write_finished_run(workspace, "copied", leaky)
    app = open_page("runs")
    assert cells(app).loc["copied", "Dataset"] == "leaky · Leaky · 5 of 7"
    assert "fine is best so far of 3 runs on faces" in text_of(app)


@pytest.mark.parametrize(
    ("leaked", "words"),
    [({"validation": 5, "test": 0}, "n 70 · Leaky · 5 of 70"), ({"validation": 0, "test": 5}, "n 70 · Clean")],
)
def test_one_number_has_the_same_leak_words_everywhere(capfd, workspace, leaked, words):
    leaky = make_dataset(workspace.datasets / "leaky", {"train": 14, "validation": 70, "test": 7}, leaked=leaked)
    for name in ("other", "copied"):
        write_finished_run(workspace, name, leaky)
    runs = open_page("runs")
    shown = [cells(runs).loc["copied", "Validation"], text_of(runs)]
    shown += [text_of(open_page("about", model="copied")), text_of(open_page("overview"))]
    shown += call(capfd, "runs", "compare", "other", "copied")[1].splitlines()[:2]
    for text in shown:
        assert words in text.replace("\u00a0", " ")


def test_runs_whose_pictures_cannot_be_compared_say_why(workspace, three):
    old = make_dataset(workspace.datasets / "old", {"train": 14, "validation": 63, "test": 7}, seed=3)
    write_finished_run(workspace, "before", old, wrong=range(60))
    shutil.rmtree(old.folder)
    run_folder.set_baseline(workspace, "before")
    app = open_page("runs", compare=["before", "good"])
    why = "cannot be compared: dataset old is gone or changed"
    assert cells(app).loc["good", "vs baseline"] == why
    assert f"good against before: {why}." in text_of(app)
    assert "before is the only finished run on old" in text_of(app)


def test_a_run_on_an_older_dataset_of_that_name_is_not_the_only_one(workspace, dataset, three):
    shutil.rmtree(dataset.folder)
    anew = make_dataset(dataset.folder, {"train": 14, "validation": 63, "test": 7}, seed=3)
    write_finished_run(workspace, "newest", anew)
    run_folder.set_baseline(workspace, "newest")
    assert "newest cannot be compared with the other finished runs: 100.0 %" in text_of(open_page("runs"))


def test_the_baseline_stays_first_and_the_others_are_measured_by_it(three):
    app = open_page("runs", run="good")
    button(app, "Set as baseline").click().run()
    assert not app.exception
    table = cells(app)
    assert table.index[0] == "good"
    assert table.loc["good", "vs baseline"] == "baseline"
    assert table.loc["poor", "vs baseline"].startswith("-54.3 ± ")
    assert table.loc["fine", "vs baseline"].startswith("+1.4 ± ")
    assert table.loc["fine", "vs baseline"].endswith("within noise")
    assert button(app, "Set as baseline").disabled


def test_what_was_gained_on_the_baseline_is_shown_where_the_filter_hides_it(workspace, three):
    run_folder.set_baseline(workspace, "good")
    table = cells(open_page("runs", runs_filter="poor"))
    assert table.index.tolist() == ["poor"]
    assert table.loc["poor", "vs baseline"].startswith("-54.3 ± ")


def test_chosen_runs_are_laid_over_each_other_with_the_settings_that_differ(three):
    app = open_page("runs", compare=["poor", "good"])
    assert app.multiselect(key="compare").value == ["poor", "good"]
    settings = app.dataframe[1].value.set_index("setting")
    assert settings.loc["head_l2", ["poor", "good"]].tolist() == ["0.0", "0.1"]
    assert len(settings) == 1
    assert "points on 70 validation images" in text_of(app)
    app.multiselect(key="compare").set_value([]).run()
    assert len(app.dataframe) == 1


def test_a_filter_finds_every_word_wherever_it_stands(workspace, three):
    run_folder.write_notes(workspace.run("good"), run_folder.Notes(tags=["Keep"], note="Less dropout."))
    app = open_page("runs", runs_filter="keep drop")
    assert cells(app).index.tolist() == ["good"]
    assert "good is the only finished run: 97.1 %" in text_of(app)
    for text, found in (("compact DONE", 3), ("faces clean fine", 1), ("crashed", 0)):
        app.text_input(key="runs_filter").set_value(text).run()
        assert len(cells(app)) == found
    assert "None of 3 runs matches the filter." in text_of(app)
    assert not app.exception


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("Newest", ["poor", "fine", "good"]),
        ("Validation", ["poor", "fine", "good"]),
        ("Time", ["poor", "good", "fine"]),
        ("Name", ["poor", "fine", "good"]),
    ],
)
def test_runs_are_sorted_as_wished_after_the_baseline(workspace, three, order, names):
    run_folder.set_baseline(workspace, "poor")
    assert cells(open_page("runs", runs_sort=order)).index.tolist() == names


def test_the_finding_does_not_depend_on_the_order(workspace, three):
    other = make_dataset(workspace.datasets / "other", {"train": 14, "validation": 63, "test": 7}, seed=3)
    write_finished_run(workspace, "newest", other, wrong=[0])
    findings = {open_page("runs", runs_sort=order).subheader[0].value for order in ("Newest", "Validation", "Name")}
    assert len(findings) == 1


def test_a_leaky_score_is_sorted_after_the_clean_ones(workspace, three):
    sizes = {"train": 14, "validation": 70, "test": 7}
    leaky = make_dataset(workspace.datasets / "leaky", sizes, leaked={"validation": 5})
    write_finished_run(workspace, "copied", leaky)
    assert cells(open_page("runs", runs_sort="Validation")).index.tolist() == ["fine", "good", "poor", "copied"]


def test_ticks_are_those_of_the_shown_rows_and_hidden_runs_stay_chosen(three):
    app = open_page("runs", compare=["poor", "good"], runs_sort="Name")
    assert app.session_state["runs_table"]["selection"]["rows"] == [1, 2]
    app.text_input(key="runs_filter").set_value("good").run()
    assert app.session_state["runs_table"]["selection"]["rows"] == [0]
    assert app.multiselect(key="compare").value == ["poor", "good"]
    assert len(app.dataframe) == 2


@pytest.mark.parametrize(
    ("before", "ticked", "after"),
    [
        (["hidden", "a"], ["a", "b"], ["hidden", "a", "b"]),
        (["hidden", "a"], [], ["hidden"]),
        (["b", "a"], ["a", "b"], ["b", "a"]),
        ([], ["b"], ["b"]),
    ],
)
def test_ticks_change_only_what_the_table_shows(before, ticked, after):
    assert ticked_too(before, ["a", "b"], ticked) == after


def test_fifty_rows_come_at_a_time(workspace, dataset, three):
    for number in range(50):
        shutil.copytree(workspace.run("poor"), workspace.runs / f"copy-{number}")
    app = open_page("runs")
    assert len(cells(app)) == 50
    assert "of 53 runs" in text_of(app)
    button(app, "Show 3 more").click().run()
    assert len(cells(app)) == 53
    assert not [found for found in app.button if found.label.startswith("Show")]


@pytest.fixture
def seeds(workspace, dataset):
    """Three seeds of a recipe, and a run that is none."""
    for seed, accuracies in ((1, (0.2, 0.4)), (2, (0.3, 0.6, 0.7)), (3, (0.4, 0.8))):
        changes = [f"seed={seed}"]
        write_finished_run(
            workspace, f"wide-{seed}", dataset, wrong=range(10 * seed), changes=changes, accuracies=accuracies
        )
    write_finished_run(workspace, "other", dataset, changes=["head_l2=0.1"])


def curves(app):
    return json.loads(app.get("plotly_chart")[0].proto.spec)["data"]


def test_seeds_of_a_recipe_are_one_line_of_text_and_of_the_chart(seeds):
    words = "wide, 3 seeds (1, 2, 3): validation 71.4 % mean, 14.3 standard deviation, 57.1 to 85.7 %, n 70, Clean"
    app = open_page("runs", compare=["wide-1", "wide-2", "other"])
    assert words in text_of(app)
    assert [trace["name"] for trace in curves(app)[:3]] == ["other", "wide-2", "wide-1"]
    app.toggle(key="seeds_as_one").set_value(True).run()
    other, wide, band = curves(app)[:3]
    assert [other["name"], wide["name"]] == ["other", "wide ×3"]
    assert wide["y"] == pytest.approx([30, 60])
    assert band["fill"] == "toself"
    assert band["y"] == pytest.approx([40, 80, 40, 20])
    app.multiselect(key="compare").set_value(["other"]).run()
    assert "seeds_as_one" not in [toggle.key for toggle in app.toggle]
    assert [trace["name"] for trace in curves(app)] == ["other", "other"]


def test_smoothing_keeps_what_was_measured_behind(three):
    app = open_page("runs", compare=["fine"], smoothing="0.5")
    line, raw = curves(app)[:2]
    assert line["y"] == pytest.approx([40, (0.25 * 40 + 0.5 * 60) / 0.75, (0.125 * 40 + 0.25 * 60 + 0.5 * 70) / 0.875])
    assert raw["y"] == pytest.approx([40, 60, 70])
    assert raw["opacity"] < 0.5
    app.slider(key="smoothing").set_value(0.0).run()
    assert len(curves(app)) == 2
    assert curves(app)[0]["y"] == pytest.approx([40, 60, 70])


def test_a_link_that_asks_for_what_there_is_not_opens_the_page(three):
    app = open_page("runs", compare=["good"], smoothing="7", runs_sort="Colour", seeds_as_one="perhaps")
    assert app.slider(key="smoothing").value <= 0.95
    assert app.selectbox(key="runs_sort").value == "Newest"
    assert cells(app).index.tolist() == ["fine", "good", "poor"]


@pytest.mark.parametrize("weight", [0.0, 0.5, 0.95])
def test_smoothing_leaves_a_level_line_alone(weight):
    assert smoothed([0.5] * 20, weight) == pytest.approx([0.5] * 20)
    assert smoothed([], weight) == []


def test_an_imported_run_is_there_and_chosen(workspace, three):
    file = io.BytesIO()
    export_run(Job(workspace.run("good")), file)
    app = open_page("runs", run="poor")
    app.file_uploader(key="import-file-0").set_value(("good.zip", file.getvalue(), "application/zip")).run()
    button(app, "Import it").click().run()
    assert "There is a run or model named 'good' already" in text_of(app)
    app.text_input(key="import-name-0").set_value("theirs").run()
    button(app, "Import it").click().run()
    assert not app.exception
    assert app.selectbox(key="run").value == "theirs"
    assert app.file_uploader(key="import-file-1").value is None
    assert cells(app).loc["theirs", "Validation"] == cells(app).loc["good", "Validation"]


def test_what_is_no_run_is_refused_in_a_sentence(three):
    app = open_page("runs")
    app.file_uploader(key="import-file-0").set_value(("x.zip", b"no zip", "application/zip")).run()
    button(app, "Import it").click().run()
    assert "This is no zip file, or a damaged one" in text_of(app)
    assert len(cells(app)) == 3


def test_an_export_is_made_when_it_is_asked_for(workspace, three, monkeypatch):
    made = []
    monkeypatch.setattr(run_archive, "export_run", lambda *_, **options: made.append(options))
    app = open_page("runs", run="good")
    assert app.get("download_button")[0].proto.label == "Download zip"
    assert made == []


def test_a_link_to_runs_that_are_gone_opens_the_page(three):
    app = open_page("runs", compare=["gone", "good"], run="gone")
    assert set(app.multiselect(key="compare").value) <= {"good"}


def test_curves_of_runs_are_told_apart_without_the_colours_of_emotions():
    curves = [RunCurves(f"run-{i}", [0.5, 0.6], [1.0, 0.9], baseline=i == 0) for i in range(6)]
    for theme in ("light", "dark"):
        lines = [trace.line for trace in run_overlay(curves, theme).data[:6]]
        assert len({line.color for line in lines}) == 6
        assert len({line.dash for line in lines[1:]}) == 5
        assert not set(RUN_COLOURS[theme]) & set(PALETTES[theme].values())


def test_names_beside_curves_that_end_together_do_not_lie_on_each_other():
    curves = [RunCurves(f"run-{i}", [0.3, 0.6], [1.0, 0.9]) for i in range(6)]
    figure = run_overlay(curves, "light")
    low, high = figure.layout.yaxis.range
    places = sorted(note.ay for note in figure.layout.annotations[:6])
    assert min(b - a for a, b in itertools.pairwise(places)) > 0.08 * (high - low)
    assert low < places[0] < places[-1] < high


def test_the_name_of_a_shorter_curve_stands_at_its_own_end():
    short, long = run_overlay([RunCurves("a", [0.3], [1.0]), RunCurves("b", [0.3, 0.6], [1.0, 0.9])], "light").layout[
        "annotations"
    ][:2]
    assert (short.x, short.showarrow) == (1, False)
    assert (long.x, long.showarrow) == (2, None)


def test_damaged_runs_are_rows_too(workspace, dataset, three):
    for name, damage in {
        "no-settings": lambda run: (run / "config.yaml").write_text("{"),
        "no-answers": lambda run: (run / "predictions-validation.parquet").write_text("{"),
        "no-job": lambda run: (run / "job.json").write_text("{"),
        "no-curves": lambda run: (run / "events.jsonl").write_text('{"type": "epoch"}\n'),
        "nothing": lambda run: [path.unlink() for path in run.glob("*") if path.is_file() and path.name != "job.json"],
    }.items():
        damage(write_finished_run(workspace, name, dataset))
    run_folder.set_baseline(workspace, "good")
    app = open_page("runs", compare=["no-settings", "no-answers", "no-job", "no-curves", "nothing", "good"])
    table = cells(app)
    assert len(table) == 8
    assert table.loc["no-settings", "State"] == "Done · settings damaged"
    assert table.loc["no-answers", "vs baseline"] == "no answers to compare"
    for name in table.index:
        assert not app.selectbox(key="run").set_value(name).run().exception


def test_a_run_whose_dataset_is_gone_is_shown(dataset, three):
    shutil.rmtree(dataset.folder)
    assert cells(open_page("runs")).loc["good", "State"] == "Done · dataset gone"


def test_rename_is_followed_by_what_was_chosen(workspace, three):
    app = open_page("runs", run="good", compare=["good", "poor"])
    app.text_input(key="rename-good").set_value("better").run()
    button(app, "Rename it").click().run()
    assert not app.exception
    assert app.selectbox(key="run").value == "better"
    assert app.multiselect(key="compare").value == ["better", "poor"]
    assert "better" in cells(app).index


def test_a_name_that_is_taken_is_told(workspace, three):
    app = open_page("runs", run="good")
    app.text_input(key="rename-good").set_value("poor").run()
    button(app, "Rename it").click().run()
    assert "There is a run named 'poor' already" in text_of(app)
    assert (workspace.runs / "good").is_dir()


def test_notes_are_kept_and_shown_behind_more_columns(three):
    app = open_page("runs", run="good")
    app.text_area(key="note-good").set_value("Less dropout.").run()
    button(app, "Save").click().run()
    app.toggle(key="more_columns").set_value(True).run()
    assert cells(app).loc["good", "Note"] == "Less dropout."
    assert cells(app).loc["good", "Disk"] == "2 MB, checkpoints 2"


@pytest.mark.parametrize(("answer", "left"), [("Delete it", {"poor", "fine"}), ("Keep it", {"good", "poor", "fine"})])
def test_delete_asks_and_says_what_is_lost(workspace, three, answer, left):
    run_folder.set_baseline(workspace, "good")
    app = open_page("runs", run="good")
    button(app, "Delete").click().run()
    text = text_of(app)
    assert "its model" in text
    assert "it is the baseline now" in text
    assert "MB are freed" in text
    app.session_state["runs_delete"] = "good"  # the browser runs the dialog alone; here the whole page runs
    button(app, answer).click().run()
    assert not app.exception
    assert set(cells(app).index) == left
    assert answer not in [found.label for found in app.button]


def test_whoever_left_the_question_to_delete_is_not_asked_again(three):
    app = open_page("runs", run="good")
    button(app, "Delete").click().run()
    assert "Delete it" in [found.label for found in app.button]
    app.switch_page("../pages/about.py").run()
    app.switch_page("../pages/runs.py").run()
    assert "Delete it" not in [found.label for found in app.button]


def test_a_run_at_work_is_neither_renamed_nor_deleted(workspace, three):
    job = Job(workspace.run("good"))
    lock = job.take_lock()
    try:
        job.write_status(job.status().model_copy(update={"state": "running"}))
        app = open_page("runs", run="good")
        assert cells(app).loc["good", "State"] == "Running 2/24"
        assert button(app, "Delete").disabled
    finally:
        supervisor.os.close(lock)


def test_checkpoints_of_finished_runs_are_freed_once_it_is_confirmed(workspace, three):
    job = Job(workspace.run("poor"))
    job.write_status(job.status().model_copy(update={"state": "stopped"}))
    app = open_page("runs")
    popover = next(block for block in app.get("popover") if block.proto.popover.label.startswith("Delete checkpoints"))
    assert popover.proto.popover.label == "Delete checkpoints of 2 finished runs, 4 MB"
    assert "Models, curves and scores stay" in popover.markdown[0].value
    popover.button[0].click().run()
    assert {path.parts[-3] for path in workspace.runs.rglob("*.npz")} == {"poor"}
    assert "Delete them" not in [found.label for found in app.button]


def test_repeat_with_changes_opens_the_form_with_the_settings_of_the_run(workspace, dataset, three):
    app = open_page("train", repeat="good", dataset="faces")
    assert "Begins with the settings of good" in text_of(app).replace("*", "")
    assert "--preset compact" in app.code[0].value
    assert "--set head_l2=0.1" in app.code[0].value
    assert app.code[0].value.count("--set") == 1
    app.number_input(key="set-good/compact-phases.0.epochs").set_value(3).run()
    assert "--set phases.0.epochs=3" in app.code[0].value
    button(app, "Start training").click().run()
    assert not app.exception
    started = Job(workspace.run("good-1"))
    supervisor.stop(started, grace=60)
    config = read_config(started.folder / "config.yaml")
    assert (config.head_l2, config.total_epochs) == (0.1, 3)
    assert app.selectbox(key="run").value == "good-1"


def test_repeat_of_a_run_that_is_gone_opens_the_usual_form(dataset):
    app = open_page("train", repeat="gone")
    assert "No run named 'gone'" in text_of(app)
    assert "--preset compact" in app.code[0].value


def test_a_link_to_repeat_what_cannot_be_a_run_is_one_sentence(dataset):
    app = open_page("train", repeat="x" * 5000)
    assert [error.value for error in app.error] == ["No run has the name that is in this link."]
    assert "--preset compact" in app.code[0].value
