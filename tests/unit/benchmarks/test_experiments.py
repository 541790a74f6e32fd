import json

import numpy as np
import pytest

from benchmarks import experiments
from benchmarks.outcomes import Entry, Material, Scores, best_without_loss, find, weighted
from fer_core.data.demo import draw_demo
from fer_core.data.prepare import PrepareConfig, prepare
from fer_core.errors import FerError
from fer_core.jobs.store import Job
from fer_core.training.runs import METRICS_FILE
from tests.unit.runs import write_finished_run


def test_the_page_is_what_the_script_makes_of_what_was_written_and_found():
    made = experiments.text(experiments.read_log(), experiments.read_found())
    assert experiments.PAGE.read_text() == made


def test_every_experiment_has_a_result():
    log, found = experiments.read_log(), experiments.read_found()
    assert [entry.name for entry in log.experiments] == list(found.outcomes)
    for entry in log.experiments:
        outcome = found.outcomes[entry.name]
        assert outcome.batches if entry.kind == "batches" else outcome.validation
        assert entry.against in ("", *found.outcomes)


def scores(accuracy, macro_f1):
    return Scores(n=100, accuracy=accuracy, ci95=(0, 1), macro_f1=macro_f1, ece=0, recall={})


def test_a_step_that_costs_accuracy_is_not_chosen():
    sweep = {"0": scores(0.7, 0.5), "0.1": scores(0.7, 0.6), "0.2": scores(0.71, 0.55), "0.3": scores(0.69, 0.9)}
    assert best_without_loss(sweep) == "0.1"


def test_weighted_probabilities_sum_to_one_again():
    said = weighted(np.array([[0.5, 0.25, 0.25]]), np.array([1.0, 2.0, 4.0]))
    assert said == pytest.approx(np.array([[0.25, 0.25, 0.5]]))


def entry(kind="run", name="bright", **fields):
    return Entry(kind=kind, name=name, of=["bright"], prediction="", change="", decision="", **fields)


@pytest.fixture
def material(workspace, tmp_path):
    """A run of two epochs on drawn faces that reads three of them wrongly; its second epoch is its best."""
    faces = prepare([str(path) for path in draw_demo(tmp_path / "drawn")], tmp_path / "faces", PrepareConfig())
    write_finished_run(workspace, "bright", faces, wrong=(0, 1, 2))
    return Material([workspace.runs])


def test_a_run_is_read(material):
    outcome = find(entry(), material)
    n = len(material.said["bright", "validation"].labels)
    assert outcome.validation.n == n
    assert outcome.validation.accuracy == pytest.approx(1 - 3 / n)
    assert outcome.test is None
    training = outcome.training
    assert (training.epochs, training.best_epoch, training.scored_epoch, training.seconds) == (2, 2, 2, 30)


def test_the_model_need_not_be_the_best_epoch(material):
    file = material.folders[0] / "bright" / METRICS_FILE
    file.write_text(json.dumps({"best": {"phase": 0, "epoch": 0}}))
    training = find(entry(), material).training
    assert (training.best_epoch, training.scored_epoch) == (2, 1)


def test_the_device_is_what_trained_and_not_what_ended_the_run(material):
    job = Job(material.folders[0] / "bright")
    lines = (job.folder / "events.jsonl").read_text()
    (job.folder / "events.jsonl").write_text('{"type": "device", "name": "A GPU"}\n' + lines)
    job.append_event({"type": "device", "name": "CPU"})
    assert find(entry(), material).training.device == "A GPU"


def test_an_offset_is_compared_image_by_image_with_the_run_itself(material):
    find(entry(), material)
    outcome = find(entry("offset", "more disgust", classes=["disgust"], against="bright"), material)
    assert list(outcome.sweep)[:3] == ["0", "0.2", "0.4"]
    assert outcome.chosen == "0"  # so sure an answer is not changed by two nats
    difference = outcome.differences["validation"]
    assert (difference.value, difference.n) == (0, outcome.validation.n)


def test_what_is_not_at_hand_is_said(material):
    with pytest.raises(FerError, match="no run bright in "):
        find(entry(), Material([material.folders[0] / "bright"]))
    with pytest.raises(FerError, match="no stored answers of bright"):
        find(entry("mean"), material)
    with pytest.raises(FerError, match="name one with --before"):
        find(entry("batches"), material)
