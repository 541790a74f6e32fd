"""The webcam in a real Chromium whose camera plays composed faces."""

import io
import re
import zipfile

import cv2
import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import helper, numpy_helper
from PIL import Image
from playwright.sync_api import expect

from fer_core.inference.faces import load_detector
from fer_core.inference.images import read_faces, sample_photograph
from fer_core.inference.predictor import Predictor
from fer_core.inference.served import default_model
from tests.browser.camera import around, camera, component, follow, open_webcam, start, streams, wait_until
from tests.unit.served_models import write_brightness_model


@pytest.fixture
def face():
    """A frame with one face."""
    return around(cv2.imread(str(sample_photograph()))[..., ::-1])


@pytest.fixture
def bundled(workspace):
    return Predictor.load(default_model(workspace))


def write_model_that_answers_five(path):
    """A model that can be opened: only its answers give it away."""
    model = onnx.load(write_brightness_model(path))
    model.graph.node[-1].output[0] = "seven"
    model.graph.node.append(helper.make_node("Compress", ["seven", "kept"], ["probabilities"], axis=1))
    model.graph.initializer.append(numpy_helper.from_array(np.arange(7) < 5, "kept"))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "K"
    onnx.save(model, path)


def said(label):
    """The words beside the picture, whatever the face's number."""
    return re.compile(rf"\d+ · {label.capitalize()}")


def test_the_label_reaches_the_page_again_and_again(browser, server, bundled, face, tmp_path):
    (expected,) = read_faces(face, bundled, load_detector("haar"))
    words = said(expected.emotion)
    with camera(browser, tmp_path / "face.mjpeg", face) as context:
        asked = set()
        context.on("request", lambda request: asked.add(request.url))
        page = context.new_page()
        start(page, server)
        expect(page.get_by_text(words)).to_be_visible()
        assert streams(server)
        expect(page.get_by_alt_text("The largest face over the last 60 seconds")).to_be_visible()

        for _ in range(2):  # to another page and back
            follow(page, "About")
            wait_until(lambda: not streams(server))
            follow(page, "Webcam")
            expect(page.get_by_text("Camera off")).to_be_visible()
            component(page).get_by_role("button", name="Start camera").click()
            expect(page.get_by_text(words)).to_be_visible()

        other = context.new_page()  # a second tab at the same time
        start(other, server)
        expect(other.get_by_text(words)).to_be_visible()
        other.get_by_role("button", name="Pause").click()
        expect(other.get_by_text("Paused, camera on")).to_be_visible()
        expect(page.get_by_text("Camera on")).to_be_visible()  # the first one goes on
        other.close()

        page.reload()
        component(page)
        wait_until(lambda: not streams(server))
        elsewhere = {url for url in asked if not url.startswith((server.url, "data:", "blob:"))}
        assert not elsewhere  # neither STUN servers nor fonts of anyone


def test_a_real_face_is_read_as_what_it_is(browser, server, bundled, real_data, tmp_path):
    haar = load_detector("haar")
    with zipfile.ZipFile(real_data / "fer2013.zip") as archive:
        names = [name for name in archive.namelist() if name.startswith("test/surprise/")]
        for name in names[:50]:
            face = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
            frame = around(face, side=320)
            found = read_faces(frame, bundled, haar)
            if len(found) == 1 and found[0].emotion == "surprise" and found[0].probabilities.max() > 0.9:
                break
        else:
            pytest.skip("none of these faces is found and read rightly by itself")
    with camera(browser, tmp_path / "face.mjpeg", frame) as context:
        page = context.new_page()
        start(page, server)
        expect(page.get_by_text(said("surprise"))).to_be_visible()


def test_an_exception_in_the_callback_is_told_and_the_stream_goes_on(browser, server, workspace, face, tmp_path):
    good = default_model(workspace).name
    write_model_that_answers_five(workspace.models / "broken" / "model.onnx")
    with camera(browser, tmp_path / "face.mjpeg", face) as context:
        page = context.new_page()
        inside = start(page, server)
        expect(page.get_by_text(said("happy"))).to_be_visible()
        page.get_by_role("combobox", name="Model").click()
        page.get_by_role("option", name="broken").click()
        expect(page.get_by_text("the model answered with 1 x 5 values")).to_be_visible()
        page.get_by_role("combobox", name="Model").click()
        page.get_by_role("option", name=good).click()
        expect(page.get_by_text(said("happy"))).to_be_visible()
        expect(inside.get_by_role("button", name="Stop camera")).to_be_visible()  # never interrupted


def test_snapshot_and_recording_are_downloaded(browser, server, face, tmp_path):
    with camera(browser, tmp_path / "face.mjpeg", face) as context:
        page = context.new_page()
        start(page, server)
        expect(page.get_by_text(said("happy"))).to_be_visible()
        with page.expect_download() as download:
            page.get_by_role("button", name="Snapshot").click()
        assert Image.open(download.value.path()).size == (640, 480)
        page.get_by_role("button", name="Record to CSV").click()
        expect(page.get_by_text(re.compile(r"Recording · [1-9]"))).to_be_visible()
        page.get_by_role("button", name="Stop recording").click()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download CSV").click()
        table = pd.read_csv(download.value.path())
        assert set(table["emotion"]) == {"happy"}
        assert table["time"].is_monotonic_increasing


@pytest.mark.parametrize(
    ("allowed", "has_camera", "name"), [(False, True, "NotAllowedError"), (True, False, "NotFoundError")]
)
def test_a_camera_that_does_not_start_is_told_in_plain_words(
    browser, server, face, tmp_path, allowed, has_camera, name
):
    frames = [face] if has_camera else []
    with camera(browser, tmp_path / "face.mjpeg", *frames, allowed=allowed) as context:
        page = context.new_page()
        inside = open_webcam(page, server)
        inside.get_by_role("button", name="Start camera").click()
        expect(inside.get_by_text(name)).to_be_visible()  # the component's word
        page.get_by_text("No picture?").click()
        expect(page.get_by_text(re.compile(f"^{name}: "))).to_be_visible()  # and what it means
