"""Predict, video, in a real browser: an upload, its job, its timeline, and who may see it."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from fer_core.inference.images import sample_photograph
from fer_core.preprocessing import decode
from tests.unit.inference.videos import frame_with, write_video

SECONDS = 4


@pytest.fixture
def clips(tmp_path):
    """Of a face that moves: ``clip.mp4`` takes seconds to read, ``long.mp4`` minutes."""
    picture = decode(sample_photograph().read_bytes(), "photograph")
    scale = max(1, picture.shape[0] // 400)
    face = np.ascontiguousarray(picture[::scale, ::scale][:400])

    def frames(seconds):
        return (frame_with((face, round(60 + 60 * np.sin(n / 20)), 40)) for n in range(25 * seconds))

    write_video(tmp_path / "clip.mp4", frames(SECONDS), fps=25)
    write_video(tmp_path / "long.mp4", frames(60), fps=25)
    return tmp_path


def read(page, clip):
    page.locator("input[type=file]").set_input_files(clip)
    button = page.get_by_role("button", name="Read video")
    expect(button).to_be_enabled()
    button.click()


def test_a_video_is_uploaded_stopped_read_again_and_deleted(page, browser, server, clips):
    page.goto(f"{server.url}/predict?predict=Video")
    read(page, clips / "long.mp4")
    expect(page.get_by_text("of 1,500")).to_be_visible()
    name = re.search(r"video=(video-[0-9a-f]{16})", page.url)[1]
    expect(page).to_have_title(re.compile(name))

    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    other = context.new_page()
    other.goto(f"{server.url}/predict?predict=Video")
    expect(other.get_by_role("button", name="Read video")).to_be_visible()
    assert name not in other.content() + other.title()
    context.close()

    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("frames read until there are kept").first).to_be_visible()
    assert not list(server.workspace.glob("jobs/*/upload*"))

    page.goto(f"{server.url}/predict?predict=Video")
    read(page, clips / "clip.mp4")
    expect(page.get_by_text(re.compile(rf"in 0:0{SECONDS}; "))).to_be_visible()
    timeline = page.locator(".js-plotly-plot .nsewdrag")
    timeline.scroll_into_view_if_needed()
    box = timeline.bounding_box()
    page.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
    expect(page.get_by_text(re.compile(r"^At 0:03: face \d"))).to_be_visible()
    page.wait_for_function("document.querySelector('video').currentTime >= 3")

    page.get_by_role("button", name="Delete results").click()
    page.get_by_role("button", name="Delete them").click()
    expect(page.get_by_text("goes on when you close this page")).to_be_visible()
    assert [job.name for job in server.workspace.glob("jobs/*")] == [name]
