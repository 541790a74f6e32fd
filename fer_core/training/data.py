"""Packed images -> the batches of an epoch, each a pure function of (seed, phase, epoch, batch)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, NamedTuple, Protocol

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from fer_core.data.class_weights import inverse_class_weights
from fer_core.emotions import EMOTIONS
from fer_core.machine import usable_cores
from fer_core.preprocessing import Pixels
from fer_core.training.config import AugmentationConfig, PhaseConfig

_MOST_THREADS: Final = 4
"""That make batches."""

_AT_ONCE: Final = 150_000
"""Values of images that are changed in one call. A call for each image would be shorter to write, but threads that make
batches wait for Python between calls, and two would then be no faster than one; a call for a whole batch fetches new
memory from the system every time, which costs as much as the sums."""

_STEPS: Final = 32
"""Of a pixel, in which OpenCV interpolates."""


class Moves(NamedTuple):
    """How each of N images is moved: by one affine map.

    Attributes:
        flips: Whether it is mirrored left to right, bool ``[N]``.
        angles: Degrees that it is turned by, ``[N]``.
        scales: What its size is multiplied by, ``[N]``.
        shifts: Pixels to the right and down, ``[N, 2]``.
    """

    flips: NDArray[np.bool_]
    angles: NDArray[np.float64]
    scales: NDArray[np.float64]
    shifts: NDArray[np.float64]

    def of(self, rows: NDArray[np.int64] | slice) -> Moves:
        """Those of some of the images."""
        return Moves(self.flips[rows], self.angles[rows], self.scales[rows], self.shifts[rows])


class Lessons(Protocol):
    """What teachers say of each training image, in several views of it (see ``fer_core.training.distillation``)."""

    @property
    def share(self) -> float:
        """Of a target that is the teachers'; the rest is the label."""

    def view(self, epoch: int) -> tuple[Moves, NDArray[np.floating[Any]]]:
        """How the images are moved in an epoch, and what the teachers say of them then, ``[N, 7]``."""


