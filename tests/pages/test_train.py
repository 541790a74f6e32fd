"""The views of a run on the Train page as Streamlit runs them."""

import os
import shlex
import time
from itertools import pairwise

import pytest

from dashboard import charts
from dashboard.run_panel import VIEWS
from fer_core.emotions import EMOTIONS
from fer_core.inference.served import CARD_FILE, default_model
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job, JobStatus, list_jobs
from fer_core.training import runs
from fer_core.training.config import (
    NO_AUGMENTATION,
    STRONG_AUGMENTATION,
    AugmentationConfig,
    PhaseConfig,
    apply_overrides,
    list_presets,
    load_preset,
)
from fer_core.training.reached import read_reached
from fer_core.training.runs import Run
from fer_core.training.speeds import NetworkSpeed, PhaseSpeed, network_of, remember, work_of
from fer_core.training.weights import WEIGHTS
from tests.pages.opened import open_page, text_of
from tests.unit.runs import write_finished_run
from tests.unit.training.conftest import make_dataset


@pytest.fixture
def job(workspace):
    """A stopped run of the published recipe: its first phase ended early, its second is under way."""
    dataset = make_dataset(workspace.datasets / "faces", {"train": 14, "validation": 70, "test": 7})
    job = runs.create(workspace, "long", runs.complete(load_preset("resnet50"), dataset), ["train", "faces"])
    (job.folder / "worker.log").write_text("Compiling\n")
    job.write_status(JobStatus(state="stopped", message="Stopped; 5 of 30 epochs are kept."))
    return job


def train(job, lengths=(3, 2), recall=lambda emotion: 0.1 * EMOTIONS.index(emotion)):
    done = 0
    for phase, epochs in enumerate(lengths):
        job.append_event({"type": "phase_start", "phase": phase})
        for epoch in range(epochs):
            place = {"phase": phase, "epoch": epoch}
            for batch in range(4):
                job.append_event(
                    {"type": "batch", **place, "batch": batch, "batches": 4, "loss": 1.5, "accuracy": 0.3}
                    | {"images_per_second": 61.4, "cpu_percent": 190.0, "memory_bytes": 1_250_000_000}
                )
            scores = dict.fromkeys(("loss", "val_loss", "val_macro_f1", "weight_decay"), 0.5)
            rates = {"learning_rate": 5e-4 if phase == 0 else 8e-5, "accuracy": 0.62, "val_accuracy": 0.5 + done / 100}
            shown = {"val_recall": {emotion: recall(emotion) for emotion in EMOTIONS}, "samples": [], "best": True}
            times = {"seconds": 30.0, "images_per_second": 61.4, "global_epoch": done}
            job.append_event({"type": "epoch", **place, **scores, **rates, **shown, **times})
            done += 1
    job.append_event({"type": "learning_rate", "epoch": 1, "before": 8e-5, "after": 4e-5})
    job.append_event({"type": "weight_decay", "epoch": 1, "before": 4e-3, "after": 8e-3})


@pytest.mark.parametrize(
    ("view", "said"),
    [
        ("Curves", "Generalisation gap +8.0 points after epoch 5: 62.0 % on training images, 54.0 % on validation"),
        ("Classes", "Recall on validation is highest for neutral (60.0 %) and lowest for angry (0.0 %) after epoch 5"),
        ("Rates", "Schedule: plateau. Learning rate lowered on a plateau: once. Weight decay raised with it: once."),
        ("Machine", "Last: 61 images/s, 1.9 of 4 cores at work, at most 1.25 GB of memory."),
    ],
)
def test_a_link_opens_a_view_and_only_that(job, view, said):
    config = runs.read_config(job.folder / runs.CONFIG_FILE).model_copy(update={"threads": 4})
    runs.write_config(job, config)
    train(job)
    app = open_page("train", run="long", run_view=view)
    assert said in text_of(app)
    assert len(app.get("plotly_chart")) == 1
    assert "Compiling" not in [code.value for code in app.code]


