"""Where a model looked, from what a served model answers."""

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from scipy.stats import spearmanr

from fer_core.data.demo import draw_face
from fer_core.emotions import EMOTIONS
from fer_core.errors import ModelError
from fer_core.inference.explain import (
    GRAD_CAM,
    OCCLUSION,
    agreement,
    heat_map,
    legended,
    methods,
    occlusion_heat,
    occlusion_map,
    overlay,
    relative,
)
from fer_core.inference.faces import load_detector
from fer_core.inference.images import read_faces, sample_photograph
from fer_core.inference.predictor import Predictor
from fer_core.inference.served import default_model
from fer_core.preprocessing import decode, to_native
from tests.unit.served_models import write_brightness_model

MAPS = [heat_map, occlusion_map]


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


@pytest.fixture(scope="module")
def drawn():
    """Five faces, uint8 ``[5, 48, 48, 1]``."""
    drawings = (np.asarray(draw_face(emotion, seed=1, size=96), np.uint8) for emotion in EMOTIONS[:5])
    return np.stack([to_native(drawing, (48, 48), 1) for drawing in drawings])


@pytest.mark.parametrize("where", MAPS)
def test_each_expression_that_something_speaks_for_has_a_map_of_its_own(bundled, face, where):
    maps = [tuple(relative(where(bundled, face.crop, emotion)).ravel()) for emotion in EMOTIONS]
    some = [heat for heat in maps if any(heat)]
    assert len(set(some)) == len(some) > 2


def with_random_weights(model, file):
    """The same network, the weights of each of its layers in random order."""
    graph = onnx.load(model)
    random, drawn = np.random.default_rng(0), {}
    for weights in graph.graph.initializer:
        values = numpy_helper.to_array(weights)
        if values.ndim > 1 and values.size > 100:
            # The last layer's are there twice, transposed for the gradient.
            twin = drawn.get(values.shape[::-1])
            values = random.permuted(values.ravel()).reshape(values.shape) if twin is None else twin.T.copy()
            drawn[values.shape] = values
            weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    onnx.save(graph, file)
    return Predictor.load(file)


@pytest.mark.filterwarnings("ignore::scipy.stats.ConstantInputWarning")  # nothing speaks for it: like no map
@pytest.mark.parametrize("where", MAPS)
def test_a_map_is_of_what_the_model_learned(workspace, bundled, drawn, tmp_path, where):
    """Adebayo et al. 2018 (arXiv:1810.03292): a map that random weights leave as it is shows the picture alone."""
    random = with_random_weights(default_model(workspace).path, tmp_path / "random.onnx")
    said = [EMOTIONS[index] for index in bundled.classify(drawn).argmax(axis=1)]

    def likeness(other, faces):
        pairs = [(where(bundled, a, e), where(other, b, e)) for a, b, e in zip(drawn, faces, said, strict=True)]
        return np.mean(np.nan_to_num([spearmanr(one, two, axis=None).statistic for one, two in pairs]))

    assert likeness(bundled, np.minimum(drawn, 249) + 6) > 0.9  # a little brighter
    assert likeness(random, drawn) < 0.4


@pytest.mark.parametrize("where", MAPS)
def test_covering_the_hottest_place_matters_more_than_covering_the_coldest(bundled, drawn, where):
    drops = []
    for face, before in zip(drawn, bundled.classify(drawn), strict=True):
        said = before.argmax()
        heat = cv2.resize(where(bundled, face, EMOTIONS[said]), (8, 8), interpolation=cv2.INTER_CUBIC)
        covered = np.stack([face, face])
        for copy, place in zip(covered, (heat.argmax(), heat.argmin()), strict=True):
            row, column = (6 * at + 3 for at in divmod(int(place), 8))
            copy[max(0, row - 8) : row + 8, max(0, column - 8) : column + 8] = round(face.mean())
        drops.append(before[said] - bundled.classify(covered)[:, said])
    hottest, coldest = np.mean(drops, axis=0)
    assert hottest > 0.1
    assert hottest > coldest + 0.05


@pytest.mark.parametrize("shape", [(16, 16, 1), (24, 32, 3)])
def test_occlusion_finds_what_a_probability_hangs_on_for_any_model(tmp_path, shape):
    predictor = Predictor.load(write_brightness_model(tmp_path / "bright.onnx", shape=shape))
    height, width, _ = shape
    crop = np.full(shape, 100, np.uint8)
    crop[height * 5 // 8 : height * 7 // 8, width // 8 : width * 3 // 8] = 228  # without it, it is as dark as fear
    assert EMOTIONS[predictor.classify(crop[None])[0].argmax()] == "happy"
    drops = occlusion_map(predictor, crop, "happy")
    assert drops.shape == (8, 8)
    row, column = np.unravel_index(drops.argmax(), drops.shape)
    assert (row, column) in [(5, 1), (5, 2), (6, 1), (6, 2)]
    covered = crop.copy()  # the same by hand, in the upper left corner: at the border only what is inside
    covered[: height * 3 // 16, : width * 3 // 16] = 108
    before, after = predictor.classify(np.stack([crop, covered]))[:, EMOTIONS.index("happy")]
    assert drops[0, 0] == pytest.approx(before - after, abs=1e-6)
    assert drops[0, 0] < 0
    flat = np.full(shape, 90, np.uint8)
    assert not occlusion_map(predictor, flat, "happy").any()


def test_maps_of_different_finenesses_are_compared_on_the_coarser_grid():
    coarse = np.array([[0, 1], [0.5, 0]], np.float32)
    fine = np.kron(coarse, np.ones((4, 4), np.float32))
    assert agreement(fine, coarse) == pytest.approx(1)
    assert agreement(1 - coarse, fine) == pytest.approx(-1)
    assert np.isnan(agreement(coarse, np.zeros((8, 8), np.float32)))


def test_drops_of_less_than_a_point_are_no_map():
    drops = np.array([[0.009, -0.2], [0, 0.004]], np.float32)
    assert not occlusion_heat(drops).any()
    assert occlusion_heat(2 * drops).max() == 1


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


@pytest.mark.parametrize(("theme", "paper"), [("light", "#FFFFFF"), ("dark", "#0F1318")])
def test_the_legend_stands_below_the_face_and_runs_from_gray_to_yellow(theme, paper):
    crop, heat = np.full((48, 48, 1), 90, np.uint8), np.eye(3, dtype=np.float32)
    drawn = legended(crop, heat, "happy", GRAD_CAM, theme, 200)
    assert drawn.shape == (240, 200, 3)
    np.testing.assert_array_equal(drawn[:200], overlay(crop, heat, 200))
    assert tuple(drawn[239, 0]) == tuple(bytes.fromhex(paper[1:]))
    bar = drawn[230, 64:150].astype(int)
    assert np.ptp(bar[0]) < 10
    assert bar[-1, 0] > 180 > 80 > bar[-1, 2]
    other = legended(crop, heat, "sad", OCCLUSION, theme, 200)
    assert (drawn[200:220] != other[200:220]).any()  # class and method


def test_a_model_of_probabilities_alone_says_so(tmp_path):
    predictor = Predictor.load(write_brightness_model(tmp_path / "bright.onnx"))
    assert not predictor.explains
    assert methods(predictor) == (OCCLUSION,)
    with pytest.raises(ModelError, match="bright: this model gives probabilities alone, so Grad-CAM is not possible"):
        heat_map(predictor, np.zeros((*predictor.input_shape,), np.uint8), "happy")
