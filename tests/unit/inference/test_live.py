"""A stream of frames: faces followed and smoothed, settings that change under way, failures that do not stop it."""

import csv
import io
import re
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from fer_core import limits
from fer_core.emotions import EMOTIONS
from fer_core.errors import ModelError
from fer_core.inference.faces import Face, load_detector
from fer_core.inference.images import read_faces
from fer_core.inference.live import COLUMNS, HISTORY, LiveReader
from tests.unit.served_models import CENTRES


class Fixed:
    """Finds the same faces in every frame, and counts how often it is asked."""

    margin = 0.0

    def __init__(self, *boxes):
        self.boxes = boxes
        self.asked = 0

    def detect(self, image):
        self.asked += 1
        return [Face(box, None) for box in self.boxes]


class Broken:
    """A model that fails as it is told to."""

    input_shape = (16, 16, 1)

    def __init__(self, failure):
        self.failure = failure

    def classify(self, images):
        raise self.failure


def gray(emotion, height=480, width=640):
    """A frame that the brightness model reads as an emotion, wherever a face is cut out."""
    return np.full((height, width, 3), CENTRES[EMOTIONS.index(emotion)], np.uint8)


@pytest.fixture
def reader(predictor):
    """Not smoothed, so that a frame's answer is known."""
    made = LiveReader()
    made.change(predictor=predictor, detector=Fixed((100, 100, 80, 80)), smoothing=0.0)
    return made


def test_a_frame_is_answered_with_its_own_faces(reader):
    for number, emotion in enumerate(EMOTIONS):
        frame = gray(emotion)
        picture = reader.read(frame, number / 30)
        (tracked,) = reader.view().faces
        assert (tracked.track, tracked.face.emotion) == (1, emotion)
        assert picture.shape == frame.shape
        assert (picture[200:480] == frame[200:480]).all()  # under the box
        assert (picture != frame).any()
        assert (frame == frame[0, 0]).all()  # itself not drawn on


def test_it_says_what_is_said_of_a_picture(predictor, photograph):
    reader, haar = LiveReader(), load_detector("haar")
    reader.change(predictor=predictor, detector=haar, smoothing=0.0)
    reader.read(photograph, 0.0)
    (expected,) = read_faces(photograph, predictor, haar)
    (tracked,) = reader.view().faces
    assert tracked.face.box == expected.box
    np.testing.assert_array_equal(tracked.face.probabilities, expected.probabilities)


def test_without_a_model_the_frame_passes():
    frame = gray("happy")
    assert LiveReader().read(frame, 0.0) is frame


def test_probabilities_are_smoothed_over_time(reader):
    reader.change(smoothing=1.0)
    reader.read(gray("angry"), 0.0)
    reader.read(gray("neutral"), 0.1)
    assert reader.view().faces[0].face.emotion == "angry"
    reader.change(smoothing=0.0)  # while it runs
    reader.read(gray("neutral"), 0.2)
    assert reader.view().faces[0].face.emotion == "neutral"


def test_faces_are_looked_for_in_every_third_frame_and_read_in_all(reader):
    detector = Fixed((0, 0, 100, 100))
    reader.change(detector=detector, every=3)
    said = []
    for number in range(9):
        reader.read(gray(EMOTIONS[number % 7]), number / 30)
        said.append(reader.view().faces[0].face.emotion)
    assert detector.asked == 3
    assert said == [EMOTIONS[number % 7] for number in range(9)]


def test_a_new_detector_or_frame_size_is_not_read_with_old_boxes(reader):
    reader.change(every=100)
    reader.read(gray("happy"), 0.0)
    other = Fixed((0, 0, 50, 50), (60, 0, 50, 50))
    reader.change(detector=other)
    reader.read(gray("happy"), 0.1)
    assert len(reader.view().faces) == 2
    for number, size in enumerate([(240, 320), (241, 321), (1080, 1920), (48, 48), (1, 1)]):
        reader.read(gray("sad", *size), 0.2 + number)
        assert reader.view().error is None
        assert all(tracked.face.emotion == "sad" for tracked in reader.view().faces)


