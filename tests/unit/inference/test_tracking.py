import numpy as np
import pytest

from fer_core.emotions import EMOTIONS
from fer_core.inference.images import FaceResult
from fer_core.inference.tracking import PATIENCE, FaceTracker, overlaps


def face(x, y=0, side=40, emotion="happy", share=0.9):
    probabilities = np.full(7, (1 - share) / 6, np.float32)
    probabilities[EMOTIONS.index(emotion)] = share
    crop = np.zeros((48, 48, 1), np.uint8)
    return FaceResult((x, y, side, side), None, emotion, False, probabilities, crop)


def tracks(tracker, faces, time):
    return [tracked.track for tracked in tracker.update(faces, time)]


def test_faces_keep_their_numbers_whatever_their_order():
    tracker = FaceTracker()
    assert tracks(tracker, [face(0), face(100)], 0.0) == [1, 2]
    assert tracks(tracker, [face(104), face(3)], 0.1) == [2, 1]


def test_a_face_that_moves_steadily_is_followed_further_than_its_box_overlaps():
    tracker = FaceTracker()
    # It gains speed; from one frame to the last one it moves by three quarters of its width.
    assert [tracks(tracker, [face(x)], n / 10)[0] for n, x in enumerate((0, 15, 35, 62, 92))] == [1] * 5


def test_faces_that_pass_each_other_do_not_swap():
    tracker = FaceTracker()
    for n in range(21):
        moved = [face(10 * n, y=0), face(200 - 10 * n, y=28)]
        assert tracks(tracker, moved, n / 20) == [1, 2], n


def test_a_face_out_of_sight_for_a_moment_is_the_same_and_later_another():
    tracker = FaceTracker()
    tracks(tracker, [face(0)], 0.0)
    assert tracks(tracker, [], 0.5) == []
    assert tracks(tracker, [face(2)], PATIENCE) == [1]
    assert tracks(tracker, [face(2)], 2 * PATIENCE + 0.1) == [2]


def test_probabilities_are_an_exponential_mean_over_time():
    tracker = FaceTracker(smoothing=0.5)
    tracker.update([face(0, emotion="happy", share=1.0)], 0.0)
    (tracked,) = tracker.update([face(0, emotion="sad", share=1.0)], 0.5)
    sad = tracked.face.probabilities[EMOTIONS.index("sad")]
    assert sad == pytest.approx(1 - np.exp(-1))
    assert tracked.face.emotion == "sad"
    assert not tracked.face.uncertain
    assert tracked.raw[EMOTIONS.index("sad")] == 1


def test_without_smoothing_a_face_says_what_the_model_said():
    tracker = FaceTracker(smoothing=0, threshold=0.95)
    tracker.update([face(0)], 0.0)
    (tracked,) = tracker.update([face(0, emotion="fear")], 0.0)
    assert (tracked.face.emotion, tracked.face.uncertain) == ("fear", True)


def test_two_hundred_faces():
    tracker = FaceTracker()
    crowd = [face(50 * (n % 20), y=50 * (n // 20)) for n in range(200)]
    tracker.update(crowd, 0.0)
    assert tracks(tracker, crowd, 0.04) == list(range(1, 201))


def test_overlap_is_intersection_over_union():
    found = overlaps(np.array([[0, 0, 10, 10]]), np.array([[0, 0, 10, 10], [5, 0, 10, 10], [20, 20, 5, 5]]))
    np.testing.assert_allclose(found, [[1, 1 / 3, 0]])
