"""``labels``: which labels of a dataset are doubtful, and what mending them buys."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fer_core.cli import together
from fer_core.cli.console import DetachOption, JsonOption, note, print_json, progress_bar, start_detached
from fer_core.cli.train import Setting
from fer_core.data.dataset import Dataset
from fer_core.data.decisions import Pending, read_decisions
from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError, Stopped
from fer_core.evaluation.compare import p_words
from fer_core.evaluation.label_check import (
    KIND,
    MEASURE_KIND,
    NOT_LEARNT,
    BeforeAfter,
    LabelCheck,
    delete_label_check,
    find_label_check,
    read_label_check,
)
from fer_core.evaluation.metrics import share_words
from fer_core.jobs.store import Job
from fer_core.jobs.worker import Worker, work
from fer_core.training import backend
from fer_core.training.before_after import Automatic, automatic_decisions, check_measurable, measure
from fer_core.training.config import DEFAULT_PRESET
from fer_core.training.label_plan import (
    SEED,
    USUAL_FOLDS,
    LabelPlan,
    arguments,
    check_resumable,
    estimate_check,
    plan_check,
    read_plan,
    resume_check,
    start_check,
    write_plan,
)
from fer_core.training.run_folder import disk_use
from fer_core.training.speeds import Pictures, read_speeds
from fer_core.workspace import Workspace, check_name, expand

app = typer.Typer(help="Find doubtful labels, and measure what mending them buys.", no_args_is_help=True)


@app.command()
def check(
    dataset: Annotated[
        str | None, typer.Argument(metavar="DATASET", help="A prepared dataset, by name or path.")
    ] = None,
    folds: Annotated[
        int, typer.Option(help="How many networks are trained, each without one part of train that it is asked about.")
    ] = USUAL_FOLDS,
    preset: Annotated[
        str, typer.Option(metavar="NAME|FILE.yaml", help="What each of them is trained with.")
    ] = DEFAULT_PRESET,
    settings: Setting = [],  # noqa: B006 Typer makes a new list for every call
    seed: Annotated[int, typer.Option(min=0, help="Of the folds and of the training.")] = SEED,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What to call the check.")] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="NAME", help="Go on with a check that was stopped or killed.")
    ] = None,
    plan_only: Annotated[bool, typer.Option("--plan", help="Only say how long it will take on this machine.")] = False,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train networks on parts of train, and rank the labels of the other parts by what they say of them.

    Augmented images are never asked about; validation and test are left alone. A leaky dataset may be checked, too:
    no network is asked about a photograph that it has learnt from.
    """
    space = Workspace.default()
    if resume is not None:
        if dataset or settings or name or plan_only:
            raise FerError("--resume goes on with a check's own settings: give no dataset, --set, --name or --plan.")
        _resume(find_label_check(space, resume), detach=detach, as_json=as_json)
        return
    if dataset is None:
        raise FerError("Name a dataset, as `labels check DATASET`; or a check to go on with, as `--resume NAME`.")
    data = Dataset.open(space.dataset(dataset))
    plan = plan_check(data, preset, settings, folds, seed)
    estimated = estimate_check(plan, Pictures.of(data), read_speeds(space))
    told = _duration(estimated.seconds) if estimated else "not known yet, since nothing like it was trained here"
    if plan_only:
        if as_json:
            print_json({"folds": folds, "seconds": estimated and round(estimated.seconds)})
        else:
            typer.echo(f"Time on this machine: {told}.")
        return
    where = dataset if data.folder == space.datasets / dataset else str(data.folder)
    name = check_name(name or space.new_name(space.jobs, "labels"), "label check")
    if detach:
        job = start_check(space, plan, where, name)
        note(f"Time on this machine: {told}.")
        _started(job, as_json)
        return
    words, job = arguments(plan, where, name), Job(space.jobs / name)
    with progress_bar(job) as bar, work(space.jobs, KIND, name, words, listener=bar) as worker:
        write_plan(worker.job, plan)
        found = _check(plan, data, worker)
    _report(found, as_json)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A finished label check.")],
    top: Annotated[int, typer.Option(min=1, help="How many labels, the most suspicious first.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """The most suspicious labels that a check has found."""
    found = read_label_check(find_label_check(Workspace.default(), name).folder)
    queue = found.issues.head(top)
    named = {column: [EMOTIONS[index] for index in queue[column]] for column in ("label", "suggested")}
    rows = queue.assign(**named).to_dict("records")
    if as_json:
        print_json({**_document(found), "queue": rows})
        return
    _say(found)
    typer.echo(f"{'rank':>5} {'label':9} {'suggested':9} {'quality':>7}  {'issue':13} image")
    for row in rows:
        said = f"{row['rank']:5} {row['label']:9} {row['suggested']:9} {row['quality']:7.3f}  {row['issue']:13}"
        typer.echo(f"{said} {row['source']}:{row['path']}")


@app.command()
def delete(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A label check, finished or not.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Deletes a label check with its queue and trained folds. Datasets, decisions and runs stay.

    This cannot be undone.
    """
    job = find_label_check(Workspace.default(), name)
    size = disk_use(job.folder).total
    if not yes:
        if not sys.stdin.isatty():
            raise FerError("Deleting a check asks first, and nobody can answer here. Add --yes to delete it unasked.")
        typer.confirm(f"Delete {name}, {size / 2**20:,.1f} MB, for good?", abort=True, err=True)
    delete_label_check(Workspace.default(), name)
    if as_json:
        print_json({"name": name, "freed_bytes": size})
    else:
        note(f"Deleted {name}: {size / 2**20:,.1f} MB freed.")


@app.command("measure")
def measure_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A finished label check.")],
    decisions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="CSV of decisions; what is decided about the dataset since it was made, unless told."
        ),
    ] = None,
    automatic: Annotated[
        Automatic | None,
        typer.Option(
            help="Nobody decides: labels that are likely wrong leave train (drop), or become what the networks say "
            "(relabel), but for those decided when the dataset was made. The result says so."
        ),
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="With --automatic: only so many, the most suspicious first.")
    ] = None,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train before and after decisions about labels, and compare the two on the same validation images.

    The dataset with the decisions is made, and both runs are trained as the folds were, where they are not there yet:
    give the same command again to go on.
    """
    space = Workspace.default()
    job = find_label_check(space, name)
    found, plan = read_label_check(job.folder), read_plan(job)
    if automatic and decisions:
        raise FerError("--automatic and --decisions both say what to do: leave one of them out.")
    if top and not automatic:
        raise FerError("--top goes with --automatic.")
    words = ["labels", "measure", name]
    if automatic:
        made = automatic_decisions(found, plan.dataset, automatic, top)
        words += ["--automatic", automatic, *(["--top", str(top)] if top else [])]
    else:
        pending = Pending(plan.dataset.folder)
        file = expand(str(decisions)).absolute() if decisions else pending.frozen() if pending.read() else None
        made = read_decisions(file) if file else []
        words += ["--decisions", str(file)]
    check_measurable(plan, made)
    if not found.learnt:
        note(NOT_LEARNT)
    job_name = space.new_name(space.jobs, f"{name[:50]}-measure")
    if detach:
        start_detached(space, MEASURE_KIND, job_name, words, as_json)
        return
    with (
        progress_bar(Job(space.jobs / job_name)) as bar,
        work(space.jobs, MEASURE_KIND, job_name, words, listener=bar) as worker,
    ):
        try:
            result = measure(found, plan, made, worker, automatic=automatic is not None)
        except Stopped:
            again = shlex.join(words)
            raise Stopped(f"Stopped; finished epochs are kept. Go on with `python -m fer_core {again}`.") from None
        worker.say(_difference(result), **result.model_dump(mode="json"))
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        typer.echo(f"{_difference(result)}\n{result.note}")
    if result.warning:
        note(result.warning)


def _difference(found: BeforeAfter) -> str:
    low, high = (100 * end for end in found.ci95)
    changes = ", ".join(f"{n:,} {action}" for action, n in found.decisions.items())
    who = "changed automatically, nobody looked at them" if found.automatic else "decided"
    noise = ", within noise" if found.within_noise else ""
    return (
        f"Validation {100 * found.before.accuracy:.1f} % before, {100 * found.after.accuracy:.1f} % after: "
        f"{100 * found.difference:+.1f} points ({low:+.1f} to {high:+.1f}, {p_words(found.p_value)}{noise}) "
        f"· n {found.n:,} · {changes}, {who}"
    )


def _resume(job: Job, *, detach: bool, as_json: bool) -> None:
    plan = check_resumable(job)
    data = plan.dataset
    if detach:
        resume_check(job)
        _started(job, as_json)
        return
    parent, words = job.folder.parent, job.spec().arguments
    with progress_bar(job) as bar, work(parent, KIND, job.name, words, listener=bar, resume=True) as worker:
        found = _check(plan, data, worker)
    _report(found, as_json)


def _check(plan: LabelPlan, data: Dataset, worker: Worker) -> LabelCheck:
    """Waits for the device, which one job at a time may use, and checks."""
    try:
        lock = worker.wait_for_device(Workspace.default())
        try:
            together.load(plan.config, worker, None)
            if not backend.exports():
                raise FerError("A label check exports the network of each fold: run it without KERAS_BACKEND.")
            from fer_core.training.label_folds import check_labels

            found = check_labels(plan, data, worker)
        finally:
            os.close(lock)
    except Stopped:
        raise Stopped(
            f"Stopped; finished epochs are kept. Go on with `labels check --resume {worker.job.name}`."
        ) from None
    worker.say(_finding(found), **_document(found))
    return found


def _finding(found: LabelCheck) -> str:
    info = found.info
    counts = ", ".join(f"{n:,} {issue}" for issue, n in info.issues.items())
    return f"Of {info.n:,} labels: {counts}. Out-of-fold accuracy {share_words(info.accuracy, info.ci95)}."


def _document(found: LabelCheck) -> dict[str, Any]:
    return {"check": found.name, "folder": str(found.folder), **found.info.model_dump(mode="json")}


def _report(found: LabelCheck, as_json: bool) -> None:
    if as_json:
        print_json(_document(found))
        return
    _say(found)
    note(f"See them: python -m fer_core labels show {found.name}")


def _say(found: LabelCheck) -> None:
    typer.echo(f"{found.name} on {found.info.dataset}: {_finding(found)}")
    noise = ", ".join(f"{emotion} {share:.0%}" for emotion, share in found.info.noise.items())
    typer.echo(f"Estimated share of wrong labels: {noise}. {found.info.noise_caveat}")
    if not found.learnt:
        note(NOT_LEARNT)


def _started(job: Job, as_json: bool) -> None:
    note(f"Started {job.name}. Watch it: python -m fer_core jobs show {job.name}")
    if as_json:
        print_json({"job": job.name, "state": str(job.state()), "folder": str(job.folder)})


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 100 else f"about {minutes / 60:.1f} h"
