"""The command line. One file per group of commands; anything heavy is imported inside the command that needs it."""

from fer_core.cli.app import app, main

__all__ = ["app", "main"]