def test_the_log_is_a_view(job):
    app = open_page("train", run="long", run_view="Log")
    assert app.code[0].value == "Compiling"
    assert not app.get("plotly_chart")


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_bears_a_run_without_events(job, view):
    app = open_page("train", run="long", run_view=view)
    assert "Stopped; 5 of 30 epochs are kept." in text_of(app)
    assert not app.get("plotly_chart")


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_bears_a_run_within_its_first_epoch(job, view):
    batch = {"type": "batch", "phase": 0, "epoch": 0, "batch": 0, "batches": 50, "loss": 2.0, "accuracy": 0.1}
    job.append_event({**batch, "images_per_second": None})
    open_page("train", run="long", run_view=view)


def test_a_view_of_another_page_opens_the_first_one(job):
    train(job)
    assert "Generalisation gap" in text_of(open_page("train", run="long", run_view="Matrix"))


def test_an_older_run_says_what_was_not_recorded(job):
    batch = {"type": "batch", "phase": 0, "epoch": 0, "batch": 2, "batches": 4, "loss": 2.0, "accuracy": 0.1}
    job.append_event({**batch, "images_per_second": 80.0})
    text = text_of(open_page("train", run="long", run_view="Machine"))
    assert "Last: 80 images/s, processor and memory were not recorded." in text


def figures(job, theme):
    run = Run(job)
    phases = run.phases
    yield charts.training_curves(run.history, run.batches, theme, phases=phases, events={"New best": [(1, "x")]})
    yield charts.recall_curves(run.history, theme, phases=phases)
    change = charts.Change(5, 8e-5, 4e-5)
    yield charts.rate_curves(run.history, theme, phases=phases, drops=[change], raises=[], log=True)
    yield charts.machine_curves(run.machine, theme, phases=phases, threads=2)


def test_all_views_have_one_height_and_one_axis_over_all_epochs(job):
    train(job)
    drawn = [*figures(job, "light"), *figures(job, "dark")]
    assert len({figure.layout.height for figure in drawn}) == 1
    assert {tuple(axis.range) for figure in drawn for axis in figure.select_xaxes()} == {(0, 23 * 1.14 + 0.4)}
    for figure in drawn:
        assert {"Head", "Fine-tuning"} <= {note.text for note in figure.layout.annotations}


def test_classes_differ_by_colour_and_dash_and_are_named(job):
    train(job, recall=lambda emotion: 0.5)
    figure = charts.recall_curves(Run(job).history, "light", phases=Run(job).phases)
    assert len({line.line.color for line in figure.data}) == len({line.line.dash for line in figure.data}) == 7
    named = [note for note in figure.layout.annotations if note.text.lower() in EMOTIONS]
    heights = sorted(note.ay for note in named)
    assert min(b - a for a, b in pairwise(heights)) >= 4  # on top of each other none can be read


def test_a_class_that_validation_does_not_hold_has_no_line(job):
    train(job, recall=lambda emotion: None if emotion == "fear" else 0.4)
    figure = charts.recall_curves(Run(job).history, "light", phases=Run(job).phases)
    assert [line.name for line in figure.data] == [emotion for emotion in EMOTIONS if emotion != "fear"]


def test_the_names_of_equal_lines_do_not_lie_on_each_other(job):
    train(job)
    run = Run(job)
    history = run.history.assign(val_accuracy=run.history["accuracy"])
    figure = charts.training_curves(history, run.batches, "light", phases=run.phases, events={})
    named = [note for note in figure.layout.annotations if note.text.strip() in ("train", "validation")]
    assert [note.yshift for note in named] == [8, -8, 8, -8]


@pytest.fixture
def squares(workspace):
    return make_dataset(workspace.datasets / "squares", {"train": 1400, "validation": 70, "test": 7})


