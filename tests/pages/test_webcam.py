"""The Webcam page without a browser: the stream is taken away, all around it is real."""

from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from streamlit_webrtc.component import WebRtcStreamerState

import dashboard.webcam
from dashboard.drawings import seven_lines
from dashboard.webcam import IDLE, PATIENCE, ice_servers, is_secure, privacy
from fer_core.emotions import CODES, PALETTES
from fer_core.errors import ConfigError
from fer_core.inference.images import sample_photograph
from tests.pages.opened import open_page, text_of

SVG = "{http://www.w3.org/2000/svg}"
PLAYING = WebRtcStreamerState(playing=True, signalling=False)
SIGNALLING = WebRtcStreamerState(playing=False, signalling=True)


class Camera:
    """In place of the stream: says what state it is in, and hands over the page's reader."""

    state = IDLE

    def __call__(self, reader):
        self.reader = reader
        return self.state


@pytest.fixture
def camera(monkeypatch):
    given = Camera()
    monkeypatch.setattr(dashboard.webcam, "stream", given)
    return given


@pytest.fixture
def photograph():
    return cv2.cvtColor(cv2.imread(str(sample_photograph())), cv2.COLOR_BGR2RGB)


def button(app, label):
    return next(button for button in app.button if button.label == label)


def test_before_the_camera_starts_one_reads_where_its_picture_goes(camera):
    app = open_page("webcam")
    assert "to nobody else" in text_of(app)
    assert "not stored" in text_of(app)
    assert "Camera off" in text_of(app)
    assert button(app, "Pause").disabled
    assert "`NotAllowedError`: The camera was refused" in text_of(app)


def test_the_faces_of_the_last_frame_stand_beside_the_picture(camera, photograph):
    camera.state = PLAYING
    app = open_page("webcam")
    camera.reader.read(photograph, 0.0)
    app.run()
    assert not app.exception
    assert "1 · Happy" in text_of(app)
    assert "Camera on" in text_of(app)


def test_settings_reach_the_running_reader(camera):
    camera.state = PLAYING
    app = open_page("webcam")
    reader = camera.reader
    app.slider(key="webcam-smoothing").set_value(0.0).run()
    app.slider(key="webcam-every").set_value(3).run()
    app.slider(key="threshold").set_value(0.8).run()
    app.selectbox(key="detector").set_value("none").run()
    assert camera.reader is reader
    assert (reader.settings.smoothing, reader.settings.every, reader.settings.threshold) == (0.0, 3, 0.8)
    assert type(reader.settings.detector).__name__ == "WholeImage"
    assert reader.settings.predictor is not None


def test_pause_and_go_on(camera):
    camera.state = PLAYING
    app = open_page("webcam")
    button(app, "Pause").click().run()
    assert camera.reader.settings.paused
    assert "Paused, camera on" in text_of(app)
    button(app, "Go on").click().run()
    assert not camera.reader.settings.paused


def test_a_recording_is_started_stopped_and_offered(camera, photograph):
    camera.state = PLAYING
    app = open_page("webcam")
    button(app, "Record to CSV").click().run()
    for number in range(3):
        camera.reader.read(photograph, number / 30)
    app.run()
    assert "Recording · 3 rows" in text_of(app)
    button(app, "Stop recording").click().run()
    assert "Download CSV · 3 rows" in [part.label for part in app.download_button]


def test_a_failure_under_way_is_shown(camera, photograph):
    camera.state = PLAYING
    app = open_page("webcam")

    class Broken:
        margin = 0.0

        def detect(self, image):
            raise RuntimeError("boom")

    camera.reader.change(detector=Broken())
    camera.reader.read(photograph, 0.0)
    assert "could not be read (RuntimeError)" in text_of(app.run())


