"""``jobs``: long work of any kind, also training runs."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from fer_core.cli.console import JsonOption, note, print_json
from fer_core.errors import FerError, JobError
from fer_core.evaluation.label_check import KIND as LABELS
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState, StopWish, silence, summary
from fer_core.jobs.store import Job, list_jobs
from fer_core.training.runs import KIND, Run
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
        "message": silence(state, status.updated, time.time())
        or summary(state, status.message, job.log_tail(), goes_on=job.kind in (KIND, LABELS)),
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
    keep_best: Annotated[
        bool, typer.Option("--keep-best", help="Of a run: end training and finish with the best epoch so far.")
    ] = False,
    discard: Annotated[bool, typer.Option("--discard", help="Of a run: end it and delete its folder.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Kill it if it does not end by itself.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before discarding.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Asks a job to end and keep what is finished, to go on later; waits until it has ended."""
    job = find(name)
    if keep_best + discard + force > 1:
        raise FerError("--keep-best, --discard and --force exclude each other: give one of them.")
    if keep_best or discard:
        _check_run(job, keep_best)
    if discard:
        _confirm_discard(job, yes)
    if keep_best and not Run(job).epoch_events:
        note(f"{name} has not finished an epoch, so there is nothing to keep: it is stopped.")
        keep_best = False
    if keep_best:
        note(f"Ending the training of {name}, then exporting its best epoch.")
        supervisor.finish_with_best(job)
    elif job.state().alive:
        state = supervisor.stop(job, StopWish.DISCARD if discard else StopWish.KEEP_ALL, force=force)
        if job.exists() and state.alive:
            raise JobError(f"{name} has not ended yet. Kill it with `jobs stop {name} --force`.")
    elif not as_json:
        note(f"{name} is not running.")
    if as_json:
        print_json(describe(job) if job.exists() else {"name": name, "state": "discarded"})
    else:
        note(_outcome(job))


def _check_run(job: Job, keep_best: bool) -> None:
    """Refuses what only a training run at work can do, and says what to use instead."""
    option = "--keep-best" if keep_best else "--discard"
    if job.kind != KIND:
        raise JobError(f"{job.name} is no training run, and {option} is for those. Use `jobs stop {job.name}`.")
    state = job.state()
    if state is JobState.DONE:
        instead = "its best epoch is kept already" if keep_best else f"delete it with `runs delete {job.name}`"
    elif keep_best:
        instead = f"go on with `train --resume {job.name}`, then use --keep-best while it runs"
    else:
        instead = f"delete it with `runs delete {job.name}`"
    if not state.alive:
        raise JobError(f"{job.name} is not running ({state}): {instead}.")


def _confirm_discard(job: Job, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise FerError("Discarding asks first, and nobody can answer here. Add --yes to discard without asking.")
    typer.confirm(f"Stop {job.name} and delete it with everything it has learnt?", abort=True, err=True)


def _outcome(job: Job) -> str:
    """What became of a job that was to be stopped, in one line."""
    if not job.exists():
        return f"{job.name}: stopped and discarded, its folder is deleted."
    state = job.state()
    return f"{job.name}: killed; what was saved is kept." if state is JobState.CRASHED else f"{job.name}: {state}."
