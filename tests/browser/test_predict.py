"""The Predict page in a browser: two visitors at once, and uploads that are let go."""

import re
import zipfile

import cv2
import numpy as np
import psutil
import pytest
from playwright.sync_api import expect

from fer_core.inference.images import sample_photograph


@pytest.fixture
def visitor(browser, server):
    """Opens the page as a visitor of their own."""
    contexts = []

    def open_page():
        context = browser.new_context(viewport={"width": 1366, "height": 900})
        context.set_default_timeout(120_000)
        contexts.append(context)
        page = context.new_page()
        page.goto(f"{server.url}/predict")
        expect(page.get_by_text("Nothing uploaded yet")).to_be_visible()
        return page

    yield open_page
    for context in contexts:
        context.close()


def photograph(name, shift=0):
    """An upload of the sample photograph, a little darker each time, so that no two are equal."""
    image = cv2.imread(str(sample_photograph()))
    data = cv2.imencode(".png", cv2.subtract(image, np.full_like(image, shift)))[1].tobytes()
    return {"name": name, "mimeType": "image/png", "buffer": data}


def upload(page, *files):
    page.locator("input[type=file]").set_input_files(list(files))


def test_two_visitors_do_not_see_each_others_pictures(visitor):
    anna, ben = visitor(), visitor()
    upload(anna, photograph("anna-1.png"), photograph("anna-2.png", 5))
    expect(anna.get_by_text("2 faces in 2 pictures")).to_be_visible()
    expect(ben.get_by_text("Nothing uploaded yet")).to_be_visible()
    upload(ben, photograph("ben-1.png", 10), photograph("ben-2.png", 15), photograph("ben-3.png", 20))
    expect(ben.get_by_text("3 faces in 3 pictures")).to_be_visible()
    anna.get_by_role("spinbutton", name="Show picture").fill("2")
    anna.keyboard.press("Enter")
    expect(anna.get_by_text("Picture 2 · anna-2.png")).to_be_visible()
    for page, mine, other in ((anna, "anna-", "ben-"), (ben, "ben-", "anna-")):
        assert mine in page.content()
        assert other not in page.content()


def test_a_click_on_the_sheet_shows_that_picture(visitor):
    page = visitor()
    upload(page, *(photograph(f"{n}.png", 3 * n) for n in range(1, 8)))
    expect(page.get_by_text("Picture 1 · 1.png")).to_be_visible()
    sheet = page.locator(".js-plotly-plot .nsewdrag").bounding_box()
    page.mouse.click(sheet["x"] + sheet["width"] * 2.5 / 6, sheet["y"] + 40)
    expect(page.get_by_text("Picture 3 · 3.png")).to_be_visible()


@pytest.mark.slow
def test_uploads_are_let_go(visitor, server):
    """Five times 45 MB of uploads do not add up in the server."""
    padding = bytes(45 * 2**20)

    def memory():
        return psutil.Process(server.pid).memory_info().rss / 2**20

    def upload_and_remove(name, buffer):
        upload(page, {**photograph(name), "buffer": buffer})
        expect(page.get_by_alt_text(re.compile(name))).to_be_visible()
        page.get_by_role("button", name="Remove all").click()
        expect(page.get_by_text("Nothing uploaded yet")).to_be_visible()

    page = visitor()
    upload_and_remove("first.png", photograph("first.png")["buffer"])
    before = memory()
    for number in range(5):
        upload_and_remove(f"large-{number}.png", photograph("", number)["buffer"] + padding)
    assert memory() - before < 120


def test_a_folder_is_read_stopped_and_still_there_after_a_reload(visitor, server, tmp_path):
    data = cv2.imencode(".png", np.zeros((48, 48), np.uint8))[1].tobytes()
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number:05d}.png", data)
    page = visitor()
    page.get_by_text("Folder", exact=True).click()
    page.get_by_role("textbox", name="Folder or zip on this machine").fill(str(tmp_path / "many.zip"))
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Read folder").click()
    expect(page.get_by_text(re.compile("of 20,000"))).to_be_visible()
    page.reload()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text(re.compile(r"Stopped after [\d,]+ of 20,000 pictures"))).to_be_visible()
    expect(page.get_by_text(re.compile(r"[\d,]+ faces in [\d,]+ pictures"))).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    lines = download.value.path().read_text().splitlines()
    assert lines[0].startswith("path,face,x,y,width,height,emotion")
    assert len(lines) > 64
