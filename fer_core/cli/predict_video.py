"""``predict`` on videos: printed, or as a job that writes a table and a summary."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from fer_core.cli.console import note, print_json, progress_bar, start_detached
from fer_core.errors import FerError, Stopped
from fer_core.inference.batch import RESULTS_FOLDER, new_folder
from fer_core.inference.video import KIND, VideoOptions, read_video_into, video_document
from fer_core.inference.video_results import VideoSummary, clock
from fer_core.jobs.worker import work
from fer_core.workspace import Workspace, check_name, printable

if TYPE_CHECKING:
    from fer_core.cli.predict import Wish
    from fer_core.inference.faces import Detector
    from fer_core.inference.predictor import Predictor


def read_videos(wish: Wish, predictor: Predictor, detector: Detector, as_json: bool) -> Iterator[dict[str, Any]]:
    """Reads videos one after the other; prints what is found, unless it is to become JSON.

    Yields:
        A document for each; without its frames where they were printed as a summary.

    Raises:
        Stopped: Ctrl-C, after what was read until then was printed.
        KeyboardInterrupt: Ctrl-C, after what was read until then was yielded.
    """
    options = VideoOptions(wish.every, wish.threshold)
    for path in wish.videos:
        with progress_bar() as bar:
            if as_json:
                with _interruption_noted() as interrupted:
                    found = video_document(path, predictor, detector, options, bar, interrupted)
                yield found
                if interrupted():
                    raise KeyboardInterrupt
                continue
            with tempfile.TemporaryDirectory() as folder, _interruption_noted() as interrupted:
                try:
                    summary = read_video_into(path, Path(folder), predictor, detector, options, bar, interrupted)
                except FerError as error:
                    note(str(error))
                    yield {"path": printable(str(path)), "error": str(error)}
                    continue
        typer.echo(f"{printable(str(path))}: {summary.told()}")
        _print_faces(summary)
        yield {"path": printable(str(path)), "error": summary.note}
        if summary.stopped:
            raise Stopped("Interrupted; what was read until then is above.")


@contextmanager
def _interruption_noted() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether Ctrl-C was pressed; only the second one interrupts."""
    pressed = Event()

    def note_it(signum: int, frame: FrameType | None) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    before = signal.signal(signal.SIGINT, note_it)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _print_faces(summary: VideoSummary) -> None:
    for face in summary.faces:
        shares = sorted(face.shares.items(), key=lambda pair: -pair[1])
        told = ", ".join(f"{emotion} {share:.0%}" for emotion, share in shares if share >= 0.005)
        typer.echo(f"  face {face.face}  {clock(face.first)} to {clock(face.last)}  {told}")


def video_job(wish: Wish, space: Workspace, name: str | None, detach: bool, as_json: bool) -> None:
    """Reads one video as a job; results go into its folder, or where they are wanted."""
    name = check_name(name or space.new_name(space.jobs, KIND), "job")
    (path,) = wish.videos
    if not path.is_file():
        raise FerError(f"{path}: no such file. Check the path.")
    wish = replace(wish, videos=[path.absolute()])
    argv = wish.arguments(name)
    folder = new_folder(wish.out.absolute()) if wish.out else None
    if detach:
        start_detached(space, KIND, name, argv, as_json)
        return
    with progress_bar() as bar, work(space.jobs, KIND, name, argv, listener=bar) as worker:
        try:
            folder = folder or new_folder(worker.job.folder / RESULTS_FOLDER)
            worker.say("", folder=str(folder))
            worker("Loading the model", 0, 0)
            options = VideoOptions(wish.every, wish.threshold)
            summary = read_video_into(path, folder, *wish.open(worker), options, worker)
        finally:
            if path.absolute().parent == worker.job.folder.absolute():  # an upload: nobody else knows of it
                path.unlink(missing_ok=True)
        worker.say(f"{summary.told()} Results are in {folder}.")
    if as_json:
        print_json({"job": worker.job.name, "folder": str(folder), **summary.model_dump()})
    else:
        typer.echo(worker.message)
        _print_faces(summary)
    if summary.note:
        raise typer.Exit(1)
