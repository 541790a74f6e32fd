import subprocess
import sys

import pytest
import yaml

from fer_core.errors import ConfigError, FerError
from fer_core.training.config import (
    NOT_SETTABLE,
    STRONG_AUGMENTATION,
    AugmentationConfig,
    PhaseConfig,
    RunConfig,
    apply_overrides,
    list_presets,
    load_config,
    load_preset,
)


@pytest.mark.parametrize("name", list_presets())
def test_every_preset_loads_and_says_what_it_is(name):
    config = load_preset(name)
    assert config.preset == name
    assert config.title
    assert config.description.endswith(".")


@pytest.mark.parametrize("name", list_presets())
def test_strong_augmentation_is_no_weaker_than_that_of_any_preset_in_any_way(name):
    for phase in load_preset(name).phases:
        for way, amount in phase.augmentation:
            strong = getattr(STRONG_AUGMENTATION, way)
            assert strong <= amount if way == "scale_min" else strong >= amount, way


@pytest.mark.parametrize("model", [RunConfig, PhaseConfig, AugmentationConfig])
def test_every_setting_has_a_label_and_a_tooltip(model):
    for name, field in model.model_fields.items():
        assert field.title, name
        assert field.description, name
        assert field.description.endswith("."), name


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("phases.0.epochs=3", lambda config: config.phases[0].epochs == 3),
        ("phases.0.learning_rate=1e-3", lambda config: config.phases[0].learning_rate == 1e-3),
        ("phases.0.trainable=head", lambda config: config.phases[0].trainable == "head"),
        ("phases.0.augmentation.flip=false", lambda config: config.phases[0].augmentation.flip is False),
        ("threads=null", lambda config: config.threads is None),
        (" seed = 7", lambda config: config.seed == 7),
    ],
)
def test_a_setting_is_changed(override, found):
    preset = load_preset("compact")
    assert found(apply_overrides(preset, [override]))
    assert preset == load_preset("compact")  # a copy was changed


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("phases.0.epoch=1", "Did you mean phases.0.epochs"),  # a typing error
        ("sed=1", "Did you mean seed"),
        ("phases.7.epochs=1", "Unknown setting 'phases.7.epochs'"),  # no such phase
        ("phases=1", "Unknown setting 'phases'"),  # not a single value
        ("zzz=1", "Known: architecture"),  # nothing near: all are listed
        ("dataset.path=/elsewhere", "Unknown setting"),  # not the user's to set
        ("seed", "write key=value"),
        ("seed=[1, 2]", "expected a single value"),
        ("phases.0.epochs=many", "phases.0.epochs: found 'many', it should be a valid integer"),
        ("phases.0.epochs=0", "phases.0.epochs: found 0, it should be greater than or equal to 1"),
        ("phases.0.learning_rate=.nan", "phases.0.learning_rate: found nan"),
        ("phases.0.trainable=tail", "it should be 'all', 'head' or 'top'"),
        ("phases.0.epochs=2030-99-99", "phases.0.epochs: found '2030-99-99', it should be a valid integer"),
        ("phases.0.epochs=!!bool x", "phases.0.epochs: found '!!bool x'"),
        ("phases.0.epochs=" + "[" * 5000, "phases.0.epochs: found '[[["),
        ("phases.0.class_weights=1,2", "seven numbers of 0 or more for angry"),
        ("phases.0.class_weights=0,0,0,0,0,0,0", "seven numbers"),
        ("phases.0.optimizer=adam", "phases.0 should have weight_decay 0 with the optimizer adam"),
        ("phases.0.decay_raise=2", "phases.0 should have decay_raise 1 unless the schedule is plateau"),
        ("weights=imagenet", "there are no ImageNet weights of the compact network"),
        ("head=dense", "'dense' is none"),
        ("head=norm 3", "'norm 3' is none"),
        ("head=dropout 1", "words like norm, dense 512"),
        ("phases.0.augmentation.scale_min=1.5", "less than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_named(override, said):
    with pytest.raises(ConfigError) as error:
        apply_overrides(load_preset("compact"), [override])
    assert said in str(error.value)


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"Unknown preset .compct.; known: compact, .*. Did you mean compact\?"):
        load_config("compct")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("phases: [{epochs: 1, epoch: 2}]", "unknown setting 'phases.0.epoch'. Did you mean phases.0.epochs"),
        ("phases: []", "phases"),
        ("seed: 1", "the setting 'phases' is missing"),
        ("phases: [{augmentation: {blur: 2}}]", "unknown setting 'phases.0.augmentation.blur'"),
        ("- 1", "expected settings"),
        ("phases: [", "cannot be read as YAML"),
        ("[" * 5000, "cannot be read as YAML"),
        ("seed: 2030-99-99", "cannot be read as YAML"),
        ("seed: !!int ''", "cannot be read as YAML"),
        ("", "expected settings"),
        ("phases: [{epochs: 1}]\nphase: 1", "unknown setting 'phase'. Did you mean phases"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, text, said):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(str(file))
    assert "mine.yaml" in str(error.value)
    assert said in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_config(str(tmp_path / "none.yaml"))


def test_a_file_in_an_unknown_users_home_is_refused():
    with pytest.raises(FerError, match="no home folder of that user"):
        load_config("~nouser/mine.yaml")


def test_the_settings_of_a_run_make_another_run(tmp_path):
    first = apply_overrides(load_preset("compact"), ["seed=3"]).model_copy(update={"allow_leaks": True})
    (tmp_path / "config.yaml").write_text(first.to_yaml())
    second = load_config(str(tmp_path / "config.yaml"))
    assert second == first.model_copy(update={"allow_leaks": False})  # a leak is allowed once, by hand


def test_a_written_config_holds_every_setting():
    document = yaml.safe_load(RunConfig(phases=[PhaseConfig()]).to_yaml())
    assert set(document) == set(RunConfig.model_fields) > set(NOT_SETTABLE)
    assert set(document["phases"][0]) == set(PhaseConfig.model_fields)


def test_reading_settings_and_runs_loads_no_training_framework():
    code = (
        "import sys, fer_core.training.config, fer_core.training.runs;"
        "heavy = {'keras', 'tensorflow', 'jax', 'torch', 'tf2onnx', 'sklearn', 'matplotlib'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
