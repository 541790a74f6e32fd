"""A foreign Keras file -> a model in the workspace. The file itself is only opened in a process of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import fer_core
from fer_core.data.dataset import Dataset, partial_folder
from fer_core.errors import ModelError, from_os_error
from fer_core.inference.adopt import told_training
from fer_core.inference.conventions import Samples
from fer_core.inference.served import (
    CARD_FILE,
    IMPORTED,
    INTENDED_USE,
    LIMITS,
    MODEL_FILE,
    UNKNOWN_DATA,
    UNKNOWN_TRAINING,
    ModelCard,
    ServedModel,
    check_unused,
    find_model,
)
from fer_core.models import convert, foreign
from fer_core.models.convert import ERROR_FILE, MEMORY_LIMIT, REQUEST_FILE, RESULT_FILE, Request, Result
from fer_core.training.config import list_presets
from fer_core.workspace import Workspace, check_name

TIME_LIMIT: Final = 600
"""Seconds. A network of 25 million parameters at 224 pixels takes half a minute on two cores."""

SOURCE_SHAPE: Final = (48, 48, 1)
"""What pictures of a raw source are brought to: FER2013's size."""

_COPIES: Final = 2  # of the file: as it is, and as it is loaded
_CHUNK: Final = 2**20  # bytes


def import_model(
    file: Path,
    space: Workspace,
    name: str,
    *,
    order: tuple[str, ...] | None,
    scale: str | None = None,
    samples: Samples | None = None,
    trained_on: Dataset | None = None,
) -> ServedModel:
    """Makes a served model of a file, whole or not at all.

    Args:
        file: An ``.h5`` or ``.keras`` file.
        space: Where to.
        name: What to call it.
        order: The class of each output; None to find it out on ``samples``.
        scale: A key of ``conventions.SCALES``; None to find it out, or without ``samples`` to assume the usual.
        samples: Needed where ``order`` is None.
        trained_on: What it was trained on, where that is known.

    Raises:
        ModelError: The file is refused or cannot be converted, or the name is taken.
    """
    check_new_name(name, space)
    if not file.exists():
        raise ModelError(f"{file}: no such file. Check the path.")
    with partial_folder(space.models / check_name(name, "model")) as folder:
        with tempfile.TemporaryDirectory() as exchange:
            copy, digest = _take(file, Path(exchange))
            result = _convert(file, copy, Path(exchange), order, scale, samples)
            content = (Path(exchange) / MODEL_FILE).read_bytes()
        (folder / MODEL_FILE).write_bytes(content)
        card = ModelCard(
            name=name,
            created=time.time(),
            input=result.input,
            preset=IMPORTED,
            parameters=result.parameters,
            size_mib=round(len(content) / 2**20, 2),
            dataset=UNKNOWN_DATA,
            selection_set="unknown",
            intended_use=INTENDED_USE,
            limits=LIMITS,
            notes=[
                f"Imported from {file.name} (sha256 {digest[:16]}…).",
                f"{UNKNOWN_TRAINING}, so whether it has seen the pictures it is evaluated on is not known either: no "
                "accuracy of it can be called leak-free.",
                *result.notes,
            ],
        )
        if trained_on is not None:
            card = told_training(card, trained_on, folder)
        (folder / CARD_FILE).write_text(card.model_dump_json(indent=2), encoding="utf-8")
    return find_model(name, space)


def check_new_name(name: str, space: Workspace) -> None:
    """Raises FerError where a name cannot be a new model's: not a folder's name, or taken."""
    check_name(name, "model")
    check_unused(name, space)
    if name in list_presets() or (space.models / name).exists() or (space.runs / name).exists():
        raise ModelError(f"There is a model, run or preset named {name!r} already. Choose another with --name.")


def _take(file: Path, folder: Path) -> tuple[Path, str]:
    """Copies a file into a folder and gives the copy and its SHA-256: what is looked into is then what is loaded.

    Raises:
        ModelError: It is no file, too large, or there is no room.
        FerError: It cannot be read.
    """
    copy, digest = folder / "given", hashlib.sha256()
    try:
        foreign.check_size(file)
        needed, free = _COPIES * file.stat().st_size, shutil.disk_usage(folder).free
        if needed > free:
            raise ModelError(
                f"{file}: looking into it needs {needed / 2**30:.1f} GB in {folder.parent}, {free / 2**30:.1f} GB are "
                "free. Free some, or set TMPDIR to a folder with more room."
            )
        with file.open("rb") as source, copy.open("wb") as target:
            while chunk := source.read(_CHUNK):
                if target.tell() + len(chunk) > foreign.MAX_BYTES:
                    raise ModelError(f"{file}: it grows while it is read. Copy it elsewhere first.")
                target.write(chunk)
                digest.update(chunk)
    except OSError as error:
        raise from_os_error(error, file) from error
    return copy, digest.hexdigest()


def _convert(
    file: Path, copy: Path, folder: Path, order: tuple[str, ...] | None, scale: str | None, samples: Samples | None
) -> Result:
    """Runs ``convert`` on a copy in a process with limits, and brings back its result or its error."""
    request = Request(file=copy, order=order, scale=scale)
    if samples is not None:
        request = request.with_samples(samples, folder)
    (folder / REQUEST_FILE).write_text(request.model_dump_json(), encoding="utf-8")
    root = str(Path(fer_core.__file__).parents[1])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
        "KERAS_BACKEND": "tensorflow",  # the only one that exports
        "CUDA_VISIBLE_DEVICES": "-1",  # a GPU maps more address space than any limit
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", convert.__name__, str(folder)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIME_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"{file}: converting it took more than {TIME_LIMIT // 60} minutes and was stopped.") from None
    if done.returncode == 0:
        return Result.model_validate_json((folder / RESULT_FILE).read_bytes())
    if (folder / ERROR_FILE).is_file():
        raise ModelError((folder / ERROR_FILE).read_text(encoding="utf-8").replace(str(copy), str(file)))
    last = next((line for line in reversed(done.stderr.decode(errors="replace").splitlines()) if line.strip()), "")
    raise ModelError(
        f"{file}: the process that converts it ended without a result (exit code {done.returncode}: "
        f"{last.strip()[:200] or 'no message'}); it may need more than {MEMORY_LIMIT >> 30} GB of memory."
    )
