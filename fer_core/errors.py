"""The errors that a user can do something about.

Every message names the file or field, what was found, what was expected and what to do next, in one sentence
or two. The command line prints the message on one line and exits with ``exit_code``; pages show it as a message.
"""

from __future__ import annotations

import errno
from pathlib import Path


class FerError(Exception):
    """Base of all errors that are shown to the user without a traceback."""

    exit_code = 2


class SourceError(FerError):
    """An archive, folder or CSV that cannot be read as labelled face images."""


class ImageError(FerError):
    """One picture that does not decode, or that is larger than we accept."""


class DatasetError(FerError):
    """A prepared dataset that is missing, damaged or of another schema version."""


class LeakError(FerError):
    """Training was asked for on data whose evaluation images are also in its training split."""


class ConfigError(FerError):
    """An unknown preset, an unknown setting or a value out of range."""


class JobError(FerError):
    """A job or run that does not exist, already runs, or cannot be resumed."""


class ModelError(FerError):
    """A model file that is missing or does not answer as a served model must."""


class Stopped(FerError):
    """The user asked the work to stop. Not a failure: what was finished is kept."""

    exit_code = 130


def from_os_error(error: OSError, path: Path | str | None = None) -> FerError:
    """Turns an operating-system error into one sentence that says what to do.

    Args:
        error: What the system raised.
        path: The file or folder concerned, where ``error`` does not carry it.
    """
    where = str(error.filename or path or "the file")
    if error.errno == errno.ENOSPC:
        return FerError(f"{where}: the disk is full. Free some space and start again; nothing half-written was kept.")
    if error.errno in (errno.EACCES, errno.EPERM):
        return FerError(f"{where}: not permitted. Check who may read or write it.")
    if error.errno == errno.ENOENT:
        return FerError(f"{where}: no such file or folder. Check the path.")
    return FerError(f"{where}: {error.strerror or error}.")
