"""``models import``, ``list``, ``show`` and ``delete`` as a user at a terminal sees them."""

import hashlib
import json
import os
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

from fer_core.emotions import EMOTIONS
from fer_core.evaluation.orders import ORDERS
from fer_core.inference.served import ModelCard, default_model, find_model
from fer_core.models.foreign import MAX_BYTES
from tests.unit.command_line import call
from tests.unit.foreign_models import Foreign
from tests.unit.served_models import CENTRES, write_brightness_model
from tests.unit.training.conftest import make_dataset

NOT_KNOWN = "What it was trained on is not known"


@pytest.fixture(scope="module")
def notebook_model(tmp_path_factory):
    """A file as a notebook leaves it: brightness is the class, in alphabetical order, of pixels from 0 to 1."""
    from fer_core.training import backend

    backend.load(2)
    import keras
    from keras import layers

    centres = (CENTRES / 255)[[EMOTIONS.index(emotion) for emotion in ORDERS["alphabetical"]]]
    model = keras.Sequential(
        [keras.Input((16, 16, 1)), layers.GlobalAveragePooling2D(), layers.Dense(7, activation="softmax")]
    )
    # The nearest centre has the largest 2mc - c².
    model.set_weights([600 * centres[None], -300 * centres**2])
    model.compile("adam", "categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    file = tmp_path_factory.mktemp("notebook") / "best_emotion_model.h5"
    model.save(file)
    return file


@pytest.fixture
def dataset(workspace):
    return make_dataset(workspace.datasets / "squares", {"train": 7, "validation": 70, "test": 7})


@pytest.mark.slow
def test_an_old_file_becomes_a_model_that_is_evaluated_used_and_deleted(
    capfd, workspace, dataset, notebook_model, tmp_path
):
    code, out, err = call(capfd, "models", "import", notebook_model, "--labels", "detect", "--dataset", "squares")
    assert code == 0, err
    assert "order fits 100 %, FER2013 order 57 % of 70 validation pictures of squares" in out
    folder = workspace.models / "best_emotion_model"
    assert {file.name for file in folder.iterdir()} == {"model.onnx", "model_card.json"}
    assert list(workspace.models.iterdir()) == [folder]  # nothing half-made stays
    card = ModelCard.model_validate_json((folder / "model_card.json").read_bytes())
    assert not card.dataset.known
    assert any(NOT_KNOWN in note for note in card.notes)

    code, out, _ = call(capfd, "evaluate", "best_emotion_model", "squares", "--json")
    report = json.loads(out)
    assert (code, report["accuracy"], report["leak_free"]["accuracy"]) == (0, 1.0, None)
    assert "Not known" in report["leak_free"]["note"]

    import cv2

    cv2.imwrite(str(tmp_path / "face.png"), np.full((16, 16), int(CENTRES[6]), np.uint8))
    code, out, _ = call(capfd, "predict", tmp_path / "face.png", "--model", "best_emotion_model", "--json")
    assert json.loads(out)[0]["faces"][0]["emotion"] == "neutral"

    code, out, _ = call(capfd, "models", "show", "best_emotion_model")
    assert "reads 16x16x1" in out
    assert NOT_KNOWN in out
    assert "phase 1" not in out
    assert "best_emotion_model" in call(capfd, "models", "list")[1]
    code, _, err = call(capfd, "models", "import", notebook_model, "--labels", "fer2013")
    assert (code, "named 'best_emotion_model' already" in err) == (2, True)
    assert call(capfd, "models", "delete", "best_emotion_model", "--yes")[0] == 0
    assert list(workspace.models.iterdir()) == []


def test_code_of_a_stranger_ends_as_one_line_and_leaves_nothing(capfd, workspace, tmp_path):
    import h5py

    file = tmp_path / "evil.h5"
    with h5py.File(file, "w") as content:
        layers = [{"class_name": "Lambda", "config": {"function": ["code", None, None]}}]
        content.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": layers}})
    code, out, err = call(capfd, "models", "import", file, "--labels", "fer2013")
    assert (code, out) == (2, "")
    assert "Lambda layer, which is Python code" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert list(workspace.models.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope.h5", "--labels", "fer2013"], "nope.h5: no such file"),
        (["FILE", "--labels", "angry"], "1 names, not each class once"),
        (["FILE", "--labels", "detect"], "needs labelled pictures: name a dataset with --dataset"),
        (["FILE", "--labels", "fer2013", "--scale", "0-2"], "--scale 0-2: unknown"),
        (["FILE", "--labels", "fer2013", "--name", "compact"], "preset named 'compact' already"),
        (["FILE", "--labels", "fer2013", "--name", "../x"], "cannot be the name of a model"),
        (["FILE", "--labels", "detect", "--dataset", "nope"], "No prepared dataset named or at 'nope'"),
        (["FILE"], "say in which order its outputs stand: --labels fer2013, alphabetical"),
    ],
)
def test_a_wrong_call_is_one_line(capfd, workspace, notebook_model, arguments, message):
    given = [str(notebook_model) if argument == "FILE" else argument for argument in arguments]
    code, out, err = call(capfd, "models", "import", *given)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert not list(workspace.models.glob("*"))