def know(workspace, preset, shape=(16, 16, 1), **found):
    """Writes speeds of all phases of a preset, as a run or a measurement leaves them."""
    config = load_preset(preset)
    network = network_of(config, shape)
    speed = {"train": 10.0, "score": 70.0, "once": False, "start_seconds": 4.0, "memory": 1.2e9} | found
    remember(workspace, NetworkSpeed(network=network, score=70.0, seconds=20.0, memory=1e9))
    for phase in config.phases:
        remember(workspace, PhaseSpeed(work=work_of(network, phase), **speed))


def button(app, label):
    return next(found for found in app.button if found.label == label)


def chosen(app):
    return [found.label for found in app.button if "chosen" in found.label]


def test_each_recipe_is_a_card_that_says_what_is_known_and_what_is_missing(squares):
    app = open_page("train")
    text = text_of(app)
    test = default_model(runs.Workspace.default()).card.metrics["test"]
    assert f"The model in the box: {100 * test.accuracy:.1f} %" in text
    assert f"test · n {test.n:,} · Clean. " in text
    compact = read_reached()["compact"]  # whose model is not in the box any more
    assert f"Measured: {100 * compact.accuracy:.1f} %" in text
    assert f"{compact.epochs} epochs instead of 24 on two processor cores." in text
    assert f"Measured: {100 * read_reached()['teacher'].accuracy:.1f} %" in text
    assert "on NVIDIA H200, which other runs shared." in text
    assert "67.08 % on FER2013's test, n 7,178, as published, not measured here." in text
    assert "Its source states no accuracy." in text
    assert "What it reaches is not known." in text
    assert text.count("ImageNet weights: not here yet") == 3
    assert text.count("Time not measured on this machine yet") == len(list_presets())
    helps = [caption.help for caption in app.caption if "weights" in caption.value]
    assert all(WEIGHTS[name].name in "".join(helps).replace("\\", "") for name in ("resnet50", "resnet50v2"))


def test_a_card_is_chosen_by_its_button_and_the_form_follows(squares):
    app = open_page("train")
    assert chosen(app) == ["**Compact** :gray[chosen]"]
    assert app.text_input(key="train_name").value == "compact-1"
    app.button(key="preset-resnet50v2").click().run()
    assert chosen(app) == ["**ResNet50V2** :gray[chosen]"]
    assert app.text_input(key="train_name").value == "resnet50v2-1"
    assert "--preset resnet50v2" in app.code[0].value
    assert {"Epochs · 1 Head", "Epochs · 2 Fine-tuning"} <= {widget.label for widget in app.number_input}


def test_our_recipes_come_first_and_the_small_one_is_chosen(squares):
    keys = [found.key for found in open_page("train").button if found.key and found.key.startswith("preset-")]
    assert keys[:3] == ["preset-compact", "preset-bundled", "preset-teacher"]
    assert keys == [f"preset-{name}" for name in list_presets()]


def write_teacher(workspace, name, dataset):
    """A finished run with a network beside it, as far as a page looks."""
    (write_finished_run(workspace, name, dataset) / runs.KERAS_FILE).touch()


def test_the_card_of_the_taught_recipe_says_which_runs_are_missing(workspace, squares):
    write_teacher(workspace, "teacher-2", squares)
    write_finished_run(workspace, "teacher-3", squares)  # its network was deleted
    app = open_page("train")
    line = "No finished runs teacher-1, teacher-3: train them first, with the recipe Teacher"
    [caption] = [caption for caption in app.caption if line in caption.value]
    assert "or name other finished runs under All settings" in caption.help
    write_teacher(workspace, "teacher-1", squares)
    (workspace.runs / "teacher-3" / runs.KERAS_FILE).touch()
    assert "No finished runs" not in text_of(open_page("train"))


def test_a_taught_run_without_its_teachers_is_refused_in_one_sentence(workspace, squares):
    app = open_page("train")
    app.button(key="preset-bundled").click().run()
    button(app, "Start training").click().run()
    assert not app.exception
    said = [error.value.replace("\\", "") for error in app.error]
    assert said == ["teachers: No run named 'teacher-1'. Runs in the workspace: none yet."]
    assert not list(workspace.runs.glob("*"))


