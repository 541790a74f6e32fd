"""What a phase asks of its optimizer happens to the weights, inside the compiled step."""

import numpy as np
import pytest

from fer_core.training.config import PhaseConfig


@pytest.fixture(scope="module", autouse=True)
def keras_backend():
    from fer_core.training import backend

    backend.load(2)


def compiled(**settings):
    """One dense layer without bias whose weights are all 1, trained as a phase asks; pictures of zeros give it no
    gradient, so that only weight decay moves it."""
    import keras

    from fer_core.training.optimizers import make_optimizer

    phase = PhaseConfig(**{"schedule": "constant", "learning_rate": 0.5, "weight_decay": 0.1, **settings})
    image = keras.Input((4,))
    model = keras.Model(image, keras.layers.Dense(3, use_bias=False, kernel_initializer="ones")(image))
    model.compile(optimizer=make_optimizer(phase, 10), loss="mse")
    return model


def step(model, value=0.0):
    """Trains on one batch; returns the first weight."""
    model.train_on_batch(np.full((8, 4), value, np.float32), np.zeros((8, 3), np.float32))
    return float(model.get_weights()[0][0, 0])


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_decay_that_is_raised_is_the_one_that_the_compiled_step_applies(optimizer):
    from fer_core.training.optimizers import weight_decay

    model = compiled(optimizer=optimizer)
    assert step(model) == pytest.approx(1 - 0.5 * 0.1)
    model.optimizer.weight_decay.assign(0.4)  # the step is compiled by now
    assert step(model) == pytest.approx((1 - 0.5 * 0.1) * (1 - 0.5 * 0.4))
    assert weight_decay(model.optimizer) == pytest.approx(0.4)
    assert any("weight_decay" in variable.path for variable in model.optimizer.variables)  # so it is saved


def test_adam_and_no_decay_leave_weights_without_gradient_alone():
    assert step(compiled(optimizer="adam", weight_decay=0)) == 1
    assert step(compiled(optimizer="sgd", weight_decay=0)) == 1


def test_clipping_shortens_the_step():
    far, near = (1 - step(compiled(optimizer="sgd", weight_decay=0, clip_norm=norm), 100.0) for norm in (2.0, 1.0))
    assert far == pytest.approx(2 * near)
    # The gradient of one weight of twelve equal ones, of length 1 in all; Nesterov adds momentum to the first step.
    assert near == pytest.approx(0.5 * 1.9 / np.sqrt(12))


def test_accumulated_batches_move_the_weights_once():
    model = compiled(optimizer="sgd", weight_decay=0, accumulate=3, learning_rate=0.001)
    moved = [step(model, 1.0) for _ in range(6)]
    assert moved[0] == moved[1] == 1
    assert moved[2] == moved[3] == moved[4] < 1
    assert moved[5] < moved[4]


def test_averages_are_exchanged_with_the_weights_and_back():
    from fer_core.training.optimizers import swap_averages

    model = compiled(optimizer="sgd", weight_decay=0, ema=0.5, learning_rate=0.01)
    weights = [step(model, 1.0) for _ in range(3)]
    mean = weights[0]
    for weight in weights[1:]:
        mean = 0.5 * mean + 0.5 * weight
    swap_averages(model)
    assert float(model.get_weights()[0][0, 0]) == pytest.approx(mean)
    swap_averages(model)
    assert float(model.get_weights()[0][0, 0]) == weights[-1]


class Worker:
    """Keeps what callbacks emit."""

    def __init__(self):
        self.events = []

    def emit(self, kind, **values):
        self.events.append((kind, values))


def test_decay_rises_in_the_weights_when_the_rate_drops():
    """The published recipe's callback, through `fit`: every epoch is one step, and its loss never improves."""
    import keras

    from fer_core.training.callbacks.increase_weight_decay_on_lr_drop import IncreaseWeightDecayOnLRDrop
    from fer_core.training.callbacks.plateau import Plateau

    phase = PhaseConfig(
        schedule="plateau", monitor="val_loss", plateau_factor=0.5, plateau_patience=2, decay_raise=3, weight_decay=0.1
    )
    model = compiled(schedule="plateau")

    class NeverBetter(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = 1.0
            seen.append(float(self.model.get_weights()[0][0, 0]))

    seen, worker = [], Worker()
    deciding = [Plateau(worker, phase, {}), IncreaseWeightDecayOnLRDrop(worker, 3, {})]
    nothing = np.zeros((8, 4), np.float32), np.zeros((8, 3), np.float32)
    model.fit(*nothing, batch_size=8, epochs=5, verbose=0, callbacks=[NeverBetter(), *deciding])
    # Two epochs without improvement after the first, then the next epoch's step has half the rate and three times the
    # decay; and so on.
    rates = [(0.5, 0.1), (0.5, 0.1), (0.5, 0.1), (0.25, 0.3), (0.25, 0.3)]
    np.testing.assert_allclose(seen, np.cumprod([1 - rate * decay for rate, decay in rates]), rtol=1e-6)
    assert [(kind, values["epoch"]) for kind, values in worker.events] == [
        ("learning_rate", 2),
        ("weight_decay", 2),
        ("learning_rate", 4),
        ("weight_decay", 4),
    ]


@pytest.mark.parametrize("interrupted_after", [1, 2, 3, 4])
def test_plateau_and_early_stopping_count_on_after_an_interruption(interrupted_after):
    import keras

    from fer_core.training.callbacks.early_stopping import EarlyStopping
    from fer_core.training.callbacks.plateau import Plateau

    losses = [1.0, 0.9, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995]
    phase = PhaseConfig(schedule="plateau", monitor="val_loss", plateau_patience=2)

    class Played(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = losses[epoch]
            epochs.append(epoch)

    nothing = np.zeros((8, 4), np.float32), np.zeros((8, 3), np.float32)

    def train(model, first, last, states):
        deciding = [Plateau(Worker(), phase, states[0]), EarlyStopping("val_loss", 4, states[1])]
        model.fit(*nothing, initial_epoch=first, epochs=last, verbose=0, callbacks=[Played(), *deciding])
        return [callback.state() for callback in deciding]

    epochs = []
    whole = compiled(schedule="plateau")
    states = train(whole, 0, 8, [{}, {}])
    expected = epochs, states, float(whole.optimizer.learning_rate)
    assert epochs[-1] == 5  # four epochs after the best one

    epochs = []
    model = compiled(schedule="plateau")
    states = train(model, 0, interrupted_after, [{}, {}])
    states = train(model, interrupted_after, 8, states)
    assert (epochs, states, float(model.optimizer.learning_rate)) == expected
