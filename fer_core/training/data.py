"""Packed images -> the batches of an epoch, each a pure function of (seed, phase, epoch, batch)."""

from __future__ import annotations

import math
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from fer_core.data.class_weights import inverse_class_weights
from fer_core.emotions import EMOTIONS
from fer_core.preprocessing import Pixels
from fer_core.training.config import AugmentationConfig, PhaseConfig


class TrainingBatches(keras.utils.PyDataset):
    """Augmented batches in an order that depends on the epoch.

    Nothing is drawn from a generator that lives on, so a resumed run sees the very batches of an
    uninterrupted one. Set ``epoch`` before the epoch starts.

    Args:
        images: uint8 ``[N, H, W, C]``, not copied; or what a frozen backbone says of them, float32 ``[N, F]``.
        labels: int ``[N]``.
        phase: Batch size (the last batch of an epoch holds what is left), augmentation, mixup, class weights.
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
        self.epoch = 0

    @property
    def epoch(self) -> int:
        """The epoch whose batches are given, counted from 0 in the phase."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = epoch
        self._order = np.random.default_rng((*self._seed, epoch)).permutation(len(self._images))

    def __len__(self) -> int:
        """Batches per epoch."""
        return math.ceil(self._seen / self._batch_size)

    def size_of(self, index: int) -> int:
        """Images in a batch, of all processes together."""
        return min(self._batch_size, self._seen - index * self._batch_size)

    def __getitem__(self, index: int) -> tuple[NDArray[np.generic], ...]:
        """Images, uint8 ``[B, H, W, C]``; labels, float32 ``[B, 7]``, one-hot or blended; with class weights what
        each image counts, float32 ``[B]``. Of several processes, this one's part of the batch."""
        rows = self._order[index * self._batch_size :][: self.size_of(index)]
        rng = np.random.default_rng((*self._seed, self._epoch, index))
        images, targets = augment(self._images[rows], self._augmentation, rng), self._targets[rows]
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
    of_image = share[:, None, None, None]
    blended = of_image * images + (1 - of_image) * images[other]
    return np.rint(blended).astype(np.uint8), share[:, None] * targets + (1 - share[:, None]) * targets[other]


def augment(images: Pixels, config: AugmentationConfig, rng: np.random.Generator) -> Pixels:
    """Flips, turns, scales and shifts every image by one affine map of its own; edges are mirrored outward.

    Args:
        images: uint8 ``[N, H, W, C]``.
        config: The largest changes; each image's are drawn evenly up to them.
        rng: Where they are drawn from.

    Returns:
        New images of the same shape; the same ones where nothing is to be changed.
    """
    if config.off:
        return images
    n, height, width, _ = images.shape
    flips = rng.random((n,)) < (0.5 if config.flip else 0)
    angles = rng.uniform(-config.rotate, config.rotate, (n,))
    scales = rng.uniform(config.scale_min, config.scale_max, (n,))
    shifts = rng.uniform(-config.shift, config.shift, (n, 2))
    mirror = np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])
    centre = ((width - 1) / 2, (height - 1) / 2)
    changed = np.empty_like(images)
    for i in range(n):
        affine = cv2.getRotationMatrix2D(centre, float(angles[i]), float(scales[i]))
        if flips[i]:
            affine = affine @ mirror
        affine[:, 2] += shifts[i]
        moved = cv2.warpAffine(images[i], affine, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        changed[i] = moved.reshape(images[i].shape)  # OpenCV drops a single channel's axis
    return changed
