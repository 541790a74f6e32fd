"""How fast this machine trains, as measured: one small file in the workspace. Loads no training framework.

Every run adds what it finds at each epoch's end, and ``models measure`` what it timed; ``estimate`` reads it.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import sys
import time
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from fer_core.data.dataset import Dataset
from fer_core.jobs.store import Job, write_atomically
from fer_core.machine import has_gpu, processor, usable_cores
from fer_core.training.config import PhaseConfig, RunConfig
from fer_core.workspace import Workspace

FILE: Final = "speeds.json"

KIND: Final = "measure"
"""Of the job that measures."""

Shape = tuple[int, int, int]

NATIVE: Final[Shape] = (48, 48, 1)
"""Height, width and channels of FER2013's pictures, which every preset is made for."""


class Network(BaseModel):
    """What is computed, and where: of two that are equal, one speed holds for the other.

    Attributes:
        architecture: As in the settings; ``attention`` and ``width``, too.
        shape: Height, width and channels as the network sees them, after it has resized.
        precision: ``float32`` or ``mixed``; ``auto`` is the latter where there is a GPU.
        machine: Processor, threads, backend, and whether there is a GPU.
    """

    model_config = ConfigDict(frozen=True)

    architecture: str
    attention: int
    width: float = 1.0
    shape: Shape
    precision: str
    machine: str


class Work(BaseModel):
    """What a phase does with a network.

    Attributes:
        network: Which.
        part: What is trained, in a word or two.
        still: Whether only the head is trained and images stay the same: then the rest may be computed once.
        batch_size: Images per step.
    """

    model_config = ConfigDict(frozen=True)

    network: Network
    part: str
    still: bool
    batch_size: int


class PhaseSpeed(BaseModel):
    """What was found of a phase. Rates are images per second.

    Attributes:
        work: Of what.
        train: Training, its first step left out.
        score: An epoch's end: validation and checkpoint.
        once: Whether the frozen part was computed once, so that both rates are of the head alone.
        start_seconds: What the first step took longer than others: it is compiled.
        memory: Most bytes that the process held so far, the pictures themselves left out.
        gpu_memory: Most bytes of the GPU; None without one.
        busy: Whether other programs kept the machine busy, so that it is faster otherwise.
    """

    work: Work
    train: float
    score: float
    once: bool
    start_seconds: float
    memory: int
    gpu_memory: int | None = None
    busy: bool = False


class NetworkSpeed(BaseModel):
    """What was found of a network, whatever is trained of it.

    Attributes:
        network: Which.
        score: Images per second of the whole network without training; None where that was not seen.
        seconds: Before the first step and after the last epoch: loading, building, exporting.
        memory: As in ``PhaseSpeed``, to the very end.
    """

    network: Network
    score: float | None = None
    seconds: float
    memory: int


class Speeds(BaseModel):
    """``speeds.json``: the latest of each."""

    phases: list[PhaseSpeed] = []
    networks: list[NetworkSpeed] = []

    def phase(self, work: Work) -> PhaseSpeed | None:
        """What was found of just that work, or else of the same with the batch size nearest to it."""
        found = [
            speed for speed in self.phases if speed.work.model_copy(update={"batch_size": work.batch_size}) == work
        ]
        ratio = {id(speed): speed.work.batch_size / work.batch_size for speed in found}
        return min(found, key=lambda speed: max(ratio[id(speed)], 1 / ratio[id(speed)]), default=None)

    def network(self, network: Network) -> NetworkSpeed | None:
        """What was found of that network."""
        return next((speed for speed in self.networks if speed.network == network), None)


class Pictures(NamedTuple):
    """How many pictures a dataset has to train on and to validate on, and their height, width and channels."""

    train: int
    validation: int
    shape: Shape

    @classmethod
    def of(cls, dataset: Dataset) -> Pictures:
        """Those of a dataset."""
        info, counts = dataset.info, dataset.counts()
        train, validation = (sum(counts[split].values()) for split in ("train", "validation"))
        return cls(train, validation, (info.height, info.width, info.channels))

    @property
    def count_both(self) -> int:
        """Of both splits, which is what a run holds in memory."""
        return self.train + self.validation

    @property
    def bytes(self) -> int:
        """What they take in memory."""
        return self.count_both * math.prod(self.shape)


