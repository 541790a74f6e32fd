"""What is measured of this machine, and what a run is expected to take by it."""

import json
import os

import pytest

from fer_core.training import measuring
from fer_core.training.config import apply_overrides, load_preset
from fer_core.training.estimate import estimate
from fer_core.training.speeds import (
    FILE,
    NetworkSpeed,
    PhaseSpeed,
    Pictures,
    Speeds,
    network_of,
    read_speeds,
    remember,
    work_of,
)
from tests.unit.command_line import call

PICTURES = Pictures(train=1000, validation=200, shape=(48, 48, 1))


def phase_speed(config, index=0, **found):
    work = work_of(network_of(config, PICTURES.shape), config.phases[index])
    known = {"train": 100.0, "score": 400.0, "once": False, "start_seconds": 5.0, "memory": 10**9}
    return PhaseSpeed(work=work, **(known | found))


def of_network(config, **found):
    return NetworkSpeed(
        network=network_of(config, PICTURES.shape), **({"score": 50.0, "seconds": 12.0, "memory": 2 * 10**9} | found)
    )


def test_nothing_is_foretold_before_all_phases_were_measured():
    config = load_preset("resnet50v2")
    assert estimate(config, PICTURES, Speeds()) is None
    assert estimate(config, PICTURES, Speeds(phases=[phase_speed(config)])) is None


def test_epochs_validation_start_and_end_add_up():
    config = apply_overrides(load_preset("compact"), ["phases.0.epochs=3"])
    found = estimate(config, PICTURES, Speeds(phases=[phase_speed(config)], networks=[of_network(config)]))
    assert found.seconds == 12 + 5 + 3 * (1000 / 100 + 200 / 400)
    assert found.memory == 2 * 10**9 + 1200 * 48 * 48
    assert (found.at_most, found.exact, found.gpu_memory) == (False, True, None)


def test_features_that_are_computed_once_cost_one_look_at_every_picture():
    config = load_preset("resnet50")
    phases = [phase_speed(config, once=True, train=5000.0, score=5000.0), phase_speed(config, 1, score=50.0)]
    found = estimate(config, PICTURES, Speeds(phases=phases, networks=[of_network(config)]))
    head = 5 + 1200 / 50 + 10 * (1200 / 5000)
    assert found.seconds == pytest.approx(12 + head + 5 + 20 * (1000 / 100 + 200 / 50))
    assert found.at_most


def test_augmentation_asks_for_a_measurement_of_its_own_where_features_would_be_computed_anew():
    config = load_preset("resnet50")
    speeds = Speeds(phases=[phase_speed(config, once=True), phase_speed(config, 1)], networks=[of_network(config)])
    assert estimate(apply_overrides(config, ["phases.0.augmentation.flip=true"]), PICTURES, speeds) is None
    assert estimate(apply_overrides(config, ["phases.1.augmentation.flip=true"]), PICTURES, speeds) is not None


def test_without_weights_only_the_phases_that_are_trained_count():
    config = apply_overrides(load_preset("resnet50"), ["weights=none"])
    assert estimate(config, PICTURES, Speeds(phases=[phase_speed(config, 1)])).seconds == 5 + 20 * 10.5


def test_another_batch_size_is_reckoned_with_the_nearest_and_says_so():
    config = load_preset("compact")
    speeds = Speeds(
        phases=[
            phase_speed(apply_overrides(config, ["phases.0.batch_size=8"]), train=10.0),
            phase_speed(apply_overrides(config, ["phases.0.batch_size=64"]), train=100.0),
        ]
    )
    found = estimate(apply_overrides(config, ["phases.0.batch_size=32"]), PICTURES, speeds)
    assert found.seconds == 5 + 24 * 10.5
    assert (found.exact, found.memory) == (False, None)


@pytest.mark.parametrize("change", ["side=96", "precision=mixed_bfloat16", "threads=1", "attention=8"])
def test_another_network_was_not_measured(change):
    config = apply_overrides(load_preset("compact"), ["threads=2"])
    assert estimate(apply_overrides(config, [change]), PICTURES, Speeds(phases=[phase_speed(config)])) is None


def test_the_latest_of_each_is_kept(workspace):
    config = load_preset("compact")
    remember(workspace, phase_speed(config, train=1.0), of_network(config))
    remember(workspace, phase_speed(config, train=2.0), of_network(config, score=None, seconds=3.0))
    speeds = read_speeds(workspace)
    assert [speed.train for speed in speeds.phases] == [2.0]
    assert [(speed.score, speed.seconds) for speed in speeds.networks] == [(50.0, 3.0)]  # a run saw no score: it stays


@pytest.mark.parametrize("content", ["{", '{"phases": [{"train": "fast"}]}', "[]"])
def test_a_damaged_file_is_as_none_and_is_replaced(workspace, content):
    workspace.root.mkdir(parents=True)
    (workspace.root / FILE).write_text(content)
    assert read_speeds(workspace) == Speeds()
    remember(workspace, phase_speed(load_preset("compact")))
    assert len(read_speeds(workspace).phases) == 1


def test_a_workspace_that_cannot_be_written_stops_nobody(workspace):
    workspace.root.write_text("a file where a folder should be")
    remember(workspace, phase_speed(load_preset("compact")))


@pytest.mark.slow
def test_a_run_leaves_what_the_next_ones_time_follows_from(workspace, tiny, capfd):
    options = ["--set=phases.0.epochs=2", "--set=phases.0.batch_size=16", "--set=threads=2", "--name=first"]
    assert call(capfd, "train", "tiny", *options)[0] == 0
    config = apply_overrides(load_preset("compact"), ["phases.0.epochs=2", "phases.0.batch_size=16", "threads=2"])
    found = estimate(config, Pictures.of(tiny), read_speeds(workspace))
    assert found.exact
    assert found.seconds > 0
    assert found.memory > 10**8


@pytest.mark.slow
def test_a_gpu_that_the_framework_cannot_use_hides_nothing(workspace, tiny, tmp_path, monkeypatch, capfd):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    code, out, err = call(capfd, "models", "measure", "compact", "--dataset", "tiny", "--json")
    assert code == 0, err
    assert json.loads(out)[0]["phases"][0]["images_per_second"] > 0
    assert estimate(load_preset("compact"), Pictures.of(tiny), read_speeds(workspace)).exact


def test_what_does_not_fit_is_one_sentence_and_not_an_error(workspace, monkeypatch, capfd):
    monkeypatch.setattr(measuring, "_SPARE", 2**60)
    code, _, err = call(capfd, "models", "measure", "compact")
    assert code == 0
    assert "compact does not fit into this machine's memory" in err
    assert read_speeds(workspace) == Speeds()


def test_what_cannot_be_built_says_why(workspace, tiny, capfd):
    recipe = workspace.root.parent / "small.yaml"
    recipe.write_text(json.dumps({"architecture": "resnet50", "phases": [{"name": "All"}]}))
    code, _, err = call(capfd, "models", "measure", recipe, "--dataset", "tiny")
    assert code == 0
    assert "small could not be measured (building)" in err
    assert "32x32" in err
