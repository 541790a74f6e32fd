"""Datasets that are damaged, edited or of another version of this program: told in one sentence, never read wrongly."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fer_core.data.dataset import LEFT_OUT, SPLITS, Dataset
from fer_core.errors import DatasetError

from ..command_line import call

POSITIONS = 60


@pytest.fixture
def dataset(leak_free, workspace) -> Dataset:
    """A copy that may be damaged, under a name in the workspace."""
    return Dataset.open(shutil.copytree(leak_free.folder, workspace.datasets / "mine"))


def flips(file: Path) -> Iterator[None]:
    """The file with one bit flipped, again and again; every other time near its end, where Parquet lists its pages."""
    good = file.read_bytes()
    chance = random.Random(file.name)
    for number in range(POSITIONS):
        place = chance.randrange(max(0, len(good) - 3000) if number % 2 else 0, len(good))
        bad = bytearray(good)
        bad[place] ^= 1 << chance.randrange(8)
        file.write_bytes(bad)
        yield
    file.write_bytes(good)


def attempt(read: Callable[[], object]) -> object:
    """What reading gives, or the sentence in which it is told why it cannot be read."""
    try:
        return read()
    except DatasetError as error:
        return str(error)


@pytest.mark.parametrize("split", [*SPLITS, LEFT_OUT])
def test_a_flipped_bit_in_a_shard_is_told(dataset, split):
    (shard,) = dataset.folder.glob(f"{split}-*.parquet")
    sentence = f"{shard}: this file of the dataset is missing or damaged. Prepare the dataset again."
    table = dataset.table(split)
    pictures = dataset.encoded(split, range(len(table)))
    told = 0
    for _ in flips(shard):
        assert attempt(dataset.check) == sentence
        if split != LEFT_OUT:
            assert attempt(lambda: dataset.split(split)) == sentence
        # A gallery reads parts of the file: it may come by without touching the flipped one.
        seen = attempt(lambda: dataset.encoded(split, range(len(table))))
        assert seen in (pictures, sentence)
        told += seen == sentence
        rows = attempt(lambda: dataset.table(split))
        assert rows == sentence if isinstance(rows, str) else table.equals(rows)
    assert told > POSITIONS / 2
    dataset.check()


@pytest.mark.parametrize("name", ["copies", "findings"])
def test_a_flipped_bit_in_the_copies_or_findings_is_told(dataset, capfd, name):
    for _ in flips(dataset.folder / f"{name}.parquet"):
        with pytest.raises(DatasetError, match=rf"{name}\.parquet: .*missing or damaged"):
            getattr(dataset, name)()
    next(flips(dataset.folder / f"{name}.parquet"))
    code, out, err = call(capfd, "data", "audit", "mine")
    assert (code, out) == (2, "")
    assert f"{name}.parquet: this file of the dataset is missing or damaged" in err.splitlines()[-1]


def test_a_flipped_bit_in_the_description_is_told(dataset):
    told = 0
    for _ in flips(dataset.folder / "dataset.json"):
        found = attempt(lambda: Dataset.open(dataset.folder))
        if isinstance(found, Dataset):  # the name of the checksum's field was hit
            assert found.info.model_copy(update={"checksum": dataset.info.checksum}) == dataset.info
        else:
            assert str(found).startswith(str(dataset.folder / "dataset.json"))
            told += 1
    assert told > POSITIONS / 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"height": 48', '"height": 96'),
        ('"contaminated": false', '"contaminated": true'),
        ('"name": "demo"', '"name": "\\ud800"'),
        ("{", "[" * 100_000),
        ("{", "\xff{"),
    ],
)
def test_an_edited_description_is_refused(dataset, old, new):
    file = dataset.folder / "dataset.json"
    file.write_bytes(file.read_text().replace(old, new).encode("latin-1"))
    with pytest.raises(DatasetError, match=r"damaged or not ours\. Prepare the dataset again"):
        Dataset.open(dataset.folder)


@pytest.mark.parametrize("missing", ["train-00000-of-00001.parquet", "copies.parquet"])
def test_a_missing_file_is_told(dataset, missing):
    (dataset.folder / missing).unlink()
    with pytest.raises(DatasetError, match=f"{missing}: .*missing or damaged"):
        dataset.check()


def test_files_that_lie_about_change_nothing(dataset):
    shutil.copy(dataset.folder / "train-00000-of-00001.parquet", dataset.folder / "train-00000-of-00001 (1).parquet")
    (dataset.folder / "train-00000-of-00002.parquet").write_bytes(b"")
    assert len(dataset.split("train")) == len(dataset.table("train"))


def test_datasets_from_before_there_were_checksums_are_read(dataset):
    file = dataset.folder / "dataset.json"
    document = json.loads(file.read_text())
    del document["files"], document["checksum"]
    file.write_text(json.dumps(document))
    older = Dataset.open(dataset.folder)
    older.check()
    np.testing.assert_array_equal(older.split("test").images, dataset.split("test").images)
    shard = dataset.folder / "test-00000-of-00001.parquet"
    shard.write_bytes(shard.read_bytes().replace(b"PublicTest", b"XublicTest"))
    with pytest.raises(DatasetError, match="missing or damaged"):
        older.split("test")


def described(version: object) -> str:
    return json.dumps({"schema_version": version, "name": ["in", "other", "shapes"], "splits": 4})


@pytest.mark.parametrize("command", [["data", "balance", "mine", "--out", "even"], ["data", "audit", "mine"]])
def test_a_dataset_of_a_newer_version_asks_for_an_update(dataset, capfd, command):
    for description in (
        described(2),
        (dataset.folder / "dataset.json").read_text().replace('"schema_version": 1', '"schema_version": 99'),
    ):
        (dataset.folder / "dataset.json").write_text(description)
        with pytest.raises(DatasetError, match=r"newer version of this program.*Update this program"):
            Dataset.open(dataset.folder)
        code, out, err = call(capfd, *command)
        assert (code, out) == (2, "")
        (line,) = err.splitlines()
        assert "made by a newer version of this program" in line
        assert "again" not in line


@pytest.mark.parametrize("version", [0, -1, None, "2", 1.5, True, [2], "missing"])
def test_a_dataset_of_an_older_or_unknown_version_is_to_be_prepared_again(dataset, version):
    document = json.loads(described(version))
    if version == "missing":
        del document["schema_version"]
    (dataset.folder / "dataset.json").write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="Prepare the dataset again"):
        Dataset.open(dataset.folder)
