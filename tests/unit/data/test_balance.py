from __future__ import annotations

import numpy as np
import pytest

from fer_core.data.augment import Augmenter
from fer_core.data.balance import BalanceConfig, ClassPlan, Recipe, balance, expected_bytes, plan, plan_of
from fer_core.data.config import USUAL, AugmentConfig, Policy
from fer_core.data.dataset import SPLITS, Dataset
from fer_core.data.info import count_by_source
from fer_core.data.prepare import PrepareConfig, prepare
from fer_core.emotions import EMOTIONS
from fer_core.errors import ConfigError, DatasetError

from .pictures import class_folders, face, make_zip
from .test_prepare import assert_ledger_adds_up

# FER2013 and its re-export, merged as published.
PUBLISHED = dict(zip(EMOTIONS, (7458, 819, 7666, 13521, 9105, 5964, 9296), strict=True))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param(
            BalanceConfig(recipe=Recipe.PUBLISHED),
            {
                "angry": ClassPlan(7458, 7458, 0, 0),
                "disgust": ClassPlan(819, 1200, 381, 0),
                "happy": ClassPlan(13521, 9000, 0, 4521),
                "surprise": ClassPlan(5964, 7000, 1036, 0),
            },
            id="published: grows only below its target, cuts only above the cap",
        ),
        pytest.param(
            BalanceConfig(),
            {"disgust": ClassPlan(819, 7666, 6847, 0), "happy": ClassPlan(13521, 13521, 0, 0)},
            id="even: up to the median class, nothing cut",
        ),
        pytest.param(
            BalanceConfig(recipe=Recipe.NONE, cap=6000, target_of={"disgust": 900}),
            {"disgust": ClassPlan(819, 900, 81, 0), "surprise": ClassPlan(5964, 5964, 0, 0)},
            id="none: only what is asked for",
        ),
        pytest.param(
            BalanceConfig(recipe=Recipe.PUBLISHED, cap=6000),
            {"surprise": ClassPlan(5964, 6000, 36, 0), "angry": ClassPlan(7458, 6000, 0, 1458)},
            id="a cap wins over the targets of a recipe",
        ),
    ],
)
def test_the_plan(config, expected):
    plans = plan(PUBLISHED, config)
    assert list(plans) == list(EMOTIONS)
    assert {emotion: plans[emotion] for emotion in expected} == expected
    assert all(p.after == p.before + p.augmented - p.removed for p in plans.values())


def test_an_empty_class_stays_empty():
    assert plan(PUBLISHED | {"disgust": 0}, BalanceConfig())["disgust"] == ClassPlan(0, 0, 0, 0)


@pytest.mark.parametrize("targets", [{"bored": 5}, {"sad": 0}, {"sad": 10**14}])
def test_senseless_targets_are_refused(targets):
    with pytest.raises(ConfigError, match="expected one of angry"):
        plan(PUBLISHED, BalanceConfig(target_of=targets))


@pytest.mark.parametrize(
    "config",
    [
        BalanceConfig(target=7000, cap=6999),
        BalanceConfig(recipe=Recipe.NONE, target=5, target_of={"sad": 7000}, cap=6999),
    ],
)
def test_a_target_above_the_cap_is_refused(config):
    with pytest.raises(ConfigError, match="A target of 7,000 is above the cap of 6,999: lower"):
        plan(PUBLISHED, config)
    with pytest.raises(ConfigError, match="above the cap of 9,000"):
        plan(PUBLISHED, BalanceConfig(recipe=Recipe.PUBLISHED, target=9001))


def test_what_would_change_nothing_is_told_and_not_made(leak_free, place):
    for config in (BalanceConfig(recipe=Recipe.NONE), BalanceConfig(target=1, cap=10_000)):
        with pytest.raises(ConfigError, match="Nothing would change"):
            balance(leak_free, place / "same", config)
    assert not (place / "same").exists()


