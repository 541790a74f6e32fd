"""Listings of a workspace in which others rename and delete meanwhile."""

from pathlib import Path

import pytest

from dashboard import components
from fer_core.inference.served import list_models
from fer_core.jobs.store import Job, list_jobs


@pytest.mark.parametrize(
    ("listed", "file", "entries"),
    [
        ("datasets", "dataset.json", lambda space: [folder.name for folder in space.list_datasets()]),
        ("jobs", "job.json", lambda space: [job.name for job in list_jobs(space.jobs)]),
        ("runs", "model.onnx", lambda space: [model.name for model in list_models(space) if not model.bundled]),
    ],
)
def test_what_goes_while_it_is_listed_is_left_out(workspace, monkeypatch, listed, file, entries):
    folder = workspace.root / listed
    for name in ("stays", "goes"):
        (folder / name).mkdir(parents=True)
        (folder / name / file).touch()
    glob = Path.glob

    def glob_before_one_goes(self, pattern):
        found = list(glob(self, pattern))
        if self == folder:
            (folder / "goes" / file).unlink()
        return found

    monkeypatch.setattr(Path, "glob", glob_before_one_goes)
    assert entries(workspace) == ["stays"]


def test_a_job_that_goes_while_all_are_sorted_is_left_out(workspace, monkeypatch):
    stays = Job.create(workspace.jobs, "prepare", "stays", [])
    monkeypatch.setattr(
        components, "list_jobs", lambda parent: [stays, Job(parent / "goes")] if parent == workspace.jobs else []
    )
    assert components.all_jobs() == [stays]