def test_a_connection_that_does_not_come_about_is_told_after_a_while(camera, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(dashboard.webcam.time, "monotonic", lambda: clock[0])
    camera.state = SIGNALLING
    app = open_page("webcam")
    assert "TURN" not in text_of(app)
    clock[0] += PATIENCE + 1
    assert "FER_TURN_URL" in text_of(app.run())
    camera.state = IDLE  # given up: it stays told
    assert "FER_TURN_URL" in text_of(app.run())
    camera.state = SIGNALLING  # tried anew
    assert "TURN" not in text_of(app.run())
    camera.state = PLAYING
    clock[0] += PATIENCE + 1
    assert "TURN" not in text_of(app.run())


def test_a_wrong_server_is_one_sentence_and_the_page_goes_on(monkeypatch):
    monkeypatch.setenv("FER_TURN_URL", "https://turn.example")
    app = open_page("webcam")
    assert "FER_TURN_URL: 'https://turn.example' is no such server" in text_of(app)
    assert app.toggle(key="webcam-photo")


def test_without_a_secure_connection_photos_are_the_way(camera, monkeypatch):
    monkeypatch.setattr(dashboard.webcam, "is_secure", lambda address: False)
    app = open_page("webcam")
    assert "Upload photos instead" in text_of(app)
    assert not hasattr(camera, "reader")  # no stream, and no camera button that cannot work
    assert not app.toggle


def test_a_photo_is_read_where_there_is_no_stream(camera):
    app = open_page("webcam")
    app.toggle(key="webcam-photo").set_value(True).run()
    assert not app.exception
    assert len(app.get("camera_input")) == 1


def test_no_server_in_between_by_default_and_secrets_stay_out_of_words():
    assert ice_servers({}) == []
    settings = {
        "FER_STUN_URL": "stun:stun.example.org:3478",
        "FER_TURN_URL": "turn:a.example:3478?transport=udp, turns:[2001:db8::1]:5349",
        "FER_TURN_USERNAME": "me",
        "FER_TURN_PASSWORD": "s3cret",
    }
    stun, first, second = ice_servers(settings)
    assert stun == {"urls": "stun:stun.example.org:3478"}
    assert first == {"urls": "turn:a.example:3478?transport=udp", "username": "me", "credential": "s3cret"}
    assert second["urls"] == "turns:[2001:db8::1]:5349"
    assert "turn:a.example:3478" in privacy("https://x.org", settings)
    assert "s3cret" not in privacy("https://x.org", settings)


@pytest.mark.parametrize("url", ["turn.example.org", "turn:", "turn:a b", "stun:x", "javascript:alert(1)"])
def test_a_server_that_is_none_is_refused(url):
    with pytest.raises(ConfigError, match=r"FER_TURN_URL.*write turn:HOST:PORT"):
        ice_servers({"FER_TURN_URL": url})


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("http://localhost:8501/webcam", True),
        ("http://127.0.0.1:8501", True),
        ("http://[::1]:8501", True),
        ("https://fer.example.org", True),
        ("http://fer.localhost", True),
        ("http://192.168.0.7:8501", False),
        ("http://localhost.example.org", False),
        ("", False),
    ],
)
def test_where_browsers_give_pages_the_camera(url, secure):
    assert is_secure(url) == secure


@pytest.mark.parametrize("theme", PALETTES)
def test_the_last_minute_is_seven_lines_named_at_their_end(theme):
    probabilities = np.full((301, 7), 1 / 7, np.float32)
    probabilities[100:110] = np.nan  # no face: a gap
    drawn = ElementTree.fromstring(seven_lines(np.linspace(-60, 0, 301), probabilities, 60, theme))
    lines = list(drawn.iter(f"{SVG}polyline"))
    assert len(lines) == 14
    assert [line.get("stroke") for line in lines[::2]] == list(PALETTES[theme].values())
    assert len({line.get("stroke-dasharray") for line in lines}) == 7
    names = [text for text in drawn.iter(f"{SVG}text") if text.text in CODES.values()]
    assert [name.text for name in names] == list(CODES.values())
    places = sorted(float(name.get("y")) for name in names)
    assert min(np.diff(places)) > 11  # pixels: equal values do not write over each other


def test_lines_without_any_face_have_no_names():
    drawn = ElementTree.fromstring(seven_lines(np.array([-1.0, 0.0]), np.full((2, 7), np.nan, np.float32), 60, "light"))
    assert not list(drawn.iter(f"{SVG}polyline"))
