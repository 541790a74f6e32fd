"""The address of Evaluate names what is shown and is one step of the history; its matrix fits a phone."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from fer_core.data.config import PrepareConfig
from fer_core.data.demo import draw_demo
from fer_core.data.prepare import prepare
from tests.unit.runs import write_finished_run


@pytest.mark.slow
def test_a_bare_address_names_what_is_shown_and_one_back_leaves(page, server, workspace, tmp_path):
    archives = [str(path) for path in draw_demo(tmp_path / "drawn")]
    dataset = prepare(archives, workspace.datasets / "faces", PrepareConfig())
    happy = int(np.flatnonzero(dataset.split("validation").labels == 3)[0])
    write_finished_run(workspace, "bright", dataset, wrong=[happy])
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("about:blank")
    page.goto(f"{server.url}/evaluate")
    expect(page.locator(".heatmaplayer")).to_be_visible()
    for part in ("model=bright", "dataset=faces", "true=happy", "read=sad"):
        expect(page).to_have_url(re.compile(rf"[?&]{part}(&|$)"))
    cells, frame = page.locator(".heatmaplayer").bounding_box(), page.locator(".st-key-matrix").bounding_box()
    assert frame["y"] + frame["height"] - cells["y"] - cells["height"] < 30  # pixels of blank below

    page.evaluate("history.back()")
    page.wait_for_url("about:blank")
