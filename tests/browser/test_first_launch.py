"""First launch with no data at all: one button walks the loop, and every page then fits a laptop and a phone."""

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

LONG = 900_000  # ms; an upper bound, never a measurement
PAGES = {
    "": "Overview",
    "data": "Data",
    "balance": "Balance",
    "labels": "Labels",
    "train": "Train",
    "runs": "Runs",
    "evaluate": "Evaluate",
    "predict": "Predict",
    "webcam": "Webcam",
    "about": "About",
}
CHARTS = ("data", "balance", "train", "evaluate")  # runs: one has nothing to be drawn beside
SEVEN = re.compile(r"^(\w+ [\d.]+ %(, )?){7}$")  # what the seven bars say


@pytest.mark.timeout(900)
def test_one_button_walks_the_loop_and_every_page_fits(page, server, browser):
    page.goto(server.url)
    expect(page.get_by_alt_text(re.compile("^astronaut.png: (?!no face)"))).to_be_visible()  # no click
    page.get_by_role("button", name="Draw a demo set and run the loop").click()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    expect(page.get_by_text("The loop is closed.")).to_be_visible(timeout=LONG)
    page.goto(f"{server.url}/predict?model=demo-1")
    expect(page.get_by_alt_text("a drawn face: happy")).to_be_visible()  # read by the model just trained
    page.get_by_text("Explain", exact=True).click()
    expect(page.get_by_alt_text(re.compile("^What speaks for happy"))).to_be_visible()

    for width, theme in ((1366, "light"), (390, "dark")):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=theme)
        hosts: set[str] = set()
        context.on("request", lambda request, hosts=hosts: hosts.add(urlsplit(request.url).hostname or ""))
        visit = context.new_page()
        for path, title in PAGES.items():
            visit.goto(f"{server.url}/{path}")
            expect(visit.get_by_role("heading", name=title, exact=True)).to_be_visible()
            if path in CHARTS:
                expect(visit.locator(".js-plotly-plot").first).to_be_visible()
            elif path in ("", "predict"):
                expect(visit.get_by_alt_text(SEVEN).first).to_be_visible()
            expect(visit.get_by_test_id("stException")).to_have_count(0)
            overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert visit.evaluate(overflow) <= 0, (title, width)
        context.close()
        assert hosts <= {"localhost", ""}, hosts  # nothing is asked of anyone else (data: and blob: have no host)
    log = server.log.read_text()
    assert "Traceback" not in log, log
