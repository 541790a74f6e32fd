from __future__ import annotations

from pathlib import Path

import pytest

from fer_core.data.dataset import Dataset
from fer_core.data.demo import draw_demo
from fer_core.data.prepare import PrepareConfig, prepare
from fer_core.data.split import Policy


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> list[str]:
    """Specs of the two drawn archives."""
    fer, edf = draw_demo(tmp_path_factory.mktemp("demo"))
    return [f"fer2013={fer}", f"edf={edf}"]


@pytest.fixture(scope="session", params=list(Policy))
def prepared(request, demo, tmp_path_factory) -> Dataset:
    """The drawn archives, prepared under each policy."""
    return prepare(demo, tmp_path_factory.mktemp("made") / "demo", PrepareConfig(policy=request.param))


@pytest.fixture(scope="session")
def leak_free(demo, tmp_path_factory) -> Dataset:
    return prepare(demo, tmp_path_factory.mktemp("clean") / "demo")


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder for datasets."""
    folder = tmp_path / "datasets"
    folder.mkdir()
    return folder
