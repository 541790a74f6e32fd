"""Fixtures that every layer shares: a workspace of its own for each test."""

import gc
import os
from pathlib import Path

# The webcam's encryption crashes when it is loaded after TensorFlow, which brings a cryptography of its own. No process
# of ours holds both, since the server loads no training framework; a test session does.
import pylibsrtp  # noqa: F401
import pytest

ROOT = Path(__file__).parents[1]


def pytest_collection_finish():
    """Garbage is collected after every run of a page; all that stays loaded anyway is not looked through each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    """No test touches the developer's workspace."""
    folder = tmp_path / "workspace"
    monkeypatch.setenv("FER_WORKSPACE", str(folder))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))  # nor downloads into, or finds, their weights
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    for name in ("FER_JOB_FOLDER", "FER_JOB_LOCK_FD"):
        monkeypatch.delenv(name, raising=False)
    from fer_core.workspace import Workspace

    return Workspace(folder)


@pytest.fixture(scope="session")
def real_data():
    """The folder with the two real archives beside the checkout; skips with a reason where it is absent."""
    folder = Path(os.environ.get("FER_REAL_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "fer2013.zip").is_file():
        pytest.skip(f"the real archives are not at {folder}")
    return folder
