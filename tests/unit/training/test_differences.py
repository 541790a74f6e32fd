"""Runs side by side: settings, facts, accuracy."""

import shutil

import pytest

from fer_core.errors import FerError
from fer_core.evaluation.compare import PairedDifference
from fer_core.jobs.store import Job
from fer_core.machine import usable_cores
from fer_core.training import differences
from fer_core.training.comparison import compare_runs, why_not_compared
from fer_core.training.config import PhaseConfig, apply_overrides, load_preset
from fer_core.training.differences import changed_settings, settings_that_differ
from fer_core.training.facts import read_facts
from fer_core.training.runs import Run, complete
from tests.unit.runs import write_finished_run

from .conftest import make_dataset


def config(*changes):
    return apply_overrides(load_preset("compact"), changes)


def test_only_what_differs_is_listed_by_dotted_key(workspace, tiny):
    other = make_dataset(workspace.datasets / "other", {"train": 14, "validation": 7, "test": 7}, seed=1)
    configs = {"a": complete(config("head_l2=0.1"), tiny), "b": complete(config("phases.0.epochs=3"), other)}
    found = settings_that_differ(configs)
    assert found.pop("dataset").keys() == {"a", "b"}
    assert found == {"head_l2": {"a": 0.1, "b": 0.0}, "phases.0.epochs": {"a": 24, "b": 3}}
    assert settings_that_differ({"a": configs["a"], "again": configs["a"]}) == {}


def test_a_setting_that_one_run_lacks_is_listed(tiny):
    two = config().model_copy(update={"phases": [*config().phases, PhaseConfig(name="Fine-tune")]})
    found = settings_that_differ({"one": config(), "two": two})
    assert found["phases.1.name"] == {"one": None, "two": "Fine-tune"}
    assert not any(key.startswith(("phases.0", "title", "description")) for key in found)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([], {}),
        (["head_l2=0.1", "phases.0.augmentation.flip=false"], {"head_l2": 0.1, "phases.0.augmentation.flip": False}),
        ([f"threads={usable_cores()}"], {}),
        ([f"threads={usable_cores() + 1}"], {"threads": usable_cores() + 1}),
        (["precision=float32"], {}),  # what `auto` comes to without a GPU, as a run records it
        (["precision=mixed_float16"], {"precision": "mixed_float16"}),
    ],
)
def test_changes_to_the_preset_are_those_that_a_person_would_repeat(tiny, monkeypatch, changes, expected):
    monkeypatch.setattr(differences, "has_gpu", lambda: False)
    assert changed_settings(complete(config(*changes), tiny)) == expected


def test_the_precision_of_a_processor_is_a_change_where_there_is_a_gpu(tiny, monkeypatch):
    monkeypatch.setattr(differences, "has_gpu", lambda: True)
    assert changed_settings(complete(config("precision=float32"), tiny)) == {"precision": "float32"}


def test_what_set_cannot_express_is_told(tiny):
    two = config().model_copy(update={"phases": [*config().phases, PhaseConfig()]})
    assert changed_settings(two) is None
    assert changed_settings(config().model_copy(update={"preset": "mine"})) is None


def test_runs_of_one_dataset_are_compared_on_all_of_its_validation_split(workspace, tiny):
    a = write_finished_run(workspace, "a", tiny, wrong=[0, 1, 2])
    b = write_finished_run(workspace, "b", tiny, wrong=[2, 3])
    assert compare_runs(Run(Job(a)), Run(Job(b))) == PairedDifference(both=17, only_a=1, only_b=2, neither=1)


def test_pictures_of_other_datasets_count_only_where_they_are_the_same(workspace, tiny):
    part = make_dataset(workspace.datasets / "part", {"train": 14, "validation": 14, "test": 7}, seed=1)
    a = write_finished_run(workspace, "a", tiny)
    b = write_finished_run(workspace, "b", part)
    assert compare_runs(Run(Job(a)), Run(Job(b))).n == 14  # the fixture names pixels by path


def other_data(workspace, **changes):
    return make_dataset(workspace.datasets / "part", {"train": 14, "validation": 14, "test": 7}, seed=1, **changes)


def lose_dataset(run):
    shutil.rmtree(Run(Job(run)).config.dataset.path)


@pytest.mark.parametrize(
    ("changes", "damage", "why"),
    [
        ({}, lose_dataset, "cannot be compared: dataset part is gone or changed"),
        ({"side": 12}, lambda run: None, "cannot be compared: pictures of another size"),
        ({}, lambda run: (run / "config.yaml").unlink(), "cannot be compared: data not known"),
    ],
)
def test_pictures_of_other_datasets_are_never_matched_by_path_alone(workspace, tiny, changes, damage, why):
    a = write_finished_run(workspace, "a", tiny)
    b = write_finished_run(workspace, "b", other_data(workspace, **changes), wrong=range(14))
    damage(b)
    for first, second in ((a, b), (b, a)):
        assert compare_runs(Run(Job(first)), Run(Job(second))) is None
        assert why_not_compared(Run(Job(first)), Run(Job(second))) == why


