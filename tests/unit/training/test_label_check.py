"""``labels`` as typed at a terminal: folds that learn apart, interruptions, and before against after."""

import json
import os

import numpy as np
import pytest

from fer_core.data.dataset import Dataset
from fer_core.data.decisions import Pending, pictures_named
from fer_core.data.prepare import PrepareConfig, prepare
from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError, Stopped
from fer_core.evaluation.label_check import LabelCheck, list_label_checks, read_label_check
from fer_core.inference.served import MODEL_FILE
from fer_core.jobs.progress import Pace
from fer_core.jobs.state import JobState, StopWish
from fer_core.jobs.store import Job, JobStatus
from fer_core.jobs.worker import Worker
from fer_core.training import before_after, label_plan, runs
from fer_core.training.runs import Run
from fer_core.training.speeds import Pictures, Speeds
from fer_core.workspace import Workspace

from ..command_line import call
from ..data.pictures import class_folders, make_zip
from ..label_checks import write_finished_check
from ..runs import write_finished_run
from ..served_models import write_brightness_model
from .conftest import make_dataset

SETTINGS = (
    "--folds=3",
    "--set=phases.0.epochs=2",
    "--set=phases.0.batch_size=16",
    "--set=threads=2",
)


def add_children(dataset, monkeypatch):
    """Makes every third image of train an augmented child of the one before."""
    whole = Dataset.table

    def table(self, split):
        rows = whole(self, split)
        if split == "train":
            child = np.arange(len(rows)) % 3 == 2
            before = np.flatnonzero(child) - 1
            rows.loc[child, "parent_id"] = rows["pixel_sha"].to_numpy()[before]
            rows.loc[child, "photo_id"] = rows["photo_id"].to_numpy()[before]
        return rows

    monkeypatch.setattr(Dataset, "table", table)


@pytest.fixture
def quick(monkeypatch):
    """Training that only writes a model and notes what it was given; the second one is stopped the first time."""
    from fer_core.training import label_folds

    seen = []

    def train(config, dataset, worker):
        split = dataset.split("train")
        seen.append(split.table["path"].tolist())
        if len(seen) == 2:
            raise Stopped("Stopped.")
        write_brightness_model(worker.job.folder / MODEL_FILE)

    def embeddings(folder, dataset, rows, worker):
        return np.eye(rows.sum(), 8, dtype=np.float32)

    monkeypatch.setattr(label_folds, "train", train)
    monkeypatch.setattr(label_folds, "_embeddings", embeddings)
    return seen


def test_no_network_is_asked_about_a_photograph_that_it_learnt_from(workspace, quick, capfd, monkeypatch):
    dataset = make_dataset(workspace.datasets / "tiny", {"train": 63, "validation": 7, "test": 7}, leaked={"test": 7})
    add_children(dataset, monkeypatch)
    code, _, err = call(capfd, "labels", "check", "tiny", *SETTINGS)
    assert code == 130
    assert err.splitlines()[-1].endswith("Go on with `labels check --resume labels-1`.")
    job = Job(workspace.jobs / "labels-1")
    assert job.state() is JobState.STOPPED
    assert list_label_checks(workspace, dataset) == []
    (label_plan.fold_folder(job.folder, 1) / "job.json").unlink()  # as if killed when it was made
    code, out, _ = call(capfd, "labels", "check", "--resume", "labels-1", "--json")
    document = json.loads(out)
    assert (code, document["n"], document["folds"]) == (0, 42, 3)
    assert document["accuracy"] > 0.9  # the brightness is the label
    (check,) = list_label_checks(workspace, dataset)

    table, asked = dataset.table("train"), check.out_of_fold
    assert table["parent_id"].iloc[asked["row"]].isna().all()
    trained = [quick[0], quick[2], quick[3]]  # the first fold is not trained again, the second is
    assert len(quick) == 4
    for fold, paths in enumerate(trained):
        learnt = table[table["path"].isin(paths)]
        left_out = table.iloc[asked["row"][asked["fold"] == fold]]
        assert not set(learnt["photo_id"]) & set(left_out["photo_id"])
        assert len(learnt) + table["photo_id"].isin(left_out["photo_id"]).sum() == len(table)
        assert learnt["parent_id"].notna().any()
    code, out, _ = call(capfd, "labels", "show", "labels-1", "--top", "2")
    assert (code, len(out.splitlines())) == (0, 3 + min(2, len(check.issues)))
    assert call(capfd, "labels", "delete", "labels-1", "--yes")[0] == 0
    assert not job.folder.exists()


