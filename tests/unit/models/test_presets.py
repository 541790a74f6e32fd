"""Presets say what the two published recipes say, and ``models show`` counts what their phases train."""

import json

import pytest

from fer_core.training.config import list_presets, load_preset
from tests.unit.command_line import call


def test_every_preset_has_a_title_and_a_sentence():
    for name in list_presets():
        preset = load_preset(name)
        assert preset.title
        assert preset.description.endswith(".")


def test_resnet50v2_is_the_published_recipe():
    preset = load_preset("resnet50v2")
    assert (preset.weights, preset.side, preset.pixels, preset.reveal_test) == ("imagenet", 224, "0-1", True)
    assert preset.head == "norm, dense 512, dropout 0.5, norm, dense 256, dropout 0.3"
    assert preset.head_l2 > 0
    first, second = preset.phases
    assert (first.trainable, first.epochs, first.learning_rate) == ("head", 10, 1e-3)
    assert (second.trainable, second.epochs, second.learning_rate) == ("top", 40, 1e-4)
    for phase in preset.phases:
        assert (phase.batch_size, phase.schedule, phase.monitor, phase.early_stopping) == (
            220,
            "plateau",
            "val_accuracy",
            15,
        )
        assert not phase.augmentation.off


def test_resnet50_is_the_published_recipe():
    preset = load_preset("resnet50")
    assert (preset.weights, preset.head, preset.reveal_test) == ("imagenet", "dense 32, norm, dropout 0.4", True)
    first, second = preset.phases
    assert (first.trainable, first.epochs, first.optimizer, first.learning_rate) == ("head", 10, "adam", 5e-4)
    assert (second.trainable, second.top_layers, second.freeze_norm, second.epochs) == ("top", 50, True, 20)
    assert (second.optimizer, second.learning_rate) == ("adamw", 8e-5)
    assert second.weight_decay > 0
    assert second.decay_raise > 1
    for phase in preset.phases:
        assert (phase.schedule, phase.monitor, phase.plateau_factor, phase.early_stopping) == (
            "plateau",
            "val_loss",
            0.5,
            6,
        )
        assert phase.augmentation.off  # its data is balanced and augmented beforehand
        assert phase.label_smoothing == 0


@pytest.mark.parametrize(
    ("preset", "side", "total", "trainable"),
    [
        ("compact", None, 1_230_503, [1_227_623]),
        ("bundled", None, 2_157_255, [2_153_063]),
        ("teacher", None, 8_607_623, [8_599_239]),
        ("resnet50v2", 224, 24_757_255, [1_187_335, 17_516_039]),
        ("resnet50", 224, 23_653_639, [65_863, 16_988_231]),
        ("efficientnetv2b0", 224, 5_928_279, [8_967, 5_807_063]),
    ],
)
def test_show_counts_what_each_phase_trains(capfd, monkeypatch, tmp_path, preset, side, total, trainable):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    code, out, err = call(capfd, "models", "show", preset, "--json")
    assert code == 0, err
    shown = json.loads(out)
    assert shown["input"] == {"height": 48, "width": 48, "channels": 1}
    assert shown["side"] == side
    expected = {"total": total, "trainable": trainable[0], "non_trainable": total - trainable[0]}
    assert shown["parameters"] == expected
    assert [(phase["trainable"], phase["non_trainable"]) for phase in shown["phases"]] == [
        (n, total - n) for n in trainable
    ]
    assert not (tmp_path / "keras").exists()  # nothing was downloaded


def test_show_says_it_in_words(capfd):
    _, out, _ = call(capfd, "models", "show", "resnet50")
    assert "reads 48x48x1, resized inside to 224x224" in out
    assert "phase 2 (Fine-tuning) trains 16,988,231 of them and keeps 6,665,408" in out
