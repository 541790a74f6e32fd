"""``predict``: the faces in pictures and videos, and the apparent expression of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_core.cli.console import DetachOption, JsonOption, note, print_json, progress_bar, start_detached
from fer_core.errors import FerError, Stopped
from fer_core.inference.detector_options import DetectorChoice, DetectorOptions, default_every
from fer_core.jobs.worker import work
from fer_core.workspace import Workspace, check_name

if TYPE_CHECKING:
    from fer_core.inference.batch import Counts
    from fer_core.inference.faces import Detector
    from fer_core.inference.predictor import Predictor
    from fer_core.inference.served import ServedModel
    from fer_core.jobs.progress import Progress


@dataclass(frozen=True)
class Wish:
    """What is to be read, and how.

    Attributes:
        pictures: Files, folders and archives.
        videos: Files.
        every: Of videos; 1 for every frame, k for every k-th.
    """

    pictures: list[Path]
    videos: list[Path]
    served: ServedModel
    detector: DetectorChoice
    threshold: float
    every: int
    annotated: bool
    out: Path | None

    def arguments(self, name: str) -> list[str]:
        """The command line that does it as a job, wherever it is started."""
        argv = ["predict", *map(str, (*self.pictures, *self.videos)), "--model", str(self.served.path.absolute())]
        argv += [*self.detector.arguments(), "--threshold", str(self.threshold), "--name", name]
        argv += ["--every", str(self.every)] if self.videos else []
        argv += ["--annotated"] * self.annotated
        return argv + (["--out", str(self.out.absolute())] if self.out else [])

    def open(self, progress: Progress) -> tuple[Predictor, Detector]:
        """Model and detector; its file is downloaded if it is not there."""
        from fer_core.inference import yunet
        from fer_core.inference.faces import load_detector
        from fer_core.inference.predictor import Predictor

        if self.detector.name == "yunet":
            yunet.fetch(progress)
        return Predictor.load(self.served), load_detector(self.detector.name, self.detector.options)


def predict(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Pictures, folders or zip archives of pictures; videos.")
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
        int,
        typer.Option(metavar="PIXELS", help="Narrower faces are passed over (of a video, in frames shrunk to 1,920)."),
    ] = DetectorOptions.min_face,
    score: Annotated[
        float, typer.Option(metavar="SHARE", help="What yunet finds with a lower score is no face, 0 to 1.")
    ] = DetectorOptions.score,
    margin: Annotated[
        float, typer.Option(metavar="SHARE", help="Shows the model more around each face than usual, or less (-0.25).")
    ] = DetectorOptions.margin,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="A face whose highest probability is lower is marked uncertain.")
    ] = 0.5,
    every: Annotated[
        int | None,
        typer.Option(min=1, metavar="K", help="Of videos, read every K-th frame. Default: 1, with haar 4."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write results here while reading, as a job: tables as CSV, and summary.json.",
        ),
    ] = None,
    annotated: Annotated[
        bool, typer.Option("--annotated", help="Also write every picture with boxes on its faces, as a job.")
    ] = False,
    explain: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write here, for each face of a picture, where the model looked (Grad-CAM, or occlusion where a model "
            "gives probabilities alone).",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Do it as a job of this name. Default: predict-1 and so on.")] = None,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Finds the faces in pictures and videos and says which expression each appears to have.

    Results are printed, or with --out, --annotated, --name or --detach written by a job, to watch and to stop.
    """
    from fer_core.inference.faces import check_detector, default_detector
    from fer_core.inference.frames import SUFFIXES
    from fer_core.inference.served import default_model, find_model

    options = DetectorOptions(min_face, score, margin)
    if detector is not None:
        check_detector(detector)
    videos = [path for path in paths if path.suffix.lower() in SUFFIXES and not path.is_dir()]
    for path in videos:
        if not path.exists():
            raise FerError(f"{path}: no such file or folder. Check the path.")
    pictures = [path for path in paths if path not in videos]
    if explain and (videos or out or annotated or detach or name):
        raise FerError(
            "--explain is for pictures whose results are printed: leave out videos, --out, --annotated, --name and "
            "--detach."
        )
    space = Workspace.default()
    served = find_model(model, space) if model else default_model(space)
    if detector is None:
        detector = default_detector()
        note(f"Face detector: {detector}")
    if every is None:
        every = default_every(detector)
        if videos and every > 1:
            note(f"{detector} is slow, so every {every}th frame of a video is read; --every 1 reads all.")
    if model is None:
        note(f"Model: {served.name}")
    wish = Wish(pictures, videos, served, DetectorChoice(detector, options), threshold, every, annotated, out)
    if out is None and not (annotated or detach or name):
        _print(wish, explain, as_json)
    elif not videos:
        _as_job(wish, space, name, detach, as_json)
    elif len(paths) > 1 or annotated:
        raise FerError("A job reads one video, or pictures alone. Start one for each, a video without --annotated.")
    else:
        from fer_core.cli.predict_video import video_job

        video_job(wish, space, name, detach, as_json)


