"""Reading a run from its files, as pages do: no training framework, also while a worker writes."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from fer_core.errors import FerError, JobError, LeakError
from fer_core.inference.served import default_model
from fer_core.jobs.store import JobStatus
from fer_core.training import runs
from fer_core.training.config import apply_overrides, load_preset
from tests.unit.served_models import write_brightness_model

from .conftest import make_dataset


def config(**changes):
    return apply_overrides(load_preset("compact"), [f"{key}={value}" for key, value in changes.items()])


@pytest.fixture
def run(workspace, tiny):
    job = runs.create(workspace, "first", runs.complete(config(**{"phases.0.epochs": 4}), tiny), ["train", "tiny"])
    return runs.Run(job)


def epoch(number, accuracy, best=False, phase=0, seconds=10.0):
    scores = dict.fromkeys(("loss", "accuracy", "val_loss", "val_macro_f1", "learning_rate", "weight_decay"), 0.5)
    return {
        "type": "epoch",
        "phase": phase,
        "epoch": number,
        "global_epoch": number,
        **scores,
        "val_accuracy": accuracy,
        "val_recall": {"happy": 0.9, "fear": None},
        "seconds": seconds,
        "images_per_second": 100.0,
        "best": best,
        "samples": [{"row": 3, "true": "happy", "guess": "sad", "probability_true": 0.2}],
    }


def batch(number, batches=10, phase=0, epoch=0):
    return {
        "type": "batch",
        "phase": phase,
        "epoch": epoch,
        "batch": number,
        "batches": batches,
        "loss": 1.0,
        "accuracy": 0.4,
        "images_per_second": 64.0,
    }


def test_a_new_run_is_empty_but_readable(run):
    assert run.history.empty
    assert list(run.history.columns)[:3] == ["phase", "epoch", "global_epoch"]
    assert (run.batch, run.best, run.samples, run.metrics, run.card, run.model) == (
        None,
        None,
        [],
        None,
        None,
        None,
    )
    assert run.progress == runs.RunProgress(0, 4, 0.0, None, None)


def test_history_is_the_last_line_of_every_epoch(run):
    for event in (
        epoch(0, 0.3, best=True),
        epoch(1, 0.4, best=True),
        epoch(1, 0.5, best=True),
        epoch(2, 0.45),
    ):
        run.job.append_event(event)
    history = run.history
    assert history["val_accuracy"].tolist() == [0.3, 0.5, 0.45]
    assert history["recall_happy"].tolist() == [0.9] * 3
    assert history["recall_fear"].isna().all()
    assert run.best["epoch"] == 1
    assert run.samples[0]["row"] == 3


def test_time_left_is_known_within_the_first_epoch(run):
    run.job.append_event(batch(4))
    progress = run.progress
    # 10 batches of 64 at 64 images/s are 10 s per epoch; 3.5 epochs are left
    assert (progress.epochs, progress.share, progress.seconds_left) == (0, 0.5 / 4, 35.0)


def test_time_left_follows_the_measured_epochs(run):
    for event in (epoch(0, 0.3), batch(4, epoch=1)):
        run.job.append_event(event)
    assert run.progress.seconds_left == 25.0
    run = runs.Run(run.job)
    run.job.append_event(epoch(1, 0.3))
    assert run.batch is None  # between epochs
    assert run.progress.seconds_left == 20.0


def two_phases(workspace, dataset):
    preset = load_preset("resnet50")
    job = runs.create(workspace, "two", runs.complete(preset, dataset), [])
    assert [phase.epochs for phase in preset.phases] == [10, 20]
    return job


def test_a_change_belongs_to_the_phase_that_began_before_it(workspace, tiny):
    job = two_phases(workspace, tiny)
    for event in (
        {"type": "phase_start", "phase": 0},
        epoch(0, 0.2),
        epoch(1, 0.3),
        {"type": "learning_rate", "epoch": 1, "before": 1e-3, "after": 5e-4},
        {"type": "phase_start", "phase": 1},
        epoch(0, 0.4, phase=1),
        {"type": "learning_rate", "epoch": 0, "before": 1e-4, "after": 5e-5},
        {"type": "weight_decay", "epoch": 0, "before": 4e-3, "after": 8e-3},
        # Killed before its checkpoint: the epoch is repeated, and what it decided counts once.
        {"type": "phase_start", "phase": 1},
        epoch(0, 0.4, phase=1),
        {"type": "learning_rate", "epoch": 0, "before": 1e-4, "after": 5e-5},
    ):
        job.append_event(event)
    run = runs.Run(job)
    assert run.phases == [("Head", 2), ("Fine-tuning", 20)]  # the first ended early
    assert [(at, change.kind, change.after) for at, change in run.changes] == [
        (2.0, "learning_rate", 5e-4),
        (3.0, "learning_rate", 5e-5),
        (3.0, "weight_decay", 8e-3),
    ]


def test_scores_within_epochs_are_those_trained_last_and_never_too_many(run):
    for event in (batch(2), batch(9), batch(1, epoch=1), batch(8, epoch=1), batch(4, epoch=1)):
        run.job.append_event(event)
    assert run.batches["at"].tolist() == pytest.approx([0.3, 1.0, 1.2, 1.5])
    for number in range(1500):
        run.job.append_event(batch(number, batches=1500, epoch=2))
    assert 400 <= len(runs.Run(run.job).batches) <= 600


def test_what_the_machine_does_is_known_where_it_was_recorded(run):
    run.job.append_event(batch(2))
    run.job.append_event({**batch(0, batches=30, epoch=1), "cpu_percent": 150.0, "memory_bytes": 10**9})
    run.job.append_event({**batch(9, batches=30, epoch=1), "cpu_percent": 180.0, "memory_bytes": 10**9})
    machine = run.machine
    assert machine["cpu_percent"].isna().tolist() == [True, False, False]
    assert machine["images_per_second"].isna().tolist() == [False, True, False]  # an epoch's start says little
    assert machine["memory_bytes"].iloc[-1] == 10**9


@pytest.mark.parametrize(
    "damage", ['{"type": "batch", "phase": 0}', '{"type": "learning_rate", "epoch": "x"}', "{", "7"]
)
def test_damaged_events_are_left_out(run, damage):
    run.job.append_event(batch(4))
    with (run.job.folder / "events.jsonl").open("a") as file:
        file.write(damage + "\n")
    run.job.append_event(epoch(0, 0.5, best=True))
    assert (len(run.batches), len(run.history), run.changes) == (1, 1, [])


def test_a_look_reads_only_what_is_new(run, monkeypatch):
    for number in range(5):
        run.job.append_event(batch(number))
    assert len(run.batches) == 5
    parsed = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda text: parsed.append(text) or loads(text))
    run.job.append_event(batch(5))
    assert len(runs.Run(run.job).events.batches) == 6
    assert [text for text in parsed if text] == [(run.job.folder / "events.jsonl").read_bytes().splitlines()[-1]]


def test_a_run_that_takes_the_name_of_another_is_read_from_its_start(workspace, tiny, run):
    run.job.append_event(epoch(0, 0.5, best=True))
    assert len(run.history) == 1
    run.folder.rename(run.folder.with_name("older"))
    again = runs.Run(runs.create(workspace, "first", runs.complete(config(), tiny), []))
    for number in range(3):
        again.job.append_event(epoch(number, 0.1, best=number == 0))
    assert again.history["val_accuracy"].tolist() == [0.1] * 3


def test_visitors_who_look_at_once_see_the_same(run):
    for number in range(2000):
        run.job.append_event(batch(number, batches=2000))
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: len(runs.Run(run.job).events.batches), range(32)))
    assert seen == [2000] * 32


def test_runs_are_listed_newest_first(workspace, tiny):
    assert runs.list_runs(workspace) == []
    for name in ("a", "b", "died at once"):
        runs.create(workspace, name.replace(" ", "-"), runs.complete(config(), tiny), [])
    (workspace.runs / "died-at-once" / "config.yaml").unlink()
    assert sorted(run.name for run in runs.list_runs(workspace)) == ["a", "b"]


@pytest.mark.parametrize("name", ["../out", "", "a b", "-x"])
def test_a_name_that_is_no_folder_name_is_refused(workspace, tiny, name):
    with pytest.raises(FerError, match="cannot be the name of a run"):
        runs.create(workspace, name, runs.complete(config(), tiny), [])


def test_a_run_does_not_take_the_name_of_a_model(workspace, tiny):
    write_brightness_model(workspace.models / "mine" / "model.onnx")
    for name in ("mine", default_model(workspace).name):
        with pytest.raises(FerError, match=f"There is a run or model named '{name}' already"):
            runs.create(workspace, name, runs.complete(config(), tiny), [])
    assert list(workspace.runs.glob("*")) == []


def test_a_leaky_dataset_is_refused_with_its_counts(workspace):
    leaky = make_dataset(
        workspace.datasets / "leaky",
        {"train": 7, "validation": 7, "test": 7},
        leaked={"validation": 0, "test": 5},
    )
    with pytest.raises(LeakError, match=r"5 of 7 test images .* --allow-leaks"):
        runs.complete(config(), leaky)
    assert runs.complete(config(), leaky, allow_leaks=True).allow_leaks


def test_a_run_records_its_dataset_and_threads(tiny):
    complete = runs.complete(config(), tiny)
    assert complete.threads >= 1
    assert complete.dataset.fingerprint == tiny.info.fingerprint
    assert runs.complete(config(threads=3), tiny).threads == 3


def test_a_changed_dataset_is_noticed(workspace, tiny):
    complete = runs.complete(config(), tiny)
    assert runs.open_dataset(complete).info == tiny.info
    tiny.folder.rename(tiny.folder.with_name("old"))
    make_dataset(tiny.folder, {"train": 14, "validation": 7, "test": 7}, seed=1)
    with pytest.raises(JobError, match="holds other data than when the run began"):
        runs.open_dataset(complete)


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda job: job.write_status(JobStatus(state="done")), "is finished"),
        (lambda job: (job.folder / "config.yaml").unlink(), "Start it again: python -m fer_core train tiny"),
    ],
)
def test_what_cannot_be_resumed_says_why(run, prepare, said):
    prepare(run.job)
    with pytest.raises(JobError, match=said):
        runs.check_resumable(run.job)
