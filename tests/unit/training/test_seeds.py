"""Runs that differ in nothing but the seed, taken together."""

import statistics
from dataclasses import replace

import pytest

from fer_core.jobs.store import Job, JobStatus
from fer_core.training.facts import read_facts
from fer_core.training.seeds import SeedGroup, seed_groups
from tests.unit.runs import write_finished_run
from tests.unit.training.conftest import make_dataset


@pytest.fixture
def dataset(workspace):
    return make_dataset(workspace.datasets / "faces", {"train": 14, "validation": 70, "test": 7})


def trained(space, dataset, name, seed, wrong, *changes):
    folder = write_finished_run(space, name, dataset, wrong=range(wrong), changes=[f"seed={seed}", *changes])
    return read_facts(Job(folder))


def test_seeds_of_one_recipe_are_one_group(workspace, dataset):
    found = [trained(workspace, dataset, f"compact-a-{seed}", seed, 10 * seed) for seed in (3, 1, 2)]
    (group,) = seed_groups(found)
    assert group.seeds == (1, 2, 3)
    expected = [60 / 70, 50 / 70, 40 / 70]
    assert group.accuracies == pytest.approx(expected)
    assert group.mean == pytest.approx(statistics.fmean(expected))
    assert group.deviation == pytest.approx(statistics.stdev(expected))
    assert group.sentence() == (
        "compact-a, 3 seeds (1, 2, 3): validation 71.4 % mean, 14.3 standard deviation, 57.1 to 85.7 %, n 70, Clean"
    )


def test_other_settings_or_data_are_another_group(workspace, dataset):
    other = make_dataset(workspace.datasets / "other", {"train": 21, "validation": 70, "test": 7})
    found = [
        trained(workspace, dataset, "a", 1, 0),
        trained(workspace, dataset, "b", 2, 0, "head_l2=0.1"),
        trained(workspace, other, "c", 3, 0),
    ]
    assert seed_groups(found) == []


def test_data_is_known_by_its_content_not_its_name(workspace, dataset):
    first = trained(workspace, dataset, "a", 1, 0)
    moved = dataset.folder.rename(workspace.datasets / "renamed")
    second = trained(workspace, type(dataset).open(moved), "b", 2, 5)
    assert [group.seeds for group in seed_groups([first, second])] == [(1, 2)]


def test_only_finished_runs_count_and_each_seed_once(workspace, dataset):
    found = [trained(workspace, dataset, name, seed, wrong) for name, seed, wrong in (("n", 1, 1), ("o", 1, 9))]
    assert seed_groups(found) == []
    unfinished = workspace.run("o")
    for file in ("model_card.json", "metrics.json"):
        (unfinished / file).unlink()
    Job(unfinished).write_status(JobStatus(state="stopped"))
    found += [trained(workspace, dataset, "p", 2, 3)]
    (group,) = seed_groups([found[0], read_facts(Job(unfinished)), found[2]])
    assert [facts.name for facts in group.runs] == ["n", "p"]
    (group,) = seed_groups([found[1], found[0], found[2]])
    assert [facts.name for facts in group.runs] == ["o", "p"]


def test_a_run_that_the_user_ended_early_is_no_seed_of_the_recipe(workspace, dataset):
    found = [trained(workspace, dataset, f"a-{seed}", seed, seed) for seed in (1, 2, 3)]
    assert seed_groups(found)[0].seeds == (1, 2, 3)
    (group,) = seed_groups([found[0], replace(found[1], ended_after=1), found[2]])
    assert group.seeds == (1, 3)


def test_the_best_mean_comes_first(workspace, dataset):
    for name, wrong, change in (("poor", 30, "head_l2=0.1"), ("good", 1, "head_l2=0.2")):
        for seed in (1, 2):
            trained(workspace, dataset, f"{name}-{seed}", seed, wrong, change)
    found = [read_facts(Job(folder)) for folder in sorted(workspace.runs.iterdir())]
    assert [group.name for group in seed_groups(reversed(found))] == ["good", "poor"]


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (("compact-a-1", "compact-a-2"), "compact-a"),
        (("compact-1", "compact-12"), "compact"),
        (("fer2013", "fer2013-2"), "fer2013"),
        (("wide-seed1", "wide-seed23"), "wide"),
        (("wide-s1", "wide-s2"), "wide"),
        (("faces", "faces-2"), "faces"),
        (("night", "day"), "night"),
    ],
)
def test_a_group_is_called_what_its_runs_share(workspace, dataset, names, name):
    facts = [trained(workspace, dataset, each, seed, 0) for seed, each in enumerate(names)]
    assert SeedGroup(tuple(facts)).name == name
