"""``export`` as typed at a terminal; what it writes is tested with the models."""

import pytest

from tests.unit.command_line import call
from tests.unit.runs import write_finished_run
from tests.unit.training.conftest import make_dataset


@pytest.fixture
def run(workspace):
    dataset = make_dataset(workspace.datasets / "tiny", {"train": 14, "validation": 70, "test": 7})
    folder = write_finished_run(workspace, "a", dataset)
    (folder / "best.keras").write_bytes(b"a network")
    return folder


def test_the_network_is_written_whole_also_over_itself(run, tmp_path, capfd):
    for file in (tmp_path / "a.keras", run / "best.keras"):
        code, _, err = call(capfd, "export", "a", "--format", "keras", "--out", file)
        assert code == 0, err
        assert file.read_bytes() == b"a network"
        assert not list(file.parent.glob(".*.tmp"))


def test_a_folder_is_no_file_to_write(run, tmp_path, capfd):
    code, _, err = call(capfd, "export", "a", "--out", tmp_path)
    assert code == 2
    assert f"Name the file to write, as --out {tmp_path}/a.onnx." in err


def test_a_damaged_network_is_named(run, tmp_path, capfd):
    code, _, err = call(capfd, "export", "a", "--out", tmp_path / "a.onnx")
    assert code == 2
    assert "best.keras: damaged" in err
    assert not list(tmp_path.glob("*.onnx"))
