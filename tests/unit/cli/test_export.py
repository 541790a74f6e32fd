"""``export`` as typed at a terminal: what it writes, what it says of that, and what it refuses."""

import json
import shutil

import numpy as np
import pytest

from fer_core.inference.served import default_model
from fer_core.models.storage import ROUNDINGS
from tests.unit.command_line import call
from tests.unit.runs import write_finished_run
from tests.unit.training.conftest import make_dataset

VALIDATION = 70


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A small network of ours, as a run saves it."""
    import keras

    from fer_core.models.architectures import build
    from fer_core.training.config import load_preset

    keras.utils.set_random_seed(0)
    file = tmp_path_factory.mktemp("network") / "best.keras"
    build(load_preset("compact"), (16, 16, 1)).save(file)
    return file


@pytest.fixture
def run(workspace, network):
    dataset = make_dataset(workspace.datasets / "tiny", {"train": 14, "validation": VALIDATION, "test": 7})
    folder = write_finished_run(workspace, "a", dataset)
    shutil.copy(network, folder / "best.keras")
    return folder


def test_the_network_is_written_whole_also_over_itself(run, network, tmp_path, capfd):
    for file in (tmp_path / "a.keras", run / "best.keras"):
        code, _, err = call(capfd, "export", "a", "--format", "keras", "--out", file)
        assert code == 0, err
        assert file.read_bytes() == network.read_bytes()
        assert not list(file.parent.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("kind", "ending"), [("onnx", "onnx"), ("keras", "keras"), pytest.param("litert", "tflite", marks=pytest.mark.slow)]
)
def test_every_format_is_measured_beside_the_run_on_its_validation_split(run, tmp_path, capfd, kind, ending):
    file = tmp_path / f"a.{ending}"
    code, out, err = call(capfd, "export", "a", "--format", kind, "--out", file, "--json")
    assert code == 0, err
    document = json.loads(out)
    measured = document["measured"]
    assert document["bytes"] == file.stat().st_size
    assert measured["exported"]["size_mib"] == pytest.approx(file.stat().st_size / 2**20)
    assert (measured["n"], measured["pictures"]) == (VALIDATION, "validation images of tiny")
    assert 0 <= measured["mean_difference"] <= measured["largest_difference"] <= measured["tolerance"] == 1e-4
    assert measured["agreement"] == 1
    assert measured["original"]["accuracy"] == measured["exported"]["accuracy"] is not None
    assert measured["exported"]["ms_per_face"].keys() == {"1", "16"}
    assert not list(tmp_path.glob(".*"))


def test_the_table_is_for_people(run, tmp_path, capfd):
    code, out, err = call(capfd, "export", "a", "--format", "keras", "--out", tmp_path / "a.keras")
    assert code == 0, err
    for words in ("Keras 3", "read again", "size, MiB", "batch of 1 ", "batch of 16", "accuracy", "1e-04 is allowed"):
        assert words in out
    assert f"n {VALIDATION} validation images of tiny" in out
    assert f"Wrote {tmp_path / 'a.keras'}" in err


def test_made_up_pictures_stand_in_for_a_dataset_that_is_gone(run, workspace, tmp_path, capfd):
    shutil.rmtree(workspace.datasets / "tiny")
    code, out, err = call(capfd, "export", "a", "--format", "keras", "--out", tmp_path / "a.keras", "--json")
    assert code == 0, err
    measured = json.loads(out)["measured"]
    assert measured["pictures"].startswith("made-up pictures, because the run's own are not at hand: ")
    assert measured["n"] > 0
    assert measured["original"]["accuracy"] is measured["exported"]["accuracy"] is None


def test_onnx_goes_into_the_run_with_its_size_on_the_card(run, capfd):
    before = (run / "model.onnx").read_bytes()
    code, _, err = call(capfd, "export", "a")
    assert code == 0, err
    content = (run / "model.onnx").read_bytes()
    assert content != before
    assert json.loads((run / "model_card.json").read_bytes())["size_mib"] == round(len(content) / 2**20, 2)


@pytest.mark.parametrize(
    ("storage", "limited", "share"),
    [
        pytest.param("float16", "largest_difference", 0.55, marks=pytest.mark.slow),
        ("int8", "mean_difference", 0.3),
    ],
)
def test_fewer_bits_make_a_smaller_file_within_a_tolerance_of_their_own(run, capfd, storage, limited, share):
    code, out, err = call(capfd, "export", "a", "--storage", storage, "--json")
    assert code == 0, err
    document, size = json.loads(out), (run / "model.onnx").stat().st_size
    assert (document["storage"], document["bytes"]) == (storage, size)
    rounding = ROUNDINGS[storage]
    assert 0 < document["measured"][limited] <= document["measured"]["tolerance"] == rounding.tolerance
    assert rounding.note in json.loads((run / "model_card.json").read_bytes())["notes"]
    assert call(capfd, "export", "a")[0] == 0  # in full precision again
    assert size < share * (run / "model.onnx").stat().st_size
    assert rounding.note not in json.loads((run / "model_card.json").read_bytes())["notes"]


def test_eight_bits_need_the_pictures_that_were_trained_on(run, workspace, capfd):
    shutil.rmtree(workspace.datasets / "tiny")
    code, _, err = call(capfd, "export", "a", "--storage", "int8")
    assert code == 2
    assert "tiny" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_fewer_bits_are_for_onnx_alone(run, tmp_path, capfd):
    code, _, err = call(capfd, "export", "a", "--storage", "int8", "--format", "keras", "--out", tmp_path / "a.keras")
    assert code == 2
    assert "--storage is for ONNX files: leave it out to write keras, or give --format onnx." in err


@pytest.mark.parametrize(
    ("kind", "error"), [("onnx", np.nan), ("keras", -2e-4), pytest.param("litert", 2e-4, marks=pytest.mark.slow)]
)
def test_what_answers_otherwise_is_not_written(run, tmp_path, capfd, monkeypatch, kind, error):
    from fer_core.models import run_export

    write = run_export._WRITERS[kind]

    def off(*arguments):
        file, candidate = write(*arguments)
        return file, run_export.Candidate(
            candidate.runtime, candidate.size, lambda images: candidate.classify(images) + np.float32(error)
        )

    monkeypatch.setitem(run_export._WRITERS, kind, off)
    file = tmp_path / "a.model"
    file.write_bytes(b"the previous one")
    code, _, err = call(capfd, "export", "a", "--format", kind, "--out", file)
    assert code == 2
    told = err.splitlines()[-1]
    assert f"on {VALIDATION} validation images of tiny, where 1e-04 is allowed. Nothing was written." in told
    assert file.read_bytes() == b"the previous one"


def test_a_folder_is_no_file_to_write(run, tmp_path, capfd):
    code, _, err = call(capfd, "export", "a", "--out", tmp_path)
    assert code == 2
    assert f"Name the file to write, as --out {tmp_path}/a.onnx." in err


def test_a_damaged_network_is_named(run, tmp_path, capfd):
    (run / "best.keras").write_bytes(b"a network")
    code, _, err = call(capfd, "export", "a", "--out", tmp_path / "a.onnx")
    assert code == 2
    assert "best.keras: damaged" in err
    assert not list(tmp_path.glob("*.onnx"))


def test_a_model_that_is_no_run_is_not_exported_and_told_where_it_lies(workspace, capfd):
    name = default_model(workspace).name
    code, _, err = call(capfd, "export", name)
    assert code == 2
    assert f"{name} is an ONNX file already, " in err
