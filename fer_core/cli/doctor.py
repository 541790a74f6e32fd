"""``doctor``: what is installed, what is missing, and what it would take."""

from __future__ import annotations

import typer

from fer_core.cli.console import JsonOption, note, print_json
from fer_core.workspace import Workspace


def doctor(as_json: JsonOption = False) -> None:
    """Checks this machine: Python, packages, models, processor, memory, disk. Exit code 1 if something is missing."""
    from fer_core.doctor import examine

    report = examine(Workspace.default())
    if as_json:
        print_json({"usable": report.usable, "finding": report.finding, **report.model_dump(mode="json")})
    else:
        width = max(len(check.check) for check in report.checks)
        for check in report.checks:
            todo = f"  -> {check.todo}" if check.todo else ""
            typer.echo(f"{check.status:8} {check.check:{width}}  {check.found}{todo}")
        note(report.finding)
    if not report.usable:
        raise typer.Exit(1)
