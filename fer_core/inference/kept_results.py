"""Answers of models that we do not have: predictions kept of a CSV, which can be looked at but not asked."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from fer_core.evaluation.predictions import DIGEST_DIGITS, Origin, evaluation_folder, read_origin
from fer_core.inference.served import ServedModel, list_models
from fer_core.workspace import Workspace, newest_first


@dataclass(frozen=True)
class KeptResults(ServedModel):
    """Stands where a model is chosen; ``path`` is what the folders of its predictions begin with, and no file."""

    def results(self, evaluations: Path, fingerprint: str) -> Path:
        return self.path.with_name(f"{self.path.name}-{fingerprint[:DIGEST_DIGITS]}")

    @property
    def folders(self) -> list[Path]:
        """One for each dataset."""
        return sorted(self.path.parent.glob(f"{self.path.name}-*"))


def list_results(workspace: Workspace) -> list[KeptResults]:
    """All that are kept, newest first, each under the name of its file; of two alike, with digits of its content."""
    found: dict[Path, Origin] = {}
    for file in newest_first(workspace.evaluations.glob("*/predictions-*.parquet")):
        origin = read_origin(file)
        if origin.file:
            found.setdefault(_beginning(file.parent), origin)
    taken = Counter([*(origin.model for origin in found.values()), *(model.name for model in list_models(workspace))])
    return [
        KeptResults(path, None, origin.model if taken[origin.model] == 1 else f"{origin.model}-{path.name[:4]}")
        for path, origin in found.items()
    ]


def results_of(file: Path, workspace: Workspace) -> KeptResults:
    """What is kept of a CSV, if anything, whatever it was called before."""
    folder = evaluation_folder(workspace.evaluations, file, "")
    return results_in(folder, workspace) or KeptResults(_beginning(folder), None, file.stem)


def results_in(folder: Path, workspace: Workspace) -> KeptResults | None:
    """What is kept in a folder of the evaluations, and in those beside it of the same CSV."""
    return next((kept for kept in list_results(workspace) if kept.path == _beginning(folder)), None)


def delete_results(kept: KeptResults) -> None:
    """Deletes the predictions of every dataset."""
    for folder in kept.folders:
        shutil.rmtree(folder, ignore_errors=True)


def _beginning(folder: Path) -> Path:
    return folder.with_name(folder.name.partition("-")[0])
