"""How long a batch of the preset ``teacher`` takes to make, in this code and in an older checkout of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from benchmarks.measure import ROOT, Summary, interleave, machine, run_child

_REPEATS: Final = 5

# In a process of its own, on one core: the one thread that made batches had no more. Pictures need not be faces.
_MAKE: Final = """
import os, statistics, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import cv2, numpy as np
from fer_core.training.config import load_preset
from fer_core.training.data import TrainingBatches
cv2.setNumThreads(1)
rng, (phase,) = np.random.default_rng(0), load_preset("teacher").phases
images = rng.integers(0, 256, (40 * phase.batch_size, 48, 48, 1)).astype(np.uint8)
batches = TrainingBatches(images, rng.integers(0, 7, len(images)), phase, index=0, seed=1)
took = []
for index in range(len(batches)):
    start = time.perf_counter()
    batches._make(index)
    took.append(time.perf_counter() - start)
print(1000 * statistics.median(took))
"""


class BatchTimes(BaseModel):
    """Milliseconds for a batch on one core, before and after; the medians of ``n`` processes each."""

    before: float
    after: float
    n: int
    machine: str


def batch_times(before: Path) -> BatchTimes:
    """Measures both in turn, which takes a minute.

    Args:
        before: A checkout of the older code.

    Raises:
        SystemExit: One of them fails.
    """
    on = machine()
    code = {"before": before, "after": ROOT}
    took = interleave({name: lambda folder=folder: _milliseconds(folder) for name, folder in code.items()}, _REPEATS)
    before_ms, after_ms = (Summary.of(took[name]).median for name in code)
    return BatchTimes(before=before_ms, after=after_ms, n=_REPEATS, machine=on)


def _milliseconds(folder: Path) -> float:
    # -P, or the code in the current directory, which is the project's root, comes first.
    environment = {"PYTHONPATH": str(folder), "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "tensorflow")}
    return float(run_child([sys.executable, "-P", "-c", _MAKE], environment).output)