def test_a_name_that_was_typed_stays_when_another_recipe_is_chosen(squares):
    app = open_page("train")
    app.text_input(key="train_name").set_value("mine").run()
    app.button(key="preset-resnet50").click().run()
    assert "--name mine" in app.code[0].value


def test_time_and_memory_are_reckoned_for_the_dataset_and_the_settings_of_the_form(workspace, squares):
    know(workspace, "compact")
    app = open_page("train")
    assert ":material/timer: About 57 min, 1.2 GB" in text_of(app)  # 20 + 4 + 24 epochs of 140 + 1 seconds
    assert "On this machine: about 57 min, 1.2 GB." in text_of(app)
    app.number_input(key="set-compact-phases.0.epochs").set_value(2).run()
    assert ":material/timer: About 57 min" in text_of(app)  # the card goes on telling of the recipe
    assert "On this machine: about 5 min, 1.2 GB." in text_of(app)
    app.number_input(key="set-compact-phases.0.batch_size").set_value(32).run()
    assert "On this machine: about 5 min, reckoned from another batch size." in text_of(app)
    app.number_input(key="set-compact-side").set_value(96).run()
    assert "Its time on this machine is not known yet." in text_of(app)


def test_a_time_that_may_be_shorter_says_so(workspace, squares):
    know(workspace, "resnet50v2", (16, 16, 1), busy=True)
    text = text_of(open_page("train"))
    assert "Up to " in text
    assert "measured while this machine was busy" in text
    assert button(open_page("train"), "Measure again")


@pytest.mark.slow
def test_measuring_is_a_job_whose_end_fills_the_card(workspace, squares):
    app = open_page("train")
    app.button(key="measure-compact").click().run()
    assert not app.exception
    [job] = list_jobs(workspace.jobs)
    assert job.spec().arguments == ["models", "measure", "compact", "--dataset", str(squares.folder)]
    assert "**measure-1**" in text_of(app)
    assert app.button(key="measure-resnet50").disabled
    assert supervisor.wait(job, 240)
    assert job.state() is JobState.DONE, job.log_tail()
    app.run()
    text = text_of(app)
    assert text.count("Time not measured on this machine yet") == len(list_presets()) - 1
    assert "measure-1" not in text
    assert list_jobs(workspace.runs) == []


def test_what_could_not_be_measured_says_why_on_its_card(workspace, squares):
    job = Job.create(workspace.jobs, "measure", "measure-1", [])
    job.write_status(JobStatus(state="done", result={"resnet50": "resnet50 does not fit into this machine's memory."}))
    app = open_page("train")
    assert "resnet50 does not fit into this machine's memory." in text_of(app)
    assert app.button(key="measure-resnet50").label == "Measure again"


def test_the_best_finished_run_of_a_recipe_is_on_its_card(workspace, squares):
    write_finished_run(workspace, "poor", squares, wrong=range(30))
    write_finished_run(workspace, "good", squares, wrong=range(7))
    text = text_of(open_page("train"))
    assert "Best here: 90.0 % (80.8 to 95.1) · validation · n 70 · Clean (good)" in text
    assert "(poor)" not in text
    assert (workspace.runs / "poor" / CARD_FILE).is_file()


def test_augmentation_is_one_control_whose_figures_are_listed(squares):
    app = open_page("train")
    assert "--set" not in app.code[0].value
    app.selectbox(key="augmentation-compact").set_value("None").run()
    assert "--set phases.0.augmentation.flip=false --set phases.0.augmentation.rotate=0" in app.code[0].value
    app.selectbox(key="augmentation-compact").set_value("Strong").run()
    assert "phases.0.augmentation.rotate=20" in app.code[0].value
    assert "flip" not in app.code[0].value  # as the recipe has it
    app.number_input(key="set-compact-Strong-phases.0.augmentation.rotate").set_value(30.0).run()
    assert "phases.0.augmentation.rotate=30" in app.code[0].value
    app.button(key="preset-resnet50").click().run()
    app.selectbox(key="augmentation-resnet50").set_value("Strong").run()
    assert "phases.0.augmentation.flip=true" in app.code[0].value
    assert "phases.1.augmentation.flip=true" in app.code[0].value


