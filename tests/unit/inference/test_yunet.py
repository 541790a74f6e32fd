"""The YuNet detector: its file from a server, by hand or not at all, and the faces it finds."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from fer_core import doctor
from fer_core.data.sources import read_split
from fer_core.errors import FerError, ModelError
from fer_core.inference import yunet
from fer_core.inference.faces import DetectorOptions, default_detector, find_faces, load_detector
from fer_core.inference.images import Picture, read_picture, sample_photograph
from tests.unit.command_line import call
from tests.unit.file_server import serve
from tests.unit.inference.test_faces import FACE, overlap
from tests.unit.served_models import write_brightness_model

CONTENT = b"a network" * 1000


@pytest.fixture
def server(monkeypatch):
    """Publishes CONTENT as the file."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(yunet.FILES, yunet.DOWNLOADED, hashlib.sha256(CONTENT).hexdigest())
    with serve(CONTENT) as server:
        monkeypatch.setenv("FER_YUNET_URL", server.url)
        yield server


def test_the_file_is_downloaded_once_into_the_cache_and_is_the_default_from_then_on(server, tmp_path):
    assert default_detector() == "haar"
    path = yunet.fetch()
    assert path == yunet.fetch() == yunet.require() == tmp_path / "cache" / yunet.DOWNLOADED
    assert path.read_bytes() == CONTENT
    assert server.asked == [(f"/{yunet.DOWNLOADED}", None)]
    assert default_detector() == "yunet"


def test_another_file_from_the_server_is_not_kept(server):
    server.content = b"<html>Please log in</html>"
    with pytest.raises(ModelError, match=r"another file than expected.*--detector haar"):
        yunet.fetch()
    assert list(yunet.cache_folder().iterdir()) == []


@pytest.mark.parametrize("name", yunet.FILES)
def test_a_file_of_unknown_checksum_is_refused_and_stays(name, workspace):
    yunet.cache_folder().mkdir()
    (yunet.cache_folder() / name).write_bytes(b"something else")
    for ask in (yunet.fetch, yunet.require, lambda: load_detector("yunet")):
        with pytest.raises(ModelError, match=rf"{name}: its checksum.*Delete it"):
            ask()
    assert default_detector() == "haar"
    assert doctor._yunet().status is doctor.Status.WARNING
    assert (yunet.cache_folder() / name).read_bytes() == b"something else"


def test_without_the_file_a_page_says_what_to_run_and_downloads_nothing(server):
    with pytest.raises(ModelError, match=rf"run `{yunet.COMMAND}`.*put {yunet.DOWNLOADED} into .*haar"):
        load_detector("yunet")
    assert server.asked == []
    assert yunet.COMMAND in doctor._yunet().todo


def test_the_command_without_file_and_network_is_one_sentence(capfd, workspace, monkeypatch):
    write_brightness_model(workspace.runs / "bright" / "model.onnx")
    monkeypatch.setenv("FER_YUNET_URL", "http://127.0.0.1:1")
    code, out, err = call(capfd, "predict", sample_photograph(), "--detector", "yunet")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].endswith(f"into the folder {yunet.cache_folder()} yourself, or use --detector haar.")


def test_the_command_says_which_detector_it_uses(capfd, workspace, yunet_file):
    write_brightness_model(workspace.runs / "bright" / "model.onnx")
    code, out, err = call(capfd, "predict", sample_photograph(), "--json")
    assert code == 0
    assert "Face detector: yunet" in err
    assert json.loads(out)[0]["faces"][0]["score"] > 0.9
    yunet_file.unlink()
    assert "Face detector: haar" in call(capfd, "predict", sample_photograph())[2]


@pytest.mark.parametrize("options", [{"min_face": -1}, {"score": 1.5}, {"score": float("nan")}, {"margin": 2}])
def test_an_option_out_of_range_is_one_sentence(options):
    with pytest.raises(FerError, match=r"give"):
        DetectorOptions(**options)


@pytest.mark.parametrize("scale", [0.5, 1, 2, 8])
def test_finds_the_face_at_any_size_and_nothing_else(yunet_file, photograph, scale):
    image = cv2.resize(photograph, None, fx=scale, fy=scale)
    (face,) = find_faces(image, load_detector("yunet"))
    assert overlap(face.box, [value * scale for value in FACE]) > 0.6
    assert 0.7 <= face.score <= 1
    eyes, mouth = face.landmarks[:2], face.landmarks[3:]
    assert eyes[:, 1].max() < face.landmarks[2, 1] < mouth[:, 1].min()
    assert eyes[0, 0] < eyes[1, 0]


@pytest.mark.parametrize("shape", [(65, 65), (300, 1), (1, 3000), (2000, 40)])
def test_no_face_is_an_empty_list(yunet_file, shape):
    assert find_faces(np.full((*shape, 3), 128, np.uint8), load_detector("yunet")) == []


def test_narrower_faces_and_lower_scores_are_passed_over(yunet_file, photograph):
    small = cv2.resize(photograph, None, fx=0.5, fy=0.5)
    tall = np.vstack([photograph, np.hstack([small, np.zeros_like(small)])])
    found = load_detector("yunet").detect(tall)
    assert len(found) == 2
    (large,) = load_detector("yunet", DetectorOptions(min_face=60)).detect(tall)
    assert large == max(found, key=lambda face: face.box[2])
    assert load_detector("yunet", DetectorOptions(score=0.99)).detect(tall) == []


def test_two_hundred_faces_are_found_and_read(yunet_file, photograph, predictor):
    face = cv2.resize(photograph[30:190, 140:300], (64, 64), interpolation=cv2.INTER_AREA)
    crowd = np.tile(face, (10, 20, 1))
    result = read_picture(Picture("crowd", cv2.imencode(".png", crowd)[1].tobytes()), predictor, load_detector("yunet"))
    assert len(result.faces) == 200
    assert {face.crop.shape for face in result.faces} == {(16, 16, 1)}


def test_one_detector_serves_many_threads(yunet_file, photograph):
    detector = load_detector("yunet")
    pictures = [photograph, np.ascontiguousarray(photograph[:300, :400]), np.vstack([photograph, photograph])]
    expected = [detector.detect(picture) for picture in pictures] * 4
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(detector.detect, pictures * 4)) == expected


def test_real_faces_in_a_frame_are_found_where_they_are(yunet_file, real_data):
    """A dozen pictures of FER2013 of all classes, enlarged, on gray."""
    images = read_split(str(real_data / "fer2013.zip"), "test", (48, 48), 1).images[::300]
    frame = np.full((480, 640, 3), 128, np.uint8)
    for number, image in enumerate(images):
        row, column = divmod(number, 4)
        frame[20 + 150 * row :][:120, 20 + 150 * column :][:, :120] = cv2.resize(image, (120, 120))[..., None]
    found = load_detector("yunet").detect(frame)
    centres = {((x + w / 2 - 20) // 150, (y + h / 2 - 20) // 150) for x, y, w, h in (face.box for face in found)}
    assert len(centres) == len(found) >= 11
