"""Labels are decided by keys that follow each other faster than the page."""

import pytest
from playwright.sync_api import expect

from fer_core.data.config import PrepareConfig
from fer_core.data.decisions import Pending
from fer_core.data.demo import draw_demo
from fer_core.data.prepare import prepare
from fer_core.emotions import EMOTIONS
from fer_core.evaluation.label_check import Issue, read_label_check
from tests.unit.label_checks import write_finished_check

FAST = 100  # ms between two presses


@pytest.mark.slow
def test_every_fast_press_counts_in_its_order_and_is_kept(page, server, workspace, tmp_path):
    archives = [str(path) for path in draw_demo(tmp_path / "drawn")]
    dataset = prepare(archives, workspace.datasets / "faces", PrepareConfig())
    check = read_label_check(write_finished_check(workspace, dataset, issues=[Issue.LIKELY_WRONG] * 30))
    keys = "7766554433221111kkdd"
    page.goto(f"{server.url}/labels")
    expect(page.get_by_text("0 of 30")).to_be_visible()
    expect(page.get_by_text("or press its key")).to_be_visible()
    for key in keys:
        page.keyboard.press(key)
        page.wait_for_timeout(FAST)
    expect(page.get_by_text("20 of 30")).to_be_visible()
    made = Pending(dataset.folder).read()
    assert [decision.pixel_sha for decision in made] == check.issues["pixel_sha"].iloc[: len(keys)].tolist()
    labels = [EMOTIONS[label] for label in check.issues["label"]]
    wanted = [EMOTIONS[int(key) - 1] if key.isdecimal() else key for key in keys]
    told = [{"keep": "k", "drop-train": "d"}.get(decision.action, decision.label) for decision in made]
    assert told == ["k" if key == label else key for key, label in zip(wanted, labels, strict=False)]

    for key in "zzs":  # what is skipped is open again after the reload
        page.keyboard.press(key)
        page.wait_for_timeout(FAST)
    expect(page.get_by_text("18 of 30")).to_be_visible()
    page.get_by_label("Name of the new dataset").press_sequentially("1kd")
    page.reload()
    expect(page.get_by_text("18 of 30")).to_be_visible()
    assert Pending(dataset.folder).read() == made[:18]
    expect(page.get_by_text("or press its key")).to_be_visible()
    page.get_by_role("combobox", name="Labelled").click()
    page.get_by_role("option", name=labels[18], exact=True).click()
    page.wait_for_function("document.activeElement === document.body")  # the picker lets go of the keys
    page.keyboard.press("k")
    expect(page.get_by_text("19 decided, not applied yet")).to_be_visible()
    assert Pending(dataset.folder).read()[18].pixel_sha == made[18].pixel_sha
