"""Videos: frames with their true times, faces followed over time, and what is kept of them."""

import csv
import json
import os
import shutil
import tracemalloc
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError, Stopped
from fer_core.inference.faces import load_detector
from fer_core.inference.frames import LONGER_SIDE, VideoInfo, VideoLimits, look_at_video, read_frames
from fer_core.inference.images import read_faces
from fer_core.inference.predictor import Predictor
from fer_core.inference.served import default_model
from fer_core.inference.tracking import FaceTracker
from fer_core.inference.video import FrameResult, VideoOptions, read_video, read_video_into, video_document
from fer_core.inference.video_results import (
    BINS,
    BRIEF,
    COLUMNS,
    Recorder,
    VideoSummary,
    clock,
    over_time,
    read_frames_table,
)
from tests.unit.inference.test_faces import overlap
from tests.unit.inference.test_tracking import face as known_face
from tests.unit.inference.videos import drawn_face, frame_with, write_mjpeg, write_sound, write_video

BRIGHT, DARK = drawn_face("surprise", seed=3), drawn_face("sad", seed=3)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Beside the other tests, OpenCV's threads wait for each other most of the time."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@pytest.fixture(scope="module")
def haar():
    return load_detector("haar")


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """Two seconds of a face that does not move; noise makes the file long enough to be cut."""
    random = np.random.default_rng(0)

    def noisy():
        for _ in range(20):
            frame = frame_with((BRIGHT, 240, 160)) + random.normal(0, 8, (480, 640, 3))
            yield np.clip(frame, 0, 255).astype(np.uint8)

    folder = tmp_path_factory.mktemp("still")
    write_video(folder / "clip.ts", noisy())
    return write_video(folder / "clip.mp4", noisy(), container_options={"movflags": "faststart"})


@pytest.fixture(scope="module")
def reading(tmp_path_factory, still, predictor, haar):
    """What was read of it: the folder of results, its summary, and the progress that was told."""
    folder, told = tmp_path_factory.mktemp("reading"), []
    summary = read_video_into(still, folder, predictor, haar, progress=lambda *words: told.append(words))
    return folder, summary, told


@pytest.fixture
def results(tmp_path, reading):
    """A copy of the folder of results."""
    return Path(shutil.copytree(reading[0], tmp_path / "results"))


def numbered(n, size=(64, 48)):
    """Frames whose gray level is their number times ten."""
    return [frame_with(size=size, background=10 * number) for number in range(n)]


def times_of(path, **how):
    return [round(frame.time, 3) for frame in read_frames(path, **how)]


# Frames and their times -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.webm", "libvpx-vp9"), ("a.avi", "mpeg4"), ("a.mkv", "mjpeg")]
)
def test_frames_come_in_order_with_their_times_whatever_the_codec(tmp_path, name, codec):
    path = write_video(tmp_path / name, numbered(20), codec=codec)
    frames = list(read_frames(path))
    assert [frame.number for frame in frames] == list(range(20))
    assert [round(frame.time, 3) for frame in frames] == [n / 10 for n in range(20)]
    assert all(abs(frame.image.mean() - 10 * frame.number) < 6 for frame in frames)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm"])
def test_a_variable_frame_rate_keeps_its_times(tmp_path, name):
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    times = [0.0, 0.04, 0.08, 1.0, 1.5, 1.52, 4.0]
    assert times_of(write_video(tmp_path / name, numbered(7), times=times, codec=codec)) == times


def test_every_third_frame_keeps_its_number_and_time(tmp_path):
    frames = list(read_frames(write_video(tmp_path / "a.mp4", numbered(10)), every=3))
    assert [(frame.number, round(frame.time, 3)) for frame in frames] == [(0, 0), (3, 0.3), (6, 0.6), (9, 0.9)]
    assert [round(frame.image.mean(), -1) for frame in frames] == [0, 30, 60, 90]


