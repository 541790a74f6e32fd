"""The Labels page: the queue and its decisions, what cannot be shown, the label check's job, before and after."""

from __future__ import annotations

import os
import time

import pytest
from streamlit.testing.v1 import AppTest

from fer_core.data.config import PrepareConfig
from fer_core.data.decisions import Action, Pending, Picture
from fer_core.data.prepare import prepare
from fer_core.emotions import EMOTIONS
from fer_core.evaluation.label_check import (
    BEFORE_AFTER_FILE,
    INFO_FILE,
    ISSUES_FILE,
    KIND,
    MEASURE_KIND,
    BeforeAfter,
    Side,
    read_label_check,
    write_before_after,
    write_label_check,
)
from fer_core.jobs.store import Job, JobStatus, list_jobs
from fer_core.training.label_plan import plan_check, write_plan
from tests.unit.label_checks import write_finished_check

from .opened import open_page, text_of


@pytest.fixture
def check(workspace, dataset):
    """Four images in the queue: two likely wrong, one not a face, one ambiguous."""
    return read_label_check(write_finished_check(workspace, dataset))


def press(app, key):
    app.button(key=f"label-{key}").click().run()
    assert not app.exception, app.exception


def button(app, label):
    return next(button for button in app.button if button.label == label)


def test_decisions_leave_the_queue_and_are_taken_back_one_by_one(dataset, check):
    app, queue = open_page("labels"), check.issues
    first, second = (EMOTIONS[label] for label in queue["label"].iloc[:2])
    assert "2 probably wrong, 1 ambiguous and 1 of no face" in text_of(app)
    assert "happy 5%. These shares count the networks' own errors, too: they agree with 99 %" in text_of(app)
    assert "**0 of 2** · 0 relabelled" in text_of(app)
    assert queue["path"].iloc[0] in text_of(app)
    other = (queue["label"].iloc[0] + 3) % 7
    press(app, other + 1)
    assert queue["path"].iloc[1] in text_of(app)
    press(app, EMOTIONS.index(second) + 1)  # what it is labelled already: it is right
    made = Pending(dataset.folder).read()
    assert [(one.action, one.label, one.pixel_sha) for one in made] == [
        (Action.RELABEL, EMOTIONS[other], queue["pixel_sha"].iloc[0]),
        (Action.KEEP, "", queue["pixel_sha"].iloc[1]),
    ]
    assert made[0].reason == "label check labels-1: likely wrong"
    assert "**2 of 2** · 1 relabelled" in text_of(app)
    assert "Still open: 1 not a face, 1 ambiguous" in text_of(app)
    press(app, "z")
    press(app, "z")
    assert Pending(dataset.folder).read() == []
    assert f"Labelled **{first}**" in text_of(app)
    assert app.button(key="label-z").disabled


def test_all_that_is_left_is_decided_at_once_and_taken_back_as_one(dataset, check):
    app, shas = open_page("labels", issue="All"), check.issues["pixel_sha"]
    press(app, "k")
    button(app, "Drop all 3").click().run()
    assert not app.exception
    made = Pending(dataset.folder).read()
    assert [one.pixel_sha for one in made] == shas.tolist()
    assert [one.action for one in made] == [Action.KEEP, *[Action.DROP_TRAIN] * 3]
    assert made[-1].reason == "label check labels-1: all: ambiguous"
    assert "**4 of 4** · 0 relabelled" in text_of(app)
    press(app, "z")
    assert Pending(dataset.folder).read() == made[:1]
    assert check.issues["path"].iloc[1] in text_of(app)  # the first of them is in question again
    app = open_page("labels", issue="Ambiguous")
    assert not [one for one in app.button if " all " in one.label]  # one image needs no decision about all


def test_the_quality_of_all_labels_is_told_with_that_of_the_doubtful_ones(dataset, check):
    of_row = dict(zip(check.out_of_fold["row"], check.quality, strict=True))
    assert [of_row[row] for row in check.issues["row"]] == pytest.approx(check.issues["quality"])
    told = text_of(open_page("labels"))
    assert "At the median, the networks give the labels that are likely wrong 20 % and the others 85 %." in told
    assert f"Filled: likely wrong, 2 · train, out of fold · n {len(check.out_of_fold):,}" in told


def test_what_is_skipped_comes_back_and_is_forgotten_by_the_next_visit(dataset, check):
    app = open_page("labels", issue="All")
    press(app, "d")
    for _ in range(3):
        press(app, "s")
    assert "Only 3 skipped images are left here." in text_of(app)
    press(app, "z")  # the last skip, not the decision before it
    assert check.issues["path"].iloc[3] in text_of(app)
    press(app, "s")
    button(app, "Show skipped again").click().run()
    assert check.issues["path"].iloc[1] in text_of(app)
    again = open_page("labels", issue="All")
    assert "**1 of 4** · 0 relabelled" in text_of(again)
    assert [decision.action for decision in Pending(dataset.folder).read()] == [Action.DROP_TRAIN]


