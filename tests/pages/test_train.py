"""The views of a run on the Train page as Streamlit runs them."""

import itertools

import pytest

from dashboard import charts
from dashboard.run_panel import VIEWS
from fer_core.emotions import EMOTIONS
from fer_core.jobs.store import JobStatus
from fer_core.training import runs
from fer_core.training.config import load_preset
from fer_core.training.runs import Run
from tests.pages.opened import open_page, text_of
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
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 4  # on top of each other none can be read


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
