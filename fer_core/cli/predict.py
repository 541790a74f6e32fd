"""``predict``: the faces in pictures and the apparent expression of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fer_core.cli.console import DetachOption, JsonOption, note, print_json, progress_bar, start_detached
from fer_core.errors import FerError, Stopped
from fer_core.jobs.worker import work
from fer_core.workspace import Workspace, check_name

if TYPE_CHECKING:
    from fer_core.inference.batch import Counts
    from fer_core.inference.served import ServedModel

VIDEO_SUFFIXES: Final = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".mjpeg", ".m4v"})


@dataclass(frozen=True)
class _Wish:
    """What is to be read, and how."""

    paths: list[Path]
    served: ServedModel
    detector: str
    threshold: float
    annotated: bool
    out: Path | None

    def arguments(self, name: str) -> list[str]:
        """The command line that does it as a job, wherever it is started."""
        argv = ["predict", *map(str, self.paths), "--model", str(self.served.path.absolute())]
        argv += ["--detector", self.detector, "--threshold", str(self.threshold), "--name", name]
        argv += ["--annotated"] * self.annotated
        return argv + (["--out", str(self.out.absolute())] if self.out else [])


def predict(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Pictures, folders or zip archives of pictures.")
    ],
    model: Annotated[
        str | None,
        typer.Option(help="A run, an .onnx file or a bundled model. Default: bundled, else newest."),
    ] = None,
    detector: Annotated[
        str, typer.Option(metavar="NAME", help="How faces are found: haar, or none (each picture is a face).")
    ] = "haar",
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="A face whose highest probability is lower is marked uncertain.")
    ] = 0.5,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write results here while reading, as a job: faces.csv, results.jsonl and summary.json.",
        ),
    ] = None,
    annotated: Annotated[
        bool, typer.Option("--annotated", help="Also write every picture with boxes on its faces, as a job.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Do it as a job of this name. Default: predict-1 and so on.")] = None,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Finds the faces in pictures and says which expression each appears to have.

    Results are printed, or with --out, --annotated, --name or --detach written by a job, to watch and to stop.
    """
    from fer_core.inference.faces import load_detector
    from fer_core.inference.served import default_model, find_model

    if any(path.suffix.lower() in VIDEO_SUFFIXES for path in paths):
        # Here goes fer_core.inference.video.read_video_into, imported when it is needed.
        raise FerError("Videos cannot be read yet. Name pictures, or folders or zips of them.")
    load_detector(detector)  # a wrong name is told before anything is begun
    space = Workspace.default()
    served = find_model(model, space) if model else default_model(space)
    if model is None:
        note(f"Model: {served.name}")
    wish = _Wish(paths, served, detector, threshold, annotated, out)
    if out is None and not (annotated or detach or name):
        _print(wish, as_json)
    else:
        _as_job(wish, space, name, detach, as_json)


def _as_job(wish: _Wish, space: Workspace, name: str | None, detach: bool, as_json: bool) -> None:
    from fer_core.inference.batch import KIND, RESULTS_FOLDER, new_folder, read_into
    from fer_core.inference.collect import collect
    from fer_core.inference.faces import load_detector
    from fer_core.inference.predictor import Predictor

    name = check_name(name or space.new_name(space.jobs, KIND), "job")
    wish = replace(wish, paths=[path.absolute() for path in wish.paths])  # results name them for whoever reads them
    argv = wish.arguments(name)
    total = _count(wish.paths)
    folder = new_folder(wish.out.absolute()) if wish.out else None
    if detach:
        start_detached(space, KIND, name, argv, as_json)
        return
    with progress_bar() as bar, work(space.jobs, KIND, name, argv, listener=bar) as worker:
        folder = folder or new_folder(worker.job.folder / RESULTS_FOLDER)
        worker.say("", folder=str(folder))
        worker("Loading the model", 0, 0)
        summary = read_into(
            collect(wish.paths),
            total,
            folder,
            Predictor.load(wish.served),
            load_detector(wish.detector),
            detector_name=wish.detector,
            threshold=wish.threshold,
            annotated=wish.annotated,
            progress=worker,
        )
        worker.say(f"{summary.told()} Results are in {folder}.")
    if as_json:
        print_json({"job": worker.job.name, "folder": str(folder), **summary.model_dump()})
    else:
        typer.echo(worker.message)
    _end(summary)


def _print(wish: _Wish, as_json: bool) -> None:
    """Reads and prints; Ctrl-C prints what was read until then."""
    from fer_core.inference.batch import Counts
    from fer_core.inference.collect import collect
    from fer_core.inference.faces import load_detector
    from fer_core.inference.images import read_pictures
    from fer_core.inference.predictor import Predictor
    from fer_core.inference.table import document

    total = _count(wish.paths)
    predictor, detector = Predictor.load(wish.served), load_detector(wish.detector)
    counts, documents = Counts(), []
    interrupted = False
    try:
        with progress_bar() as bar:
            for result in read_pictures(collect(wish.paths), predictor, detector, wish.threshold):
                documents.append(document(result))
                counts.add(result)
                bar("Reading pictures", counts.pictures, total)
    except KeyboardInterrupt:
        interrupted = True
    if as_json:
        print_json(documents)
    else:
        _print_table(documents)
    if interrupted:
        raise Stopped(f"Interrupted after {counts.pictures:,} of {total:,} pictures; what was found in them is above.")
    _end(counts)


def _count(paths: list[Path]) -> int:
    from fer_core.inference.collect import count

    total = count(paths)
    if not total:
        raise FerError(f"No pictures in {', '.join(map(str, paths))}. Name pictures, or folders or zips of them.")
    return total


def _end(counts: Counts) -> None:
    """Says what could not be read, and ends with 1 if there was any."""
    if counts.faceless:
        note(
            f"No face found in {counts.faceless:,} of {counts.pictures:,} pictures. "
            "Use --detector none if they are face crops already."
        )
    if counts.unreadable:
        note(f"{counts.unreadable:,} of {counts.pictures:,} pictures could not be read.")
        raise typer.Exit(1)


def _print_table(documents: list[dict[str, Any]]) -> None:
    width = min(60, max((len(document["path"]) for document in documents), default=0))
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
            doubt = "  uncertain" if face["uncertain"] else ""
            typer.echo(f"{shown:{width}}  {number:>2}  {face['emotion']:8}  {share:>6}  {box}{doubt}")
