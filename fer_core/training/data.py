"""Packed images -> the batches of an epoch, each a pure function of (seed, phase, epoch, batch)."""

from __future__ import annotations

import math
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
"""That make batches: more than these wait for each other, because Python runs one at a time between OpenCV's calls."""


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

    def of(self, rows: NDArray[np.int64]) -> Moves:
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
    for image, its_other, part, out in zip(images, images[other], share.tolist(), blended, strict=True):
        out[:] = cv2.addWeighted(image, part, its_other, 1 - part, 0).reshape(out.shape)
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
    changed = np.empty_like(images)
    for image, affine, out in zip(images, _affine_maps(moves, height, width), changed, strict=True):
        moved = cv2.warpAffine(image, affine, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        out[:] = moved.reshape(out.shape)  # OpenCV drops a single channel's axis
    return changed


def _affine_maps(moves: Moves, height: int, width: int) -> NDArray[np.float64]:
    """From a pixel's place to its new one, ``[N, 2, 3]``: ``cv2.getRotationMatrix2D`` of a mirrored image, shifted."""
    x, y = (width - 1) / 2, (height - 1) / 2
    radians = np.radians(moves.angles)
    cosine, sine = moves.scales * np.cos(radians), moves.scales * np.sin(radians)
    side = np.where(moves.flips, -1.0, 1.0)
    maps = np.empty((len(radians), 2, 3))
    maps[:, 0, 0], maps[:, 0, 1] = side * cosine, sine
    maps[:, 1, 0], maps[:, 1, 1] = side * -sine, cosine
    # The middle stays where it is.
    maps[:, 0, 2] = x - side * cosine * x - sine * y
    maps[:, 1, 2] = y + side * sine * x - cosine * y
    maps[:, :, 2] += moves.shifts
    return maps


def retouch(images: Pixels, config: AugmentationConfig, rng: np.random.Generator) -> Pixels:
    """Changes brightness and contrast of every image, then fills a rectangle in some with noise.

    The rectangle (random erasing: Zhong et al. 2020, arXiv:1708.04896) has 2 to 20 % of the area and is at most three
    times as long as wide.

    Args:
        images: uint8 ``[N, H, W, C]``; not changed.
        config: The largest changes, and in how many images something is erased.
        rng: Where they are drawn from.
    """
    n, height, width, channels = images.shape
    if config.brightness or config.contrast:
        factors = rng.uniform(1 - config.contrast, 1 + config.contrast, (n, 1))
        offsets = 255 * rng.uniform(-config.brightness, config.brightness, (n, 1))
        means = images.mean(axis=(1, 2, 3)).reshape(n, 1)
        # What becomes of each of the 256 values in each image: far fewer sums than one for every pixel.
        lit = factors * (np.arange(256) - means) + (means + offsets)
        tables = np.rint(lit.clip(0, 255)).astype(np.uint8)
        images = np.stack([cv2.LUT(image, table) for image, table in zip(images, tables, strict=True)])
        images = images.reshape(n, height, width, channels)  # OpenCV drops a single channel's axis
    if config.erase:
        images = images.copy()
        for i in np.flatnonzero(rng.random(n) < config.erase):
            top, left, rows, columns = _rectangle(height, width, rng)
            noise = rng.integers(0, 256, (rows, columns, channels))
            images[i, top : top + rows, left : left + columns] = noise
    return images


def _rectangle(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, height and width of a place to erase."""
    area = rng.uniform(0.02, 0.2) * height * width
    ratio = math.exp(rng.uniform(-math.log(3), math.log(3)))
    rows, columns = (min(size, max(1, round(math.sqrt(area * r)))) for size, r in ((height, ratio), (width, 1 / ratio)))
    return int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1)), rows, columns