class TrainingBatches(keras.utils.PyDataset):
    """Augmented batches in an order that depends on the epoch.

    Nothing is drawn from a generator that lives on, so a resumed run sees the very batches of an
    uninterrupted one. Set ``epoch`` before the epoch starts.

    Args:
        images: uint8 ``[N, H, W, C]``, not copied; or what a frozen backbone says of them, float32 ``[N, F]``.
        labels: int ``[N]``.
        phase: Batch size (the last batch of an epoch holds what is left), augmentation, mixup, class weights.
        lessons: What teachers say, where the phase has some; an epoch's moves are then those that they looked at.
        index: Of the phase in the run.
        seed: Of the run.
        devices: How many share a batch, whose size is a multiple of them; an epoch's last batch leaves out what they
            cannot share evenly.
        process: Which of several processes this is, and how many there are: each gets its own part of every batch.
    """

    def __init__(
        self,
        images: NDArray[Any],
        labels: NDArray[np.int64],
        phase: PhaseConfig,
        *,
        index: int,
        seed: int,
        lessons: Lessons | None = None,
        devices: int = 1,
        process: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__()
        self._seen = len(images) - len(images) % phase.batch_size % devices
        self._process = process
        self._images = images
        self._targets = np.eye(len(EMOTIONS), dtype=np.float32)[labels]
        self._class_weights = class_weights(phase, labels)
        self._batch_size = phase.batch_size
        self._augmentation = phase.augmentation
        self._mixup = phase.mixup
        self._seed = (seed, index)
        self._lessons = lessons
        # A processor that trains needs its cores itself; beside a GPU most of them are idle.
        self._threads = min(_MOST_THREADS, max(1, usable_cores() // 4))
        self._makers = ThreadPoolExecutor(self._threads, thread_name_prefix="batches")
        self.epoch = 0

    @property
    def epoch(self) -> int:
        """The epoch whose batches are given, counted from 0 in the phase."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = epoch
        self._order = np.random.default_rng((*self._seed, epoch)).permutation(len(self._images))
        self._view = self._lessons.view(epoch) if self._lessons else None
        self._coming: dict[int, Future[tuple[NDArray[np.generic], ...]]] = {}

    def __len__(self) -> int:
        """Batches per epoch."""
        return math.ceil(self._seen / self._batch_size)

    def size_of(self, index: int) -> int:
        """Images in a batch, of all processes together."""
        return min(self._batch_size, self._seen - index * self._batch_size)

    def __getitem__(self, index: int) -> tuple[NDArray[np.generic], ...]:
        """Images, uint8 ``[B, H, W, C]``; labels, float32 ``[B, 7]``, one-hot or blended; with class weights what
        each image counts, float32 ``[B]``. Of several processes, this one's part of the batch."""
        made = self._coming.pop(index, None)
        for later in range(index + 1, min(index + 2 + self._threads, len(self))):
            if later not in self._coming:
                self._coming[later] = self._makers.submit(self._make, later)
        return made.result() if made else self._make(index)

    def _make(self, index: int) -> tuple[NDArray[np.generic], ...]:
        rows = self._order[index * self._batch_size :][: self.size_of(index)]
        rng = np.random.default_rng((*self._seed, self._epoch, index))
        images, targets = self._images[rows], self._targets[rows]
        if self._lessons and self._view:
            moves, answers = self._view
            images = retouch(move(images, moves.of(rows)), self._augmentation, rng)
            targets += self._lessons.share * (answers[rows].astype(np.float32) - targets)
        else:
            images = augment(images, self._augmentation, rng)
        if self._mixup:
            images, targets = mix(images, targets, self._mixup, rng)
        batch = (images, targets) if self._class_weights is None else (images, targets, targets @ self._class_weights)
        # What is drawn at random is drawn for the whole batch, so that it does not depend on the processes.
        process, processes = self._process
        part = len(rows) // processes
        return tuple(array[process * part : (process + 1) * part] for array in batch)


def class_weights(phase: PhaseConfig, labels: NDArray[np.int64]) -> NDArray[np.float32] | None:
    """What each class counts in a phase's loss, float32 ``[7]``; None where all count the same.

    ``inverse`` makes the seven classes count alike in sum, and the mean image 1.
    """
    if phase.class_weights == "none":
        return None
    if given := phase.given_class_weights:
        return np.array(given, np.float32)
    return inverse_class_weights(np.bincount(labels, minlength=len(EMOTIONS))).astype(np.float32)


def mix(
    images: Pixels, targets: NDArray[np.float32], strength: float, rng: np.random.Generator
) -> tuple[Pixels, NDArray[np.float32]]:
    """Blends each image, and its label likewise, with another of the batch (Zhang et al. 2018, arXiv:1710.09412).

    Args:
        images: uint8 ``[B, H, W, C]``.
        targets: float32 ``[B, 7]``.
        strength: Of Beta(a, a), from which each image's share is drawn.
        rng: Where it is drawn from.
    """
    other = rng.permutation(len(images))
    share = rng.beta(strength, strength, len(images)).astype(np.float32)
    blended = np.empty_like(images)
    for part in _parts(images):
        its = _of_each(share[part])
        blended[part] = _as_pixels(images[part] * its + images[other[part]] * (1 - its))
    return blended, share[:, None] * targets + (1 - share[:, None]) * targets[other]


def augment(images: Pixels, config: AugmentationConfig, rng: np.random.Generator) -> Pixels:
    """Moves every image by one affine map of its own, and changes its light, as the settings say.

    Args:
        images: uint8 ``[N, H, W, C]``.
        config: The largest changes; each image's are drawn evenly up to them.
        rng: Where they are drawn from.

    Returns:
        New images of the same shape; the same ones where nothing is to be changed.
    """
    if config.off:
        return images  # or what a frozen backbone says of them, which has no height and width
    if not config.still:
        images = move(images, draw_moves(len(images), config, rng))
    return retouch(images, config, rng)


def draw_moves(n: int, config: AugmentationConfig, rng: np.random.Generator) -> Moves:
    """How each of ``n`` images is moved, drawn evenly up to what the settings allow."""
    return Moves(
        flips=rng.random((n,)) < (0.5 if config.flip else 0),
        angles=rng.uniform(-config.rotate, config.rotate, (n,)),
        scales=rng.uniform(config.scale_min, config.scale_max, (n,)),
        shifts=rng.uniform(-config.shift, config.shift, (n, 2)),
    )


def move(images: Pixels, moves: Moves) -> Pixels:
    """Flips, turns, scales and shifts every image about its middle; edges are mirrored outward.

    Args:
        images: uint8 ``[N, H, W, C]``.
        moves: One for each.
    """
    _, height, width, _ = images.shape
    moved = np.empty_like(images)
    for part in _parts(images):
        x, y = _origins(moves.of(part), height, width)
        # One above the other, they are one picture to OpenCV.
        y += np.arange(0, height * len(y), height, dtype=np.float32)[:, None, None]
        tall = images[part].reshape(-1, *images.shape[2:])
        found = cv2.remap(tall, x.reshape(-1, width), y.reshape(-1, width), cv2.INTER_LINEAR)
        moved[part] = found.reshape(moved[part].shape)
    return moved


def _parts(images: Pixels) -> Iterator[slice]:
    """Images that are changed in one call."""
    some = max(1, _AT_ONCE * len(images) // max(1, images.size))
    return (slice(first, first + some) for first in range(0, len(images), some))


def _origins(moves: Moves, height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each pixel of the moved images comes from, ``x`` and ``y`` in pixels, each ``[N, H, W]``."""
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    radians = np.radians(moves.angles)
    cosine, sine = np.cos(radians) / moves.scales, np.sin(radians) / moves.scales
    side = np.where(moves.flips, -1.0, 1.0)
    ways = np.array([[side * cosine, side * -sine], [sine, cosine]]).transpose(2, 0, 1)  # [N, to x or y, from x or y]
    starts = middle - (ways @ (middle + moves.shifts)[:, :, None])[:, :, 0]
    across, down = ways.astype(np.float32).transpose(2, 1, 0)  # each [x or y, N]
    origins = []
    for axis, size in enumerate((width, height)):
        along_x = across[axis][:, None] * np.arange(width, dtype=np.float32)
        along_y = down[axis][:, None] * np.arange(height, dtype=np.float32)
        along_y += starts[:, axis, None].astype(np.float32)
        places = along_y[:, :, None] + along_x[:, None, :]
        _mirror(places, size - 1)
        # In the steps that OpenCV goes by, so that where an image stands among others changes no pixel of it.
        places *= _STEPS
        np.rint(places, out=places)
        places /= _STEPS
        origins.append(places)
    return origins[0], origins[1]


def _mirror(places: NDArray[np.float32], last: int) -> None:
    """Brings places outside of 0 to ``last`` back, as a mirror at each end would; in place."""
    np.abs(places, out=places)
    np.subtract(last, places, out=places)
    np.abs(places, out=places)
    np.subtract(last, places, out=places)
    # Only what lies more than a whole picture outside is still there: as large a shift makes no sense.
    np.clip(places, 0, last, out=places)


def retouch(images: Pixels, config: AugmentationConfig, rng: np.random.Generator) -> Pixels:
    """Changes brightness and contrast of every image, then fills a rectangle in some with noise.

    The rectangle (random erasing: Zhong et al. 2020, arXiv:1708.04896) has 2 to 20 % of the area and is at most three
    times as long as wide.

    Args:
        images: uint8 ``[N, H, W, C]``; not changed.
        config: The largest changes, and in how many images something is erased.
        rng: Where they are drawn from.
    """
    n, height, width, _ = images.shape
    if config.brightness or config.contrast:
        factors = rng.uniform(1 - config.contrast, 1 + config.contrast, (n,))
        brighter = 255 * rng.uniform(-config.brightness, config.brightness, (n,))
        offsets = brighter + (1 - factors) * images.reshape(n, -1).mean(axis=1)
        lit = np.empty_like(images)
        for part in _parts(images):
            lit[part] = _as_pixels(images[part] * _of_each(factors[part]) + _of_each(offsets[part]))
        images = lit
    if config.erase:
        images = images.copy()
        erased = np.flatnonzero(rng.random(n) < config.erase)
        inside = _rectangles(len(erased), height, width, rng)
        noise = rng.integers(0, 256, (len(erased), *images.shape[1:]), np.uint8)
        images[erased] = np.where(inside[..., None], noise, images[erased])
    return images


def _of_each(values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """One value for each image, ``[N]`` -> ``[N, 1, 1, 1]``, in the precision that is enough for pixels."""
    return values.astype(np.float32)[:, None, None, None]


def _as_pixels(values: NDArray[np.float32]) -> Pixels:
    np.clip(values, 0, 255, out=values)
    return np.rint(values, out=values).astype(np.uint8)


def _rectangles(n: int, height: int, width: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A place to erase in each image, bool ``[N, H, W]``."""
    areas = rng.uniform(0.02, 0.2, (n,)) * height * width
    ratios = np.exp(rng.uniform(-math.log(3), math.log(3), (n,)))
    inside = []
    for size, ratio in ((height, ratios), (width, 1 / ratios)):
        lengths = np.rint(np.sqrt(areas * ratio)).clip(1, size).astype(np.int64)
        starts = rng.integers(size - lengths + 1)[:, None]
        inside.append((np.arange(size) >= starts) & (np.arange(size) < starts + lengths[:, None]))
    return inside[0][:, :, None] & inside[1][:, None, :]
