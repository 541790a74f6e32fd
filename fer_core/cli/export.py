"""``export``: writes the model of a finished run in another format."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from fer_core.cli.console import JsonOption, note, print_json
from fer_core.errors import FerError
from fer_core.jobs.store import Job
from fer_core.training import backend
from fer_core.training.runs import Run
from fer_core.workspace import Workspace


class ExportFormat(StrEnum):
    onnx = "onnx"
    keras = "keras"
    litert = "litert"


_ENDINGS: Final = {ExportFormat.onnx: "onnx", ExportFormat.keras: "keras", ExportFormat.litert: "tflite"}


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A finished run, by name or path.")],
    kind: Annotated[
        ExportFormat,
        typer.Option("--format", help="onnx is what this workbench serves; keras gives logits; litert is for phones."),
    ] = ExportFormat.onnx,
    out: Annotated[
        Path | None, typer.Option(help="The file to write. Without it, ONNX goes into the run itself.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Writes the best epoch of a finished run as ONNX, Keras or LiteRT file, checked to answer as the run did."""
    found = Run(Job.open(Workspace.default().run(run)))
    if out is None and kind is not ExportFormat.onnx:
        raise FerError(f"Say which file to write: --out {found.name}.{_ENDINGS[kind]}")
    if out is not None and not out.absolute().parent.is_dir():
        raise FerError(f"{out.absolute().parent}: no such folder. Make it, or choose another --out.")
    if out is not None and out.is_dir():
        raise FerError(f"{out} is a folder. Name the file to write, as --out {out / found.name}.{_ENDINGS[kind]}.")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # which alone can export, and reads what the others have saved
    if not backend.has_tensorflow():
        raise FerError("Exporting needs TensorFlow: pip install -r requirements.txt")
    backend.load()
    from fer_core.models.run_export import export_run

    file = export_run(found, kind.value, out)
    if as_json:
        print_json({"run": found.name, "format": str(kind), "file": str(file), "bytes": file.stat().st_size})
    else:
        note(f"Wrote {file}, {file.stat().st_size / 2**20:.2f} MiB.")
