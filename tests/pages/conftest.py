"""Drawn archives and a dataset made of them."""

import functools
import shutil
from pathlib import Path

import pytest
from streamlit.components.v2 import manifest_scanner

from fer_core.data.dataset import Dataset
from fer_core.data.demo import draw_demo
from fer_core.data.prepare import PrepareConfig, prepare

# A server looks once through all installed packages for components; an AppTest would do so each time.
manifest_scanner.scan_component_manifests = functools.cache(manifest_scanner.scan_component_manifests)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """The two demo archives, drawn once."""
    return draw_demo(tmp_path_factory.mktemp("drawn"))


@pytest.fixture
def archives(workspace, drawn):
    """The demo archives in the inbox."""
    workspace.sources.mkdir(parents=True)
    return [Path(shutil.copy(path, workspace.sources)) for path in drawn]


@pytest.fixture(scope="session")
def prepared(drawn, tmp_path_factory):
    """The folder of a dataset made of the demo archives, once."""
    return prepare([str(path) for path in drawn], tmp_path_factory.mktemp("prepared") / "faces", PrepareConfig()).folder


@pytest.fixture
def dataset(workspace, prepared):
    """A dataset of the test's own, named faces."""
    return Dataset.open(Path(shutil.copytree(prepared, workspace.datasets / "faces")))