def test_a_changed_threshold_marks_faces_uncertain(reader):
    between = np.full((480, 640, 3), CENTRES[3:5].mean(), np.uint8)  # happy and sad, half and half
    reader.change(threshold=0.6)
    marked = reader.read(between, 0.0)
    assert reader.view().faces[0].face.uncertain
    reader.change(threshold=0.4)
    assert (reader.read(between, 0.1) != marked).any()  # the question mark is gone
    assert not reader.view().faces[0].face.uncertain


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (ModelError("m: the model failed. Export it again."), "Export it again"),
        (RuntimeError("CUDA\nstack"), r"could not be read \(RuntimeError\). Choose another model"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_a_failure_is_a_sentence_and_the_stream_goes_on(reader, predictor, failure, sentence):
    frame = gray("happy")
    reader.change(predictor=Broken(failure))
    assert reader.read(frame, 0.0) is frame
    view = reader.view()
    assert re.search(sentence, view.error)
    assert "\n" not in view.error
    assert view.faces == []
    reader.change(predictor=predictor)
    reader.read(frame, 0.1)
    assert reader.view().error is None
    assert reader.view().faces


@pytest.mark.parametrize("frame", [np.zeros((0, 640, 3), np.uint8), np.zeros((480, 640, 3)), None])
def test_what_is_no_frame_does_not_raise(reader, frame):
    reader.change(detector=load_detector("haar"))
    reader.read(frame, 0.0)
    assert reader.view().error


def test_a_failure_is_written_to_the_log_once(reader, caplog):
    reader.change(predictor=Broken(RuntimeError("why")))
    for number in range(30):
        reader.read(gray("happy"), number / 30)
    assert len(caplog.records) == 1
    assert "why" in caplog.text


def test_paused_the_last_answer_stands_still(reader):
    answer = reader.read(gray("happy"), 0.0)
    reader.change(paused=True)
    assert reader.read(gray("sad"), 0.1) is answer
    assert reader.view().frames == 1
    reader.change(paused=False)
    reader.read(gray("sad"), 0.2)
    assert reader.view().faces[0].face.emotion == "sad"


@pytest.mark.parametrize("count", [0, 200])
def test_any_number_of_faces(reader, count):
    reader.change(detector=Fixed(*((30 * (n % 20), 45 * (n // 20), 25, 25) for n in range(count))))
    for number in range(3):
        reader.read(gray("fear"), number / 30)
    assert [tracked.track for tracked in reader.view().faces] == list(range(1, count + 1))


def test_the_lines_are_those_of_the_largest_face_over_the_last_minute(reader):
    frame = gray("angry")
    frame[:, 320:] = CENTRES[EMOTIONS.index("happy")]
    reader.change(detector=Fixed((0, 0, 60, 60), (400, 0, 90, 90)))
    for second in range(100):
        reader.read(frame, float(second))
    view = reader.view()
    assert view.times[0] == -HISTORY
    assert view.times[-1] == 0
    assert (view.probabilities.argmax(axis=1) == EMOTIONS.index("happy")).all()
    reader.change(detector=Fixed())
    reader.read(frame, 101.0)
    assert np.isnan(reader.view().probabilities[-1]).all()


def test_before_the_first_frame_there_is_nothing():
    view = LiveReader().view()
    assert (view.frames, view.faces, view.picture, view.error, view.frames_per_second) == (0, [], None, None, 0)
    assert view.probabilities.shape == (0, 7)


def test_speed_is_that_of_the_last_frames(reader):
    for number in range(10):
        reader.read(gray("happy"), number / 30)
    view = reader.view()
    assert view.frames_per_second > 0
    assert view.milliseconds > 0


def test_what_was_recorded_is_a_table_of_every_face_of_every_frame(reader):
    reader.read(gray("happy"), 5.0)
    reader.start_recording()
    assert reader.view().recording
    for number, emotion in enumerate(("sad", "fear")):
        reader.read(gray(emotion), 10 + number / 2)
    reader.stop_recording()
    reader.read(gray("happy"), 12.0)
    first, second = csv.DictReader(io.StringIO(reader.csv()))
    assert tuple(first) == COLUMNS
    assert (first["time"], first["emotion"], first["x"]) == ("0.000", "sad", "100")
    assert (second["time"], second["emotion"]) == ("0.500", "fear")
    assert sum(float(second[f"p_{emotion}"]) for emotion in EMOTIONS) == pytest.approx(1, abs=1e-3)
    reader.start_recording()  # a new one begins empty
    assert reader.view().recorded == 0


def test_a_recording_has_a_bound_and_ends_there(reader, monkeypatch):
    monkeypatch.setattr(limits, "RECORDED_ROWS", 5)
    reader.change(detector=Fixed((0, 0, 50, 50), (100, 0, 50, 50)))
    reader.start_recording()
    for number in range(10):
        reader.read(gray("happy"), number / 30)
    assert reader.view().recorded == 5
    assert not reader.view().recording
    assert len(reader.csv().splitlines()) == 6


def test_a_clock_that_goes_back_is_no_failure(reader):
    for time in (10.0, 3.0, 3.1):
        reader.read(gray("happy"), time)
    view = reader.view()
    assert view.error is None
    assert view.times.max() == 0


def test_settings_may_change_while_frames_are_read(reader, predictor):
    detectors = [Fixed((0, 0, 50, 50)), Fixed(), Fixed((1, 1, 60, 60), (200, 200, 60, 60))]

    def turn(number):
        reader.change(detector=detectors[number % 3], every=1 + number % 4, smoothing=number % 2)
        return reader.view().error

    with ThreadPoolExecutor(2) as pool:
        errors = pool.map(turn, range(300))
        for number in range(100):
            reader.read(gray("happy"), number / 30)
    assert set(errors) == {None}


def test_a_thousand_frames_leave_no_more_than_a_hundred(reader):
    reader.change(detector=load_detector("none"), smoothing=0.4)
    frames = [cv2.resize(gray(emotion), (320, 240)) for emotion in EMOTIONS]

    def read(first, last):
        for number in range(first, last):
            reader.read(frames[number % 7], number)  # a second apart: the minute of lines is full after sixty

    read(0, 100)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        read(100, 1000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reader.view().frames == 1000
    assert after - before < 1_000_000  # about one frame: the last answer