@pytest.mark.parametrize(("strength", "augmentation"), [("None", NO_AUGMENTATION), ("Strong", STRONG_AUGMENTATION)])
def test_a_strength_of_augmentation_says_everything_that_is_done_to_images(squares, strength, augmentation):
    app = open_page("train")
    app.button(key="preset-teacher").click().run()  # it changes light and erases by itself
    app.selectbox(key="augmentation-teacher").set_value(strength).run()
    assert told(app, "teacher").phases[0].augmentation == augmentation


def told(app, preset):
    """The settings that the command on the page means."""
    words = shlex.split(app.code[0].value)
    return apply_overrides(load_preset(preset), [after for word, after in pairwise(words) if word == "--set"])


def test_every_setting_of_a_phase_is_in_the_form_and_in_the_command(squares):
    app = open_page("train")
    widgets = [*app.number_input, *app.text_input, *app.selectbox, *app.toggle]
    for prefix, model in (("phases.0.", PhaseConfig), ("phases.0.augmentation.", AugmentationConfig)):
        for name, field in model.model_fields.items():
            if name != "augmentation":
                [widget] = [widget for widget in widgets if widget.key == f"set-compact-{prefix}{name}"]
                assert (widget.label, widget.help) == (field.title, field.description)
    for name, value in {"brightness": 0.2, "contrast": 0.3, "erase": 0.5}.items():
        app.number_input(key=f"set-compact-phases.0.augmentation.{name}").set_value(value)
    app.number_input(key="set-compact-phases.0.teacher_share").set_value(1.0)
    app.number_input(key="set-compact-phases.0.teacher_views").set_value(3)
    app.text_input(key="set-compact-phases.0.teachers").set_value("one, other.run").run()
    expected = load_preset("compact")
    phase = expected.phases[0]
    phase.teachers, phase.teacher_share, phase.teacher_views = "one, other.run", 1.0, 3
    phase.augmentation.brightness, phase.augmentation.contrast, phase.augmentation.erase = 0.2, 0.3, 0.5
    assert told(app, "compact") == expected


def test_a_taught_recipe_can_be_trained_without_teachers(squares):
    app = open_page("train")
    app.button(key="preset-bundled").click().run()
    app.text_input(key="set-bundled-phases.0.teachers").set_value("").run()
    assert told(app, "bundled").phases[0].teacher_names == []


def test_several_seeds_start_as_many_runs_which_wait_in_line(workspace, squares):
    app = open_page("train")
    app.text_input(key="seeds-compact").set_value("7, 3").run()
    assert "--seeds 7,3" in app.code[0].value
    assert "2 runs, one after the other: compact-1-seed7, compact-1-seed3" in text_of(app)
    button(app, "Start training").click().run()
    assert not app.exception
    jobs = [Job(workspace.runs / f"compact-1-seed{seed}") for seed in (7, 3)]
    try:
        assert [runs.read_config(job.folder / "config.yaml").seed for job in jobs] == [7, 3]
        assert app.selectbox(key="run").value == "compact-1-seed7"
        app.run()
        assert "In line, in the order of their start: compact-1-seed7 → compact-1-seed3" in text_of(app)
        assert app.text_input(key="train_name").value == "compact-2"
    finally:
        for job in reversed(jobs):
            supervisor.stop(job, grace=60)


@pytest.mark.parametrize(
    ("setting", "typed", "said"),
    [
        ("phases.0.epochs", 0, "phases.0.epochs: found 0, it should be greater than or equal to 1."),
        ("phases.0.batch_size", 10**8, "phases.0.batch_size: found 100000000, it should be less than or equal to"),
        ("phases.0.learning_rate", 99.0, "phases.0.learning_rate: found 99"),
        ("phases.0.learning_rate", -1.0, "phases.0.learning_rate: found -1"),
    ],
)
def test_a_setting_out_of_range_is_one_sentence_and_starts_nothing(squares, setting, typed, said):
    app = open_page("train")
    app.number_input(key=f"set-compact-{setting}").set_value(typed).run()
    assert [said in error.value.replace("\\", "") for error in app.error] == [True]
    assert button(app, "Start training").disabled


