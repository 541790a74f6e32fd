from __future__ import annotations

import cv2
import pytest

from fer_core.data import dataset as dataset_module
from fer_core.data import figures
from fer_core.data.balance import BalanceConfig, Recipe, balance
from fer_core.emotions import EMOTIONS, PALETTES

from ..training.conftest import make_dataset


def drawn(folder, name):
    """A figure, decoded; it must be a picture with something on it."""
    picture = cv2.imread(str(folder / name))
    assert picture is not None, name
    assert picture.shape[0] > 300
    assert picture.shape[1] > 700
    assert picture.std() > 5
    return picture


def sheet_of(monkeypatch, dataset):
    """The rows that are drawn of a dataset's samples."""
    seen = []
    real = figures.sheet
    monkeypatch.setattr(figures, "sheet", lambda rows, **words: seen.append((rows, words)) or real(rows, **words))
    figures.write_figures(dataset)
    return seen[0]


def test_a_dataset_comes_with_its_figures(prepared):
    drawn(prepared.folder, "samples.png")
    colours = drawn(prepared.folder, "distribution_before_after.png")[..., ::-1].reshape(-1, 3)
    for colour in PALETTES["light"].values():
        assert (colours == list(bytes.fromhex(colour[1:]))).all(axis=1).any(), colour


def test_samples_show_originals_beside_their_children(leak_free, place, monkeypatch):
    balanced = balance(leak_free, place / "even", BalanceConfig(target_of={"disgust": 60}))
    drawn(balanced.folder, "distribution_before_after.png")
    drawn(balanced.folder, "samples.png")
    rows, words = sheet_of(monkeypatch, balanced)
    assert [row.label for row in rows] == [emotion.capitalize() for emotion in EMOTIONS]
    marks = [tile.marked for tile in rows[EMOTIONS.index("disgust")].tiles]
    assert len(marks) == 8
    assert marks[:2] == [False, True]
    assert "original to their left" in words["note"]
    assert not any(tile.marked for tile in rows[EMOTIONS.index("happy")].tiles)


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param({"train": [3]}, id="one image in all"),
        pytest.param({"train": [0, 0, 2, 5], "test": [1]}, id="classes missing, no validation"),
        pytest.param({}, id="nothing at all"),
    ],
)
def test_tiny_datasets_are_drawn_too(tmp_path, sizes, monkeypatch):
    dataset = make_dataset(tmp_path / r"tiny $\frac$ 表情", sizes)
    rows, _ = sheet_of(monkeypatch, dataset)
    train = sizes.get("train", [])
    assert [len(row.tiles) for row in rows] == [train.count(label) for label in range(7)]
    drawn(dataset.folder, "distribution_before_after.png")
    drawn(dataset.folder, "samples.png")


def test_a_dataset_never_appears_without_them(leak_free, place, monkeypatch):
    def fail(dataset):
        raise RuntimeError("no ink")

    monkeypatch.setattr(dataset_module, "write_figures", fail)
    with pytest.raises(RuntimeError, match="no ink"):
        balance(leak_free, place / "even", BalanceConfig(recipe=Recipe.EVEN))
    assert list(place.iterdir()) == []
