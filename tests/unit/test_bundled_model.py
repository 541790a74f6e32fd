"""The model in the box: what its card says is what it does, and the README repeats the card."""

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchmarks import model_readme
from benchmarks.bundle import bundle
from docs.results_table import with_tables
from fer_core.data.demo import draw_demo
from fer_core.data.prepare import PrepareConfig, prepare
from fer_core.data.sources import read_split
from fer_core.doctor import examine
from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError
from fer_core.evaluation.report import evaluate_predictions
from fer_core.inference import served
from fer_core.inference.card_text import leak_words
from fer_core.inference.faces import load_detector
from fer_core.inference.images import Picture, read_picture, sample_photograph
from fer_core.inference.predictor import Predictor
from fer_core.inference.served import ModelCard, default_model, find_model
from fer_core.models.storage import ROUNDINGS
from tests.conftest import ROOT
from tests.unit.runs import write_finished_run, write_run


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
    assert model.path.stat().st_size <= 5_000_000
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
    assert official.accuracy >= 0.68
    assert official.ece <= 0.03


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


def write_scored_run(workspace, dataset):
    """A run with scores that are not its model's, looked at three times elsewhere."""
    folder = write_finished_run(workspace, "bright", dataset, changes=["phases.0.mixup=0.2"])
    other = evaluate_predictions(np.eye(7), np.arange(7), None, "")
    card = ModelCard.model_validate_json((folder / "model_card.json").read_bytes())
    card = card.model_copy(update={"metrics": {"validation": other, "test": other}, "test_reveals": 3})
    (folder / "model_card.json").write_text(card.model_dump_json())
    return find_model("bright", workspace)


@pytest.fixture
def quick(monkeypatch):
    """Made-up models have no convolutions to store in eight bits: they come out as they went in, under another name."""
    monkeypatch.setattr(model_readme, "_SECONDS", 0.01)
    monkeypatch.setattr("benchmarks.bundle.in_int8", renamed)


def renamed(content, images):
    assert len(images)
    model = onnx.load_from_string(content)
    model.producer_name = "eight bits"
    return model.SerializeToString()


def test_what_is_shipped_is_scored_again_and_described(workspace, faces, tmp_path, monkeypatch, quick):
    folder = bundle(write_scored_run(workspace, faces), "box", tmp_path)
    card = ModelCard.model_validate_json((folder / "model_card.json").read_bytes())
    for split in ("validation", "test"):
        images = faces.split(split)
        said = Predictor.load(folder / "model.onnx").classify(images.images)
        assert card.metrics[split].n == len(images)
        assert card.metrics[split].accuracy == (said.argmax(axis=1) == images.labels).mean()
        assert card.metrics[split].leak_free.accuracy is not None
    assert card.test_reveals == 4
    readme = (folder / "README.md").read_text()
    low, high = card.metrics["test"].ci95
    counts = {split: sum(classes.values()) for split, classes in faces.counts().items()}
    for words in (
        f"| test | {card.metrics['test'].accuracy:.1%} | {low:.1%} to {high:.1%} | {counts['test']:,} | Clean |",
        f"| Images | {counts['train']:,} train, {counts['validation']:,} validation, {counts['test']:,} test |",
        faces.info.fingerprint,
        "| `phases.0.mixup` | 0.2 |",
        "seed 42",
        f"| Size | {(folder / 'model.onnx').stat().st_size:,} bytes |",
        "| ms per face, batch of 16 | ",
        "with 2 threads; ",
        *card.limits,
        *card.notes,
    ):
        assert words in readme
    monkeypatch.setattr(served, "_ASSETS", tmp_path)
    (row,) = (check for check in examine(workspace).checks if check.check == "Bundled model box")
    assert row.found.endswith("checksums hold")
    with (folder / "README.md").open("a") as file:
        file.write("The best there is.")
    (row,) = (check for check in examine(workspace).checks if check.check == "Bundled model box")
    assert row.found.endswith("README.md is not as it was shipped")


def test_scores_of_images_that_it_has_learnt_from_are_said_to_be_leaky(workspace, faces, tmp_path, monkeypatch, quick):
    def score(file, source, split):
        seen = np.arange(7) < (2 if split == "test" else 0)
        return None, None, evaluate_predictions(np.eye(7), np.arange(7), seen, "")

    monkeypatch.setattr("benchmarks.bundle.score", score)
    folder = bundle(write_scored_run(workspace, faces), "box", tmp_path)
    card = ModelCard.model_validate_json((folder / "model_card.json").read_bytes())
    assert [leak_words(card, split) for split in card.metrics] == ["Clean", "Leaky · 2 of 7"]


def test_what_is_shipped_is_stored_in_eight_bits(workspace, faces, tmp_path, quick):
    run = write_scored_run(workspace, faces)
    before = run.path.read_bytes()
    folder = bundle(run, "box", tmp_path)
    assert onnx.load(folder / "model.onnx").producer_name == "eight bits"
    card = ModelCard.model_validate_json((folder / "model_card.json").read_bytes())
    assert card.size_mib == round((folder / "model.onnx").stat().st_size / 2**20, 2)
    told = "That changes probabilities by 0.0e+00 on average and 0.0e+00 at most, on "
    assert card.notes[-1].startswith(f"{ROUNDINGS['int8'].note} {told}")
    assert card.notes[-1].endswith("100.0% keep their top class.")
    assert run.path.read_bytes() == before


def test_a_file_that_answers_otherwise_in_eight_bits_is_not_shipped(workspace, faces, tmp_path, monkeypatch):
    def darker(content, images):
        model = onnx.load_from_string(content)
        for weight in model.graph.initializer:
            if weight.data_type == onnx.TensorProto.FLOAT and weight.dims:
                values = numpy_helper.to_array(weight)
                weight.CopyFrom(numpy_helper.from_array(np.roll(values, 1, axis=-1), weight.name))
        return model.SerializeToString()

    monkeypatch.setattr("benchmarks.bundle.in_int8", darker)
    with pytest.raises(FerError, match=r"^Eight bits change probabilities by .* 1e-02 is allowed on average"):
        bundle(write_scored_run(workspace, faces), "box", tmp_path)
    assert not (tmp_path / "box").exists()
