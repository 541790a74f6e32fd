import numpy as np
import pytest

from fer_core.training.callbacks.sample_board import SampleBoard


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (list(range(7)) * 3, [0, 0, 1, 2, 3, 4, 5, 6]),  # one of each class, then one more
        ([3] * 20, [3] * 8),  # a single class
        ([0] * 20 + [6], [0] * 7 + [6]),  # a rare class is not left out
        ([1, 2, 2], [1, 2, 2]),  # fewer than eight images
    ],
)
def test_every_class_has_a_turn(labels, expected):
    board = SampleBoard(np.array(labels), seed=1)
    assert sorted(np.array(labels)[board.rows].tolist()) == expected
    assert len(set(board.rows.tolist())) == len(expected)


def test_the_same_faces_every_time():
    labels = np.arange(50) % 7
    assert SampleBoard(labels, 3).rows.tolist() == SampleBoard(labels, 3).rows.tolist()


def test_what_it_says_of_a_face():
    board = SampleBoard(np.array([3]), seed=0)
    probabilities = np.array([[0.1, 0, 0, 0.25, 0.65, 0, 0]], np.float32)
    assert board.at(probabilities) == [{"row": 0, "true": "happy", "guess": "sad", "probability_true": 0.25}]