def test_runs_of_one_dataset_that_is_gone_are_still_compared(workspace, tiny):
    runs = [write_finished_run(workspace, name, tiny) for name in "ab"]
    lose_dataset(runs[0])
    assert compare_runs(*(Run(Job(run)) for run in runs)).n == 21


def test_runs_without_a_shared_picture_say_so(workspace, tiny):
    labels = [1, 2, 3, 4, 5, 6, 0]  # the same names with other labels
    other = make_dataset(workspace.datasets / "other", {"train": 7, "validation": labels, "test": 7}, seed=2)
    a, b = write_finished_run(workspace, "a", tiny), write_finished_run(workspace, "b", other)
    assert compare_runs(Run(Job(a)), Run(Job(b))) is None
    assert why_not_compared(Run(Job(a)), Run(Job(b))) == "no shared image"


def test_a_run_without_predictions_is_not_compared(workspace, tiny):
    a = write_finished_run(workspace, "a", tiny)
    b = write_finished_run(workspace, "b", tiny)
    (b / "predictions-validation.parquet").unlink()
    with pytest.raises(FerError, match="no predictions here"):
        compare_runs(Run(Job(a)), Run(Job(b)))


def test_facts_of_a_finished_run(workspace, tiny):
    facts = read_facts(Job(write_finished_run(workspace, "a", tiny, wrong=[0], accuracies=(0.2, 0.6))))
    assert (facts.score.accuracy, facts.score.n, facts.finished) == (pytest.approx(20 / 21), 21, True)
    assert (facts.dataset, facts.contaminated, facts.problems) == ("tiny", False, ())
    assert (facts.accuracies, facts.losses, facts.seconds) == ((0.2, 0.6), (1.8, 1.4), 60.0)


def test_an_unfinished_run_has_the_score_of_its_best_epoch_with_its_interval(workspace, tiny):
    run = write_finished_run(workspace, "a", tiny, accuracies=(10 / 21, 9 / 21))
    for name in ("model_card.json", "predictions-validation.parquet"):
        (run / name).unlink()
    facts = read_facts(Job(run))
    assert (facts.score.accuracy, facts.score.n, facts.finished) == (10 / 21, 21, False)
    assert facts.score.ci95[0] < 10 / 21 < facts.score.ci95[1]


@pytest.mark.parametrize(
    ("leaked", "validation", "dataset"),
    [
        ({"validation": 0, "test": 0}, "Clean", "Clean"),
        ({"validation": 5, "test": 0}, "Leaky · 5 of 14", "Leaky · 5 of 14"),
        ({"validation": 0, "test": 5}, "Clean", "Leaky · 5 of 7"),
        ({"validation": 3, "test": 5}, "Leaky · 3 of 14", "Leaky · 5 of 7"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_whether_the_score_is_leaky_is_asked_of_its_own_split(workspace, leaked, validation, dataset, finished):
    run = write_finished_run(workspace, "a", other_data(workspace, leaked=leaked if any(leaked.values()) else None))
    if not finished:
        (run / "model_card.json").unlink()
    facts = read_facts(Job(run))
    assert (facts.leak, facts.dataset_leak) == (validation, dataset)


def test_leaks_of_data_that_is_gone_are_those_on_the_card_or_not_known(workspace):
    run = write_finished_run(workspace, "a", other_data(workspace, leaked={"validation": 5, "test": 0}))
    lose_dataset(run)
    assert read_facts(Job(run)).leak == "Leaky · 5 of 14"
    (run / "model_card.json").unlink()
    facts = read_facts(Job(run))
    assert (facts.leak, facts.dataset_leak) == ("Leaks not known", "Leaks not known")


def test_other_data_in_the_place_of_a_runs_dataset_says_nothing_of_its_leaks(workspace):
    run = write_finished_run(workspace, "a", other_data(workspace, leaked={"validation": 0, "test": 5}))
    lose_dataset(run)
    make_dataset(workspace.datasets / "part", {"train": 7, "validation": 7, "test": 7})
    facts = read_facts(Job(run))
    assert (facts.leak, facts.dataset_leak, facts.problems) == ("Clean", "Leaky", ("dataset gone",))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda run, data: (run / "config.yaml").write_text("{"), "settings damaged"),
        (lambda run, data: (run / "config.yaml").unlink(), "settings never written"),
        (lambda run, data: (run / "events.jsonl").write_text('{"type": "epoch"}\n'), "curves damaged"),
        (lambda run, data: (run / "predictions-validation.parquet").unlink(), "no predictions"),
        (lambda run, data: shutil.rmtree(data.folder), "dataset gone"),
    ],
)
def test_a_damaged_run_keeps_what_is_known(workspace, tiny, damage, problem):
    run = write_finished_run(workspace, "a", tiny, wrong=[0])
    damage(run, tiny)
    facts = read_facts(Job(run))
    assert facts.problems == (problem,)
    assert (facts.score.n, facts.dataset) == (21, "tiny")