@pytest.mark.parametrize("typed", ["x", "1,", "1, 1", "-3", ""])
def test_what_are_no_seeds_is_one_sentence_and_starts_nothing(squares, typed):
    app = open_page("train")
    app.text_input(key="seeds-compact").set_value(typed).run()
    assert [error.value.replace("\\", "").startswith("Seeds: found") for error in app.error] == [True]
    assert button(app, "Start training").disabled


def test_a_single_seed_is_a_setting_like_others(squares):
    app = open_page("train")
    app.text_input(key="seeds-compact").set_value("7").run()
    assert "--set seed=7" in app.code[0].value
    assert "--seeds" not in app.code[0].value


def test_a_name_that_is_taken_by_one_of_several_starts_none(workspace, squares):
    Job.create(workspace.runs, "train", "mine-seed2", [])
    app = open_page("train")
    app.text_input(key="train_name").set_value("mine").run()
    app.text_input(key="seeds-compact").set_value("1, 2").run()
    button(app, "Start training").click().run()
    assert any("There is a run named 'mine-seed2' already" in error.value for error in app.error)
    assert [folder.name for folder in workspace.runs.iterdir() if folder.is_dir()] == ["mine-seed2"]


def test_a_run_can_be_queued_while_another_is_on(workspace, squares):
    busy = runs.create(workspace, "first", runs.complete(load_preset("compact"), squares), ["train", "squares"])
    now = time.time()
    busy.write_status(JobStatus(state="running", phase="Phase 1 of 1", pid=1, started=now, updated=now))
    lock = busy.take_lock()
    try:
        app = open_page("train")
        assert "Queued behind first (position 2); it starts by itself." in text_of(app)
        button(app, "Start training").click().run()
        assert not app.exception
        second = Job(workspace.runs / "compact-1")
        while second.state() is JobState.STARTING or second.status().phase == "Starting worker":
            time.sleep(0.05)
        app.run()
        assert app.selectbox(key="run").value == "compact-1"
        assert "Queued behind first (position 2). It starts by itself." in text_of(app)
        assert "Start training" in [found.label for found in app.button]
        assert app.button(key="stop-compact-1")
        assert supervisor.stop(second, grace=60) is JobState.STOPPED
    finally:
        os.close(lock)


def test_names_that_a_stranger_chose_are_shown_letter_by_letter(job):
    image = "![seen](http://host.example/seen.png)"
    config = Run(job).config
    named = [phase.model_copy(update={"name": image}) for phase in config.phases]
    config = config.model_copy(update={"preset": image, "phases": named})
    config.dataset.name = image
    runs.write_config(job, config)
    app = open_page("train", run="long")
    assert not app.exception
    assert f"{image} on {image}" in text_of(app)
    repeated = open_page("train", repeat="long")
    assert any("seen.png" in tab.label for tab in repeated.tabs)
    said = [part.value for page in (app, repeated) for part in (*page.markdown, *page.caption)]
    said += [part.label for part in (*repeated.tabs, *repeated.number_input)]
    assert not [text for text in said if image in text]


def test_class_weights_are_handed_over_by_balance_to_every_phase(workspace):
    make_dataset(workspace.datasets / "faces", {"train": 14, "validation": 7, "test": 7})
    app = open_page("train", class_weights="inverse")
    assert "Changed: `phases.0.class_weights=inverse`" in text_of(app)
    app.button(key="preset-resnet50").click().run()
    both = "--set phases.0.class_weights=inverse --set phases.1.class_weights=inverse"
    assert f"--preset resnet50 {both} --name" in app.code[0].value
    assert "Changed" not in text_of(open_page("train", class_weights="many"))