def test_what_was_decided_elsewhere_is_not_asked_again_nor_taken_back_here(dataset, check):
    images = [Picture(*image) for image in check.issues[["source", "path", "pixel_sha"]].itertuples(index=False)]
    Pending(dataset.folder).add([images[0].decision(Action.KEEP, reason="seen on Data")])
    app = open_page("labels")
    assert "**1 of 2**" in text_of(app)
    assert images[1].path in text_of(app)
    assert app.button(key="label-z").disabled
    press(app, "k")
    assert "1 of 2 decided elsewhere" in text_of(app)
    Pending(dataset.folder).add([image.decision(Action.KEEP) for image in images[2:]])
    app.run()
    assert "Every doubtful label is decided. Create a dataset" in text_of(app).replace("**", "")
    assert "Create dataset with 4 decisions" in [button.label for button in app.button]


def test_each_of_two_visitors_answers_what_is_shown_and_takes_back_what_is_theirs(dataset, check):
    one, other = open_page("labels", issue="All"), open_page("labels", issue="All")
    press(one, "k")
    press(other, "d")  # still shows the first image: no answer may go to one that nobody has seen
    press(one, "z")
    made, shas = Pending(dataset.folder).read(), check.issues["pixel_sha"]
    assert [(decision.action, decision.pixel_sha) for decision in made] == [
        (Action.KEEP, shas[0]),
        (Action.DROP_TRAIN, shas[0]),
    ]
    assert one.button(key="label-z").disabled
    one.run()
    one.button(key="decided_undo").click()  # it says what is taken back: what other decided
    press(other, "z")
    one.run()
    assert [decision.action for decision in Pending(dataset.folder).read()] == [Action.KEEP]
    press(one, "z")
    assert Pending(dataset.folder).read() == []


def test_a_decision_about_all_passes_over_what_another_visitor_decides_meanwhile(dataset, check, monkeypatch):
    app, shas = open_page("labels", issue="All"), check.issues["pixel_sha"]
    other = Picture("faces", check.issues["path"].iloc[1], shas[1]).decision(Action.RELABEL, "sad")
    add = Pending.add

    def after_another(pending, decisions, **how):
        add(pending, [other])
        add(pending, decisions, **how)

    monkeypatch.setattr(Pending, "add", after_another)
    button(app, "Drop all 4").click().run()
    assert not app.exception
    made = {decision.pixel_sha: decision.action for decision in Pending(dataset.folder).read()}
    assert made == {sha: Action.RELABEL if sha == shas[1] else Action.DROP_TRAIN for sha in shas}


def test_a_check_that_tells_nothing_says_so(workspace, dataset, check):
    assert "no more often than chance" not in text_of(open_page("labels"))
    info = check.info.model_copy(update={"accuracy": 0.2, "ci95": (0.16, 0.24)})
    write_label_check(check.folder, info, check.issues, check.out_of_fold)
    assert "no more often than chance" in text_of(open_page("labels"))
    write_finished_check(workspace, dataset, "labels-2", issues=())
    app = open_page("labels", check="labels-2")
    assert "None of 448 train labels is in doubt." in text_of(app)
    assert "Every doubtful label is decided" not in text_of(app)


def test_keys_that_came_in_together_go_to_one_image_after_the_other():
    """While a page is busy, several presses reach it at once; what it has acted on is sent again with them."""

    def script() -> None:
        import streamlit as st

        from dashboard import label_keys

        st.session_state.setdefault("heard", "")

        def hear(key: str) -> None:
            st.session_state["heard"] += key

        for pressed in ([[5, "7"], [6, "7"]], [[5, "7"], [6, "7"], [9, "s"], [10, "1"]], None):
            st.session_state["labels_keys"] = {"pressed": pressed}
            label_keys._act(hear)

    app = AppTest.from_function(script).run()
    assert not app.exception, app.exception
    assert app.session_state["heard"] == "77s1"


def test_a_check_that_cannot_be_used_says_why_and_another_can_be_started(workspace, drawn, dataset, check):
    (check.folder / ISSUES_FILE).write_bytes(b"PAR1")
    assert "label-issues.parquet: this file of the label check is missing or damaged" in text_of(open_page("labels"))
    (check.folder / INFO_FILE).write_text("{")
    app = open_page("labels")
    assert "label_check.json: this file of the label check is missing or damaged" in text_of(app)
    assert not button(app, "Start label check").disabled


def test_a_check_of_an_earlier_version_is_not_shown(workspace, drawn, dataset, check):
    other = PrepareConfig(seed=7)
    prepare([str(path) for path in drawn], workspace.datasets / "other", other).folder.rename(workspace.root / "other")
    for file in dataset.folder.iterdir():
        file.unlink()
    dataset.folder.rmdir()
    (workspace.root / "other").rename(dataset.folder)
    app = open_page("labels")
    assert "labels-1 checked an earlier version of faces" in text_of(app)
    assert "label-k" not in [button.key for button in app.button]


