"""Starts ``measure`` for a recipe, watches over its memory, and says what came of it. Loads no training framework."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import psutil

import fer_core
from fer_core.jobs.progress import Progress
from fer_core.training.config import RunConfig
from fer_core.training.measure import Request, stages
from fer_core.training.speeds import Shape

_SPARE: Final = 2**29  # bytes that must stay free: what else runs here must not pay for a measurement
_LOOK: Final = 0.25  # seconds between looks at the memory and at a wish to stop
_OUT_OF_MEMORY: Final = ("ResourceExhausted", "RESOURCE_EXHAUSTED", "MemoryError", "OOM when allocating")


def measure(config: RunConfig, shape: Shape, progress: Progress, *, done: int = 0, total: int = 0) -> str:
    """Times the phases of a recipe on this machine; what it finds is in ``speeds`` afterwards.

    Args:
        config: The recipe.
        shape: Height, width and channels of the pictures.
        progress: Told of each stage; may raise ``Stopped``.
        done: Stages of other recipes before these.
        total: Stages of all recipes; by default of this one.

    Returns:
        Why not all of it could be measured, in a sentence; empty where it could.
    """
    name = config.preset or config.title or config.architecture
    stage, names = "", stages(config)
    root = str(Path(fer_core.__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "fer_core.training.measure", Request(config=config, shape=shape).model_dump_json()]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert process.stdout is not None
        try:
            progress(f"Measuring {name}", done, total or len(names))
            while process.poll() is None:
                if select.select([process.stdout], [], [], _LOOK)[0]:
                    line = process.stdout.readline().decode(errors="replace").strip()
                    stage = line if line in names else stage
                reached = names.index(stage) if stage else 0
                progress(f"Measuring {name}: {stage or 'starting'}", done + reached, total or len(names))
                if psutil.virtual_memory().available < _SPARE:
                    return _too_large(name, stage)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()
        if process.returncode == 0:
            return ""
        errors.seek(0)
        words = errors.read().decode(errors="replace")
    if process.returncode == -9 or any(sign in words for sign in _OUT_OF_MEMORY):  # killed by the system, or refused
        return _too_large(name, stage)
    last = next((line.strip() for line in reversed(words.splitlines()) if line.strip()), "no message")
    return f"{name} could not be measured ({stage or 'starting'}): {last[:200]}."


def _too_large(name: str, stage: str) -> str:
    return f"{name} does not fit into this machine's memory ({stage or 'starting'}). Choose a smaller batch or side."
