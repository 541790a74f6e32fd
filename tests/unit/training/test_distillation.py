"""A network that learns from what others say: which pictures they see, what they say of them, and who may teach."""

import json

import numpy as np
import pytest

from fer_core.errors import ConfigError, LeakError, ModelError, Stopped
from fer_core.evaluation.calibration import apply_temperature
from fer_core.inference.served import CARD_FILE, ModelCard
from fer_core.jobs.store import Job
from fer_core.jobs.worker import work
from fer_core.training import runs
from fer_core.training.config import AugmentationConfig, PhaseConfig, apply_overrides, load_preset
from fer_core.training.data import TrainingBatches, move
from tests.unit.runs import write_finished_run

from .conftest import make_dataset
from .test_loop import keras_backend, train  # noqa: F401 the fixture is used by all tests here

TAUGHT = ("phases.0.teachers=a, b", "phases.0.teacher_views=2")


@pytest.fixture
def teachers(workspace, tiny):
    """Two finished runs, with random weights and temperatures of their own."""
    import keras

    from fer_core.models.architectures import build

    for seed, name, temperature in ((1, "a", 1.3), (2, "b", 0.8)):
        folder = write_finished_run(workspace, name, tiny)
        card = ModelCard.model_validate_json((folder / CARD_FILE).read_bytes())
        (folder / CARD_FILE).write_text(card.model_copy(update={"temperature": temperature}).model_dump_json())
        keras.utils.set_random_seed(seed)
        build(load_preset("compact"), (16, 16, 1)).save(folder / runs.KERAS_FILE)
    return [runs.Run(Job(workspace.runs / name)) for name in ("a", "b")]


def ask(workspace, tiny, folder, **changes):
    from fer_core.training.distillation import ask_teachers

    phase = PhaseConfig(**{"teachers": "a, b", "teacher_views": 2, "teacher_share": 0.75, "batch_size": 16, **changes})
    images = tiny.split("train").images
    name = workspace.new_name(workspace.runs, "student")
    with work(workspace.runs, "train", name, []) as worker:
        return phase, images, ask_teachers(images, phase, index=0, folder=folder, worker=worker)


def test_each_view_holds_the_mean_of_what_the_teachers_say_of_that_very_picture(workspace, tiny, teachers, tmp_path):
    import keras

    from fer_core.training.predict import predict_probabilities

    _, images, lessons = ask(workspace, tiny, tmp_path / "lessons")
    moves, answers = lessons.view(1)
    moved = move(images, moves)
    assert not np.array_equal(moved, move(images, lessons.view(0)[0]))
    said = [
        apply_temperature(
            predict_probabilities(keras.saving.load_model(run.folder / "best.keras"), moved), run.card.temperature
        )
        for run in teachers
    ]
    np.testing.assert_allclose(answers, np.mean(said, axis=0), atol=1e-3)  # kept in half precision
    np.testing.assert_array_equal(lessons.view(3)[1], answers)  # the views come round again


def test_batches_show_what_was_asked_about_and_blend_answers_with_labels(workspace, tiny, teachers, tmp_path):
    phase, images, lessons = ask(workspace, tiny, tmp_path / "lessons")
    labels = tiny.split("train").labels
    batches = TrainingBatches(images, labels, phase, index=0, seed=3, lessons=lessons)
    batches.epoch = 5
    moves, answers = lessons.view(5)
    moved = {image.tobytes(): row for row, image in enumerate(move(images, moves))}
    for index in range(len(batches)):
        for image, target in zip(*batches[index], strict=True):
            row = moved[image.tobytes()]
            expected = 0.75 * answers[row].astype(np.float32) + 0.25 * np.eye(7)[labels[row]]
            np.testing.assert_allclose(target, expected, atol=1e-6)


def test_answers_are_asked_for_once_and_not_taken_for_those_of_others(workspace, tiny, teachers, tmp_path):
    folder = tmp_path / "lessons"
    ask(workspace, tiny, folder)
    kept = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    ask(workspace, tiny, folder)
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == kept
    ask(workspace, tiny, folder, augmentation=AugmentationConfig(rotate=3))
    assert len(list(folder.iterdir())) == 4


def test_a_taught_run_ends_as_any_other(workspace, tiny, teachers):
    run = train(workspace, tiny, *TAUGHT, "phases.0.mixup=0.2", "phases.0.augmentation.erase=0.5")
    assert run.metrics["validation"]["n"] == 21
    assert not (run.folder / "lessons").exists()
    (event,) = (event for event in run.job.events() if event["type"] == "teachers")
    assert event["temperatures"] == {"a": 1.3, "b": 0.8}


@pytest.mark.slow
def test_a_taught_run_that_was_stopped_ends_as_one_that_was_not(workspace, tiny, teachers):
    settings = (*TAUGHT, "phases.0.epochs=3", "phases.0.mixup=0.2", "phases.0.augmentation.erase=0.5")
    whole = train(workspace, tiny, *settings, name="whole")

    def stop(phase, done, total):
        if phase.endswith("epoch 2 of 3"):
            raise Stopped("here")

    with pytest.raises(Stopped):
        train(workspace, tiny, *settings, name="parts", listener=stop)
    assert len(list((workspace.runs / "parts" / "lessons").iterdir())) == 2
    parts = train(workspace, tiny, *settings, name="parts")
    ours, theirs = (json.loads((run.folder / "metrics.json").read_text()) for run in (parts, whole))
    assert ours == theirs


def test_who_may_not_teach(workspace, tiny, teachers):
    with pytest.raises(ConfigError, match=r"teachers: No run named 'c'\. Runs in the workspace: a, b\."):
        train(workspace, tiny, "phases.0.teachers=a, c")
    (workspace.runs / "b" / "best.keras").unlink()
    with pytest.raises(ConfigError, match="the run b has not finished"):
        train(workspace, tiny, "phases.0.teachers=b")
    other = make_dataset(workspace.datasets / "other", {"train": 14, "validation": 7, "test": 7}, seed=1)
    with pytest.raises(LeakError, match="The teacher a learnt from tiny, and may know evaluation photographs of other"):
        train(workspace, other, "phases.0.teachers=a")


def test_a_teacher_of_another_size_or_a_damaged_one_is_named(workspace, tiny, teachers):
    larger = make_dataset(workspace.datasets / "larger", {"train": 14, "validation": 7, "test": 7}, side=20)
    with pytest.raises(ModelError, match="The teacher a reads pictures of 16x16x1; the dataset's are 20x20x1"):
        train(workspace, larger, "phases.0.teachers=a", allow_leaks=True)
    (workspace.runs / "a" / "best.keras").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(ModelError, match=r"best\.keras: damaged"):
        train(workspace, tiny, "phases.0.teachers=a", name="second")


def test_only_a_network_that_learns_can_be_taught():
    with pytest.raises(ConfigError, match="have teachers only where the whole network or its top layers learn"):
        apply_overrides(load_preset("resnet50v2"), ["phases.0.teachers=a"])
