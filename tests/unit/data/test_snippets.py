"""Code that is shown for use elsewhere runs there: in a process that does not know this library, without a network."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from fer_core.data.dataset import SPLITS, Dataset
from fer_core.data.prepare import PrepareConfig, prepare
from fer_core.data.snippets import snippets
from fer_core.emotions import EMOTIONS

from .pictures import class_folders, make_zip

TELL = "import json; print(json.dumps({}, default=str))"


@pytest.fixture
def elsewhere(tmp_path):
    """Runs code and returns what its last line tells."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "HF_DATASETS_CACHE": str(tmp_path / "hf")}

    def run(code: str, tell: str):
        done = subprocess.run(
            [sys.executable, "-c", f"{code}\n{TELL.format(tell)}"],
            capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **offline}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Dataset:
    """Colour pictures at a path that has to be quoted."""
    place = tmp_path_factory.mktemp("place") / "it's \\mine"
    archive = make_zip(place.parent / "a.zip", class_folders(train=4, test=2))
    return prepare([str(archive)], place / "faces", PrepareConfig(size=32, color=True))


def of_train(dataset: Dataset) -> int:
    return sum(dataset.counts()["train"].values())


def test_datasets_reads_every_split_with_pictures_and_class_names(leak_free, elsewhere):
    files = {split: str(leak_free.folder / f"{split}-*.parquet") for split in SPLITS}
    code = f"""
from datasets import load_dataset

sides = [load_dataset("parquet", data_files={files!r}), load_dataset({str(leak_free.folder)!r})]
"""
    of_side = '{name: [len(part), part.features["label"].names, part[0]["image"].size] for name, part in side.items()}'
    sizes = {split: sum(counts.values()) for split, counts in leak_free.counts().items()}
    expected = {split: [n, list(EMOTIONS), [48, 48]] for split, n in sizes.items()}
    assert elsewhere(code, f"[{of_side} for side in sides]") == [expected, expected]


def test_the_line_for_datasets_runs(faces, elsewhere):
    found = elsewhere(snippets(faces)["datasets"], "[len(faces), picture.size, label]")
    assert found == [of_train(faces), [32, 32], EMOTIONS[faces.table("train")["label"][0]]]


def test_the_line_for_pandas_runs(faces, elsewhere):
    found = elsewhere(snippets(faces)["pandas"], "[len(faces), encoded.hex(), int(label)]")
    assert found == [
        of_train(faces),
        faces.encoded("train", [0])[0].hex(),
        int(faces.table("train")["label"][0]),
    ]


SHAPES = "[list(images.shape), str(images.dtype), int(images[0].sum()), labels.tolist()]"


def expected_arrays(dataset: Dataset) -> list:
    split = dataset.split("train")
    return [list(split.images.shape), "uint8", int(split.images[0].sum()), split.labels.tolist()]


def test_the_line_for_keras_gives_arrays_of_gray_and_colour_pictures(faces, leak_free, elsewhere):
    for dataset in (faces, leak_free):
        assert elsewhere(snippets(dataset)["Keras"], SHAPES) == expected_arrays(dataset)


@pytest.mark.slow
def test_keras_fits_the_arrays_of_its_line(faces, elsewhere):
    fit = """
import keras

model = keras.Sequential([keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(7)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
losses = model.fit(images, labels, epochs=30, verbose=0).history["loss"]
"""
    losses = elsewhere(snippets(faces)["Keras"] + fit, "losses")
    assert losses[-1] < losses[0] / 2


def test_the_line_for_pytorch_runs(faces, elsewhere):
    code = snippets(faces)["PyTorch"]
    compile(code, "snippet", "exec")
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed: its line was compiled, but not run")
    tell = "[sum(len(b['label']) for b in batches), list(next(iter(batches))['image'].shape[1:]), str(b_type)]"
    found = elsewhere(f"{code}\nb_type = next(iter(batches))['image'].dtype", tell)
    assert found == [of_train(faces), [faces.info.channels, 32, 32], "torch.uint8"]


def test_without_training_images_the_first_split_that_has_some_is_read(tmp_path, place, elsewhere):
    from fer_core.data.config import Policy

    archive = make_zip(tmp_path / "a.zip", class_folders(train=1, test=1))
    dataset = prepare([str(archive)], place / "a", PrepareConfig(policy=Policy.EVALUATION_ONLY))
    assert [sum(dataset.counts()[split].values()) for split in SPLITS] == [0, 0, 7]
    assert elsewhere(snippets(dataset)["datasets"], "len(faces)") == 7
