"""Order of the outputs and scale of the pixels, found out on labelled pictures, or not guessed."""

import numpy as np
import pytest

from fer_core.emotions import EMOTIONS
from fer_core.errors import ConfigError, ModelError
from fer_core.evaluation.orders import ORDERS, parse_order
from fer_core.inference.conventions import detect

LABELS = np.random.default_rng(0).integers(0, 7, 400)


def answers(order, share, labels=LABELS):
    """Outputs of a model that is right on a share of the pictures, its classes in some order."""
    random = np.random.default_rng(1)
    said = np.where(random.random(len(labels)) < share, labels, random.integers(0, 7, len(labels)))
    positions = np.array([order.index(emotion) for emotion in EMOTIONS])
    return np.eye(7, dtype=np.float32)[positions[said]]


@pytest.mark.parametrize("name", ORDERS)
def test_the_order_is_found_and_stated_with_its_evidence(name):
    found = detect({"0-1": answers(ORDERS[name], 0.6)}, LABELS, None, "pictures of mine")
    assert found.order == ORDERS[name]
    assert found.evidence.startswith(f"{name} order fits 6")
    assert "of 400 pictures of mine with pixel values 0-1" in found.evidence


@pytest.mark.parametrize("order", [None, EMOTIONS])
def test_the_scale_that_fits_best_is_taken(order):
    outputs = {"0-1": answers(EMOTIONS, 0.1), "-1-1": answers(EMOTIONS, 0.6), "0-255": answers(EMOTIONS, 0.0)}
    found = detect(outputs, LABELS, order, "pictures")
    assert (found.scale, found.order) == ("-1-1", EMOTIONS)
    assert "(0-1 " in found.evidence


def test_nothing_is_guessed_near_chance():
    with pytest.raises(ModelError, match=r"Nothing fits: .* always naming the most frequent class fits"):
        detect({"0-1": answers(EMOTIONS, 0.03)}, LABELS, None, "pictures")


def test_nothing_is_guessed_where_the_orders_fit_alike():
    alike = LABELS[LABELS < 4]  # the orders differ in sad, surprise and neutral
    with pytest.raises(ModelError, match="The order cannot be told"):
        detect({"0-1": answers(EMOTIONS, 0.7, alike)}, alike, None, "pictures")


def test_quite_another_order_is_a_hint_and_no_guess():
    order = ("happy", "sad", "angry", "neutral", "fear", "surprise", "disgust")
    with pytest.raises(
        ModelError, match=rf"Neither known order.*but the order {', '.join(order)} fits.*--labels {','.join(order)} and"
    ):
        detect({"0-1": answers(order, 0.8)}, LABELS, None, "pictures")


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("fer2013", EMOTIONS),
        ("FER2013", EMOTIONS),
        ("alphabetical", ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")),
        ("Angry, Disgusted, fearful, happy, neutral, sad, surprised", ORDERS["alphabetical"]),
        ("detect", None),
    ],
)
def test_labels_are_read(text, order):
    assert parse_order(text) == order


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("angry,happy", "2 names, not each class once"),
        ("angry,angry,fear,happy,neutral,sad,surprise", "not each class once"),
        ("angry,disgust,fear,happy,neutral,sad,contempt", "'contempt' is none of the seven"),
        ("", "'' is none of the seven"),
    ],
)
def test_wrong_labels_are_told(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_order(text)
