"""``predict``: the faces in pictures and the apparent expression of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_core.cli.console import JsonOption, note, print_json, progress_bar
from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError
from fer_core.inference.detector_options import DetectorOptions
from fer_core.jobs.progress import Progress
from fer_core.workspace import Workspace

if TYPE_CHECKING:
    from fer_core.inference.images import PictureResult


def predict(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Pictures, folders or zip archives of pictures.")
    ],
    model: Annotated[
        str | None,
        typer.Option(help="A run, an .onnx file or a bundled model. Default: bundled, else newest."),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How faces are found: yunet (downloaded when first used), haar, or none (each picture is a face). "
            "Default: yunet if its file is there, else haar.",
        ),
    ] = None,
    min_face: Annotated[
        int, typer.Option(metavar="PIXELS", help="Narrower faces are passed over.")
    ] = DetectorOptions.min_face,
    score: Annotated[
        float, typer.Option(metavar="SHARE", help="What yunet finds with a lower score is no face, 0 to 1.")
    ] = DetectorOptions.score,
    margin: Annotated[
        float, typer.Option(metavar="SHARE", help="Shows the model more around each face than usual, or less (-0.25).")
    ] = DetectorOptions.margin,
    as_json: JsonOption = False,
) -> None:
    """Finds the faces in pictures and says which expression each appears to have."""
    from fer_core.inference import yunet
    from fer_core.inference.collect import collect
    from fer_core.inference.faces import default_detector, load_detector
    from fer_core.inference.images import read_pictures
    from fer_core.inference.predictor import Predictor
    from fer_core.inference.served import default_model, find_model

    space = Workspace.default()
    options = DetectorOptions(min_face, score, margin)
    pictures = collect(paths)
    if detector is None:
        detector = default_detector()
        note(f"Face detector: {detector}")
    if detector == "yunet":
        with progress_bar() as bar:
            yunet.fetch(bar)
    finder = load_detector(detector, options)
    served = find_model(model, space) if model else default_model(space)
    predictor = Predictor.load(served)
    if model is None:
        note(f"Model: {served.name}")
    documents = []
    faceless = 0
    with progress_bar() as bar:
        for result in _counted(read_pictures(pictures, predictor, finder), bar):
            documents.append(_document(result))
            faceless += not result.faces and result.error is None
    if not documents:
        raise FerError(f"No pictures in {', '.join(map(str, paths))}. Name pictures, or folders or zips of them.")
    if as_json:
        print_json(documents)
    else:
        _print_table(documents)
    if faceless:
        note(
            f"No face found in {faceless} of {len(documents)} pictures. "
            "Use --detector none if they are face crops already."
        )
    failed = sum(document["error"] is not None for document in documents)
    if failed:
        note(f"{failed} of {len(documents)} pictures could not be read.")
        raise typer.Exit(1)


def _counted(results: Iterator[PictureResult], progress: Progress) -> Iterator[PictureResult]:
    for done, result in enumerate(results, start=1):
        progress("Reading pictures", done, 0)
        yield result


def _document(result: PictureResult) -> dict[str, Any]:
    faces = [
        {
            "box": list(face.box),
            "score": face.score,
            "emotion": face.emotion,
            "uncertain": face.uncertain,
            "unreliable": face.unreliable,
            "probabilities": {e: float(p) for e, p in zip(EMOTIONS, face.probabilities, strict=True)},
        }
        for face in result.faces
    ]
    return {"path": result.path, "faces": faces, "error": result.error}


def _print_table(documents: list[dict[str, Any]]) -> None:
    width = min(60, max(len(document["path"]) for document in documents))
    for document in documents:
        path = document["path"]
        shown = path if len(path) <= width else f"…{path[1 - width :]}"
        if document["error"] is not None:
            note(document["error"])
        elif not document["faces"]:
            typer.echo(f"{shown:{width}}  no face found")
        for number, face in enumerate(document["faces"], start=1):
            box = ",".join(map(str, face["box"]))
            share = f"{face['probabilities'][face['emotion']]:.1%}"
            doubts = ["uncertain"] * face["uncertain"] + ([face["unreliable"]] if face["unreliable"] else [])
            doubt = f"  {', '.join(doubts)}" if doubts else ""
            typer.echo(f"{shown:{width}}  {number:>2}  {face['emotion']:8}  {share:>6}  {box}{doubt}")
