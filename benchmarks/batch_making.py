"""How long a batch of the preset ``teacher`` takes to make, in this code and in an older checkout of it.

Beside a GPU several threads make batches, so both are asked how long a batch takes with one thread and with two.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from benchmarks.measure import ROOT, Summary, interleave, machine, run_child

_REPEATS: Final = 5

_THREADS: Final = (1, 2)
_BATCHES: Final = 200

# In a process of its own, on as many cores as there are threads. Pictures need not be faces.
_MAKE: Final = """
import os, sys, time
from concurrent.futures import ThreadPoolExecutor
threads, batches = int(sys.argv[1]), int(sys.argv[2])
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
import cv2, numpy as np
from fer_core.training.config import load_preset
from fer_core.training.data import TrainingBatches
cv2.setNumThreads(1)
rng, (phase,) = np.random.default_rng(0), load_preset("teacher").phases
images = rng.integers(0, 256, (40 * phase.batch_size, 48, 48, 1)).astype(np.uint8)
made = TrainingBatches(images, rng.integers(0, 7, len(images)), phase, index=0, seed=1)
with ThreadPoolExecutor(threads) as makers:
    list(makers.map(made._make, range(10)))
    start = time.perf_counter()
    list(makers.map(made._make, (number % len(made) for number in range(batches))))
    print(1000 * (time.perf_counter() - start) / batches)
"""


class BatchTimes(BaseModel):
    """Milliseconds for a batch by the number of threads, each on a core of its own; medians of ``n`` processes each."""

    before: dict[int, float]
    after: dict[int, float]
    n: int
    machine: str


def batch_times(before: Path) -> BatchTimes:
    """Measures both in turn, which takes some minutes.

    Args:
        before: A checkout of the older code.

    Raises:
        SystemExit: One of them fails.
    """
    on = machine()
    code = {"before": before, "after": ROOT}
    asked = {f"{name}, {threads}": (folder, threads) for name, folder in code.items() for threads in _THREADS}
    took = interleave({told: lambda call=call: _milliseconds(*call) for told, call in asked.items()}, _REPEATS)
    medians = {n: {threads: Summary.of(took[f"{n}, {threads}"]).median for threads in _THREADS} for n in code}
    return BatchTimes(**medians, n=_REPEATS, machine=on)


def _milliseconds(folder: Path, threads: int) -> float:
    # -P, or the code in the current directory, which is the project's root, comes first.
    environment = {"PYTHONPATH": str(folder), "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "tensorflow")}
    command = [sys.executable, "-P", "-c", _MAKE, str(threads), str(_BATCHES)]
    return float(run_child(command, environment).output)
