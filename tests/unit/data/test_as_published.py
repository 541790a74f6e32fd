"""The published recipe for data, to the letter, on the real archives where these are at hand."""

from __future__ import annotations

import zipfile
from collections import Counter

import pytest

from fer_core.data.balance import BalanceConfig, Recipe
from fer_core.data.config import Policy
from fer_core.data.prepare import PrepareConfig, prepare
from fer_core.emotions import EMOTIONS, parse_emotion


def images(archive) -> Counter[tuple[str, str]]:
    """Images by split and emotion, from the names in an archive alone."""
    with zipfile.ZipFile(archive) as entries:
        places = [name.split("/")[-3:-1] for name in entries.namelist() if not name.endswith("/")]
    return Counter((split, str(parse_emotion(folder))) for split, folder in places)


@pytest.mark.slow
def test_the_published_recipe_is_followed_to_the_letter(real_data, place):
    sources = {"fer2013": real_data / "fer2013.zip", "edf": real_data / "emotion-detection-fer.zip"}
    fer, edf = (images(path) for path in sources.values())
    dataset = prepare(
        [f"{name}={path}" for name, path in sources.items()],
        place / "published",
        PrepareConfig(policy=Policy.AS_PUBLISHED, balance=BalanceConfig(recipe=Recipe.PUBLISHED)),
    )
    counts, tables = dataset.info.counts, {split: dataset.table(split) for split in dataset.counts()}
    children = tables["train"]["parent_id"].notna()
    originals = tables["train"][~children]
    for label, emotion in enumerate(EMOTIONS):
        drawn = round(0.25 * fer["train", emotion])
        merged = edf["train", emotion] + edf["test", emotion] + fer["train", emotion] - drawn
        wanted = 1200 if emotion == "disgust" else 7000
        assert counts["split"]["train"][emotion] == merged, emotion
        assert counts["split"]["validation"][emotion] == drawn, emotion
        assert counts["split"]["test"][emotion] == fer["test", emotion], emotion
        assert counts["balanced"]["train"][emotion] == min(max(merged, wanted), 9000), emotion
        assert children[tables["train"]["label"] == label].sum() == max(0, wanted - merged), emotion
        assert (originals["label"] == label).sum() == min(merged, 9000), emotion
    assert sum(edf.values()) == 32_298
    assert counts["balanced"]["validation"] == counts["split"]["validation"]
    assert counts["balanced"]["test"] == counts["split"]["test"]
    assert set(tables["validation"]["source"]) == set(tables["test"]["source"]) == {"fer2013"}
    # Random undersampling took some copies out of train, not most of them.
    leaked, test = dataset.info.leaked["test"], len(tables["test"])
    assert dataset.info.contaminated
    assert 0.8 * test < leaked < test
    assert f"{leaked:,} of {test:,} in test" in (dataset.folder / "README.md").read_text()
