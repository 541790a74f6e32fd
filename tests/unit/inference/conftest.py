"""The sample photograph, and a model with known answers."""

import os
import shutil
from pathlib import Path

import cv2
import pytest

from fer_core.inference.images import sample_photograph
from fer_core.inference.predictor import Predictor
from tests.conftest import ROOT
from tests.unit.served_models import write_brightness_model


@pytest.fixture(scope="session")
def photograph():
    """uint8 RGB ``[512, 512, 3]`` with one face at about (177, 67), 93 pixels wide."""
    return cv2.cvtColor(cv2.imread(str(sample_photograph())), cv2.COLOR_BGR2RGB)


@pytest.fixture
def yunet_file(tmp_path):
    """YuNet in this test's cache folder; skips with a reason where the shared copy is absent."""
    name = "face_detection_yunet_2026may.onnx"
    source = Path(os.environ.get("FER_SHARED_MODELS") or ROOT.parent / "shared" / "models") / name
    if not source.is_file():
        pytest.skip(f"the YuNet file is not at {source}")
    (tmp_path / "cache").mkdir()
    return Path(shutil.copy(source, tmp_path / "cache"))


@pytest.fixture(scope="session")
def predictor(tmp_path_factory):
    """Reads 16 x 16 gray pictures; the darker, the earlier the class."""
    return Predictor.load(write_brightness_model(tmp_path_factory.mktemp("model") / "model.onnx"))
