"""Heat maps from what a served model answers."""

import numpy as np
import pytest

from fer_core.emotions import EMOTIONS
from fer_core.errors import ModelError
from fer_core.inference.explain import heat_map, overlay
from fer_core.inference.faces import load_detector
from fer_core.inference.images import read_faces, sample_photograph
from fer_core.inference.predictor import Predictor
from fer_core.inference.served import default_model
from fer_core.preprocessing import decode
from tests.unit.served_models import write_brightness_model


@pytest.fixture
def bundled(workspace):
    return Predictor.load(default_model(workspace))


@pytest.fixture
def face(bundled):
    photograph = decode(sample_photograph().read_bytes())
    (found,) = read_faces(photograph, bundled, load_detector("haar"))
    return found


def test_a_map_is_as_fine_as_the_features_and_its_strongest_place_is_one(bundled, face):
    heat = heat_map(bundled, face.crop, "happy")
    assert heat.shape == bundled.explain(face.crop[None])[0].shape[1:3]
    assert heat.max() == 1
    assert heat.min() >= 0


def test_each_expression_that_something_speaks_for_has_a_map_of_its_own(bundled, face):
    maps = [tuple(heat_map(bundled, face.crop, emotion).ravel()) for emotion in EMOTIONS]
    some = [heat for heat in maps if any(heat)]
    assert len(set(some)) == len(some) > 2


def test_the_map_adds_up_to_what_the_pooled_features_say(bundled, face):
    """Up to the places that speak against it, its sum is the gradient's product with the pooled features."""
    features, gradient = bundled.explain(face.crop[None])
    whole = features[0] @ gradient[0].T
    pooled = gradient[0] @ features[0].mean(axis=(0, 1))
    np.testing.assert_allclose(whole.mean(axis=(0, 1)), pooled, rtol=1e-4, atol=1e-5)
    for number, emotion in enumerate(EMOTIONS):
        heat, positive = heat_map(bundled, face.crop, emotion), np.maximum(whole[..., number], 0)
        np.testing.assert_allclose(heat * positive.max(), positive, rtol=1e-4, atol=1e-6)


def test_where_nothing_speaks_for_it_the_face_is_gray():
    crop = np.full((48, 48, 1), 90, np.uint8)
    drawn = overlay(crop, np.zeros((6, 6), np.float32), 96)
    assert drawn.shape == (96, 96, 3)
    assert (drawn == 90).all()


def test_the_place_that_speaks_most_is_the_brightest():
    heat = np.zeros((6, 6), np.float32)
    heat[4, 1] = 1
    drawn = overlay(np.full((48, 48, 3), 90, np.uint8), heat, 96).astype(int)
    away = np.abs(drawn - 90).sum(axis=2)
    row, column = np.unravel_index(away.argmax(), away.shape)
    assert (row // 16, column // 16) == (4, 1)


def test_a_model_of_probabilities_alone_says_so(tmp_path):
    predictor = Predictor.load(write_brightness_model(tmp_path / "bright.onnx"))
    assert not predictor.explains
    with pytest.raises(ModelError, match="bright: this model gives probabilities alone"):
        heat_map(predictor, np.zeros((*predictor.input_shape,), np.uint8), "happy")