def _as_job(wish: Wish, space: Workspace, name: str | None, detach: bool, as_json: bool) -> None:
    from fer_core.inference.batch import KIND, RESULTS_FOLDER, new_folder, read_into
    from fer_core.inference.collect import collect

    name = check_name(name or space.new_name(space.jobs, KIND), "job")
    # Results name them for whoever reads them.
    wish = replace(wish, pictures=[path.absolute() for path in wish.pictures])
    argv = wish.arguments(name)
    total = _count(wish.pictures)
    folder = new_folder(wish.out.absolute()) if wish.out else None
    if detach:
        start_detached(space, KIND, name, argv, as_json)
        return
    with progress_bar() as bar, work(space.jobs, KIND, name, argv, listener=bar) as worker:
        folder = folder or new_folder(worker.job.folder / RESULTS_FOLDER)
        worker.say("", folder=str(folder))
        worker("Loading the model", 0, 0)
        predictor, detector = wish.open(worker)
        summary = read_into(
            collect(wish.pictures),
            total,
            folder,
            predictor,
            detector,
            detector_name=wish.detector.name,
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


def _print(wish: Wish, explain: Path | None, as_json: bool) -> None:
    """Reads and prints; Ctrl-C prints what was read until then."""
    from fer_core.inference.batch import Counts, new_folder
    from fer_core.inference.collect import collect
    from fer_core.inference.explain import write_explained
    from fer_core.inference.images import read_pictures
    from fer_core.inference.table import document

    total = _count(wish.pictures) if wish.pictures or not wish.videos else 0
    folder = new_folder(explain) if explain else None
    with progress_bar() as bar:
        predictor, detector = wish.open(bar)
    counts, documents = Counts(), []
    interrupted = False
    try:
        with progress_bar() as bar:
            for result in read_pictures(collect(wish.pictures), predictor, detector, wish.threshold):
                documents.append(document(result))
                counts.add(result)
                if folder:
                    write_explained(folder, counts.pictures, result, predictor)
                bar("Reading pictures", counts.pictures, total)
        if not as_json:
            _print_table(documents)
        if wish.videos:
            from fer_core.cli.predict_video import read_videos

            for found in read_videos(wish, predictor, detector, as_json):
                documents.append(found)
    except KeyboardInterrupt:
        interrupted = True
        if not as_json and counts.pictures < total:
            _print_table(documents)
    if as_json:
        print_json(documents)
    if interrupted:
        pictures = f" after {counts.pictures:,} of {total:,} pictures" if total else ""
        raise Stopped(f"Interrupted{pictures}; what was found until then is above.")
    _end(counts)
    if any(document["error"] is not None for document in documents):
        raise typer.Exit(1)


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
            doubts = ["uncertain"] * face["uncertain"] + ([face["unreliable"]] if face["unreliable"] else [])
            doubt = f"  {', '.join(doubts)}" if doubts else ""
            typer.echo(f"{shown:{width}}  {number:>2}  {face['emotion']:8}  {share:>6}  {box}{doubt}")
