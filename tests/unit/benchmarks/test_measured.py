"""What presets are known to reach is what cards and events say, and that of the model in the box is its card's."""

import json

import numpy as np
import pytest

from benchmarks.bundle import ASSETS
from benchmarks.measured import measured
from fer_core.errors import FerError
from fer_core.evaluation.report import evaluate_predictions
from fer_core.inference.served import CARD_FILE, ModelCard, default_model
from fer_core.jobs.store import Job
from fer_core.training.config import list_presets, load_preset
from fer_core.training.reached import read_reached, write_reached
from tests.unit.runs import write_finished_run
from tests.unit.training.conftest import make_dataset


@pytest.fixture
def run(workspace):
    dataset = make_dataset(workspace.datasets / "faces", {"train": 14, "validation": 70, "test": 7})
    return Job(write_finished_run(workspace, "first", dataset, wrong=range(7)))


def change(run, **changes):
    card = ModelCard.model_validate_json((run.folder / CARD_FILE).read_bytes())
    (run.folder / CARD_FILE).write_text(card.model_copy(update=changes).model_dump_json())


def test_what_is_known_of_the_preset_in_the_box_is_of_the_run_that_ships(workspace):
    card = default_model(workspace).card
    known, test = read_reached()[card.preset], card.metrics["test"]
    assert (known.split, known.n) == ("test", test.n)
    assert known.accuracy == pytest.approx(test.accuracy, abs=0.01)  # of the run's own file, before eight bits
    assert known.epochs == (card.ended_after or load_preset(card.preset).total_epochs)
    assert card.preset == "bundled"
    assert measured(ASSETS / card.name / CARD_FILE, card.preset).epochs == known.epochs


def test_what_is_known_is_of_presets_that_there_are():
    assert list(read_reached()) == [name for name in list_presets() if name in read_reached()]
    assert {"compact", "bundled", "teacher"} <= read_reached().keys()


def test_a_run_tells_its_epochs_their_time_and_the_device_that_they_were_trained_on(run):
    lines = (run.folder / "events.jsonl").read_text()
    devices = [json.dumps({"type": "device", "name": name}) for name in ("GPU", "CPU")]
    (run.folder / "events.jsonl").write_text(f"{devices[0]}\n{lines}{devices[1]}\n")  # ended on another machine
    found = measured(run.folder / CARD_FILE, "compact", device="something else", shared=True)
    assert (found.split, found.n, found.accuracy, found.leaks) == ("validation", 70, 0.9, "Clean")
    assert (found.epochs, found.seconds, found.device, found.shared) == (2, 60.0, "GPU", True)


def test_a_card_alone_is_enough_where_it_notes_the_epochs(run, tmp_path):
    (run.folder / "events.jsonl").unlink()
    with pytest.raises(FerError, match="neither its card nor events beside it tell how many epochs"):
        measured(run.folder / CARD_FILE, "compact")
    change(run, notes=["The epoch was chosen on validation.", "Trained for 50 epochs, seed 42."])
    found = measured(run.folder / CARD_FILE, "compact", device="two processor cores")
    assert (found.epochs, found.seconds, found.device) == (50, None, "two processor cores")
    change(run, ended_after=30, metrics={"test": evaluate_predictions(np.eye(7), (np.arange(7) + 1) % 7, None, "")})
    found = measured(run.folder / CARD_FILE, "compact")
    assert (found.epochs, found.split, found.accuracy) == (30, "test", 0.0)
    file = tmp_path / "measured.json"
    write_reached({"compact": found}, file)
    assert read_reached(file) == {"compact": found}


def test_another_preset_or_a_model_without_scores_is_refused(run):
    with pytest.raises(FerError, match="first was trained with the preset compact, not teacher"):
        measured(run.folder / CARD_FILE, "teacher")
    change(run, metrics={})
    with pytest.raises(FerError, match="first has no scores on its card"):
        measured(run.folder / CARD_FILE, "compact")
