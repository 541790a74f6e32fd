"""A camera that plays a picture, and the Webcam page before it."""

import contextlib
import threading
import time

import cv2
import numpy as np
import psutil
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from tests.browser.conftest import start_chromium

FRAME = (480, 640)


def around(picture, side=None):
    """A frame, uint8 RGB, with a picture in its middle.

    Args:
        picture: uint8 RGB ``[h, w, 3]``.
        side: Its height and width then; its own size if None. What lies outside the frame is cut off.
    """
    if side:
        picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC)
    frame = np.full((*FRAME, 3), 110, np.uint8)
    height, width = (min(a, b) for a, b in zip(FRAME, picture.shape, strict=False))
    top, left = (FRAME[0] - height) // 2, (FRAME[1] - width) // 2
    frame[top : top + height, left : left + width] = picture[:height, :width]
    return frame


@contextlib.contextmanager
def camera(browser, file, *frames, allowed=True):
    """A Chromium whose camera plays frames in a circle, or that has none where there are no frames.

    Args:
        browser: Another Chromium: a camera is chosen when one starts.
        file: Where the film may be written; its name ends in ``.mjpeg``.
        *frames: uint8 RGB.
        allowed: Whether it answers the question for the camera with yes.
    """
    flags = ["--use-fake-ui-for-media-stream"] if allowed else []
    if frames:
        jpegs = [cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1] for frame in frames]
        file.write_bytes(b"".join(jpeg.tobytes() for jpeg in jpegs))  # an MJPEG is no more than that
        flags += ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={file}"]
    chromium = start_chromium(browser.browser_type, *flags)
    try:
        context = chromium.new_context(viewport={"width": 1366, "height": 900})
        context.set_default_timeout(120_000)
        yield context
    finally:
        chromium.close()


def open_webcam(page: Page, server):
    """Opens the page; returns the frame that the component lives in."""
    page.goto(f"{server.url}/webcam")
    return component(page)


def component(page: Page):
    inside = page.frame_locator("iframe[title*=webrtc]")
    expect(inside.get_by_role("button", name="Start camera")).to_be_visible()
    return inside


def start(page: Page, server):
    inside = open_webcam(page, server)
    inside.get_by_role("button", name="Start camera").click()
    expect(page.get_by_text("Camera on")).to_be_visible()
    return inside


def follow(page: Page, name):
    """Clicks a link of the sidebar until its page is there: the component can ask for its own page at the same moment,
    and the click is lost."""
    heading = page.get_by_role("heading", name=name, exact=True)
    for _ in range(3):
        page.get_by_role("link", name=name).click()
        with contextlib.suppress(PlaywrightTimeoutError):
            heading.wait_for(timeout=10_000)
            return
    expect(heading).to_be_visible()


def choose_detector(page: Page, name):
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("combobox", name="Face detector").click()
    page.get_by_role("option", name=name, exact=True).click()
    page.keyboard.press("Escape")


def streams(server):
    """How many sockets the server has open for pictures: each stream has some of its own, and nothing else any."""
    return len(psutil.Process(server.pid).net_connections(kind="udp"))


def wait_until(condition, seconds=120):
    """Returns when a condition holds; fails if it does not come to that."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        pause.wait(0.1)