def test_balancing_touches_train_only_and_children_know_their_parents(leak_free, place):
    balanced = balance(leak_free, place / "even", BalanceConfig())
    before, after = leak_free.counts(), balanced.counts()
    assert after["validation"] == before["validation"]
    assert after["test"] == before["test"]
    median = sorted(before["train"].values())[3]
    assert {emotion: max(n, median) for emotion, n in before["train"].items()} == after["train"]
    assert_ledger_adds_up(balanced.info)
    assert balanced.info.parent == leak_free.name
    assert balanced.info.leaked == {"validation": 0, "test": 0}

    table = balanced.table("train")
    parents = leak_free.table("train").set_index("pixel_sha")
    children = table[table["parent_id"].notna()]
    assert len(children) == sum(after["train"].values()) - sum(before["train"].values())
    assert set(children["flags"]) == {"augmented"}
    assert children["photo_id"].tolist() == parents.loc[children["parent_id"], "photo_id"].tolist()
    assert children["label"].tolist() == parents.loc[children["parent_id"], "label"].tolist()
    assert not set(children["pixel_sha"]) & set(parents.index)
    assert children["pixel_sha"].is_unique
    assert children["path"].is_unique
    spread = children.groupby("label")["parent_id"].value_counts().groupby("label").agg(["min", "max"])
    assert (spread["max"] - spread["min"] <= 1).all()
    originals = table[table["parent_id"].isna()]
    assert originals["pixel_sha"].tolist() == parents.index.tolist()


def test_undersampling_keeps_an_even_draw_of_originals(leak_free, place):
    balanced = balance(leak_free, place / "cut", BalanceConfig(recipe=Recipe.NONE, cap=20))
    assert all(n <= 20 for n in balanced.counts()["train"].values())
    table = balanced.table("train")
    assert table["parent_id"].isna().all()
    assert set(table["pixel_sha"]) < set(leak_free.table("train")["pixel_sha"])
    assert_ledger_adds_up(balanced.info)


def test_leaks_are_counted_on_what_stays_in_train(demo, place):
    config = BalanceConfig(recipe=Recipe.NONE, cap=12, target_of={"disgust": 12})
    whole = prepare(demo, place / "whole", PrepareConfig(policy=Policy.AS_PUBLISHED))
    later = balance(whole, place / "later", config)
    at_once = prepare(demo, place / "once", PrepareConfig(policy=Policy.AS_PUBLISHED, balance=config))
    train = set(later.table("train")["photo_id"])
    stay = {split: int(later.table(split)["photo_id"].isin(train).sum()) for split in ("validation", "test")}
    assert later.info.leaked == at_once.info.leaked == stay
    assert 0 < stay["test"] < whole.info.leaked["test"]
    assert later.info.contaminated
    assert f"{stay['test']:,} of " in (later.folder / "README.md").read_text()


def test_where_every_leak_is_cut_nothing_is_contaminated(place, tmp_path):
    files = class_folders(train=12, test=2)
    files["train/happy/copy.png"] = files["test/happy/000.png"]
    source = str(make_zip(tmp_path / "a.zip", files))
    whole = prepare([source], place / "whole", PrepareConfig(policy=Policy.AS_PUBLISHED))
    assert whole.info.leaked == {"validation": 0, "test": 1}
    found = set()
    for seed in range(8):
        config = BalanceConfig(recipe=Recipe.NONE, cap=2, seed=seed)
        cut = balance(whole, place / f"cut-{seed}", config).info
        assert cut.contaminated == any(cut.leaked.values())
        found.add(cut.contaminated)
    assert False in found


def test_balancing_while_preparing_gives_the_same_as_balancing_afterwards(demo, leak_free, place):
    at_once = prepare(demo, place / "once", PrepareConfig(balance=BalanceConfig()))
    later = balance(leak_free, place / "later", BalanceConfig())
    again = balance(leak_free, place / "again", BalanceConfig())
    assert at_once.info.fingerprint == later.info.fingerprint == again.info.fingerprint
    assert at_once.counts() == later.counts()
    with pytest.raises(ConfigError, match="balanced already"):
        balance(later, place / "twice", BalanceConfig())
    with pytest.raises(DatasetError, match="exists already"):
        balance(leak_free, place / "later", BalanceConfig())


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_the_number_of_threads_changes_nothing(leak_free, place, monkeypatch, cores):
    expected = balance(leak_free, place / "here", BalanceConfig()).info.fingerprint
    monkeypatch.setattr("fer_core.data.balance.usable_cores", lambda: cores)
    made = balance(leak_free, place / "there", BalanceConfig())
    assert made.info.fingerprint == expected
    rows = range(len(made.table("train")))
    assert made.encoded("train", rows) == Dataset.open(place / "here").encoded("train", rows)


def test_an_augmented_face_is_decided_by_its_seed_alone():
    image = face(1)[:, :, None]
    one, two = Augmenter(1), Augmenter(1)
    first = one(image, 5)
    assert not np.array_equal(first, one(image, 6))
    np.testing.assert_array_equal(first, one(image, 5))
    np.testing.assert_array_equal(first, two(image, 5))
    assert first.shape == image.shape
    assert first.dtype == np.uint8