def network_of(config: RunConfig, shape: Shape) -> Network:
    """What a run's settings compute on this machine.

    Args:
        config: Of a run, or of one to be.
        shape: Height, width and channels of the dataset's pictures.
    """
    height, width, channels = shape
    threads = config.threads or usable_cores()
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    parts = (processor(), f"{threads} threads", backend, *(["GPU"] if has_gpu() else []))
    return Network(
        architecture=config.architecture,
        attention=config.attention,
        width=config.width,
        shape=(config.side or height, config.side or width, channels),
        precision="mixed" if config.policy != "float32" or (config.precision == "auto" and has_gpu()) else "float32",
        machine=", ".join(parts),
    )


def work_of(network: Network, phase: PhaseConfig) -> Work:
    """What a phase does with a network."""
    return Work(
        network=network,
        part=f"top {phase.top_layers}" if phase.trainable == "top" else phase.trainable,
        still=phase.trainable == "head" and phase.augmentation.off and not phase.mixup,
        batch_size=phase.batch_size,
    )


def read_speeds(space: Workspace) -> Speeds:
    """What was measured in a workspace; nothing where the file is missing or damaged."""
    try:
        return Speeds.model_validate_json((space.root / FILE).read_bytes())
    except (OSError, ValidationError):
        return Speeds()


def remember(space: Workspace, *found: PhaseSpeed | NetworkSpeed) -> None:
    """Puts what was found in the place of what is known of the same; where that cannot be written, it is let be.

    Whoever trains or measures holds the device's lock, so two do not write at once.
    """
    speeds = read_speeds(space)
    for new in found:
        if isinstance(new, PhaseSpeed):
            speeds.phases = [*(old for old in speeds.phases if old.work != new.work), new]
        else:
            old_score = (known := speeds.network(new.network)) and known.score
            new = new.model_copy(update={"score": new.score or old_score})
            speeds.networks = [*(old for old in speeds.networks if old.network != new.network), new]
    with contextlib.suppress(OSError):
        space.root.mkdir(parents=True, exist_ok=True)
        write_atomically(space.root / FILE, speeds.model_dump_json(indent=1))


def remember_run(space: Workspace, job: Job, network: Network, pictures: Pictures) -> None:
    """Adds, at a run's end, what its phases do not tell: what came before and after them.

    Args:
        space: Where to.
        job: The run, its model written.
        network: From ``network_of``.
        pictures: How many it computed the features of, where it did.
    """
    try:
        speed = _of_run(job.events(), network, pictures)
    except (LookupError, TypeError):  # damaged events: a run does not fail for want of a stopwatch
        return
    if speed is not None:
        remember(space, speed)


def _of_run(events: list[dict[str, Any]], network: Network, pictures: Pictures) -> NetworkSpeed | None:
    begun = [i for i, event in enumerate(events) if str(event.get("phase")).startswith("Loading")]
    last = events[begun[-1] :] if begun else []
    phases = [event["time"] for event in last if event.get("type") == "phase_start"]
    features = [event["time"] for event in last if str(event.get("phase")).startswith("Computing features")]
    saved = [event["time"] for event in last if event.get("type") == "checkpoint"]
    if not (phases and saved):
        return None
    computed = bool(features) and features[0] < phases[0]
    first = features[0] if computed else phases[0]
    seconds = first - last[0]["time"] + time.time() - saved[-1]
    score = pictures.count_both / max(phases[0] - first, 1e-6) if computed else None
    memory = max(0, peak_memory() - pictures.bytes)
    return NetworkSpeed(network=network, score=score, seconds=seconds, memory=memory)


def peak_memory() -> int:
    """Most bytes of memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
