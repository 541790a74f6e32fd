"""``jobs``: long work of any kind, also training runs."""

from __future__ import annotations

from typing import Annotated

import typer

from fer_core.cli.console import JsonOption, note, print_json
from fer_core.errors import JobError
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState, summary
from fer_core.jobs.store import Job, list_jobs
from fer_core.workspace import Workspace

app = typer.Typer(help="Look at and stop long work.", no_args_is_help=True)


def find(name: str) -> Job:
    """A job or run by name."""
    space = Workspace.default()
    for parent in (space.jobs, space.runs):
        if (parent / name / "job.json").is_file():
            return Job(parent / name)
    raise JobError(f"No job named {name!r}. `python -m fer_core jobs list` shows them.")


def describe(job: Job) -> dict[str, object]:
    """What ``--json`` prints of a job."""
    status, state = job.status(), job.state()
    return {
        "name": job.name,
        "kind": job.kind or "damaged",
        "state": str(state),
        "phase": status.phase,
        "done": status.done,
        "total": status.total,
        "message": summary(state, status.message, job.log_tail()),
        "folder": str(job.folder),
    }


@app.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """All jobs and runs, newest first."""
    space = Workspace.default()
    found = [describe(job) for parent in (space.jobs, space.runs) for job in list_jobs(parent)]
    if as_json:
        print_json(found)
        return
    for entry in found:
        typer.echo(f"{entry['name']:32} {entry['kind']:10} {entry['state']:10} {entry['message'] or entry['phase']}")
    if not found:
        note("No jobs yet.")


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="JOB")], as_json: JsonOption = False) -> None:
    """One job: state, progress and the end of its log."""
    job = find(name)
    if as_json:
        print_json(describe(job))
        return
    for key, value in describe(job).items():
        typer.echo(f"{key:8} {value}")
    typer.echo(job.log_tail())


@app.command()
def stop(
    name: Annotated[str, typer.Argument(metavar="JOB")],
    force: Annotated[bool, typer.Option(help="Kill it if it does not end by itself.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Asks a job to end and keep what is finished; waits until it has."""
    job = find(name)
    if job.state().alive:
        state = supervisor.stop(job, force=force)
        if state.alive:
            raise JobError(f"{name} has not ended yet. Kill it with `jobs stop {name} --force`.")
    elif not as_json:
        note(f"{name} is not running.")
    if as_json:
        print_json(describe(job))
    else:
        state = job.state()
        note(f"{name}: {state}." if state is not JobState.CRASHED else f"{name}: killed; what was saved is kept.")
