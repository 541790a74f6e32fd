"""``doctor`` sees what is broken, and says what to do."""

import hashlib
import importlib.metadata
import json
import subprocess
import sys

import pytest

from fer_core import doctor
from fer_core.doctor import Status, examine
from fer_core.inference import served
from fer_core.workspace import Workspace
from tests.unit.command_line import call
from tests.unit.runs import write_run
from tests.unit.served_models import write_brightness_model
from tests.unit.training.conftest import make_dataset


def row(report, name):
    return next(check for check in report.checks if check.check == name)


@pytest.fixture
def bundled(tmp_path, workspace, monkeypatch):
    """A bundled model with card and checksums."""
    monkeypatch.setattr(served, "_ASSETS", tmp_path / "assets")
    run = write_run(workspace, "small", make_dataset(workspace.datasets / "tiny", {"train": 7, "validation": 7}))
    folder = tmp_path / "assets" / "small"
    folder.mkdir(parents=True)
    names = ("model.onnx", "model_card.json")
    for name in names:
        (folder / name).write_bytes((run / name).read_bytes())
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


def test_this_machine_is_usable_and_every_pin_has_its_row(workspace, bundled):
    report = examine(workspace)
    assert report.usable, report.finding
    assert "Everything needed is here" in report.finding
    assert set(doctor.pins()) <= {check.check for check in report.checks}
    assert row(report, "Bundled model small").found.endswith("opens, checksums hold")
    assert not workspace.models.exists()  # looking makes nothing


def test_a_missing_and_another_version_are_told_apart(workspace, monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "tensorflow":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0" if name == "plotly" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    report = examine(workspace)
    assert not report.usable
    assert row(report, "tensorflow").status is Status.MISSING
    assert row(report, "tensorflow").todo == "pip install -r requirements.txt (1,900 MB)"
    assert row(report, "plotly").status is Status.WARNING
    assert "1.0, tested with" in row(report, "plotly").found
    assert "tensorflow" in report.finding


@pytest.mark.parametrize("package", ["tensorboard", "mlflow-skinny"])
@pytest.mark.parametrize(
    ("version", "status", "found"),
    [(None, Status.OK, "not installed; only runs with the setting"), ("1.0", Status.WARNING, "1.0, tested with ")],
)
def test_what_is_optional_is_no_fault(workspace, monkeypatch, package, version, status, found):
    real = importlib.metadata.version

    def look(name):
        return real(name) if name != package else version or _absent(name)

    monkeypatch.setattr(importlib.metadata, "version", look)
    report = examine(workspace)
    check = row(report, package)
    assert (report.usable, check.status) == (True, status)
    assert check.found.startswith(found)
    assert check.todo == f"pip install -r requirements-{package.removesuffix('-skinny')}.txt"


def test_a_second_opencv_is_a_warning(workspace, monkeypatch):
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "4.14" if name == "opencv-python" else real(name))
    check = row(examine(workspace), "OpenCV wheels")
    assert check.status is Status.WARNING
    assert "pip uninstall -y opencv-python" in check.todo


def test_a_workspace_that_cannot_be_written_ends_with_exit_code_one(capfd, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FER_WORKSPACE", str(tmp_path / "file" / "workspace"))
    code, out, err = call(capfd, "doctor", "--json")
    document = json.loads(out)
    check = next(check for check in document["checks"] if check["check"] == "Workspace")
    assert (code, document["usable"], check["status"]) == (1, False, "missing")
    assert "FER_WORKSPACE" in check["todo"]
    code, out, err = call(capfd, "doctor")
    assert code == 1
    assert "missing  Workspace" in out
    assert "Workspace" in err


@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        ("model.onnx", lambda data: data[:-10], "is not as it was shipped"),
        ("model_card.json", lambda data: b"{}", "is not as it was shipped"),
        ("SHA256SUMS", lambda data: "ü".encode("latin-1") + data, "its checksums (SHA256SUMS) are damaged"),
        ("SHA256SUMS", lambda data: data[:-20], "its checksums (SHA256SUMS) are damaged"),
        ("SHA256SUMS", lambda data: data[:30], "its checksums (SHA256SUMS) are damaged"),
        ("SHA256SUMS", lambda data: b"", "its checksums (SHA256SUMS) are damaged"),
        ("SHA256SUMS", None, "no checksums beside it"),
    ],
)
def test_a_damaged_bundled_model_is_told(workspace, bundled, name, change, found):
    file = bundled / name
    if change:
        file.write_bytes(change(file.read_bytes()))
    else:
        file.unlink()
    check = row(examine(workspace), "Bundled model small")
    assert found in check.found
    assert (check.status is Status.MISSING) == bool(change)


def test_no_model_in_the_package_is_a_warning(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(served, "_ASSETS", tmp_path / "none")
    check = row(examine(workspace), "Bundled model")
    assert (check.status, check.found) == (Status.WARNING, "none")


@pytest.mark.parametrize(
    ("printed", "cuda", "status", "found"),
    [
        ("NVIDIA X, 80 MiB", True, Status.OK, "NVIDIA X"),
        ("NVIDIA X, 80 MiB", False, Status.WARNING, "CUDA libraries"),
        ("", False, Status.OK, "none"),
    ],
)
def test_the_graphics_processor_is_asked_of_its_driver(workspace, tmp_path, monkeypatch, printed, cuda, status, found):
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{printed}'\n" if printed else "#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: ("9" if cuda else _absent(name)) if "nvidia" in name else real(name)
    )
    check = row(examine(workspace), "GPU")
    assert check.status is status
    assert found in check.found


def _absent(name):
    raise importlib.metadata.PackageNotFoundError(name)


def test_looking_loads_no_training_framework():
    script = "import sys; from fer_core.doctor import examine; from fer_core.workspace import Workspace; "
    script += "examine(Workspace.default()); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert not {"tensorflow", "keras", "albumentations", "sklearn", "streamlit"} & set(done.stdout.split())


def test_without_the_list_of_packages_the_rest_is_checked(workspace, tmp_path):
    report = examine(Workspace(workspace.root), requirements=tmp_path / "requirements.txt")
    assert row(report, "Packages").status is Status.WARNING
    assert report.usable


def test_a_damaged_model_does_not_end_the_check(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(served, "_ASSETS", tmp_path / "assets")
    write_brightness_model(tmp_path / "assets" / "bare" / "model.onnx")
    check = row(examine(workspace), "Bundled model bare")
    assert (check.status, check.found) == (Status.MISSING, "its card is missing or damaged")