def test_a_check_is_deleted_and_what_was_decided_stays(workspace, dataset, check):
    write_finished_check(workspace, dataset, "labels-2")
    app = open_page("labels", check="labels-2")
    press(app, "k")
    app.button(key="label_delete").click().run()
    assert not app.exception
    assert not app.toast
    assert [job.name for job in list_jobs(workspace.jobs)] == ["labels-1"]
    assert len(Pending(dataset.folder).read()) == 1
    assert "**1 of 2**" in text_of(app)  # the other check is shown
    measuring = Job.create(workspace.jobs, MEASURE_KIND, "m", ["labels", "measure", "labels-1"])
    measuring.write_status(JobStatus(state="running"))
    lock = measuring.take_lock()
    app.button(key="label_delete").click().run()  # on a page of before it was begun
    assert "m is at work and cannot be deleted now" in text_of(app)
    popover = next(block for block in app.get("popover") if block.proto.popover.label == "Delete this check")
    assert popover.proto.popover.disabled
    os.close(lock)
    measuring.write_status(JobStatus(state="stopped"))
    app.button(key="label_delete").click().run()
    assert list_jobs(workspace.jobs) == []  # or the next check of that name would be offered to go on measuring


def test_a_check_is_started_with_the_settings_shown_and_resumed(workspace, dataset, monkeypatch):
    started = []
    monkeypatch.setattr("fer_core.jobs.supervisor.start", lambda job, words: started.append((job, words)))
    app = open_page("labels")
    assert "No label of this dataset has been checked yet." in text_of(app)
    app.number_input(key="labels_folds").set_value(3).run()
    app.number_input(key="labels_epochs_compact").set_value(2).run()
    assert "--folds 3 --preset compact --set phases.0.epochs=2" in app.code[0].value
    button(app, "Start label check").click().run()
    assert not app.exception
    (job, words), arguments = started[0], started[0][0].spec().arguments
    assert words == ["labels", "check", "--resume", "labels-1"]
    assert arguments[:7] == ["labels", "check", "faces", "--folds", "3", "--preset", "compact"]
    job.write_status(JobStatus(state="stopped", message="Stopped; finished epochs are kept."))
    app.run()
    assert "Stopped; finished epochs are kept." in text_of(app)
    button(app, "Resume").click().run()
    assert started[1] == (job, words)
    button(app, "Delete it").click().run()
    assert not app.exception
    assert not job.folder.exists()
    assert not button(app, "Start label check").disabled


def test_an_older_check_stays_in_use_while_a_new_one_is_at_work(workspace, dataset, check):
    job = Job.create(workspace.jobs, KIND, "labels-2", ["labels", "check", "faces"])
    job.write_status(JobStatus(state="running", phase="Training 5 folds", started=time.time(), updated=time.time()))
    lock = job.take_lock()
    assert lock is not None
    app = open_page("labels")
    assert "Training 5 folds" in text_of(app)
    press(app, "k")
    assert "**1 of 2**" in text_of(app)


def test_before_and_after_is_started_with_the_decisions_and_told_honestly(workspace, dataset, check, monkeypatch):
    started = []
    monkeypatch.setattr("dashboard.label_gain.check_measurable", lambda plan, decisions: None)
    write_plan(Job(check.folder), plan_check(dataset, "compact"))
    monkeypatch.setattr("dashboard.label_gain.supervisor.launch", lambda *words: started.append(words[1:]))
    app = open_page("labels")
    press(app, "d")
    assert "Both on this machine: not known yet." in text_of(app)
    button(app, "Measure before and after").click().run()
    frozen = str(Pending(dataset.folder).frozen())
    words = ["labels", "measure", "labels-1", "--decisions", frozen]
    assert started == [("before-after", "labels-1-measure-1", words)]
    before = Side(run="one", dataset="faces", fingerprint="x", accuracy=0.60, ci95=(0.58, 0.62))
    found = BeforeAfter(
        created=1.0, automatic=False, decisions={"drop-train": 1}, before=before,
        after=before.model_copy(update={"run": "two", "accuracy": 0.61}), n=1340, difference=0.01,
        ci95=(-0.01, 0.03), p_value=0.4, only_before=30, only_after=43,
    )  # fmt: skip
    write_before_after(check.folder, found)
    text = text_of(app.run())
    assert "+1.0 ± 2.0 points, within noise** after 1 decision (1 drop-train) · validation · n 1,340 · p = 0.4 " in text
    assert "the luck of training is not in this interval" in text
    assert "near chance" not in text
    assert "Before: 60.0 % ± 2.0 · validation · n 1,340 · Clean" in text
    write_before_after(check.folder, found.model_copy(update={"chance": 0.585}))
    assert "the network is near chance (58.5 %" in text_of(app.run())
    (check.folder / BEFORE_AFTER_FILE).write_text("{")
    assert "before_after.json: damaged" in text_of(app.run())
