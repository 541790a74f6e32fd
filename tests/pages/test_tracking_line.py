"""Where else a run is written to, on the Train page."""

import pytest

from fer_core.training import runs
from fer_core.training.config import apply_overrides, load_preset
from fer_core.training.tracking.places import MlflowPlace
from tests.pages.opened import open_page, text_of
from tests.unit.runs import write_finished_run
from tests.unit.training.conftest import make_dataset

SERVER = "http://localhost:5000"


@pytest.fixture
def folder(workspace):
    dataset = make_dataset(workspace.datasets / "faces", {"train": 14, "validation": 14, "test": 7})
    return write_finished_run(workspace, "one", dataset)


def write(folder, *, place=None, tensorboard=False, mlflow=""):
    config = runs.read_config(folder / runs.CONFIG_FILE)
    runs.write_config(runs.Job(folder), config.model_copy(update={"mlflow": mlflow, "tensorboard": tensorboard}))
    if tensorboard:
        (folder / "tensorboard").mkdir()
        (folder / "tensorboard" / "events.out.tfevents.1.fer_core").write_bytes(b"")
    if place:
        (folder / "mlflow.json").write_text(
            MlflowPlace(uri=place, experiment_id="3", run_id="ab" * 16).model_dump_json()
        )


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"tensorboard": True}, "TensorBoard: `tensorboard --logdir {runs}`"),
        ({"mlflow": SERVER}, "MLflow: http://localhost:5000, not reached so far"),
        (
            {"mlflow": SERVER, "place": SERVER, "tensorboard": True},
            "TensorBoard: `tensorboard --logdir {runs}` · MLflow: http://localhost:5000 "
            f"[run abababab]({SERVER}/#/experiments/3/runs/{'ab' * 16})",
        ),
        ({"place": "sqlite:////tmp/m.db"}, "MLflow: sqlite:////tmp/m.db run abababab"),
    ],
)
def test_a_run_says_where_else_it_is(folder, made, said):
    write(folder, **made)
    shown = text_of(open_page("train", run="one")).replace("\\", "")
    assert said.format(runs=folder.parent) in shown


def test_a_run_that_is_nowhere_else_says_nothing(folder):
    shown = text_of(open_page("train", run="one"))
    assert "TensorBoard" not in shown
    assert "MLflow" not in shown


def test_the_form_offers_both(workspace):
    make_dataset(workspace.datasets / "faces", {"train": 14, "validation": 14, "test": 7})
    app = open_page("train")
    (switch,) = [toggle for toggle in app.toggle if toggle.label == "TensorBoard"]
    (address,) = [text for text in app.text_input if text.label == "MLflow"]
    switch.set_value(True)
    address.set_value(SERVER).run()
    (command,) = [code.value for code in app.code if "train" in code.value]
    assert "tensorboard=true" in command
    assert f'mlflow="{SERVER}"' in command
    chosen = apply_overrides(load_preset("compact"), ["tensorboard=true", f'mlflow="{SERVER}"'])
    assert (chosen.tensorboard, chosen.mlflow) == (True, SERVER)