def test_chosen_strengths_make_the_children_and_are_written_down(leak_free, place):
    config = BalanceConfig(augment=AugmentConfig(flip=1, rotation=30))
    usual, balanced = balance(leak_free, place / "usual", BalanceConfig()), balance(leak_free, place / "own", config)
    assert balanced.info.config["balance"]["augment"] == config.augment.model_dump()
    assert BalanceConfig.model_validate(balanced.info.config["balance"]) == config
    assert "augmented from train images, with flip 1, rotation 30" in (balanced.folder / "README.md").read_text()
    ours, theirs = balanced.table("train"), usual.table("train")
    # The same originals have as many children as ever, and every child is another picture.
    assert ours["parent_id"].fillna("").tolist() == theirs["parent_id"].fillna("").tolist()
    child = ours["parent_id"].notna()
    assert not set(ours["pixel_sha"][child]) & set(theirs["pixel_sha"])
    assert ours["pixel_sha"].is_unique
    again = balance(leak_free, place / "again", config)
    assert again.info.fingerprint == balanced.info.fingerprint


def test_settings_of_datasets_from_before_strengths_could_be_chosen_still_load():
    stored = {"recipe": "published", "target": None, "cap": None, "target_of": {"sad": 5}, "seed": 7}
    loaded = PrepareConfig.of_dataset({"policy": "as-published", "balance": stored}).balance
    assert loaded == BalanceConfig(recipe=Recipe.PUBLISHED, target_of={"sad": 5}, seed=7, augment=USUAL)


def test_strengths_too_small_leave_no_dataset_behind(leak_free, place):
    tiny = AugmentConfig(flip=0, rotation=0.001, shear=0, brightness=0, contrast=0)
    with pytest.raises(ConfigError, match="stays as it is"):
        balance(leak_free, place / "tiny", BalanceConfig(augment=tiny))
    assert list(place.iterdir()) == []


def test_images_are_counted_by_source(demo, place):
    merged = prepare(demo, place / "merged", PrepareConfig(policy=Policy.AS_PUBLISHED))
    grown = balance(merged, place / "grown", BalanceConfig())
    tables = {split: grown.table(split) for split in SPLITS}
    found = count_by_source(tables)
    assert list(found) == ["edf", "fer2013"]
    for split, table in tables.items():
        for source, of_source in found.items():
            assert sum(of_source[split].values()) == (table["source"] == source).sum()
        for emotion in EMOTIONS:
            assert sum(of[split][emotion] for of in found.values()) == grown.counts()[split][emotion]
    assert found["edf"]["test"] == dict.fromkeys(EMOTIONS, 0)


def test_hue_is_shifted_only_in_colour():
    gray = np.repeat(face(1)[:, :, None], 3, axis=2)
    colour = gray.copy()
    colour[..., 0] //= 2
    variations = [Augmenter(3)(colour, seed) for seed in range(8)]
    ratios = {round(float(v[..., 0].mean() / v[..., 2].mean()), 2) for v in variations}
    assert len(ratios) > 3


def test_a_balanced_dataset_tells_what_was_done_to_it(leak_free, place):
    config = BalanceConfig(cap=60, target_of={"disgust": 40})
    expected = plan(leak_free.counts()["train"], config)
    balanced = balance(leak_free, place / "even", config)
    assert plan_of(balanced.info) == expected
    assert plan_of(leak_free.info) is None
    size = sum(file.stat().st_size for file in balanced.folder.glob("t*.parquet"))
    size += sum(file.stat().st_size for file in balanced.folder.glob("v*.parquet"))
    assert expected_bytes(leak_free, expected) == pytest.approx(size, rel=0.25)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (BalanceConfig(), "--recipe even --seed 42"),
        (
            BalanceConfig(recipe=Recipe.NONE, target=9, cap=20, target_of={"sad": 7}, seed=1),
            "--recipe none --seed 1 --target 9 --cap 20 --target-of sad=7",
        ),
        (
            BalanceConfig(augment=AugmentConfig(flip=0, brightness=0.1 + 0.2, rotation=15)),
            "--recipe even --seed 42 --augment flip=0 --augment brightness=0.3",
        ),
    ],
)
def test_settings_as_options_of_the_command(config, words):
    assert config.options() == words.split()
