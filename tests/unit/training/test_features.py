"""A frozen backbone is asked once, and the head learns as it would have anyway, to the last bit."""

import numpy as np
import pytest

from fer_core.errors import FerError, Stopped
from fer_core.jobs.state import JobState, StopWish
from fer_core.jobs.store import Job
from fer_core.jobs.worker import work
from fer_core.training import runs
from fer_core.training.config import PhaseConfig, RunConfig, load_preset

from .conftest import write_backbone

OFF = {"flip": False, "rotate": 0, "scale_min": 1, "scale_max": 1, "shift": 0}


@pytest.fixture(scope="module", autouse=True)
def keras_backend():
    from fer_core.training import backend

    backend.load(2)


@pytest.fixture(scope="module")
def weights(tmp_path_factory, keras_backend):
    return write_backbone(tmp_path_factory.mktemp("weights") / "compact.weights.h5")


def head_phase(**changes):
    settings = {"name": "Head", "trainable": "head", "batch_size": 16, "epochs": 3, "augmentation": OFF, **changes}
    return PhaseConfig(**settings)


def config(weights, *phases):
    head = "norm, dense 16, dropout 0.5"
    return RunConfig(preset="own", weights=str(weights), head=head, head_l2=0.001, phases=list(phases), threads=2)


def train(workspace, dataset, config, name, listener=None):
    from fer_core.training.loop import train as train_run

    if not (workspace.runs / name).exists():
        config = runs.complete(config, dataset)
        runs.create(workspace, name, config, ["train", dataset.name])
    else:
        config = runs.Run(Job(workspace.runs / name)).config
    with work(workspace.runs, "train", name, [], resume=True, **({"listener": listener} if listener else {})) as worker:
        train_run(config, dataset, worker)
    return runs.Run(Job(workspace.runs / name))


def place_does_not_matter(settings):
    """Whether this processor gives an image the same features, to the last bit, wherever it stands in a batch."""
    import keras

    from fer_core.models.architectures import POOLED, build

    model = build(settings, (16, 16, 1))
    backbone = keras.Model(model.inputs, model.get_layer(POOLED).output)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (45, 16, 16, 1)).astype(np.uint8)
    answers = []
    for order in (np.arange(45), *(rng.permutation(45) for _ in range(4))):
        parts = [backbone.predict_on_batch(images[order[start : start + 16]]) for start in range(0, 45, 16)]
        answers.append(np.concatenate(parts)[np.argsort(order)])
    return all(np.array_equal(answers[0], other) for other in answers)


@pytest.mark.slow
def test_every_batch_has_the_same_loss_with_and_without(workspace, tiny, weights, monkeypatch):
    monkeypatch.setattr("fer_core.training.callbacks.reporter._EVENT_EVERY", 0)  # every batch is told
    settings = config(weights, head_phase(ema=0.5), PhaseConfig(epochs=1, batch_size=16, trainable="top", top_layers=3))
    quick = train(workspace, tiny, settings, "quick")
    monkeypatch.setattr("fer_core.training.features.why_not", lambda model, phase: "to compare")
    slow = train(workspace, tiny, settings, "slow")
    told = ("phase", "epoch", "batch", "loss", "accuracy")
    losses = [np.array([[e[name] for name in told] for e in run.job.events("batch")]) for run in (quick, slow)]
    assert len(losses[0]) == (3 + 1) * 3
    columns = ["loss", "val_loss", "val_accuracy", "accuracy", "val_macro_f1"]
    scores = [run.history[columns].to_numpy() for run in (quick, slow)]
    # Where a processor computes an image the same at any place in a batch, nothing differs; others round otherwise.
    rounding = 0 if place_does_not_matter(settings) else 1e-4
    np.testing.assert_allclose(*losses, rtol=0, atol=rounding)
    np.testing.assert_allclose(*scores, rtol=0, atol=rounding)
    # What was done is told, and what it took on the disk is gone.
    assert [event["reason"] for event in slow.job.events() if event["type"] == "no_features"] == ["to compare"]
    assert not any(event["type"] == "no_features" for event in quick.job.events())
    assert any("Computing features of train once, 0 MB" in str(event) for event in quick.job.events())
    assert not (quick.folder / "features").exists()


