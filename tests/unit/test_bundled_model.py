"""The model in the box: what its card says is what it does, and the README repeats the card."""

import json

import numpy as np
import pytest

from benchmarks.bundle import bundle
from docs.results_table import with_tables
from fer_core.data.demo import draw_demo
from fer_core.data.prepare import PrepareConfig, prepare
from fer_core.data.sources import read_split
from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError
from fer_core.inference.faces import load_detector
from fer_core.inference.images import Picture, read_picture, sample_photograph
from fer_core.inference.predictor import Predictor
from fer_core.inference.served import default_model, find_model
from tests.conftest import ROOT
from tests.unit.runs import write_run


@pytest.fixture
def model(workspace):
    """What a user has on first launch."""
    return default_model(workspace)


def test_it_ships_with_card_and_fingerprints_and_both_figures(model):
    assert model.bundled
    assert not model.card.dataset.contaminated
    assert model.card.labels == list(EMOTIONS)
    assert {"validation", "test"} <= model.card.metrics.keys()
    assert model.card.test_reveals >= 1
    fingerprints = np.load(model.fingerprints)
    assert fingerprints.shape[1:] == (32,)
    assert fingerprints.dtype == np.uint8


def test_it_finds_and_reads_the_sample_photograph(model):
    picture = Picture("astronaut.png", sample_photograph().read_bytes())
    faces = read_picture(picture, Predictor.load(model), load_detector("haar"), 0.0).faces
    assert [face.emotion for face in faces] == ["happy"]  # she smiles


def test_its_card_repeats_what_it_does_on_the_real_test_images(model, real_data):
    official = model.card.metrics["test"]
    split = read_split(str(real_data / "fer2013.zip"), "test", (48, 48), 1)
    predicted = Predictor.load(model).classify(split.images).argmax(axis=1)
    assert len(split) == official.n
    # Another processor may round a handful of undecided pictures the other way.
    assert (predicted == split.labels).mean() == pytest.approx(official.accuracy, abs=0.001)
    assert official.accuracy >= 0.63


def test_the_readme_repeats_the_cards_and_the_benchmarks():
    readme = (ROOT / "README.md").read_text()
    assert with_tables(readme) == readme


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    return prepare([str(path) for path in draw_demo(folder)], folder / "faces", PrepareConfig())


def test_a_run_is_bundled_only_with_a_test_figure(workspace, faces, tmp_path):
    folder = write_run(workspace, "bright", faces)
    with pytest.raises(FerError, match="was not scored on test yet"):
        bundle(find_model("bright", workspace), "box", tmp_path)
    card = json.loads((folder / "model_card.json").read_text())
    card["dataset"]["contaminated"] = True
    (folder / "model_card.json").write_text(json.dumps(card))
    with pytest.raises(FerError, match="its scores would mislead"):
        bundle(find_model("bright", workspace), "box", tmp_path)
    assert list(tmp_path.glob("box/*")) == []
