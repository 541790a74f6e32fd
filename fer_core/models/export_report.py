"""What an exported model is like beside the run's own: size, latency, and how far apart their answers are."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.evaluation.metrics import Ints, accuracy
from fer_core.inference.predictor import BATCH
from fer_core.jobs.progress import Progress
from fer_core.machine import usable_cores
from fer_core.preprocessing import Pixels

Classify = Callable[[Pixels], NDArray[np.float32]]
"""uint8 ``[N, H, W, C]`` -> probabilities, float32 ``[N, 7]``."""

BATCH_SIZES: Final = (1, 16)
"""Faces per call whose latency is told: one in front of a camera, and a group."""

# A call of a small network takes half a millisecond, one of ResNet50V2 on 16 faces half a second: enough calls of
# the one for a steady median, few enough of the other not to be waited for.
_FEWEST_CALLS, _MOST_CALLS, _SECONDS = 5, 100, 2.0


@dataclass(frozen=True)
class Pictures:
    """What models are compared on.

    Attributes:
        images: uint8 ``[N, H, W, C]``.
        labels: int ``[N]``; None where nobody knows them.
        source: What they are, in words.
    """

    images: Pixels
    labels: Ints | None
    source: str


@dataclass(frozen=True)
class Measured:
    """One of the two models.

    Attributes:
        runtime: What computes it, with its version.
        size_mib: Of its file, in 2^20 bytes.
        ms_per_face: Batch size -> median milliseconds per face.
        accuracy: On the pictures, 0 to 1; None where their labels are not known.
    """

    runtime: str
    size_mib: float
    ms_per_face: dict[int, float]
    accuracy: float | None


@dataclass(frozen=True)
class ExportReport:
    """The two models side by side.

    Attributes:
        original: The run's own, in Keras.
        exported: What was written.
        pictures: What they were compared on, in words.
        n: The number of these.
        largest_difference: Of any probability, absolute.
        mean_difference: Of all probabilities, absolute.
        agreement: Share of pictures with the same top class.
        tolerance: The largest difference that is allowed, or the largest mean one.
        on_average: Whether it is the mean that is limited.
        threads: That both could use.
    """

    original: Measured
    exported: Measured
    pictures: str
    n: int
    largest_difference: float
    mean_difference: float
    agreement: float
    tolerance: float
    on_average: bool
    threads: int

    @property
    def difference(self) -> float:
        """The one that is limited."""
        return self.mean_difference if self.on_average else self.largest_difference

    @property
    def within_tolerance(self) -> bool:
        """Whether the two answer alike; answers that are not numbers do not."""
        return self.difference <= self.tolerance


@dataclass(frozen=True)
class Candidate:
    """A model to measure: what computes it, its file's bytes, and how it is asked."""

    runtime: str
    size: int
    classify: Classify


def compare(
    original: Candidate,
    exported: Candidate,
    pictures: Pictures,
    tolerance: float,
    progress: Progress,
    *,
    on_average: bool = False,
) -> ExportReport:
    """Asks both models about all pictures, and times them on this machine.

    Args:
        original: The run's own network.
        exported: What is to be written.
        pictures: At least one.
        tolerance: The largest difference of any probability that is allowed.
        on_average: That is of their mean instead.
        progress: Told of every batch.
    """
    expected = _classify(original, pictures.images, progress)
    answers = _classify(exported, pictures.images, progress)
    distance = np.abs(answers.astype(np.float64) - expected)
    latencies = _latencies([original, exported], pictures.images, progress)

    def measured(candidate: Candidate, said: NDArray[np.float32], latency: dict[int, float]) -> Measured:
        right = None if pictures.labels is None else accuracy(pictures.labels, said.argmax(axis=1))
        return Measured(candidate.runtime, candidate.size / 2**20, latency, right)

    return ExportReport(
        original=measured(original, expected, latencies[0]),
        exported=measured(exported, answers, latencies[1]),
        pictures=pictures.source,
        n=len(pictures.images),
        largest_difference=float(distance.max()),
        mean_difference=float(distance.mean()),
        agreement=float((answers.argmax(axis=1) == expected.argmax(axis=1)).mean()),
        tolerance=tolerance,
        on_average=on_average,
        threads=usable_cores(),
    )


def _classify(candidate: Candidate, images: Pixels, progress: Progress) -> NDArray[np.float32]:
    answers = []
    for start in range(0, len(images), BATCH):
        answers.append(candidate.classify(images[start : start + BATCH]))
        progress(f"Asking {candidate.runtime}", min(start + BATCH, len(images)), len(images))
    return np.concatenate(answers)


def _latencies(candidates: list[Candidate], images: Pixels, progress: Progress) -> list[dict[int, float]]:
    """Median milliseconds per face of each, call by call in turn: what slows the machine slows all of them."""
    progress("Timing", 0, 0)
    found: list[dict[int, float]] = [{} for _ in candidates]
    for size in BATCH_SIZES:
        batch = np.resize(images, (size, *images.shape[1:]))
        seconds: list[list[float]] = [[] for _ in candidates]
        for candidate in candidates:  # the first call of a size prepares for it
            candidate.classify(batch)
        began = time.perf_counter()
        while len(seconds[0]) < _FEWEST_CALLS or (
            len(seconds[0]) < _MOST_CALLS and time.perf_counter() - began < _SECONDS
        ):
            for candidate, own in zip(candidates, seconds, strict=True):
                start = time.perf_counter()
                candidate.classify(batch)
                own.append(time.perf_counter() - start)
        for latency, own in zip(found, seconds, strict=True):
            latency[size] = 1000 * statistics.median(own) / size
    return found