@pytest.mark.slow
def test_an_interrupted_frozen_phase_goes_on_to_the_same_bits(workspace, tiny, weights):
    settings = config(weights, head_phase(schedule="plateau", early_stopping=9))
    whole = train(workspace, tiny, settings, "whole")

    def stop(phase, done, total):
        if "epoch 2 of 3" in phase and done == 1:
            (workspace.runs / "halved" / "stop").touch()

    with pytest.raises(Stopped):
        train(workspace, tiny, settings, "halved", stop)
    assert list((workspace.runs / "halved" / "features").glob("train-*.npy"))  # kept: it goes on from them
    halved = train(workspace, tiny, settings, "halved")
    assert halved.state is JobState.DONE
    columns = [column for column in whole.history.columns if column not in runs.TIME_COLUMNS]
    assert whole.history[columns].equals(halved.history[columns])
    last = "checkpoints/phase1-epoch003.npz"
    with np.load(whole.folder / last) as a, np.load(halved.folder / last) as b:
        assert a.files == b.files
        for key in a.files:
            np.testing.assert_array_equal(a[key], b[key], err_msg=key)


@pytest.mark.slow
def test_a_frozen_phase_that_is_ended_with_its_best_epoch_leaves_a_model_and_no_files(workspace, tiny, weights):
    def finish(phase, done, total):
        if "epoch 2 of 3" in phase and done == 1:
            Job(workspace.runs / "ended").ask_to_stop(StopWish.KEEP_BEST)

    run = train(workspace, tiny, config(weights, head_phase()), "ended", finish)
    assert run.state is JobState.DONE
    assert run.model is not None
    assert len(run.history) == 1
    assert not (run.folder / "features").exists()


@pytest.mark.parametrize(
    ("phase", "architecture", "reason"),
    [
        (head_phase(), "compact", ""),
        (head_phase(trainable="all"), "compact", ""),  # nothing is frozen, so nothing is to be said
        (head_phase(augmentation={**OFF, "rotate": 5}), "compact", "augmentation changes"),
        (head_phase(mixup=0.2), "compact", "mixup blends"),
        (head_phase(), "efficientnetv2b0", "drops parts of itself"),
    ],
)
def test_it_is_only_done_where_it_changes_nothing(phase, architecture, reason):
    from fer_core.models.architectures import build
    from fer_core.training.features import why_not

    side = {"side": 32} if architecture != "compact" else {}
    model = build(RunConfig(architecture=architecture, phases=[phase], **side), (16, 16, 1))
    found = why_not(model, phase)
    assert reason in found
    assert bool(found) == bool(reason)


def test_other_weights_or_images_are_another_file(tmp_path, tiny, weights):
    from fer_core.models.architectures import build, load_weights
    from fer_core.training.features import backbone_features

    from .test_phases import Quiet

    images = tiny.split("train").images
    model = build(load_preset("compact"), (16, 16, 1))
    first = backbone_features(model, images, tmp_path / "f", "train", Quiet(tmp_path), 16)
    again = backbone_features(model, images, tmp_path / "f", "train", Quiet(tmp_path), 7)  # read, not computed
    np.testing.assert_array_equal(first, again)
    assert len(list((tmp_path / "f").iterdir())) == 1
    backbone_features(model, images[:5], tmp_path / "f", "train", Quiet(tmp_path), 16)
    load_weights(model, weights)
    other = backbone_features(model, images, tmp_path / "f", "train", Quiet(tmp_path), 16)
    assert not np.array_equal(first, other)
    assert len(list((tmp_path / "f").iterdir())) == 3


def test_a_disk_that_is_too_full_is_told_before_anything_is_written(tmp_path, tiny, monkeypatch):
    from fer_core.models.architectures import build
    from fer_core.training.features import backbone_features

    from .test_phases import Quiet

    model = build(load_preset("compact"), (16, 16, 1))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000})())
    with pytest.raises(FerError, match="Free some disk space"):
        backbone_features(model, tiny.split("train").images, tmp_path / "f", "train", Quiet(tmp_path), 16)
    assert not list((tmp_path / "f").iterdir())
