"""Three lines of Python, as somebody types them who wants predictions and nothing else."""

import doctest
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

import fer_core
from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError, ImageError
from fer_core.inference import reader
from fer_core.inference.images import sample_photograph
from tests.conftest import ROOT
from tests.unit.served_models import CENTRES, write_brightness_model


@pytest.fixture(scope="module")
def brightness(tmp_path_factory):
    """Reads a 16 x 16 picture as one face; the darker, the earlier the class."""
    return fer_core.Reader(write_brightness_model(tmp_path_factory.mktemp("model") / "model.onnx"), detector="none")


def square(label, side=16):
    return np.full((side, side, 3), CENTRES[label], np.uint8)


def encoded(image):
    return cv2.imencode(".png", image)[1].tobytes()


def test_the_example_does_what_it_says():
    assert doctest.testmod(reader).failed == 0


def test_a_picture_is_read_from_path_bytes_and_pixels_alike():
    opened = fer_core.Reader()
    file = sample_photograph()
    pixels = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
    readings = [opened.read(image) for image in (file, str(file), file.read_bytes(), pixels)]
    for (face,) in readings:
        assert face.emotion == "happy"  # she smiles
        assert face.box == readings[0][0].box
        np.testing.assert_array_equal(face.probabilities, readings[0][0].probabilities)


def test_many_pictures_come_back_in_order_whatever_they_are(brightness, tmp_path):
    folder, archive = tmp_path / "folder", tmp_path / "more.zip"
    folder.mkdir()
    (folder / "a.png").write_bytes(encoded(square(1)))
    (folder / "b.png").write_bytes(encoded(square(2)))
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("c.png", encoded(square(3)))
    images = [square(0), folder, str(archive), b"no picture", tmp_path / "gone.png", square(4)[:, :, 0], square(5)]
    results = list(brightness.read_many(images))
    assert [result.path for result in results] == [
        "image 1",
        *(str(folder / name) for name in ("a.png", "b.png")),
        f"{archive}/c.png",
        "image 4",
        str(tmp_path / "gone.png"),
        "image 6",
        "image 7",
    ]
    read = [result.faces[0].emotion if result.faces else None for result in results]
    assert read == [*EMOTIONS[:4], None, None, *EMOTIONS[4:6]]
    assert "not a picture" in results[4].error
    assert "no such file" in results[5].error


def test_pictures_are_read_while_they_come(brightness):
    def endless():
        while True:
            yield square(6)

    assert next(brightness.read_many(endless())).faces[0].emotion == EMOTIONS[6]


@pytest.mark.parametrize(
    ("pixels", "told"),
    [
        (np.zeros((16, 16, 3), np.float32), "float32 of 16 x 16 x 3"),  # rescaled already
        (np.zeros((16, 16, 4), np.uint8), "uint8 of 16 x 16 x 4"),  # transparency
        (np.zeros((2, 16, 16, 3), np.uint8), "uint8 of 2 x 16 x 16 x 3"),  # a batch
        (np.zeros((0, 16, 3), np.uint8), "uint8 of 0 x 16 x 3"),
        (np.zeros(16, np.uint8), "uint8 of 16"),
        (np.broadcast_to(np.uint8(0), (10_000, 10_000)), "megapixels"),
    ],
)
def test_pixels_of_another_kind_are_refused_in_words(brightness, pixels, told):
    with pytest.raises(ImageError, match=told):
        brightness.read(pixels)


@pytest.mark.parametrize("thing", [None, 3, [[1, 2]], object()])
def test_what_is_no_picture_at_all_is_refused_in_words(brightness, thing):
    with pytest.raises(FerError, match="cannot be read"):
        brightness.read(thing)


def test_a_folder_is_not_one_picture(brightness, tmp_path):
    with pytest.raises(FerError, match="not exactly one picture"):
        brightness.read(tmp_path)


@pytest.mark.parametrize("arguments", [{"model": "none-of-that-name"}, {"detector": "eyes"}])
def test_an_unknown_model_or_detector_is_told_at_once(arguments):
    with pytest.raises(FerError, match="named"):
        fer_core.Reader(**arguments)


def loaded_by(statement):
    """Names of the modules that a fresh interpreter has loaded after a statement."""
    command = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_whoever_wants_predictions_waits_for_nothing_else():
    everything = loaded_by("from fer_core import Reader; Reader()")
    assert "onnxruntime" in everything
    heavy = {"pandas", "pyarrow", "matplotlib", "sklearn", "scipy", "skimage", "streamlit", "tensorflow", "keras"}
    assert not everything & heavy
    assert not loaded_by("import fer_core") & {"numpy", "cv2", "onnxruntime", "pydantic"}
    assert not loaded_by("import fer_core.inference.predictor") & {"cv2", "onnxruntime", "pydantic"}


def test_fer_core_has_no_other_names():
    with pytest.raises(AttributeError, match="no attribute 'Writer'"):
        _ = fer_core.Writer


@pytest.mark.parametrize("one", ["face.jpg", Path("face.jpg"), b"pixels"])
def test_read_many_does_not_take_one_for_many(one):
    with pytest.raises(FerError, match="give it a list"):
        next(fer_core.Reader().read_many(one))
