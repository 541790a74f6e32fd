"""``runs``: what was trained, and how it went."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from fer_core.cli import pairs
from fer_core.cli.console import JsonOption, note, print_json
from fer_core.errors import FerError, from_os_error
from fer_core.evaluation.compare import PairedAnswers
from fer_core.evaluation.metrics import share_words
from fer_core.jobs.state import summary
from fer_core.jobs.store import Job
from fer_core.training import run_archive, run_folder
from fer_core.training.catalog import Catalog
from fer_core.training.comparison import pair_runs, why_not_compared
from fer_core.training.differences import settings_that_differ
from fer_core.training.facts import RunFacts, read_facts
from fer_core.training.runs import Run, list_runs
from fer_core.training.seeds import SeedGroup, seed_groups
from fer_core.workspace import Workspace, expand

app = typer.Typer(help="Look at, compare and tidy up training runs.", no_args_is_help=True)

RunNames = Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs, by name.")]


@app.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """All runs, newest first, and what several seeds of one recipe come to."""
    found = []
    groups = seed_groups(summary.facts for summary in Catalog(Workspace.default()).look())
    for run in list_runs(Workspace.default()):
        try:
            found.append({**_describe(run), "seeds": next((_seeds(g) for g in groups if run.name in g.names), None)})
        except FerError as error:  # one damaged folder must not hide the others
            note(str(error))
    if as_json:
        print_json(found)
        return
    for entry in found:
        epochs = f"{entry['epochs']}/{entry['total_epochs']}"
        said = entry["message"] or entry["phase"]
        typer.echo(f"{entry['name']:24} {entry['state']:9} {epochs:>7}  {said}")
    _print_groups(groups)
    if not found:
        note("No runs yet. Start one: python -m fer_core train DATASET --preset compact")


def _seeds(group: SeedGroup) -> dict[str, Any]:
    """What ``--json`` prints of finished runs that differ in nothing but the seed; accuracies on validation."""
    return {
        "name": group.name,
        "runs": list(group.names),
        "seeds": list(group.seeds),
        "n": group.n,
        "mean": group.mean,
        "standard_deviation": group.deviation,
        "lowest": min(group.accuracies),
        "highest": max(group.accuracies),
        "leak": group.leak,
    }


def _print_groups(groups: list[SeedGroup]) -> None:
    if groups:
        typer.echo()
    for group in groups:
        typer.echo(group.sentence())


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="RUN")], as_json: JsonOption = False) -> None:
    """One run: settings, state and every epoch's scores."""
    run = Run(Job.open(Workspace.default().run(name)))
    document = _describe(run)
    if as_json:
        history = run.history.astype(object).where(run.history.notna(), None).to_dict("records")
        config = run.config.model_dump(mode="json")
        print_json({**document, "config": config, "history": history, "metrics": run.metrics})
        return
    for key in ("name", "state", "preset", "dataset", "message", "folder"):
        typer.echo(f"{key:8} {document[key]}")
    for row in run.epoch_events:
        typer.echo(
            f"epoch {row['global_epoch'] + 1:>3}  loss {row['loss']:.3f}  accuracy {row['accuracy']:.1%}  "
            f"validation {row['val_accuracy']:.1%}  macro-F1 {row['val_macro_f1']:.3f}  "
            f"{row['seconds']:.0f} s"
            f"{'  best so far' if row['best'] else ''}"
        )
    if not document["message"]:
        typer.echo(f"{'now':8} {document['phase']}")


def _describe(run: Run) -> dict[str, Any]:
    """What ``--json`` prints of a run; ``best`` is the best epoch so far, counted from 0 like all epochs."""
    config, best = run.config, run.best
    return {
        "name": run.name,
        "state": str(run.state),
        "preset": config.preset,
        "dataset": config.dataset.name if config.dataset else None,
        "allow_leaks": config.allow_leaks,
        "epochs": run.progress.epochs,
        "total_epochs": run.total_epochs,
        "seconds_left": run.progress.seconds_left if run.state.alive else None,
        "best": best and {key: best[key] for key in ("phase", "epoch", "val_accuracy", "val_macro_f1")},
        "phase": run.status.phase,
        "message": summary(run.state, run.status.message, run.job.log_tail()),
        "folder": str(run.folder),
    }


