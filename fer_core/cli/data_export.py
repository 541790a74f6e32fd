"""``data export``: a prepared dataset as class folders or CSV files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fer_core.cli.console import JsonOption, note, print_json, progress_bar
from fer_core.workspace import Workspace, expand, printable


class Form(StrEnum):
    folders = "folders"
    csv = "csv"


def export(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A name in the workspace, or a path.")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="The folder to make. It must not exist yet.")],
    form: Annotated[
        Form,
        typer.Option(
            "--format",
            help="folders: the pictures in TRAIN, VAL and TEST class folders, with a manifest. "
            "csv: the manifest, and a list of paths in the sources with labels for each split, without pictures.",
        ),
    ] = Form.folders,
    k: Annotated[
        int | None,
        typer.Option("--folds", min=2, help="Divide train into so many folds, in the manifest's column fold."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides which photographs are in a fold together.")] = 42,
    as_json: JsonOption = False,
) -> None:
    """Write a dataset as class folders, or as CSV files, for use elsewhere."""
    from fer_core.data.dataset import Dataset
    from fer_core.data.export import export_csv, export_folders

    found = Dataset.open(Workspace.default().dataset(dataset))
    folder = expand(str(out)).absolute()
    if form is Form.csv:
        export_csv(found, folder, k, seed)
    else:
        with progress_bar() as bar:
            export_folders(found, folder, k, seed, bar)
    if found.info.contaminated:
        note("Contaminated: evaluation photographs are in train. The README.md beside the files says so, too.")
    if form is Form.csv and found.info.before_balancing() is not None:
        note("Augmented images have no file in a source: they are in manifest.csv alone. --format folders writes them.")
    if as_json:
        document = {"dataset": found.name, "format": str(form), "folder": str(folder), "counts": found.counts()}
        print_json(document)
    else:
        typer.echo(printable(str(folder)))
