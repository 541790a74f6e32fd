"""``export``: writes the model of a finished run in another format."""

from __future__ import annotations

import os
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fer_core.cli.console import JsonOption, note, print_json, progress_bar
from fer_core.errors import FerError
from fer_core.inference.served import list_models
from fer_core.jobs.store import Job
from fer_core.machine import usable_cores
from fer_core.training import backend
from fer_core.training.runs import Run
from fer_core.workspace import Workspace

if TYPE_CHECKING:
    from fer_core.models.export_report import ExportReport


class ExportFormat(StrEnum):
    onnx = "onnx"
    keras = "keras"
    litert = "litert"


class ExportStorage(StrEnum):
    float32 = "float32"
    float16 = "float16"
    int8 = "int8"


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
    storage: Annotated[
        ExportStorage,
        typer.Option(help="Of an ONNX file's weights: float16 halves its bytes, int8 quarters them and is faster."),
    ] = ExportStorage.float32,
    as_json: JsonOption = False,
) -> None:
    """Writes the best epoch of a finished run as ONNX, Keras or LiteRT file, measured beside the run's own network.

    What answers otherwise than the run on its validation split is not written.
    """
    if storage is not ExportStorage.float32 and kind is not ExportFormat.onnx:
        raise FerError(f"--storage is for ONNX files: leave it out to write {kind.value}, or give --format onnx.")
    space = Workspace.default()
    if (served := next((model for model in list_models(space) if model.name == run), None)) and served.run is None:
        raise FerError(
            f"{run} is an ONNX file already, {served.path}. Only runs can be exported: they have the network."
        )
    found = Run(Job.open(space.run(run)))
    if out is None and kind is not ExportFormat.onnx:
        raise FerError(f"Say which file to write: --out {found.name}.{_ENDINGS[kind]}")
    if out is not None and not out.absolute().parent.is_dir():
        raise FerError(f"{out.absolute().parent}: no such folder. Make it, or choose another --out.")
    if out is not None and out.is_dir():
        raise FerError(f"{out} is a folder. Name the file to write, as --out {out / found.name}.{_ENDINGS[kind]}.")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # which alone can export, and reads what the others have saved
    if not backend.has_tensorflow():
        raise FerError("Exporting needs TensorFlow: pip install -r requirements.txt")
    backend.load(usable_cores())
    from fer_core.models.run_export import export_run

    with progress_bar() as bar:
        file, report = export_run(found, kind.value, out, bar, storage=storage.value)
    size = file.stat().st_size
    if as_json:
        document = {"run": found.name, "format": str(kind), "storage": str(storage), "file": str(file), "bytes": size}
        print_json({**document, "measured": asdict(report)})
        return
    _print_table(report)
    note(f"Wrote {file}, {size / 2**20:.2f} MiB.")


def _print_table(report: ExportReport) -> None:
    models = (report.original, report.exported)
    rows = {"": [model.runtime for model in models], "size, MiB": [f"{model.size_mib:.2f}" for model in models]}
    for batch in report.original.ms_per_face:
        rows[f"ms per face, batch of {batch}"] = [f"{model.ms_per_face[batch]:.2f}" for model in models]
    rows["accuracy"] = ["unknown" if model.accuracy is None else f"{model.accuracy:.2%}" for model in models]
    for name, values in rows.items():
        typer.echo(f"{name:26}{values[0]:>24}{values[1]:>32}")
    typer.echo(
        f"Probabilities differ by {report.largest_difference:.1e} at most and {report.mean_difference:.1e} on average "
        f"({report.tolerance:.0e}{' on average' * report.on_average} is allowed); the top class is the same for "
        f"{report.agreement:.2%}."
    )
    typer.echo(f"n {report.n:,} {report.pictures}")
    typer.echo(f"Latency: median on this machine with {report.threads} threads.")
