"""What this process may use of the machine."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import resource
import shutil
from pathlib import Path


def usable_cores() -> int:
    """Logical processors that this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def processor() -> str:
    """The model of the processor, as its maker calls it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def has_gpu() -> bool:
    """Whether the driver of an NVIDIA GPU is there, without asking it, which takes a second."""
    return Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None


def limit_memory(most: int) -> None:
    """Bounds the private memory of this process to so many bytes, where the system can; a crash leaves no dump."""
    with contextlib.suppress(OSError, ValueError):  # macOS knows no such limit
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