@pytest.mark.parametrize("angle", [90, 180, -90])
def test_rotation_in_the_file_is_honoured(tmp_path, angle):
    picture = frame_with((np.full((20, 30, 3), 250, np.uint8), 0, 0), size=(128, 96), background=20)
    (frame,) = read_frames(write_video(tmp_path / "a.mp4", [picture], rotation=angle))
    upright = np.rot90(picture, angle // 90)
    assert frame.image.shape == upright.shape
    assert frame.size == upright.shape[1::-1]
    assert np.abs(frame.image.astype(int) - upright).mean() < 4


def test_time_begins_at_nought_where_the_container_does_not(tmp_path):
    # A transport stream begins at 1.4 s or so.
    assert times_of(write_video(tmp_path / "a.ts", numbered(5))) == [0.0, 0.1, 0.2, 0.3, 0.4]


def test_recordings_put_one_after_the_other_go_on_in_time_and_change_size(tmp_path):
    first = write_video(tmp_path / "a.ts", numbered(10, (128, 96)))
    second = write_video(tmp_path / "b.ts", numbered(10, (64, 48)))
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    frames = list(read_frames(both))
    assert [frame.size for frame in frames] == [(128, 96)] * 10 + [(64, 48)] * 10
    assert np.diff([frame.time for frame in frames]).min() > 0
    jpegs = write_mjpeg(tmp_path / "a.mjpeg", [*numbered(3, (128, 96)), *numbered(3, (64, 48))])
    assert [frame.size for frame in read_frames(jpegs)] == [(128, 96)] * 3 + [(64, 48)] * 3


def test_large_frames_are_shrunk_and_boxes_are_in_pixels_of_the_whole_one(tmp_path, predictor, haar):
    face = cv2.resize(BRIGHT, (480, 480))
    path = write_video(tmp_path / "a.mp4", [frame_with((face, 2400, 600), size=(3840, 2160))])
    (frame,) = read_frames(path)
    assert (frame.image.shape, frame.size) == ((1080, LONGER_SIDE, 3), (3840, 2160))
    ((tracked,),) = [result.faces for result in read_video(path, predictor, haar)]
    assert overlap(tracked.face.box, (2400, 600, 480, 480)) > 0.6


# Bad input -------------------------------------------------------------------------------------------


def bad_files(folder, still):
    data = still.read_bytes()
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{still}\n#EXT-X-ENDLIST\n"
    yield "empty", b"", "the file is empty"
    yield "text", b"dear diary " * 99, "not a video"
    yield "cut before its index", write_video(folder / "t.mp4", numbered(9)).read_bytes()[:-400], "not a video"
    yield "sound only", write_sound(folder / "s.mp4").read_bytes(), "no moving picture in it, only sound"
    yield "no decoder", data.replace(b"avc1", b"zzz1"), "no decoder"
    yield "a playlist of other files", playlist.encode(), "not a video"
    yield "a list of other files", f"ffconcat version 1.0\nfile '{still}'\n".encode(), "not a video"
    yield "a picture", cv2.imencode(".png", BRIGHT)[1].tobytes(), "not a video"


def test_an_unreadable_file_is_one_sentence_and_nothing_is_written(tmp_path, still, predictor, haar):
    for what, data, message in bad_files(tmp_path, still):
        path = tmp_path / "clip.mp4"
        path.write_bytes(data)
        with pytest.raises(FerError, match=message) as caught:
            read_video_into(path, tmp_path / "out", predictor, haar)
        assert str(caught.value).startswith("clip.mp4: "), what
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()
        document = video_document(path, predictor, haar)
        assert document == {"path": str(path), "faces": [], "frames": [], "error": str(caught.value)}


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    for name, message in (("gone.mp4", "no such file"), ("pipe.mp4", "not a regular file"), (".", "not a regular")):
        with pytest.raises(FerError, match=message):
            look_at_video(tmp_path / name)


def test_huge_frames_are_refused_before_they_are_decoded(tmp_path, still):
    with pytest.raises(FerError, match=r"640 x 480 pixels; the limit is 0.1 megapixels"):
        look_at_video(still, VideoLimits(pixels=100_000))
    # The size may also grow later: the decoder refuses what is too large.
    path = write_mjpeg(tmp_path / "a.mjpeg", [*numbered(3, (64, 48)), *numbered(3, (640, 480))])
    with pytest.raises(FerError, match="damaged in 3 places"):
        list(read_frames(path, limits=VideoLimits(pixels=100_000)))


@pytest.mark.parametrize("limits", [VideoLimits(frames=7), VideoLimits(seconds=0.65)])
def test_beyond_a_limit_nothing_is_read_and_the_rest_is_kept(tmp_path, still, predictor, haar, limits):
    summary = read_video_into(still, tmp_path, predictor, haar, VideoOptions(limits=limits))
    assert summary.frames == 7
    assert "longer than the limit" in summary.note
    assert len(read_frames_table(tmp_path)) == 7


def test_of_a_video_cut_short_the_part_that_is_there_is_kept(tmp_path, still, predictor, haar):
    data = still.read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: len(data) // 2])
    summary = read_video_into(path, tmp_path / "out", predictor, haar)
    assert 3 < summary.frames < 15
    assert "cut short" in summary.note
    (face,) = summary.faces
    assert face.emotion == "surprise"


def test_damage_in_the_middle_is_passed_over_and_told(tmp_path, still, predictor, haar):
    data = bytearray(still.with_suffix(".ts").read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    path = tmp_path / "hurt.ts"
    path.write_bytes(data)
    summary = read_video_into(path, tmp_path / "out", predictor, haar)
    assert "damaged in" in summary.note
    assert summary.seconds == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("wrong", [{"every": 0}, {"threshold": 2.0}])
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(FerError, match=next(iter(wrong))):
        VideoOptions(**wrong)


# Faces over time -------------------------------------------------------------------------------------


def test_a_face_says_by_time_what_it_shows(tmp_path, predictor, haar):
    """Two seconds of one expression, then two of another."""
    frames = (frame_with((BRIGHT if n < 20 else DARK, 100 + 5 * n, 160)) for n in range(40))
    path = write_video(tmp_path / "a.mp4", frames)
    summary = read_video_into(path, tmp_path / "out", predictor, haar, VideoOptions(smoothing=0.2))
    (face,) = summary.faces
    assert (face.first, face.frames, face.seconds) == (0, 40, 4)
    assert face.shares["surprise"] == pytest.approx(0.5, abs=0.06)
    assert face.shares["sad"] == pytest.approx(0.5, abs=0.06)
    table = read_frames_table(tmp_path / "out")
    assert set(table.loc[table["time"] < 2, "emotion"]) == {"surprise"}
    assert set(table.loc[table["time"] > 2.3, "emotion"]) == {"sad"}


@pytest.mark.slow
def test_reading_ahead_changes_nothing(still, predictor, haar):
    expected = [read_faces(frame.image, predictor, haar) for frame in read_frames(still)]
    for result, faces in zip(read_video(still, predictor, haar), expected, strict=True):
        assert [tracked.face.box for tracked in result.faces] == [face.box for face in faces]
        for tracked, face in zip(result.faces, faces, strict=True):
            np.testing.assert_array_equal(tracked.raw, face.probabilities)


def test_two_faces_that_cross_keep_their_numbers(tmp_path, predictor, haar):
    """They pass each other; for half a second the nearer hides the other."""
    frames = (frame_with((DARK, 460 - 22 * n, 150), (BRIGHT, 20 + 22 * n, 170)) for n in range(21))
    results = list(read_video(write_video(tmp_path / "a.mp4", frames), predictor, haar, VideoOptions(smoothing=0)))
    said = {}
    for result in results:
        for tracked in result.faces:
            said.setdefault(tracked.face.emotion, set()).add(tracked.track)
    assert said == {"surprise": {1}, "sad": {2}}
    assert len(results[-1].faces) == 2


def test_a_face_that_leaves_for_a_moment_is_the_same_and_later_another(tmp_path, predictor, haar):
    away = {*range(10, 16), *range(26, 40)}
    frames = (frame_with(*([] if n in away else [(BRIGHT, 240, 160)])) for n in range(50))
    summary = read_video_into(write_video(tmp_path / "a.mp4", frames), tmp_path / "out", predictor, haar)
    assert [(face.face, face.first, face.last) for face in summary.faces] == [(1, 0, 2.5), (2, 4, 4.9)]
    assert summary.frames_with_faces == 30


def test_frames_that_are_far_apart_do_not_make_a_new_face_of_each(tmp_path, predictor, haar):
    path = write_video(tmp_path / "a.mp4", (frame_with((BRIGHT, 240, 160)) for _ in range(100)))
    summary = read_video_into(path, tmp_path / "out", predictor, haar, VideoOptions(every=20))
    ((face,), frames) = summary.faces, summary.frames
    assert (face.frames, frames, face.seconds) == (5, 5, 10)


def test_faces_seen_briefly_are_only_counted(tmp_path, predictor, haar):
    places = [(20, 20), (460, 20), (20, 300), (460, 300)]

    def frames():
        for n in range(100):
            x, y = places[n // 25]
            yield frame_with((BRIGHT, 240, 160), *([(DARK, x, y)] if n % 25 < 3 else []))

    summary = read_video_into(write_video(tmp_path / "a.mp4", frames()), tmp_path / "out", predictor, haar)
    assert [face.face for face in summary.faces] == [2]  # the first guest is left of it
    assert summary.brief_faces == 4
    assert 4 * 0.1 < summary.brief_seconds < 4 * BRIEF
    assert [file.name for file in (tmp_path / "out" / "faces").iterdir()] == ["2.png"]


def test_a_short_clip_still_has_a_face(tmp_path, predictor, haar):
    path = write_video(tmp_path / "a.mp4", [frame_with((BRIGHT, 240, 160))] * 5)
    assert len(read_video_into(path, tmp_path / "out", predictor, haar).faces) == 1


@pytest.mark.parametrize("n", [0, 200])
def test_no_face_or_two_hundred(tmp_path, predictor, haar, n):
    small = drawn_face("surprise", side=90, seed=3)
    faces = [(small, 95 * (k % 20), 100 * (k // 20)) for k in range(n)]
    path = write_video(tmp_path / "a.mp4", [frame_with(*faces, size=(1920, 1080))] * 4)
    summary = read_video_into(path, tmp_path / "out", predictor, haar)
    assert (len(summary.faces) > 0.9 * n) if n else (summary.faces == [])
    assert len(read_frames_table(tmp_path / "out")["frame"].unique()) == 4


# What is kept ----------------------------------------------------------------------------------------


def test_the_folder_holds_a_table_a_summary_and_a_picture_of_each_face(reading, predictor):
    folder, summary, told = reading
    assert VideoSummary.read(folder) == summary
    assert (summary.video, summary.size, summary.frames, summary.seconds) == ("clip.mp4", (640, 480), 20, 2)
    assert (summary.note, summary.stopped) == (None, False)
    (face,) = summary.faces
    picture = cv2.imread(str(folder / face.picture), cv2.IMREAD_UNCHANGED)
    assert picture.shape == predictor.input_shape[:2]
    with (folder / "frames.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [float(row["time"]) for row in rows] == [n / 10 for n in range(20)]
    assert sum(face.shares.values()) == pytest.approx(1, abs=1e-3)
    assert told[-1] == ("Reading the video", 20, 20)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_a_stop_keeps_what_was_read(tmp_path, still, predictor, haar):
    def stop_at_half(phase, done, total):
        if done == 10:
            raise Stopped("Stopped.")

    with pytest.raises(Stopped, match=r"Stopped at 0:00\. The 10 frames"):
        read_video_into(still, tmp_path / "a", predictor, haar, progress=stop_at_half)
    asked = iter([False] * 9 + [True])
    read_video_into(still, tmp_path / "b", predictor, haar, stopped=lambda: next(asked))
    for folder in (tmp_path / "a", tmp_path / "b"):
        summary = VideoSummary.read(folder)
        assert (summary.stopped, summary.frames) == (True, 10)
        assert len(read_frames_table(folder)) == 10
        assert len(summary.faces) == 1


def test_a_second_reading_replaces_the_first(tmp_path, results, predictor, haar):
    empty = write_video(tmp_path / "empty.mp4", numbered(3, (128, 96)))
    assert read_video_into(empty, results, predictor, haar).faces == []
    assert list((results / "faces").iterdir()) == []
    assert read_frames_table(results)["face"].isna().all()


def test_a_table_torn_by_a_crash_is_read_without_its_last_line(results):
    file = results / "frames.csv"
    file.write_bytes(file.read_bytes()[:-40])
    assert len(read_frames_table(results)) == 19
    (results / "summary.json").write_text("{")
    with pytest.raises(FerError, match="missing or damaged"):
        VideoSummary.read(results)


def test_a_long_table_is_small_in_memory_and_as_exact_as_the_file(tmp_path):
    probabilities = ",".join(["0.05"] * 3 + ["0.7", "0.05", "0.05", "0.05"])  # happy
    rows = "".join(
        f"{n / 25},{n},1,0,0,9,9,happy,False,{probabilities},{probabilities},\n{n / 25},{n},,,,,,,,{',' * 14}\n"
        for n in range(5000)
    )
    (tmp_path / "frames.csv").write_text(",".join(COLUMNS) + "\n" + rows)
    table = read_frames_table(tmp_path)
    assert table.memory_usage(deep=True).sum() / len(table) < 60  # bytes; float64 and text would take 190
    binned = over_time(table, 200, threshold=0.7)
    assert set(binned["emotion"]) == {"happy"}
    assert not binned["uncertain"].any()


def test_json_has_the_promised_keys(still, predictor, haar):
    document = video_document(still, predictor, haar)
    assert list(document) == ["path", "faces", "frames", "error"]
    assert (document["path"], document["error"], len(document["frames"])) == (str(still), None, 20)
    frame = document["frames"][7]
    assert frame["time"] == 0.7
    (face,) = frame["faces"]
    assert list(face) == ["track", "box", "score", "emotion", "uncertain", "unreliable", "probabilities"]
    assert list(face["probabilities"]) == list(EMOTIONS)
    json.dumps(document, allow_nan=False)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.9, "0:59"), (754, "12:34"), (3723, "1:02:03")])
def test_clock(seconds, text):
    assert clock(seconds) == text


# Real faces ------------------------------------------------------------------------------------------


def test_real_faces_are_told_by_time(tmp_path, workspace, real_data, haar):
    """Two people, each with one expression and then another; the model is sure of each of the four pictures."""
    predictor = Predictor.load(default_model(workspace))
    wanted = {"happy": [], "surprise": []}
    with zipfile.ZipFile(real_data / "fer2013.zip") as archive:
        for name in sorted(archive.namelist()):
            emotion = name.split("/")[1] if name.startswith("test/") and name.endswith(".jpg") else ""
            if len(wanted.get(emotion, "..")) < 2:
                picture = cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_COLOR)
                large = cv2.resize(picture, (220, 220), interpolation=cv2.INTER_CUBIC)
                found = read_faces(frame_with((large, 210, 130)), predictor, haar, 0.9)
                if len(found) == 1 and found[0].emotion == emotion and not found[0].uncertain:
                    wanted[emotion].append(large)
    happy, surprise = wanted["happy"], wanted["surprise"]

    def frames():
        for n in range(60):
            left, right = (happy[0], surprise[0]) if n < 30 else (surprise[1], happy[1])
            yield frame_with((left, 40 + n, 120), (right, 360 - n // 2, 140))

    summary = read_video_into(write_video(tmp_path / "a.mp4", frames()), tmp_path / "out", predictor, haar)
    table = read_frames_table(tmp_path / "out")
    assert len(summary.faces) == 2
    for face, first, second in ((1, "happy", "surprise"), (2, "surprise", "happy")):
        rows = table[table["face"] == face]
        early, late = rows[rows["time"] < 3], rows[rows["time"] > 4]
        assert (early["emotion"] == first).mean() > 0.9
        assert (late["emotion"] == second).mean() > 0.9


# Long videos -----------------------------------------------------------------------------------------


def test_what_is_drawn_is_averaged_not_dropped():
    """A hundred thousand rows become a few bins; an expression that is short but strong still counts in its bin."""
    rows = 100_000
    angry = np.zeros(rows)
    angry[500:600] = 1.0
    table = pd.DataFrame({"time": np.arange(rows) / 30, "frame": np.arange(rows), "face": 1})
    for emotion in EMOTIONS:
        table[f"p_{emotion}"] = angry if emotion == "angry" else (1 - angry) * (emotion == "happy")
    binned = over_time(table, rows / 30, threshold=0.5)
    assert len(binned) == BINS
    assert binned["p_angry"].mean() == pytest.approx(100 / rows, rel=0.02)
    assert binned.loc[binned["p_angry"] > 0, "start"].min() <= 500 / 30
    assert set(binned["emotion"]) == {"happy"}


@pytest.mark.slow
def test_ten_times_the_frames_take_no_more_memory(tmp_path):
    """Of a film of faces that come and go, most of them briefly."""
    host = known_face(40)

    def peak(frames):
        tracker = FaceTracker()
        info = VideoInfo((640, 480), frames / 30, 30.0)
        tracemalloc.start()
        with Recorder(tmp_path, info, VideoOptions(), "film", "model") as recorder:
            for n in range(frames):
                time = n / 30
                # One stays; another appears somewhere else every four seconds and is gone at once.
                guest = [known_face(200 + 60 * (n // 120 % 5), y=100 * (n // 600 % 4))] if n % 120 < 4 else []
                faces = tracker.update([host, *guest], time)
                recorder.add(FrameResult(n, time, faces, (640, 480)))
            summary = recorder.finish()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(summary.faces) == 1
        assert summary.brief_faces == -(-frames // 120)
        return most

    peak(300)
    assert peak(20_000) < peak(2_000) + 200_000
