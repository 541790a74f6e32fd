"""``predict`` as a user at a terminal sees it."""

import json
import shutil
import zipfile

import pytest

from fer_core.emotions import EMOTIONS
from fer_core.inference.images import sample_photograph
from fer_core.inference.served import default_model
from tests.unit.command_line import call
from tests.unit.inference.test_faces import FACE, overlap
from tests.unit.served_models import write_brightness_model


@pytest.fixture(autouse=True)
def model(workspace):
    write_brightness_model(workspace.runs / "bright" / "model.onnx")


def test_json_of_a_photograph_is_one_document_with_the_promised_keys(capfd, workspace):
    code, out, err = call(capfd, "predict", sample_photograph(), "--json")
    (picture,) = json.loads(out)
    assert code == 0
    assert picture["path"] == str(sample_photograph())
    assert picture["error"] is None
    (face,) = picture["faces"]
    assert list(face) == ["box", "score", "emotion", "uncertain", "unreliable", "probabilities"]
    assert overlap(face["box"], FACE) > 0.7
    assert list(face["probabilities"]) == list(EMOTIONS)
    assert max(face["probabilities"], key=face["probabilities"].get) == face["emotion"]
    assert f"Model: {default_model(workspace).name}" in err


def test_some_unreadable_pictures_give_exit_code_one(capfd, tmp_path):
    folder = tmp_path / "album"
    folder.mkdir()
    shutil.copy(sample_photograph(), folder / "a.png")
    (folder / "b.jpg").write_text("no picture")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(sample_photograph(), "c.png")
        archive.writestr("../d.png", b"")
    code, out, _ = call(capfd, "predict", folder, tmp_path / "more.zip", "--json")
    assert code == 1
    pictures = {picture["path"].rpartition("/")[2]: picture for picture in json.loads(out)}
    assert [len(pictures[name]["faces"]) for name in ("a.png", "b.jpg", "c.png", "d.png")] == [1, 0, 1, 0]
    assert "not a picture" in pictures["b.jpg"]["error"]
    assert "leaves the archive" in pictures["d.png"]["error"]


def test_a_picture_without_a_face_says_what_to_try(capfd, tmp_path):
    from PIL import Image

    Image.new("RGB", (200, 200), "gray").save(tmp_path / "wall.png")
    code, out, err = call(capfd, "predict", tmp_path / "wall.png")
    assert code == 0
    assert "no face found" in out
    assert "--detector none" in err
    code, out, _ = call(capfd, "predict", tmp_path / "wall.png", "--detector", "none", "--json")
    assert json.loads(out)[0]["faces"][0]["box"] == [0, 0, 200, 200]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.jpg"], "nowhere.jpg: no such file or folder"),
        (["--detector", "retina", "."], "No face detector is named 'retina'"),
        (["--model", "nope", "."], "No model named or at 'nope'"),
        (["."], "No pictures in ."),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_two(capfd, tmp_path, monkeypatch, arguments, message):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    code, out, err = call(capfd, "predict", *arguments)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith(message)
    assert "Traceback" not in err
