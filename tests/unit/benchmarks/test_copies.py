"""What datasets say of the copy search is what the benchmark measured."""

import json

import numpy as np
import pytest

from benchmarks.copies import align, changes
from benchmarks.measure import RESULTS
from benchmarks.table import copies_table
from fer_core.data.copies import RULE
from fer_core.data.demo import draw_face


def test_the_recall_that_datasets_state_is_the_measured_one():
    result = json.loads((RESULTS / "copies.json").read_text())
    measured = {figure["name"]: figure["summary"] for figure in result["figures"]}
    found = {name.removeprefix("found: "): value for name, value in measured.items() if name.startswith("found: ")}
    assert RULE["recall"] == {form: round(value["median"], 3) for form, value in found.items()}
    assert list(found) == list(changes())
    (photographs,) = {value["n"] for value in found.values()}
    assert RULE["recall_of"].startswith(f"{photographs} photographs of FER2013")
    assert result["input"].startswith(f"{photographs} photographs planted in {len(found)} forms")
    assert "drawn" not in result["input"]
    assert copies_table().count("\n| ") == len(found)


def test_every_form_changes_the_picture_and_keeps_its_size():
    image = draw_face("happy", 1)
    for name, change in changes().items():
        changed = change(image, np.random.default_rng(0))
        assert changed.shape == (48, 48), name
        assert np.abs(changed - image.astype(float)).max() > 1, name


@pytest.mark.parametrize(("emotion", "seed", "same"), [("happy", 1, True), ("sad", 5, False)])
def test_pictures_lie_on_each_other_where_one_is_a_crop_of_the_other(emotion, seed, same):
    image = draw_face("happy", 1)
    crop = changes()["mirrored, crop by 1 px"](draw_face(emotion, seed), None)
    assert align(image, crop) == same
