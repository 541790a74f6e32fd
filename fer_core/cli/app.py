"""The root command and the one place where errors become a line and an exit code."""

from __future__ import annotations

import sys

import typer

from fer_core.cli import (
    data,
    data_export,
    doctor,
    evaluate,
    export,
    jobs,
    labels,
    models,
    predict,
    runs,
    tour,
    track,
    train,
)
from fer_core.errors import FerError, from_os_error
from fer_core.jobs.worker import fail_before_work

app = typer.Typer(
    name="fer_core",
    help="Facial-expression recognition: merge, audit, balance, train, evaluate and predict.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data.app.command("export")(data_export.export)
app.add_typer(data.app, name="data")
runs.app.command()(track.track)
app.add_typer(runs.app, name="runs")
app.add_typer(jobs.app, name="jobs")
app.add_typer(models.app, name="models")
app.add_typer(labels.app, name="labels")
app.command()(train.train)
app.command()(evaluate.evaluate)
app.command()(predict.predict)
app.command()(export.export)
app.command()(tour.tour)
app.command()(doctor.doctor)


def main() -> None:
    """Runs a command; a wrong call or input ends with one line on stderr and exit code 2."""
    try:
        code = app(standalone_mode=False, prog_name="python -m fer_core")
    except FerError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            sys.exit(1)
        _fail(str(from_os_error(error)), 2)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _fail("Interrupted.", 130)
    except Exception as error:
        # Click's usage errors: Typer brings its own copy of Click, so they are told by what they offer.
        if not hasattr(error, "format_message"):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":  # the message is the whole help
            typer.echo(error.format_message(), err=True)
            sys.exit(2)
        _fail(error.format_message().replace("Value error, ", ""), 2)  # pydantic's words, from Typer
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> None:
    fail_before_work(message)
    print(" ".join(message.split()), file=sys.stderr)
    sys.exit(code)
