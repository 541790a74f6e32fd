"""What is installed, what is missing, and what it would take: checks of this machine, framework-free and quick.

Nothing heavy is imported: packages are looked up in their metadata, and what needs one is imported where it is
used, so that a package that is missing or broken is told of and does not end the check.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final

import psutil
from pydantic import BaseModel

import fer_core
from fer_core.errors import FerError, ModelError
from fer_core.inference import yunet
from fer_core.machine import usable_cores
from fer_core.training.config import TRACKING
from fer_core.training.weights import WEIGHTS, cache_folder, find
from fer_core.workspace import Workspace

CHECKSUMS: Final = "SHA256SUMS"
"""Beside a bundled model, as ``sha256sum * > SHA256SUMS`` writes it."""

_SUM: Final = re.compile(r"([0-9a-f]{64}) [ *]([\w.-]+)")

_ROOT: Final = Path(fer_core.__file__).parents[1]
_REQUIREMENTS: Final = _ROOT / "requirements.txt"
_INSTALL: Final = "pip install -r requirements.txt"

_OLDEST, _NEWEST = (3, 11), (3, 13)  # as pyproject.toml says

# Installed sizes in MB of what is worth a thought before installing it: TensorFlow alone is over half of all.
_LARGE: Final = {"tensorflow": 1900, "pyarrow": 170, "opencv-python-headless": 72, "onnxruntime": 68, "streamlit": 40}
_CUDA_PACKAGES: Final = "tensorflow[and-cuda]"
_CUDA_MARK: Final = "nvidia-cudnn-cu12"
_CUDA_DOWNLOAD_GB: Final = 2.8

_GIB: Final = 2**30
_LITTLE_MEMORY: Final = 4 * _GIB  # loading TensorFlow and training the small network takes about 1.5
_LITTLE_DISK: Final = 2 * _GIB  # a prepared dataset and some runs
_NO_DISK: Final = 200 * 2**20


class Status(StrEnum):
    """How a check went; only ``missing`` keeps something from working."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"


class Check(BaseModel):
    """One row: what was looked at, how it is, what was found, and what to do (empty where nothing)."""

    check: str
    status: Status
    found: str
    todo: str = ""


class Report(BaseModel):
    """All checks."""

    checks: list[Check]

    @property
    def usable(self) -> bool:
        """Whether nothing that is needed is missing."""
        return all(check.status is not Status.MISSING for check in self.checks)

    @property
    def finding(self) -> str:
        """One sentence."""
        missing = [check.check for check in self.checks if check.status is Status.MISSING]
        warnings = sum(check.status is Status.WARNING for check in self.checks)
        if missing:
            return f"{len(missing)} of {len(self.checks)} checks failed: {', '.join(missing)}."
        if warnings:
            return f"Everything needed is here; {warnings} of {len(self.checks)} checks are worth a look."
        return f"Everything needed is here: all {len(self.checks)} checks are fine."


def examine(workspace: Workspace, requirements: Path = _REQUIREMENTS) -> Report:
    """Looks at this machine.

    Args:
        workspace: Must be writable.
        requirements: The file with the pinned packages.
    """
    machine = [_processor(), _memory(), _gpu(), _writable(workspace), _disk(workspace)]
    parts = [*_bundled(workspace), _cascade(), _yunet(), _photograph(), _weights(), _opencv()]
    optional = (_optional(requirements, setting) for setting in TRACKING)
    return Report(checks=[_python(), *machine, *parts, *_packages(requirements), *optional])


def _python() -> Check:
    found, version = platform.python_version(), sys.version_info[:2]
    if _OLDEST <= version <= _NEWEST:
        return Check(check="Python", status=Status.OK, found=found)
    wanted = f"{_OLDEST[0]}.{_OLDEST[1]} to {_NEWEST[0]}.{_NEWEST[1]}"
    return Check(check="Python", status=Status.WARNING, found=found, todo=f"Tested with {wanted}: install one of them.")