def test_what_is_looked_into_is_what_is_loaded(capfd, workspace, notebook_model, tmp_path, monkeypatch):
    """Another file takes the place of the first while that is converted."""
    file = tmp_path / "swapped.h5"
    shutil.copy(notebook_model, file)
    run = subprocess.run

    def swap(*arguments, **options):
        file.write_bytes(b"another")
        return run(*arguments, **options)

    monkeypatch.setattr("fer_core.models.importing.subprocess.run", swap)
    code, out, err = call(capfd, "models", "import", file, "--labels", "alphabetical")
    assert code == 0, err
    assert hashlib.sha256(notebook_model.read_bytes()).hexdigest()[:16] in out


def test_a_refusal_names_the_file_that_was_given(capfd, tmp_path):
    file = tmp_path / "cut.h5"
    file.write_bytes(b"\x89HDF\r\n\x1a\n")
    code, _, err = call(capfd, "models", "import", file, "--labels", "alphabetical")
    assert (code, err.splitlines()[-1].count(f"{file}: damaged or cut short")) == (2, 1)


@pytest.mark.parametrize(
    ("make", "free", "message"),
    [
        (lambda file: file.write_bytes(bytes(1000)), 1999, "a.h5: looking into it needs 0.0 GB"),
        (lambda file: os.truncate(file.open("w").name, MAX_BYTES + 1), 2**40, "a.h5: 4.0 GB; models of up to 4 GB"),
        (lambda file: file.write_bytes(b""), 2**40, "a.h5: the file is empty"),
        (lambda file: os.mkfifo(file), 2**40, "a.h5: not a file"),
    ],
)
def test_what_cannot_be_copied_is_told_before(capfd, workspace, tmp_path, monkeypatch, make, free, message):
    make(tmp_path / "a.h5")
    monkeypatch.setattr("fer_core.models.importing.shutil.disk_usage", lambda folder: SimpleNamespace(free=free))
    code, out, err = call(capfd, "models", "import", tmp_path / "a.h5", "--labels", "alphabetical")
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert not list(workspace.models.glob("*"))


def test_a_damaged_dataset_is_not_taken_for_pictures(capfd, dataset, notebook_model):
    (dataset.folder / "dataset.json").write_text("{")
    code, _, err = call(capfd, "models", "import", notebook_model, "--labels", "detect", "--dataset", dataset.folder)
    assert code == 2
    assert "dataset.json" in err.splitlines()[-1]


def test_a_conversion_that_does_not_end_is_stopped(capfd, workspace, notebook_model, monkeypatch):
    monkeypatch.setattr("fer_core.models.importing.TIME_LIMIT", 0.01)
    code, _, err = call(capfd, "models", "import", notebook_model, "--labels", "fer2013")
    assert (code, "was stopped" in err.splitlines()[-1]) == (2, True)
    assert list(workspace.models.iterdir()) == []


def test_only_imported_models_are_deleted(capfd, workspace):
    file = write_brightness_model(workspace.runs / "first" / "model.onnx")
    shutil.copytree(file.parent, workspace.models / "old")
    for name in ("first", "nope", "../runs/first"):
        code, _, err = call(capfd, "models", "delete", name, "--yes")
        assert code == 2, err
    assert file.is_file()
    assert call(capfd, "models", "delete", "old", "--yes")[0] == 0
    assert not (workspace.models / "old").exists()


def test_an_onnx_file_of_ours_is_taken_with_the_card_beside_it(capfd, workspace):
    bundled = default_model(workspace)
    code, out, err = call(capfd, "models", "import", bundled.path, "--name", "copy", "--json")
    assert code == 0, err
    assert json.loads(out)["path"] == str(workspace.models / "copy" / "model.onnx")
    assert find_model("copy", workspace).card.metrics == bundled.card.metrics


@pytest.mark.parametrize("labels", ["alphabetical", "fer2013"])
def test_an_onnx_file_of_other_classes_is_refused(capfd, workspace, tmp_path, labels):
    file = write_brightness_model(tmp_path / "five.onnx", classes=5)
    code, out, err = call(capfd, "models", "import", file, "--labels", labels)
    assert (code, out) == (2, "")
    assert "made for other classes" in err.splitlines()[-1]
    assert not list(workspace.models.glob("*"))


def test_an_onnx_file_made_elsewhere_is_imported_like_a_keras_file(capfd, workspace, dataset, tmp_path):
    made = Foreign(16)
    file = made.write(tmp_path / "theirs.onnx")
    code, _, err = call(capfd, "evaluate", file, "squares")
    assert (code, "python -m fer_core models import FILE --labels ORDER" in err.splitlines()[-1]) == (2, True)
    code, _, err = call(capfd, "models", "import", file, "--scale", "0-255")
    assert (code, "say in which order its outputs stand" in err.splitlines()[-1]) == (2, True)

    code, out, err = call(capfd, "models", "import", file, "--labels", "alphabetical", "--scale", "-1-1")
    assert code == 0, err
    assert "theirs: reads 16x16x1" in out
    assert "Pixel values as stated: -1-1." in out
    assert NOT_KNOWN in out
    split = dataset.split("validation")
    said = made.answers(split.images / 127.5 - 1, ORDERS["alphabetical"]).argmax(axis=1)
    code, out, err = call(capfd, "evaluate", "theirs", "squares", "--json")
    assert code == 0, err
    assert json.loads(out)["accuracy"] == pytest.approx((said == split.labels).mean())
