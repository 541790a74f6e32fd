"""Where a run is written to besides its folder, and whether it can be. Loads neither TensorBoard nor MLflow."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Final
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from fer_core.errors import ConfigError
from fer_core.training.config import RunConfig

TENSORBOARD_FOLDER: Final = "tensorboard"
"""In the folder of a run: what ``tensorboard --logdir`` reads."""

MLFLOW_FILE: Final = "mlflow.json"

_ALLOW_FOLDERS: Final = "MLFLOW_ALLOW_FILE_STORE"


class MlflowPlace(BaseModel):
    """``mlflow.json``: the run's counterpart in MLflow."""

    uri: str
    experiment_id: str
    run_id: str

    @property
    def link(self) -> str | None:
        """Its page, where a server has one."""
        if not self.uri.startswith("http"):
            return None
        return f"{quote(self.uri.rstrip('/'), safe=':/[]')}/#/experiments/{self.experiment_id}/runs/{self.run_id}"


def mlflow_place(folder: Path) -> MlflowPlace | None:
    """The counterpart of the run in ``folder``; None where there is none, or not yet."""
    try:
        return MlflowPlace.model_validate_json((folder / MLFLOW_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def check_trackable(config: RunConfig) -> None:
    """Looks whether what the settings ask for is installed, in milliseconds; no server is asked.

    Raises:
        ConfigError: It is not. The message says what to install.
    """
    if config.tensorboard:
        check_tensorboard()
    if config.mlflow:
        check_mlflow(config.mlflow)


def check_tensorboard() -> None:
    """Raises ConfigError where TensorBoard is not installed."""
    _check_package("TensorBoard", "tensorboard", "pip install -r requirements-tensorboard.txt", "tensorboard")


def check_mlflow(uri: str) -> None:
    """Raises ConfigError where MLflow, or what it needs to write to such an address, is not installed."""
    _check_package("MLflow", "mlflow", "pip install -r requirements-mlflow.txt", "mlflow")
    if uri.startswith("sqlite:"):
        for package in ("sqlalchemy", "alembic"):
            _check_package("What MLflow writes SQLite with", package, "pip install sqlalchemy alembic", "mlflow")
    if uri.startswith("file:") and os.environ.get(_ALLOW_FOLDERS, "").lower() not in ("1", "true"):
        raise ConfigError(
            f"MLflow writes to plain folders only where {_ALLOW_FOLDERS}=true is set, since it gives them up: "
            "name a server or a sqlite file in the setting mlflow instead."
        )


def _check_package(name: str, package: str, install: str, setting: str) -> None:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:  # a folder of that name, which happens to lie here, is no package
        raise ConfigError(
            f"{name} is not installed, and the setting {setting} asks for it: {install}, or leave it out."
        )
