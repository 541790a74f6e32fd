"""Training in this process, on a few images: what a run leaves, and what happens when it cannot go on."""

import hashlib
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from fer_core.cli.evaluate import SEALED
from fer_core.errors import DatasetError, FerError, JobError, Stopped
from fer_core.evaluation.metrics import share_words
from fer_core.evaluation.predictions import probabilities_of, read_predictions
from fer_core.inference.served import find_model
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job
from fer_core.jobs.worker import work
from fer_core.training import runs
from fer_core.training.config import apply_overrides, load_preset
from fer_core.workspace import Workspace

from .conftest import make_dataset, write_backbone

SLOW = pytest.mark.slow

SHORT = ("phases.0.epochs=1", "phases.0.batch_size=16", "threads=2")


@pytest.fixture(scope="module", autouse=True)
def keras_backend():
    from fer_core.training import backend

    backend.load(2)


def train(workspace, dataset, *settings, name="run", listener=None, allow_leaks=False):
    """Trains as the command line does, and returns the run."""
    from fer_core.training.loop import train as train_run

    config = apply_overrides(load_preset("compact"), [*SHORT, *settings])
    config = runs.complete(config, dataset, allow_leaks=allow_leaks)
    resume = (workspace.runs / name).exists()
    if not resume:
        runs.create(workspace, name, config, ["train", dataset.name])
    options = {"listener": listener} if listener else {}
    with work(workspace.runs, "train", name, [], resume=True, **options) as worker:
        train_run(config, dataset, worker)
    return runs.Run(Job(workspace.runs / name))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A workspace with a dataset and a run of three epochs, to be looked at."""
    space = Workspace(tmp_path_factory.mktemp("home") / "workspace")
    dataset = make_dataset(space.datasets / "tiny", {"train": 45, "validation": 21, "test": 7})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_WORKSPACE", str(space.root))
        train(space, dataset, "phases.0.epochs=3")
    return space


@pytest.fixture
def finished(home):
    return runs.Run(Job(home.runs / "run"))


def test_a_run_leaves_everything_that_its_contract_names(home, finished):
    run = finished
    assert run.state is JobState.DONE
    assert {file.name for file in run.folder.iterdir()} == {
        "job.json",
        "status.json",
        "events.jsonl",
        "lock",
        "config.yaml",
        "checkpoints",
        "best.keras",
        "model.onnx",
        "model_card.json",
        "fingerprints.npy",
        "metrics.json",
        "predictions-validation.parquet",
        "classification_report.csv",
        "training_history.png",
        "confusion_matrix_val.png",
        "prediction_samples.png",
    }
    assert np.load(run.folder / "fingerprints.npy").shape == (45, 32)
    assert len(pd.read_csv(run.folder / "classification_report.csv")) == 7 + 3
    card = find_model("run", home).card
    assert card == run.card
    assert card.parameters.total == 1_230_503
    assert list(card.metrics) == ["validation"]  # the test split stays sealed
    assert any(SEALED in text for text in card.notes)
    report = card.metrics["validation"]
    assert run.status.message == f"Validation {share_words(report.accuracy, report.ci95)} · n 21 · Clean"
    assert report.leak_free.n == 21


def test_a_figure_that_fails_costs_nothing_else_and_is_told(workspace, tiny, monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("no ink")

    monkeypatch.setattr("fer_core.training.results.write_confusion_matrix", fail)
    run = train(workspace, tiny)
    assert run.state is JobState.DONE
    assert run.metrics is not None
    assert (run.folder / "prediction_samples.png").is_file()
    assert not (run.folder / "confusion_matrix_val.png").exists()
    assert "no ink" in caplog.text


def test_predictions_are_those_of_the_best_epoch_and_of_the_model_file(home, finished):
    import onnxruntime

    run = finished
    predictions = read_predictions(run.folder / "predictions-validation.parquet")
    assert (predictions["label"] == predictions["predicted"]).mean() == run.history["val_accuracy"].max()
    assert run.metrics["best"]["epoch"] == run.history["val_accuracy"].idxmax() == run.best["epoch"]
    assert not predictions["seen"].any()
    session = onnxruntime.InferenceSession(run.model)
    (served,) = session.run(["probabilities"], {"image": runs.open_dataset(run.config).split("validation").images})
    np.testing.assert_allclose(served, probabilities_of(predictions), atol=1e-4)


def test_events_tell_the_whole_story(finished):
    run = finished
    kinds = [event["type"] for event in run.job.events() if event["type"] not in ("batch", "phase")]
    assert kinds == ["phase_start", *(["epoch", "checkpoint"] * 3)]
    history = run.history
    assert history["global_epoch"].tolist() == [0, 1, 2]
    assert history["learning_rate"].iloc[-1] == 0  # the cosine ends there
    assert history["weight_decay"].tolist() == pytest.approx([0.02] * 3)
    assert len(run.samples) == 8
    assert run.progress.share == 1


def test_two_phases_count_epochs_through_and_freeze_what_they_should(workspace, tiny, monkeypatch, tmp_path):
    weights = write_backbone(tmp_path / "compact.weights.h5")
    phases = load_preset("compact").phases * 2
    two = load_preset("compact").model_copy(update={"phases": phases, "weights": str(weights)})
    monkeypatch.setattr("tests.unit.training.test_loop.load_preset", lambda name: two)
    run = train(workspace, tiny, "phases.0.trainable=head", "phases.1.epochs=2", "phases.1.optimizer=sgd")
    assert run.history[["phase", "epoch", "global_epoch"]].to_numpy().tolist() == [
        [0, 0, 0],
        [1, 0, 1],
        [1, 1, 2],
    ]
    assert run.card.parameters.trainable == 256 * 7 + 7


@pytest.mark.parametrize(
    "sizes",
    [
        {"train": [0, 1, 3, 4, 5], "validation": [3] * 3},  # all that is wrong with the others but the last
        pytest.param({"train": 5, "validation": 3}, marks=SLOW),  # both smaller than a batch and than the sample board
        pytest.param({"train": [0, 1, 3, 4, 5, 6] * 3, "validation": 14}, marks=SLOW),  # no disgust to learn from
        pytest.param({"train": 20, "validation": [3] * 9}, marks=SLOW),  # a single class to validate on
        pytest.param({"train": 17, "validation": 1}, marks=SLOW),  # a last batch of one image
    ],
)
def test_small_and_uneven_data(workspace, sizes):
    dataset = make_dataset(workspace.datasets / "odd", sizes)
    run = train(workspace, dataset)
    assert run.state is JobState.DONE
    assert "nan" not in (run.folder / "metrics.json").read_text().lower()


def test_an_empty_validation_split_is_refused(workspace):
    dataset = make_dataset(workspace.datasets / "none", {"train": 14, "test": 7})
    with pytest.raises(DatasetError, match="none has no validation images"):
        train(workspace, dataset)


def test_a_stop_takes_effect_within_a_batch(workspace, tiny):
    seen = []

    def stop_in_second_epoch(phase, done, total):
        seen.append((phase, done))
        if phase == "Phase 1 of 1, epoch 2 of 2" and done == 1:
            (workspace.runs / "run" / "stop").touch()

    with pytest.raises(Stopped, match=r"1 of 2 epochs are kept.*train --resume run"):
        train(workspace, tiny, "phases.0.epochs=2", listener=stop_in_second_epoch)
    assert seen[-1] == ("Phase 1 of 1, epoch 2 of 2", 1)
    run = runs.Run(Job(workspace.runs / "run"))
    assert run.state is JobState.STOPPED
    assert len(run.history) == 1


def test_a_loss_that_is_no_number_ends_the_run_with_advice(workspace, tiny):
    with pytest.raises(FerError, match=r"Lower phases.0.learning_rate"):
        train(
            workspace,
            tiny,
            "phases.0.optimizer=sgd",
            "phases.0.learning_rate=10",
            "phases.0.schedule=constant",
            "phases.0.weight_decay=1",
            "phases.0.epochs=200",
        )
    run = runs.Run(Job(workspace.runs / "run"))
    assert run.state is JobState.FAILED
    assert "NaN" not in (run.folder / "events.jsonl").read_text()
    assert run.history["loss"].notna().all()


def test_settings_changed_after_the_start_are_noticed(workspace, tiny):
    train(workspace, tiny)
    (workspace.runs / "run" / "status.json").unlink()
    with pytest.raises(JobError, match=r"config.yaml was changed after training began"):
        train(workspace, tiny, "seed=1")


@pytest.mark.slow
def test_a_run_goes_on_whose_settings_were_hashed_as_a_whole(workspace, tiny):
    run = train(workspace, tiny)
    # settings that there were not yet
    later = ("published", "made_for_gpu", "devices", "width", "tensorboard", "mlflow")
    lines = (run.folder / "config.yaml").read_text().splitlines(keepends=True)
    former = "".join(line for line in lines if not line.startswith(later))
    file = run.folder / "checkpoints" / "state.json"
    state = {**json.loads(file.read_text()), "config_hash": hashlib.sha256(former.encode()).hexdigest()}
    file.write_text(json.dumps(state))
    (run.folder / "status.json").unlink()
    assert train(workspace, tiny).state is JobState.DONE
    state["config_hash"] = "other"
    file.write_text(json.dumps(state))
    (run.folder / "status.json").unlink()
    with pytest.raises(JobError, match="was changed after training began"):
        train(workspace, tiny)


@pytest.mark.slow
def test_a_run_that_begins_anew_forgets_the_epochs_of_before(workspace, tiny):
    run = train(workspace, tiny)
    [epoch] = run.job.events("epoch")
    run.job.append_event({**epoch, "epoch": 4, "global_epoch": 4})  # as another machine, or attempt, went on
    for gone in ("checkpoints", "metrics.json", "status.json"):
        path = run.folder / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    again = train(workspace, tiny)
    assert again.state is JobState.DONE
    assert len(again.history) == 1
    assert again.history.drop(columns=[*runs.TIME_COLUMNS]).equals(run.history.drop(columns=[*runs.TIME_COLUMNS]))


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named(workspace, tiny):
    train(workspace, tiny)
    (workspace.runs / "run" / "checkpoints" / "phase1-epoch001.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(JobError, match=r"phase1-epoch001.npz: missing or damaged"):
        train(workspace, tiny)


def test_leaks_that_were_allowed_stand_on_the_card(workspace):
    leaky = make_dataset(
        workspace.datasets / "leaky",
        {"train": 14, "validation": 7, "test": 7},
        leaked={"validation": 2, "test": 5},
    )
    run = train(workspace, leaky, allow_leaks=True)
    assert run.config.allow_leaks
    assert run.card.allow_leaks
    assert run.card.dataset.leaked == {"validation": 2, "test": 5}
    assert any("2 of validation, 5 of test" in note for note in run.card.notes)
    assert json.loads((run.folder / "model_card.json").read_text())["dataset"]["contaminated"]


def test_weight_decay_spares_biases_and_normalisation():
    import keras

    from fer_core.models.architectures import build
    from fer_core.training.optimizers import make_optimizer

    config = load_preset("compact")
    phase = config.phases[0].model_copy(update={"schedule": "constant"})
    model = build(config, (16, 16, 1))
    model.set_weights([np.ones_like(weight) for weight in model.get_weights()])
    optimizer = make_optimizer(phase, 10)
    variables = model.trainable_variables
    optimizer.apply([keras.ops.zeros_like(variable) for variable in variables], variables)
    for variable in variables:
        shrunk = float(keras.ops.max(variable)) < 1
        assert shrunk == variable.path.endswith("kernel"), variable.path