def test_a_damaged_fold_says_what_to_do(workspace, tiny, capfd, monkeypatch):
    from fer_core.training import label_folds

    def train(config, dataset, worker):
        (worker.job.folder / MODEL_FILE).write_bytes(b"no model")

    monkeypatch.setattr(label_folds, "train", train)
    code, _, err = call(capfd, "labels", "check", "tiny", *SETTINGS)
    assert code == 2
    assert "labels-1/folds/fold-1: the files of this fold are damaged" in err
    assert "Delete this folder, then go on with `labels check --resume labels-1`" in err


def test_the_pace_counts_from_the_moment_at_which_work_advances(monkeypatch):
    now = iter([0.0, 60.0, 70.0, 80.0])
    monkeypatch.setattr("fer_core.jobs.progress.time.monotonic", lambda: next(now))
    pace = Pace(100)
    assert [pace.seconds_left(done) for done in (20, 20, 40, 60)] == [None, None, 30, 20]


@pytest.mark.slow  # two label checks with a network that learns
def test_a_stopped_check_ends_as_one_that_was_not(workspace, capfd, monkeypatch):
    make_dataset(workspace.datasets / "tiny", {"train": 63, "validation": 21, "test": 7})
    learnt = []
    monkeypatch.setattr("fer_core.training.loop.remember_run", lambda *found: learnt.append(found[-1].train))
    assert call(capfd, "labels", "check", "tiny", *SETTINGS, "--name=whole")[0] == 0
    assert learnt == [42] * 3  # or the speeds that are noted would be those of a whole dataset
    report = Worker.__call__

    def speak(self, phase, done, total):
        if self.job.folder.name == "fold-2" and phase.endswith("epoch 2 of 2") and done == 1:
            Job(workspace.jobs / "parts").ask_to_stop(StopWish.KEEP_ALL)
        report(self, phase, done, total)

    with monkeypatch.context() as during:
        during.setattr(Worker, "__call__", speak)
        assert call(capfd, "labels", "check", "tiny", *SETTINGS, "--name=parts")[0] == 130
    fold = Run(Job(label_plan.fold_folder(workspace.jobs / "parts", 1)))
    assert (fold.state, len(fold.epoch_events)) == (JobState.STOPPED, 1)
    assert call(capfd, "labels", "check", "--resume", "parts")[0] == 0
    whole, parts = (read_label_check(workspace.jobs / name) for name in ("whole", "parts"))
    assert whole.out_of_fold.equals(parts.out_of_fold)
    assert whole.issues.equals(parts.issues)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A workspace with good and bad datasets, a finished label check and one without a plan."""
    space = Workspace(tmp_path_factory.mktemp("home"))
    tiny = make_dataset(space.datasets / "tiny", {"train": 21, "validation": 7, "test": 7})
    make_dataset(space.datasets / "few", {"train": [0, 0, 0, 0, 0], "validation": 7, "test": 7})
    make_dataset(space.datasets / "none", {"test": 7})
    write_finished_check(space, tiny, "done")
    Job.create(space.jobs, "labels", "torn", []).write_status(JobStatus(state="stopped"))
    return space


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check"], "Name a dataset"),
        (["check", "nowhere"], "No prepared dataset named or at 'nowhere'"),
        (["check", "tiny", "--folds=1"], "give at least 2"),
        (
            ["check", "tiny", "--folds=4"],
            "tiny has 3 photographs of angry in train, and 4 folds need",
        ),
        (["check", "few"], "few has 0 photographs of disgust in train"),
        (["check", "none"], "none has no images to train on"),
        (["check", "tiny", "--folds=2", "--set=seed=1"], "use --seed"),
        (["check", "tiny", "--folds=2", "--set=weights=/w.h5"], "may have learnt the labels"),
        (
            ["check", "tiny", "--folds=2", "--set=phases.0.teachers=a"],
            "compact has teachers, who may have",
        ),
        (["check", "tiny", "--folds=2", "--name=a/b"], "cannot be the name of a label check"),
        (["check", "tiny", "--resume=done"], "--resume goes on with a check's own settings"),
        (["check", "--resume=done"], "done is finished, there is nothing to resume"),
        (["check", "--resume=torn"], "plan.json: missing or damaged"),
        (["show", "nope"], "No label check named 'nope'. There are done, torn."),
        (["delete", "done"], "nobody can answer here. Add --yes"),
        (["show", "torn"], "no finished label check here"),
    ],
)
def test_a_wrong_call_is_one_line(home, capfd, monkeypatch, arguments, said):
    monkeypatch.setenv("FER_WORKSPACE", str(home.root))
    code, out, err = call(capfd, "labels", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert len(list(home.jobs.iterdir())) == 2


def test_the_time_of_all_folds_is_reckoned(workspace, tiny):
    from fer_core.training.speeds import NetworkSpeed, PhaseSpeed, network_of, work_of

    plan = label_plan.plan_check(tiny, "compact", ["phases.0.epochs=2"], folds=3)
    pictures = Pictures.of(tiny)
    assert label_plan.estimate_check(plan, pictures, Speeds()) is None
    network = network_of(plan.config, pictures.shape)
    phase = PhaseSpeed(
        work=work_of(network, plan.config.phases[0]), train=10.0, score=21.0, once=False, start_seconds=2.0, memory=1
    )
    speeds = Speeds(phases=[phase], networks=[NetworkSpeed(network=network, seconds=5.0, memory=1)])
    found = label_plan.estimate_check(plan, pictures, speeds)
    assert found.seconds == pytest.approx(3 * (5 + 2 + 2 * (30 / 10 + 21 / 21)))


@pytest.fixture
def checked(workspace, tmp_path):
    """A dataset of drawn faces with a finished label check, and the plan of that."""
    source = make_zip(tmp_path / "faces.zip", class_folders(train=8, test=2))
    dataset = prepare([str(source)], workspace.datasets / "faces")
    check = read_label_check(write_finished_check(workspace, dataset))
    plan = label_plan.plan_check(dataset, "compact", ["phases.0.epochs=2"], folds=2)
    label_plan.write_plan(Job(check.folder), plan)
    return dataset, check


def test_before_and_after_are_compared_with_runs_that_are_there(workspace, checked, capfd):
    dataset, check = checked
    decisions = before_after.automatic_decisions(check, dataset, before_after.Automatic.RELABEL)
    config = PrepareConfig.of_dataset(dataset.info.config).model_copy(update={"decisions": decisions})
    source = dataset.info.config["sources"][0]
    after = prepare([f"{source['name']}={source['path']}"], workspace.datasets / "mended", config)
    changed = {decision.path: decision.label for decision in decisions}
    labels = {row.path: EMOTIONS[row.label] for row in after.table("train").itertuples()}
    assert len(changed) == 2
    assert changed.items() <= labels.items()  # decisions from the queue are replayed
    changes = ("phases.0.epochs=2",)
    write_finished_run(workspace, "short", dataset, changes=("phases.0.epochs=1",))
    write_finished_run(workspace, "b", dataset, wrong=(0, 1, 2), changes=changes)
    write_finished_run(workspace, "a", after, wrong=(2,), changes=changes)

    code, out, _ = call(capfd, "labels", "measure", "labels-1", "--automatic", "relabel", "--json")
    document, n = json.loads(out), len(dataset.table("validation"))
    assert code == 0
    assert (document["before"]["run"], document["after"]["run"]) == ("b", "a")
    assert (document["n"], document["only_before"], document["only_after"]) == (n, 0, 2)
    assert document["difference"] == pytest.approx(2 / n)
    assert document["p_value"] == 0.5
    assert (document["automatic"], document["decisions"]) == (True, {"relabel": 2})
    assert read_label_check(check.folder).before_after.model_dump(mode="json") == document


def test_nothing_is_automatic_about_what_a_person_decided_nor_by_networks_that_learnt_nothing(checked):
    dataset, check = checked
    first, second = check.issues["pixel_sha"].head(2)
    dataset.info.config["decisions"] = [{"pixel_sha": first, "action": "keep"}]
    for top in (None, 1):
        made = before_after.automatic_decisions(check, dataset, before_after.Automatic.DROP, top)
        assert [decision.pixel_sha for decision in made] == [second]
    unlearnt = LabelCheck(check.folder, check.info.model_copy(update={"ci95": (0.1, 0.2)}))
    with pytest.raises(FerError, match="no more often than chance"):
        before_after.automatic_decisions(unlearnt, dataset, before_after.Automatic.DROP)


def test_what_is_missing_for_before_and_after_is_made(workspace, checked, capfd, monkeypatch):
    dataset, _ = checked
    code, _, err = call(capfd, "labels", "measure", "labels-1")
    assert code == 2
    assert "Nothing is decided about faces" in err
    pictures = pictures_named(dataset, dataset.table("train")["path"].head(3).tolist())
    Pending(dataset.folder).add([picture.decision("drop-train") for picture in pictures])
    trained = []

    def start(job):
        trained.append(Run(job).config)
        if len(trained) == 2:
            job.write_status(JobStatus(state="failed", message="It broke."))
            return
        (job.folder / "config.yaml").replace(job.folder.parent / "kept.yaml")
        job.discard()
        folder = write_finished_run(workspace, job.name, dataset)
        (job.folder.parent / "kept.yaml").replace(folder / "config.yaml")

    monkeypatch.setattr(runs, "start", start)
    code, _, err = call(capfd, "labels", "measure", "labels-1")
    assert code == 2
    assert "labels-1-after-1: It broke." in err
    after = Dataset.open(workspace.datasets / "faces-labels-1-1")
    assert [config.dataset.name for config in trained] == ["faces", "faces-labels-1-1"]
    assert [(config.seed, config.total_epochs, config.allow_leaks) for config in trained] == [(42, 2, False)] * 2
    assert len(after.table("train")) == len(dataset.table("train")) - 3
    assert after.table("validation")["path"].equals(dataset.table("validation")["path"])
    _, out, _ = call(capfd, "labels", "measure", "labels-1")  # again: neither a dataset nor a run is made anew
    assert "p = 1, within noise" in out
    assert "the luck of training is not in this interval" in out
    assert len(workspace.list_datasets()) == 2
    assert sorted(folder.name for folder in workspace.runs.iterdir()) == ["labels-1-after-1", "labels-1-before-1"]
    assert len(trained) == 3


@pytest.mark.parametrize(
    ("name", "others", "stops"),
    [("labels-1-before-1", 0, True), ("labels-1-before-1", 1, False), ("mine", 0, False)],
    ids=["left over", "of another measurement", "a visitor's"],
)
def test_who_is_stopped_stops_a_run_that_a_killed_measurement_left(
    workspace, checked, capfd, monkeypatch, name, others, stops
):
    dataset, _ = checked
    (picture,) = pictures_named(dataset, dataset.table("train")["path"].head(1).tolist())
    Pending(dataset.folder).add([picture.decision("drop-train")])
    run = Job(write_finished_run(workspace, name, dataset, changes=("phases.0.epochs=2",)))
    measured = [Job.create(workspace.jobs, "before-after", f"other-{n}", ["labels", "measure"]) for n in range(others)]
    locks = [job.take_lock() for job in (run, *measured)]  # they are at work
    for job in (run, *measured):
        job.write_status(JobStatus(state="running"))
    stopped = []

    def wait(job, seconds):
        Job(workspace.jobs / "labels-1-measure-1").ask_to_stop(StopWish.KEEP_ALL)
        return False

    monkeypatch.setattr(before_after.supervisor, "wait", wait)
    monkeypatch.setattr(before_after.supervisor, "stop", lambda job: stopped.append(job.name))
    code, _, err = call(capfd, "labels", "measure", "labels-1")
    for lock in locks:
        os.close(lock)
    assert code != 0
    assert "Go on with" in err
    assert stopped == [name] * stops


def test_more_than_decisions_is_not_measured(workspace, checked, tmp_path, capfd):
    dataset, _ = checked
    (picture,) = pictures_named(dataset, dataset.table("train")["path"].head(1).tolist())
    Pending(dataset.folder).add([picture.decision("keep")])
    code, _, err = call(capfd, "labels", "measure", "labels-1")
    assert code == 2
    assert "These decisions change nothing in faces: its images stay as they are" in err
    make_zip(tmp_path / "faces.zip", class_folders(train=9, test=2))
    Pending(dataset.folder).add([picture.decision("drop-train")])
    code, _, err = call(capfd, "labels", "measure", "labels-1")
    assert code == 2
    assert "The sources of faces hold other images than when it was made" in err
    assert workspace.list_datasets() == [dataset.folder]  # what is refused leaves no dataset behind
