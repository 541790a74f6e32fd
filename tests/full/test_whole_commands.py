"""Commands that load the framework more than once."""

import json

from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job
from fer_core.training.config import read_config
from fer_core.training.runs import free_name
from fer_core.training.speeds import read_speeds
from tests.unit.command_line import call
from tests.unit.training.test_cli import SHORT


def test_several_seeds_are_as_many_runs_one_after_the_other(workspace, tiny, capfd):
    code, out, err = call(capfd, "train", "tiny", *SHORT, "--seeds", "1, 2", "--json")
    assert code == 0, err
    assert [entry["run"] for entry in json.loads(out)] == ["compact-1-seed1", "compact-1-seed2"]
    for seed in (1, 2):
        job = Job(workspace.runs / f"compact-1-seed{seed}")
        assert job.state() is JobState.DONE
        assert read_config(job.folder / "config.yaml").seed == seed
        arguments = job.spec().arguments  # which would make just this run again
        assert "--seeds" not in arguments
        assert f"seed={seed}" in arguments
    assert free_name(workspace, "compact") == "compact-2"


def test_measuring_times_every_phase_and_touches_no_run(workspace, tiny, capfd):
    recipe = workspace.root.parent / "small.yaml"
    head = {"name": "Head", "trainable": "head", "batch_size": 8, "augmentation": {"flip": False, "rotate": 0}}
    head["augmentation"] |= {"scale_min": 1, "scale_max": 1, "shift": 0}
    phases = [head, {"name": "All", "batch_size": 8}]
    recipe.write_text(json.dumps({"architecture": "compact", "weights": "w.h5", "phases": phases}))
    code, out, err = call(capfd, "models", "measure", recipe, "--dataset", "tiny", "--json")
    assert code == 0, err
    [entry] = json.loads(out)
    assert entry["problem"] == ""
    assert [phase["name"] for phase in entry["phases"]] == ["Head", "All"]
    assert all(phase["images_per_second"] > 0 for phase in entry["phases"])
    assert not workspace.runs.exists()
    speeds = read_speeds(workspace)
    assert [speed.once for speed in speeds.phases] == [True, False]
    assert speeds.networks[0].score > 0
    assert "Measured small." in (workspace.jobs / "measure-1" / "status.json").read_text()
