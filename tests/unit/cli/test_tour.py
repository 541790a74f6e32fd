"""``tour``: what a person without data presses first."""

import json

import pytest

from fer_core.cli import tour
from fer_core.jobs.store import Job
from fer_core.training.runs import Run
from tests.unit.command_line import call


@pytest.mark.slow  # the browser's test of the first launch takes the tour, too
def test_the_tour_ends_with_a_model(workspace, capfd, monkeypatch):
    monkeypatch.setattr(tour, "EPOCHS", 1)
    code, out, err = call(capfd, "tour", "--json")
    assert code == 0, err
    run = Run(Job(workspace.runs / json.loads(out)["run"]))
    assert run.model
    assert (run.total_epochs, run.config.phases[0].batch_size) == (1, tour.BATCH_SIZE)