@app.command()
def compare(
    names: RunNames,
    details: Annotated[
        bool,
        typer.Option("--details", help="Also how confusion matrices differ, and the images that only one reads right."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Validation accuracy of several runs, their difference to the first, and the settings that differ; seeds together.

    The difference is taken over the images that both runs were scored on, with the 95% interval of Newcombe for
    paired proportions. It is within noise where that interval holds 0; the p value is that of the exact McNemar test.
    Exit code 1 says that a run could not be
    compared.
    """
    space = Workspace.default()
    names = list(dict.fromkeys(names))
    if len(names) < 2:
        raise FerError("There is nothing to compare one run with. Name at least two different runs.")
    found = [Run(Job.open(space.run(name))) for name in names]
    facts = [read_facts(run.job) for run in found]
    differences = [None, *(_difference(found[0], run) for run in found[1:])]
    configs = {each.name: each.config for each in facts if each.config}
    settings, groups = settings_that_differ(configs), seed_groups(facts)
    if as_json:
        entries = [_entry(*row, details) for row in zip(found, facts, differences, strict=True)]
        seeds = [_seeds(group) for group in groups]
        print_json({"baseline": found[0].name, "runs": entries, "settings": settings, "seeds": seeds})
    else:
        for run, each, difference in zip(found, facts, differences, strict=True):
            typer.echo(f"{run.name:24} {run.state:9} {_score(each):42} {_against(found[0].name, difference)}".rstrip())
        typer.echo()
        for run, difference in zip(found, differences, strict=True):
            if details and isinstance(difference, PairedAnswers):
                pairs.print_details(difference, found[0].name, run.name)
                typer.echo()
        _print_settings(settings, list(configs))
        _print_groups(groups)
    if any(isinstance(difference, str) for difference in differences):
        raise typer.Exit(1)


def _difference(first: Run, other: Run) -> PairedAnswers | str:
    """How a run differs from the first, or why that cannot be said."""
    for run in (first, other):
        if run.card is None:
            return f"{run.name} has not finished"
    try:
        return pair_runs(first, other) or why_not_compared(first, other)
    except FerError as error:
        return str(error)


def _entry(run: Run, facts: RunFacts, difference: PairedAnswers | str | None, details: bool) -> dict[str, Any]:
    """What ``--json`` prints of a compared run; ``difference`` is null for the first and where it is not known."""
    score = facts.score if facts.finished else None
    return {
        "name": run.name,
        "state": str(run.state),
        "dataset": facts.dataset or None,
        "contaminated": facts.contaminated,
        "validation": score and {"n": score.n, "accuracy": score.accuracy, "ci95": list(score.ci95)},
        "difference": pairs.document(difference, details=details) if isinstance(difference, PairedAnswers) else None,
        "note": difference if isinstance(difference, str) else "",
    }


def _score(facts: RunFacts) -> str:
    if facts.score is None:
        return "no score yet"
    accuracy, ci95, n = facts.score
    so_far = "" if facts.finished else " · so far"
    if facts.ended_after is not None and facts.config:
        so_far = f" · ended after {facts.ended_after} of {facts.config.total_epochs} epochs"
    return f"{share_words(accuracy, ci95)} · n {n:,} · {facts.leak}{so_far}"


def _against(first: str, difference: PairedAnswers | str | None) -> str:
    if difference is None or isinstance(difference, str):
        return difference or "the others are compared with this one"
    return pairs.difference_words(difference.difference, first)


def _print_settings(settings: dict[str, dict[str, Any]], names: list[str]) -> None:
    if not settings:
        typer.echo("All settings are the same." if len(names) > 1 else "")
        return
    columns = {name: max(len(name), *(len(str(row[name])) for row in settings.values())) for name in names}
    title = "settings that differ"
    key_width = max(map(len, (title, *settings)))
    typer.echo(f"{title:{key_width}}  " + "  ".join(f"{n:>{w}}" for n, w in columns.items()))
    for key, row in settings.items():
        typer.echo(f"{key:{key_width}}  " + "  ".join(f"{row[n]!s:>{w}}" for n, w in columns.items()))


@app.command()
def rename(
    name: Annotated[str, typer.Argument(metavar="RUN")],
    new: Annotated[str, typer.Argument(metavar="NAME")],
    as_json: JsonOption = False,
) -> None:
    """Gives a run that is not at work another name."""
    job = run_folder.rename(Workspace.default(), name, new)
    if as_json:
        print_json({"name": job.name, "folder": str(job.folder)})
    else:
        note(f"{name} is now called {job.name}.")


@app.command("export")
def export_run(
    name: Annotated[str, typer.Argument(metavar="RUN")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.zip", help="The file to write.")],
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="With what an unfinished run goes on from; often most of its size.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Writes a run into one zip file: settings, curves, model, predictions and scores."""
    job = Job.open(Workspace.default().run(name))
    size = run_archive.export_file(job, expand(str(out)).absolute(), checkpoints=checkpoints)
    if as_json:
        print_json({"name": job.name, "file": str(out), "bytes": size})
    else:
        note(f"{job.name} is in {out}, {_megabytes(size)}.")


@app.command("import")
def import_run(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip")],
    name: Annotated[str, typer.Option("--name", help="What it is called here. Default: the name it had.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Takes in a run that `runs export` wrote; only files that a run has, and none that could run code is loaded."""
    found = run_archive.import_run(Workspace.default(), expand(str(file)), name)
    if as_json:
        print_json({"name": found.job.name, "folder": str(found.job.folder), "left_out": found.left_out})
        return
    note(f"Imported {found.job.name}. Look at it: python -m fer_core runs show {found.job.name}")
    if found.left_out:
        note(f"Left out, as no files of a run: {found.left_out:,}.")


@app.command()
def delete(
    names: RunNames,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Deletes runs with their models, curves and predictions. This cannot be undone.

    Exit code 1 says that a run could not be deleted.
    """
    space = Workspace.default()
    names = list(dict.fromkeys(names))
    sizes = {name: run_folder.disk_use(space.run(name)).total for name in names}
    if not yes:
        if not sys.stdin.isatty():
            raise FerError("Deleting runs asks first, and nobody can answer here. Add --yes to delete without asking.")
        typer.confirm(f"Delete {', '.join(names)}, {_megabytes(sum(sizes.values()))}, for good?", abort=True, err=True)
    _free_each(names, lambda name: run_folder.delete(space, name), "Deleted", as_json)


@app.command()
def free(
    names: Annotated[list[str] | None, typer.Argument(metavar="RUN...", help="Finished runs, by name.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All finished runs.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Deletes the checkpoints of finished runs, which they do not need any more; models and scores stay.

    Exit code 1 says that the checkpoints of a run could not be deleted.
    """
    space = Workspace.default()
    if bool(names) == everything:
        raise FerError("Name the runs whose checkpoints to delete, or give --all for every finished run.")
    if everything:
        names = [run.name for run in list_runs(space) if run_folder.freeable(run.job)]
    names = list(dict.fromkeys(names or []))
    for name in names:
        space.run(name)  # a name that is none stops the call before anything is deleted
    _free_each(names, lambda name: run_folder.free_checkpoints(space, name), "Deleted the checkpoints of", as_json)


def _free_each(names: list[str], free_one: Callable[[str], int], done: str, as_json: bool) -> None:
    """Frees the disk of one run after the other and tells what failed; exit code 1 where something did.

    Args:
        names: Of the runs.
        free_one: Does it, and returns how many bytes that freed.
        done: What it does, as a message begins.
        as_json: Whether to print ``freed_bytes``, ``runs`` (name: bytes) and ``failed`` (name: reason).
    """
    freed: dict[str, int] = {}
    failed: dict[str, str] = {}
    for name in names:
        try:
            freed[name] = free_one(name)
            message = f"{done} {name}: {_megabytes(freed[name])} freed."
        except (FerError, OSError) as error:
            message = failed[name] = str(error if isinstance(error, FerError) else from_os_error(error))
        if not as_json:
            note(message)
    if as_json:
        print_json({"freed_bytes": sum(freed.values()), "runs": freed, "failed": failed})
    elif not names:
        note("No finished run has checkpoints: there is nothing to free.")
    if failed:
        raise typer.Exit(1)


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MB"
