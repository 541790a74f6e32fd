"""A thousand frames of a camera, and visitor after visitor: the server neither grows nor keeps a stream."""

import re

import cv2
import psutil
from playwright.sync_api import expect

from fer_core.inference.images import sample_photograph
from tests.browser.camera import around, camera, choose_detector, component, follow, start, streams, wait_until
from tests.browser.conftest import browser, server

__all__ = ["browser", "server"]

FRAMES = 1000
RECORDED = re.compile(r"Recording · ([\d,]+) rows")


def memory(server):
    """Resident 10^6 bytes."""
    return psutil.Process(server.pid).memory_info().rss / 1e6


def recorded(page):
    return int(RECORDED.search(page.get_by_text(RECORDED).inner_text())[1].replace(",", ""))


def test_a_thousand_frames_and_a_crowd_of_visits_leave_the_server_as_it_was(browser, server, tmp_path):
    face = around(cv2.imread(str(sample_photograph()))[..., ::-1])
    with camera(browser, tmp_path / "face.mjpeg", face) as context:
        page = context.new_page()
        start(page, server)
        choose_detector(page, "none")  # a face in every frame: a row of the recording is a frame
        page.get_by_role("button", name="Record to CSV").click()
        expect(page.get_by_text(RECORDED)).to_be_visible()
        wait_until(lambda: recorded(page) >= 200, seconds=600)
        before = memory(server)
        wait_until(lambda: recorded(page) >= 200 + FRAMES, seconds=900)
        assert memory(server) < before + 20  # the recording is a tenth of a megabyte
        assert memory(server) < 350

        counts, sizes = [], []
        for _ in range(6):
            follow(page, "About")
            wait_until(lambda: not streams(server))
            counts.append(psutil.Process(server.pid).num_threads())
            sizes.append(memory(server))
            follow(page, "Webcam")
            expect(page.get_by_text("Camera off")).to_be_visible()
            component(page).get_by_role("button", name="Start camera").click()
            expect(page.get_by_text("Camera on")).to_be_visible()
            wait_until(lambda: streams(server))
        # The server's pools grow by a thread now and then; a stream that is not let go keeps at least three.
        assert counts[-1] - counts[1] <= 6
        assert sizes[-1] < sizes[1] + 25
    assert "Traceback" not in server.log.read_text()
