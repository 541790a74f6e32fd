"""Every setting of a phase is what the run does: read back from the compiled model, and seen in its weights."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from fer_core.errors import ConfigError, FerError
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job
from fer_core.jobs.worker import work
from fer_core.training import runs
from fer_core.training.config import PhaseConfig, RunConfig, apply_overrides, load_preset


@pytest.fixture(scope="module", autouse=True)
def keras_backend():
    from fer_core.training import backend

    backend.load(2)


class Quiet:
    """A worker of which nobody hears."""

    def __init__(self, folder):
        self.job = Job(folder)

    def __call__(self, phase, done, total):
        pass

    def emit(self, kind, **values):
        pass


def trainer(config, dataset, folder):
    """What trains a run, without the run around it."""
    from fer_core.models.architectures import build
    from fer_core.training.loop import _Trainer

    info = dataset.info
    model = build(config, (info.height, info.width, info.channels))
    return _Trainer(config, model, dataset.split("train"), dataset.split("validation"), Quiet(folder))


def train(workspace, dataset, config, name="run"):
    from fer_core.training.loop import train as train_run

    config = runs.complete(config, dataset)
    runs.create(workspace, name, config, ["train", dataset.name])
    with work(workspace.runs, "train", name, [], resume=True) as worker:
        train_run(config, dataset, worker)
    return runs.Run(Job(workspace.runs / name))


@pytest.mark.parametrize(
    ("preset", "phases"),
    [
        ("compact", [("adamw", 2e-3, 0.02, "all")]),
        pytest.param("resnet50v2", [("adam", 1e-3, 0, "head"), ("adam", 1e-4, 0, "top")], marks=pytest.mark.slow),
        pytest.param("resnet50", [("adam", 5e-4, 0, "head"), ("adamw", 8e-5, None, "top")], marks=pytest.mark.slow),
    ],
)
def test_each_phase_of_a_preset_trains_what_and_as_it_says(tiny, tmp_path, preset, phases):
    """Optimizer, rate, decay, open layers and the mode of normalisation, at a small size of the same network."""
    import keras

    from fer_core.training.optimizers import learning_rate, weight_decay

    small = [] if preset == "compact" else ["side=32"]
    config = apply_overrides(load_preset(preset), [f"phases.{n}.batch_size=8" for n in range(len(phases))] + small)
    run = trainer(config, tiny, tmp_path)
    layers = run.model.layers
    top_of_backbone = [layer.name for layer in layers].index("pooled")
    for index, (optimizer, rate, decay, trainable) in enumerate(phases):
        phase = config.phases[index]
        model, batches, _ = run._begin(index, 0, None)
        assert type(model.optimizer).__name__.lower() == phase.optimizer == optimizer
        assert phase.trainable == trainable
        assert phase.learning_rate == pytest.approx(rate)
        if phase.schedule != "cosine":
            assert learning_rate(model.optimizer) == pytest.approx(rate)
        assert weight_decay(model.optimizer) == pytest.approx(phase.weight_decay)
        if decay is not None:
            assert phase.weight_decay == decay

        before = {layer.name: layer.get_weights() for layer in layers}
        for number in range(2):
            model.train_on_batch(*batches[number])
        changed = {
            layer.name: [not np.array_equal(a, b) for a, b in zip(before[layer.name], layer.get_weights(), strict=True)]
            for layer in layers
        }
        backbone, head = layers[:top_of_backbone], layers[top_of_backbone:]
        for layer in head:
            if layer.weights and not isinstance(layer, keras.layers.BatchNormalization):
                assert all(changed[layer.name]), layer.name
        learning = [layer.name for layer in backbone if any(changed[layer.name])]
        norms = [layer.name for layer in backbone if isinstance(layer, keras.layers.BatchNormalization)]
        if trainable == "head":
            assert not learning
        elif trainable == "top":
            assert learning
            assert all(any(weights) for name, weights in changed.items() if name in learning)
            assert len(learning) < 50
        else:
            assert all(changed[layer.name] for layer in backbone if layer.weights)
        if phase.freeze_norm:
            assert not set(learning) & set(norms)
    assert [phase.epochs for phase in config.phases] == {
        "compact": [24],
        "resnet50v2": [10, 40],
        "resnet50": [10, 20],
    }[preset]


def test_scores_of_every_epoch_are_those_of_scikit_learn(tiny, tmp_path):
    from fer_core.training.callbacks.validation import Validation
    from fer_core.training.predict import predict_probabilities

    run = trainer(load_preset("compact"), tiny, tmp_path)
    split = run.validation
    scores = Validation(split.images, split.labels, label_smoothing=0.1, tick=lambda done: None)
    scores.set_model(run.model)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        run.model.set_weights([rng.normal(size=w.shape) * 0.3 if w.ndim > 1 else w for w in run.model.get_weights()])
        logs = {}
        scores.on_epoch_end(seed, logs)
        predicted = predict_probabilities(run.model, split.images).argmax(axis=1)
        macro = precision_recall_fscore_support(
            split.labels, predicted, labels=range(7), average="macro", zero_division=0
        )
        found = [logs[f"val_macro_{name}"] for name in ("precision", "recall", "f1")]
        np.testing.assert_allclose(found, macro[:3], rtol=1e-12)
        recalls = precision_recall_fscore_support(split.labels, predicted, labels=range(7), zero_division=0)[1]
        np.testing.assert_allclose(list(scores.recall.values()), recalls, rtol=1e-12)


def phase(**changes):
    return PhaseConfig(**{"batch_size": 16, "epochs": 1, "schedule": "constant", "learning_rate": 1e-3, **changes})


def config(*phases, **changes):
    return RunConfig(preset="own", phases=list(phases), threads=2, **changes)


@pytest.mark.slow  # the parts: test_optimizers.py and test_runs.py
def test_a_phase_that_stops_early_counts_as_long_as_it_was(workspace, tiny):
    # Nothing improves at a learning rate that changes nothing: the best epoch is the first.
    still = phase(name="Still", epochs=9, learning_rate=1e-12, weight_decay=0, early_stopping=2)
    run = train(workspace, tiny, config(still, phase(name="Then", epochs=2)))
    assert run.state is JobState.DONE
    assert run.history[["phase", "epoch", "global_epoch"]].to_numpy().tolist() == [
        [0, 0, 0],
        [0, 1, 1],
        [0, 2, 2],
        [1, 0, 3],
        [1, 1, 4],
    ]
    assert run.phases == [("Still", 3), ("Then", 2)]
    assert run.progress.share == 1


@pytest.mark.slow
def test_the_next_phase_begins_with_the_best_epoch_where_it_should(workspace, tiny):
    """The first phase ruins the network after its first epoch; what the second begins with shows in its first."""
    ruined = {}
    for restore in (False, True):
        first = phase(epochs=2, learning_rate=1.0, optimizer="sgd", weight_decay=0, restore_best=restore)
        run = train(workspace, tiny, config(first, phase(learning_rate=1e-12, weight_decay=0)), name=f"r{restore}")
        ruined[restore] = run
    for restore, run in ruined.items():
        best = run.history["val_accuracy"].iloc[:2].idxmax()
        kept = best if restore else 1
        assert run.history["val_loss"].iloc[2] == pytest.approx(run.history["val_loss"].iloc[kept], rel=0.05)


@pytest.mark.slow
def test_averages_are_what_is_scored_and_kept(workspace, tiny):
    import keras

    run = train(workspace, tiny, config(phase(epochs=2, ema=0.9), phase(epochs=1, ema=0.5)))
    assert run.state is JobState.DONE
    best = run.metrics["best"]
    stored = np.load(run.folder / "checkpoints" / f"phase{best['phase'] + 1}-epoch{best['epoch'] + 1:03}.npz")
    kept = keras.saving.load_model(run.folder / "best.keras").get_layer("logits").kernel
    same = [np.array_equal(stored[key], np.asarray(kept)) for key in stored.files if key.startswith("model.")]
    assert sum(same) == 1


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_a_mixed_precision_run_leaves_a_float32_model(workspace, tiny, precision):
    import keras

    run = train(workspace, tiny, config(phase(ema=0.9, accumulate=2, clip_norm=1.0, mixup=0.2), precision=precision))
    assert run.state is JobState.DONE
    model = keras.saving.load_model(run.folder / "best.keras")
    assert {layer.compute_dtype for layer in model.layers if layer.weights} == {"float32"}


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "advice"),
    [
        (220, 1, "phases.0.batch_size=110 --set phases.0.accumulate=2: the effective batch is then 220"),
        (7, 2, "phases.0.batch_size=3 --set phases.0.accumulate=4: the effective batch is then 12"),
        (1, 1, "Use a smaller --set side"),
    ],
)
def test_memory_that_runs_out_is_told_with_the_next_smaller_batch(
    workspace, tiny, monkeypatch, batch_size, accumulate, advice
):
    import tensorflow as tf

    def fit(*args, **kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[220,64,112,112]")

    monkeypatch.setattr("keras.Model.fit", fit)
    with pytest.raises(FerError, match=r"Memory ran out in phase 1 with batches of") as error:
        train(workspace, tiny, config(phase(batch_size=batch_size, accumulate=accumulate)))
    assert advice in str(error.value)


def test_without_initial_weights_phases_of_the_head_are_left_out(tiny):
    two = config(phase(name="Head", trainable="head"), phase(name="All"))
    assert [left.name for left in runs.complete(two, tiny).phases] == ["All"]
    pretrained = two.model_copy(update={"weights": "some.h5"})
    assert len(runs.complete(pretrained, tiny).phases) == 2
    with pytest.raises(ConfigError, match="it would learn from noise"):
        runs.complete(config(phase(trainable="head")), tiny)
