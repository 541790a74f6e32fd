"""Finding models by name and by path."""

import os

import pytest

from fer_core.errors import ModelError
from fer_core.inference import served
from fer_core.inference.served import default_model, find_model, list_models
from fer_core.jobs.store import Job
from tests.unit.runs import write_run
from tests.unit.served_models import write_brightness_model
from tests.unit.training.conftest import make_dataset


@pytest.fixture
def run(workspace):
    dataset = make_dataset(workspace.datasets / "tiny", {"train": 14, "validation": 7, "test": 7})
    return write_run(workspace, "first", dataset)


@pytest.fixture(autouse=True)
def empty_box(tmp_path, monkeypatch):
    """No model is bundled unless a test puts one there."""
    monkeypatch.setattr(served, "_ASSETS", tmp_path / "assets")


@pytest.fixture
def bundled(tmp_path):
    return write_brightness_model(tmp_path / "assets" / "small" / "model.onnx")


def test_a_run_is_found_by_name_folder_and_file(workspace, run):
    for asked in ("first", str(run), str(run / "model.onnx")):
        model = find_model(asked, workspace)
        assert (model.name, model.path, model.run) == ("first", run / "model.onnx", run)
        assert model.card.dataset.name == "tiny"
        assert model.fingerprints == run / "fingerprints.npy"
        assert not model.bundled


def test_a_bare_onnx_file_has_no_card(workspace, tmp_path):
    model = find_model(str(write_brightness_model(tmp_path / "mine.onnx")), workspace)
    assert (model.name, model.card, model.run, model.fingerprints) == ("mine", None, None, None)


def test_bundled_models_are_found_and_listed_last(workspace, run, bundled):
    assert find_model("small", workspace).bundled
    assert [model.name for model in list_models(workspace)] == ["first", "small"]


def test_the_default_is_the_bundled_one_else_the_newest(workspace, run, tmp_path):
    newer = write_brightness_model(workspace.runs / "second" / "model.onnx")
    os.utime(newer, (2e9, 2e9))
    assert default_model(workspace).name == "second"
    write_brightness_model(tmp_path / "assets" / "small" / "model.onnx")
    assert default_model(workspace).name == "small"


def test_no_model_at_all_says_what_to_do(workspace):
    with pytest.raises(ModelError, match=r"There is no model yet\. Train one"):
        default_model(workspace)


def test_an_unknown_name_lists_the_known_ones(workspace, run):
    with pytest.raises(ModelError, match=r"'nope'\. Models: first\."):
        find_model("nope", workspace)


def test_a_missing_file_is_named(workspace, tmp_path):
    with pytest.raises(ModelError, match=r"gone\.onnx: no such model file"):
        find_model(str(tmp_path / "gone.onnx"), workspace)


def test_a_run_that_has_not_finished_says_so(workspace):
    Job.create(workspace.runs, "train", "young", [])
    with pytest.raises(ModelError, match="'young' has no model yet"):
        find_model("young", workspace)


@pytest.mark.parametrize("content", ["", "{}", "[1, 2", '{"name": 3}'])
def test_a_damaged_card_is_an_error_but_hides_no_model(workspace, run, content):
    (run / "model_card.json").write_text(content)
    with pytest.raises(ModelError, match=r"model_card\.json: not a model card"):
        find_model("first", workspace)
    assert [(model.name, model.card) for model in list_models(workspace)] == [("first", None)]


def test_runs_come_before_imported_and_bundled_models(workspace, run, bundled):
    imported = write_brightness_model(workspace.models / "mine" / "model.onnx")
    os.utime(imported, (2**31, 2**31))  # newer than the run
    assert [model.name for model in list_models(workspace)] == ["first", "mine", "small"]


def test_a_keras_file_leads_to_the_import(workspace, tmp_path):
    (tmp_path / "old.h5").write_bytes(b"")
    with pytest.raises(ModelError, match="models import"):
        find_model(str(tmp_path / "old.h5"), workspace)
