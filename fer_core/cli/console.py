"""What commands print: results on stdout, progress and messages on stderr."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_core.errors import DatasetError
from fer_core.jobs import supervisor
from fer_core.jobs.progress import Progress, silent
from fer_core.workspace import Workspace

if TYPE_CHECKING:
    from fer_core.data.dataset import Dataset
    from fer_core.jobs.store import Job

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
DetachOption = Annotated[bool, typer.Option("--detach", help="Start it in the background and return at once.")]


def print_json(document: Any) -> None:
    """Prints the one JSON document of a ``--json`` call."""
    typer.echo(json.dumps(document, indent=2, allow_nan=False))


def note(text: str) -> None:
    """A message for the person at the terminal."""
    typer.echo(text, err=True)


def absolute_source(source: str) -> str:
    """A SOURCE with its name and an absolute path: a restarted job may run elsewhere."""
    from fer_core.data.sources import parse_spec

    name, path = parse_spec(source)
    return f"{name}={path}"


def dataset_or_none(source: str, space: Workspace) -> Dataset | None:
    """The prepared dataset of that name or path; None for a raw source.

    Raises:
        DatasetError: A name of nothing, or a damaged dataset.
    """
    from fer_core.data.dataset import Dataset

    try:
        return Dataset.open(space.dataset(source))
    except DatasetError as error:
        if Path(source).name == source and not Path(source).exists() and "=" not in source:
            raise error  # a bare name: the list of datasets helps more than "no such file"
        if (Path(source) / "dataset.json").is_file():
            raise error  # a damaged dataset is no raw source
    return None


def start_detached(space: Workspace, kind: str, name: str, arguments: list[str], as_json: bool) -> None:
    """Starts a command as a job of its own and says its name."""
    job = supervisor.launch(space.jobs, kind, name, arguments)
    if as_json:
        print_json({"job": job.name, "folder": str(job.folder)})
    else:
        typer.echo(job.name)
        note(f"Started. Watch it: python -m fer_core jobs show {job.name}")


@contextlib.contextmanager
def progress_bar(job: Job | None = None) -> Iterator[Progress]:
    """A bar on the terminal; one line per phase where stderr is a file.

    Args:
        job: Whose message, as the fold and its epoch, stands beside the phase on the terminal.
    """
    if not sys.stderr.isatty():
        yield _phase_lines()
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # The time left is reckoned from the last ten minutes: an epoch can be longer than the usual 30 seconds.
    with RichProgress(*columns, console=Console(stderr=True), speed_estimate_period=600) as bar:
        tasks: dict[str, Any] = {}

        def update(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase, total=total or None)
            words = " · ".join(filter(None, (phase, job.status().message if job else "")))
            bar.update(tasks[phase], description=escape(words), completed=done, total=total or None)

        yield update


def _phase_lines() -> Progress:
    seen: set[str] = set()

    def update(phase: str, done: int, total: int) -> None:
        if phase not in seen:
            seen.add(phase)
            note(phase)

    return update if sys.stderr else silent
