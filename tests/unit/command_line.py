"""Calls the command line in this process, as a user at a terminal would."""

from unittest import mock

import pytest

from fer_core.cli.app import main


def call(capfd, *arguments):
    """Returns exit code, stdout and stderr of a command."""
    capfd.readouterr()
    command = ["fer_core", *map(str, arguments)]
    with mock.patch("sys.argv", command), pytest.raises(SystemExit) as stopped:
        main()
    out, err = capfd.readouterr()
    return stopped.value.code, out, err
