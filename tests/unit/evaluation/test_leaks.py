"""Which evaluated images a model has met."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from fer_core.data.copies import fingerprint
from fer_core.data.dataset import Split
from fer_core.evaluation.leaks import APPROXIMATE, EXACT, UNKNOWN, seen_in_training


def _table(*rows):
    return pd.DataFrame(rows, columns=["pixel_sha", "photo_id"])


class _Training:
    """Stands for a dataset: photograph 1 is in train and test, 2 in train only, 3 in test only."""

    def table(self, split):
        return {
            "train": _table(("a", "1"), ("a-brighter", "1"), ("b", "2")),
            "validation": _table(),
            "test": _table(("a-mirrored", "1"), ("c", "3")),
        }[split]


@pytest.fixture(scope="module")
def images():
    """Four smooth pictures; white noise has no low frequencies to tell apart."""
    return np.random.default_rng(0).integers(0, 255, (4, 6, 6, 1), np.uint8).repeat(8, 1).repeat(8, 2)


def _split(images, sha):
    return Split(images[: len(sha)], np.zeros(len(sha), np.int64), pd.DataFrame({"pixel_sha": sha}))


@pytest.mark.parametrize(
    ("sha", "expected"),
    [
        (["a-mirrored", "c"], [True, False]),  # the training dataset's own test
        (["b", "a"], [True, True]),  # pictures of train, read from elsewhere
        (["c", "c"], [False, False]),
    ],
)
def test_exact_by_photograph_where_the_dataset_is_at_hand(images, sha, expected):
    seen = seen_in_training(_split(images, sha), _Training(), None)
    assert seen.mask.tolist() == expected
    assert seen.note == EXACT


def test_by_fingerprint_where_it_is_not(images, tmp_path):
    file = tmp_path / "fingerprints.npy"
    np.save(file, fingerprint(np.stack([images[0], images[1][:, ::-1]])))  # the second one mirrored
    split = _split(images, ["w", "x", "y", "z"])
    for training in (None, _Training()):  # of another dataset's pictures, nothing is known exactly
        seen = seen_in_training(split, training, file)
        assert seen.mask.tolist() == [True, True, False, False]
        assert seen.note == APPROXIMATE


@pytest.mark.parametrize("content", [None, b"", b"text", SimpleNamespace], ids=str)
def test_unknown_is_said_and_not_guessed(images, tmp_path, content):
    file = tmp_path / "fingerprints.npy"
    if content is None:
        assert seen_in_training(_split(images, ["x"]), None, None).note == UNKNOWN
        return
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        np.save(file, np.zeros((2, 3)))  # something else
    seen = seen_in_training(_split(images, ["x"]), None, file)
    assert seen.mask is None
    assert "damaged" in seen.note
