"""The main path in a real browser on drawn faces: prepare, train, watch, stop, resume, predict."""

import contextlib
import re
import time

import cv2
import numpy as np
import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Locator, Page, expect

from fer_core.data.demo import draw_demo, draw_face

SHORT, LONG = 5_000, 900_000  # ms; an upper bound, never a measurement


@pytest.fixture
def archives(workspace):
    return draw_demo(workspace.sources)


def open_page(page: Page, server, name: str, title: str) -> None:
    page.goto(f"{server.url}/{name}")
    expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)


def epoch(page: Page) -> int:
    text = page.get_by_test_id("stMetricValue").first.inner_text()
    return int(re.match(r"(\d+) of", text).group(1))


def click_until(target: Locator, column: float, row: float, outcome: Locator) -> None:
    """Clicks a figure at a share of its width and height until that shows. A figure is drawn anew when what it stands
    on changes, so that it can be gone for a moment, and so can the click."""
    deadline = time.monotonic() + 60
    while not outcome.is_visible():
        assert time.monotonic() < deadline, "a click on the figure does nothing"
        with contextlib.suppress(PlaywrightError):
            if box := target.bounding_box(timeout=SHORT):
                target.click(position={"x": box["width"] * column, "y": box["height"] * row}, timeout=SHORT)
                outcome.wait_for(timeout=SHORT)


def look_at_pictures(page: Page) -> None:
    """From the matrix to a picture and the next one, by mouse."""
    expect(page.get_by_role("heading", name="Evaluate", exact=True)).to_be_visible()
    expect(page.get_by_text(re.compile(r"% [±(].* · validation · n \d+ · Clean"))).to_be_visible()
    matrix, sheet = (page.locator(".js-plotly-plot").nth(n).locator(".nsewdrag").first for n in (0, 1))
    happy = 3.5 / 7  # drawn faces are nearly all read rightly
    click_until(matrix, happy, happy, page.get_by_text("happy read rightly"))
    expect(page).to_have_url(re.compile("true=happy&read=happy|read=happy&true=happy"))
    drawer = page.get_by_role("dialog")
    click_until(sheet, 1 / 12, 1 / 12, drawer)
    expect(drawer.get_by_text("Labelled happy")).to_be_visible()
    expect(drawer.get_by_text(re.compile("^1 of"))).to_be_visible()
    drawer.get_by_role("button", name="Next").click()
    expect(drawer.get_by_text(re.compile("^2 of"))).to_be_visible()
    drawer.get_by_role("button", name="Close").click()
    expect(drawer).to_have_count(0)


@pytest.mark.timeout(1800)
def test_from_archives_to_a_prediction(page, server, archives, tmp_path):
    open_page(page, server, "data", "Data")
    for archive in archives:
        expect(page.get_by_text(archive.name).first).to_be_visible()
    page.get_by_role("button", name="Prepare dataset").click()
    expect(page.get_by_text("adds no photograph")).to_be_visible(timeout=LONG)
    expect(page.get_by_text("Clean").filter(visible=True).first).to_be_visible()
    expect(page.locator("img[alt*='|']").first).to_be_visible()  # pairs of copies from these archives

    open_page(page, server, "train", "Train")
    page.get_by_label("Epochs", exact=True).fill("40")
    page.get_by_label("Epochs", exact=True).press("Enter")
    expect(page.get_by_text("phases.0.epochs=40").first).to_be_visible()
    page.get_by_role("button", name="Start training").click()
    curves = page.locator(".js-plotly-plot").first
    expect(curves).to_be_visible(timeout=LONG)
    seen = epoch(page)
    page.wait_for_function(
        "seen => parseInt(document.querySelector('[data-testid=stMetricValue]')?.innerText) > seen",
        arg=seen,
        timeout=LONG,
    )

    page.reload()  # a reload, a second tab and a restart of the server change nothing
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    second = page.context.new_page()
    open_page(second, server, "train", "Train")
    expect(second.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    second.close()
    server.kill()
    server.start()
    open_page(page, server, "train", "Train")
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()

    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible(timeout=LONG)
    stopped_at = epoch(page)
    assert seen < stopped_at < 40
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text(re.compile(r"Done: .* % [±(].* validation · n \d+ · Clean"))).to_be_visible(timeout=LONG)
    assert epoch(page) == 40

    page.get_by_role("link", name="See where it is wrong").click()
    look_at_pictures(page)

    photo = np.full((300, 400, 3), 200, np.uint8)
    face = draw_face("happy", seed=5, size=48)
    crop = tmp_path / "crop.png"
    cv2.imwrite(str(crop), face)
    nobody = tmp_path / "nobody.png"
    cv2.imwrite(str(nobody), photo)
    (tmp_path / "notes.jpg").write_text("not a picture")
    open_page(page, server, "predict", "Predict")
    page.locator("input[type=file]").set_input_files([str(nobody), str(crop), str(tmp_path / "notes.jpg")])
    expect(page.get_by_role("alert").get_by_text("not a picture we can read")).to_be_visible()
    expect(page.get_by_role("status").get_by_text("No face found")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    table = download.value.path().read_text().splitlines()
    assert table[0].startswith("path,face,x,y,width,height,emotion,uncertain,unreliable,p_angry")
    assert any(line.startswith("crop.png,1,0,0,48,48,") for line in table)