def pins(requirements: Path = _REQUIREMENTS) -> dict[str, str]:
    """The pinned packages and their versions; empty where the file did not come along."""
    try:
        lines = requirements.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    found = (re.match(r"([A-Za-z0-9._-]+)(?:\[.*\])?==([^\s;#]+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def installed(package: str) -> str | None:
    """The version of an installed package; None where it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _packages(requirements: Path) -> Iterator[Check]:
    wanted = pins(requirements)
    if not wanted:
        yield Check(
            check="Packages",
            status=Status.WARNING,
            found=f"{requirements.name} did not come with this installation",
            todo="Run from a checkout to have the versions compared.",
        )
    for package, version in wanted.items():
        found = installed(package)
        if found is None:
            cost = f" ({_LARGE[package]:,} MB)" if package in _LARGE else ""
            yield Check(check=package, status=Status.MISSING, found="not installed", todo=f"{_INSTALL}{cost}")
        elif found != version:
            yield Check(check=package, status=Status.WARNING, found=f"{found}, tested with {version}", todo=_INSTALL)
        else:
            yield Check(check=package, status=Status.OK, found=found)


def _optional(requirements: Path, setting: str) -> Check:
    """A package that only runs with a setting of its name need; that it is missing is no fault."""
    file = requirements.with_name(f"requirements-{setting}.txt")
    package, version = next(iter(pins(file).items()), (setting, None))
    found, install = installed(package), f"pip install -r {file.name}"
    if found is None:
        said = f"not installed; only runs with the setting {setting} need it"
        return Check(check=package, status=Status.OK, found=said, todo=install)
    if version and found != version:
        return Check(check=package, status=Status.WARNING, found=f"{found}, tested with {version}", todo=install)
    return Check(check=package, status=Status.OK, found=found)


def _opencv() -> Check:
    """Several OpenCV wheels install into one folder and overwrite each other (opencv-python issue 388)."""
    rivals = ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")
    there = [name for name in rivals if installed(name)]
    if not there:
        return Check(check="OpenCV wheels", status=Status.OK, found="one")
    return Check(
        check="OpenCV wheels",
        status=Status.WARNING,
        found=f"{', '.join(there)} beside opencv-python-headless, in the same folder",
        todo=f"pip uninstall -y {' '.join(there)} && pip install --force-reinstall --no-deps -r requirements.txt",
    )


def _cascade() -> Check:
    name = "haarcascade_frontalface_default.xml"
    spec = importlib.util.find_spec("cv2")
    folders = (spec.submodule_search_locations or []) if spec else []
    if any((Path(folder) / "data" / name).is_file() for folder in folders):
        return Check(check="Face detector haar", status=Status.OK, found=name)
    todo = "pip install --force-reinstall opencv-python-headless, version 4 (version 5 has no cascades)"
    return Check(check="Face detector haar", status=Status.MISSING, found=f"{name} is not in OpenCV", todo=todo)


def _yunet() -> Check:
    try:
        return Check(check="Face detector yunet", status=Status.OK, found=yunet.require().name)
    except ModelError as error:
        if yunet.unknown():
            return Check(check="Face detector yunet", status=Status.WARNING, found=_first_line(error))
    found = "not downloaded; haar is used, which misses most turned and small faces"
    return Check(check="Face detector yunet", status=Status.OK, found=found, todo=f"{yunet.COMMAND} (0.2 MB)")


def _photograph() -> Check:
    try:
        from fer_core.inference.images import sample_photograph

        return Check(check="Sample photograph", status=Status.OK, found=sample_photograph().name)
    except (FerError, ImportError) as error:
        return Check(check="Sample photograph", status=Status.WARNING, found=_first_line(error), todo=_INSTALL)


def _bundled(workspace: Workspace) -> Iterator[Check]:
    """Every model in the package: whether its files are as they were shipped, and ONNX Runtime opens it."""
    try:
        from fer_core.inference.served import list_models

        models = [model for model in list_models(workspace) if model.bundled]
    except ImportError as error:
        yield Check(check="Bundled model", status=Status.MISSING, found=_first_line(error), todo=_INSTALL)
        return
    if not models:
        yield Check(
            check="Bundled model",
            status=Status.WARNING,
            found="none",
            todo="Train one: python -m fer_core train DATASET --preset compact",
        )
    for model in models:
        name = f"Bundled model {model.name}"
        try:
            checked = _verify(model.path.parent)
            if model.card is None:
                raise FerError("its card is missing or damaged")
            from fer_core.inference.predictor import Predictor

            Predictor.load(model)
        except (FerError, OSError, ImportError) as error:
            yield Check(check=name, status=Status.MISSING, found=_first_line(error), todo="Get the package again.")
        else:
            size = model.path.stat().st_size / 2**20
            note = "checksums hold" if checked else "no checksums beside it"
            yield Check(check=name, status=Status.OK, found=f"{size:.1f} MiB, opens, {note}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _verify(folder: Path) -> bool:
    """Compares the files of a folder with their checksums; False where there are none.

    Raises:
        FerError: A file is missing or differs, or the checksums are none.
    """
    try:
        lines = (folder / CHECKSUMS).read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return False
    except UnicodeDecodeError:
        lines = []
    sums = [match.groups() for line in lines if (match := _SUM.fullmatch(line))]
    if not sums or len(sums) < len(lines):
        raise FerError(f"its checksums ({CHECKSUMS}) are damaged")
    for digest, name in sums:
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise FerError(f"{file.name} is not as it was shipped")
    return True


def _weights() -> Check:
    found = [architecture for architecture in WEIGHTS if find(architecture)]
    return Check(
        check="ImageNet weights",
        status=Status.OK,
        found=f"of {', '.join(found)}" if found else "none yet; a run that needs them downloads them",
        todo="" if found else f"Without a network: put the file that the run names into {cache_folder()}.",
    )


def _processor() -> Check:
    physical, logical = psutil.cpu_count(logical=False), os.cpu_count()
    return Check(
        check="Processor",
        status=Status.OK,
        found=f"{usable_cores()} usable threads ({physical or 'unknown'} cores, {logical} threads in all)",
    )


def _memory() -> Check:
    memory = psutil.virtual_memory()
    found = f"{memory.available / _GIB:.1f} of {memory.total / _GIB:.1f} GB free"
    if memory.available >= _LITTLE_MEMORY:
        return Check(check="Memory", status=Status.OK, found=found)
    return Check(check="Memory", status=Status.WARNING, found=found, todo="Close other programs before training.")


def _gpu() -> Check:
    """The graphics processor, from its driver; TensorFlow's own list takes seconds to ask for."""
    name = _nvidia()
    if name is None:
        found = "none: training runs on the processor"
        if sys.platform == "darwin" and platform.machine() == "arm64":
            found = "Apple silicon; training runs on the processor"
        return Check(check="GPU", status=Status.OK, found=found)
    if installed(_CUDA_MARK):
        return Check(check="GPU", status=Status.OK, found=name)
    version = installed("tensorflow") or pins().get("tensorflow", "")
    return Check(
        check="GPU",
        status=Status.WARNING,
        found=f"{name}, but the CUDA libraries that TensorFlow needs are not installed with pip",
        todo=f"pip install '{_CUDA_PACKAGES}=={version}' ({_CUDA_DOWNLOAD_GB} GB download), or use the processor",
    )


def _nvidia() -> str | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return "an NVIDIA device" if Path("/dev/nvidia0").exists() else None
    try:
        asked = subprocess.run(
            [program, "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = asked.stdout.strip().splitlines()
    return "; ".join(lines) if asked.returncode == 0 and lines else None


def _writable(workspace: Workspace) -> Check:
    existing = next(folder for folder in (workspace.root, *workspace.root.parents) if folder.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Check(
            check="Workspace",
            status=Status.MISSING,
            found=f"{workspace.root}: {error.strerror or error}",
            todo="Make it writable, or set FER_WORKSPACE to another folder.",
        )
    found = str(workspace.root) + ("" if existing == workspace.root else " (made when first needed)")
    return Check(check="Workspace", status=Status.OK, found=found)


def _disk(workspace: Workspace) -> Check:
    free = workspace.free_bytes()
    found = f"{free / _GIB:.1f} GB free"
    if free >= _LITTLE_DISK:
        return Check(check="Disk", status=Status.OK, found=found)
    status = Status.WARNING if free >= _NO_DISK else Status.MISSING
    return Check(check="Disk", status=status, found=found, todo="Free some space where the workspace is.")
