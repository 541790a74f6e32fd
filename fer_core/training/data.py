"""Packed images -> the batches of an epoch, each a pure function of (seed, phase, epoch, batch)."""

from __future__ import annotations

import math

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from fer_core.emotions import EMOTIONS
from fer_core.preprocessing import Pixels
from fer_core.training.config import AugmentationConfig


class TrainingBatches(keras.utils.PyDataset):
    """Augmented batches in an order that depends on the epoch.

    Nothing is drawn from a generator that lives on, so a resumed run sees the very batches of an
    uninterrupted one. Set ``epoch`` before the epoch starts.

    Args:
        images: uint8 ``[N, H, W, C]``; not copied.
        labels: int ``[N]``.
        batch_size: Images per batch; the last one of an epoch holds what is left.
        augmentation: See ``augment``.
        seed: Of the run.
        phase: Index of the phase in the run.
    """

    def __init__(
        self,
        images: Pixels,
        labels: NDArray[np.int64],
        *,
        batch_size: int,
        augmentation: AugmentationConfig,
        seed: int,
        phase: int,
    ) -> None:
        super().__init__()
        self._images = images
        self._targets = np.eye(len(EMOTIONS), dtype=np.float32)[labels]
        self._batch_size = batch_size
        self._augmentation = augmentation
        self._seed = (seed, phase)
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
        return math.ceil(len(self._images) / self._batch_size)

    def size_of(self, index: int) -> int:
        """Images in a batch."""
        return min(self._batch_size, len(self._images) - index * self._batch_size)

    def __getitem__(self, index: int) -> tuple[Pixels, NDArray[np.float32]]:
        """Images, uint8 ``[B, H, W, C]``, and one-hot labels, float32 ``[B, 7]``."""
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        rng = np.random.default_rng((*self._seed, self._epoch, index))
        return augment(self._images[rows], self._augmentation, rng), self._targets[rows]


def augment(images: Pixels, config: AugmentationConfig, rng: np.random.Generator) -> Pixels:
    """Flips, turns, scales and shifts every image by one affine map of its own; edges are mirrored outward.

    Args:
        images: uint8 ``[N, H, W, C]``.
        config: The largest changes; each image's are drawn evenly up to them.
        rng: Where they are drawn from.

    Returns:
        New images of the same shape.
    """
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
