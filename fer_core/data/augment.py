"""New pictures from old ones: the only module that imports albumentations, when an ``Augmenter`` is made."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import cv2
import numpy as np

from fer_core.preprocessing import Pixels


class Augmenter:
    """Flip, rotation, shear, brightness, contrast and, for colour, hue: those of the recipe ``resnet50``.

    Ranges are chosen so that a face stays inside the picture and its expression readable.

    Args:
        channels: 1 or 3. Hue means nothing on gray pictures and is left out there.
    """

    def __init__(self, channels: int) -> None:
        import albumentations as alb

        steps: list[Any] = [
            alb.HorizontalFlip(p=0.5),
            # Always on, so that no child equals its parent; reflecting leaves no black corners to learn from.
            alb.Affine(rotate=(-15, 15), shear=(-8, 8), border_mode=cv2.BORDER_REFLECT_101, p=1.0),
            alb.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.8),
        ]
        if channels == 3:
            steps.append(alb.HueSaturationValue(hue_shift_limit=10, sat_shift_limit=20, val_shift_limit=0, p=0.5))
        self._pipeline = alb.Compose(steps)

    def __call__(self, image: Pixels, seed: int) -> Pixels:
        """One variation of a picture; the same seed gives the same one.

        Args:
            image: uint8 ``[H, W, C]``.
            seed: 0 to 2**32 - 1.
        """
        # Reseeding one pipeline is several times as fast as building one per picture. Its steps share the
        # generators: `set_random_seed` would give each the same numbers, and flips and light would go together.
        self._pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        out: Pixels = self._pipeline(image=image)["image"]
        return out.reshape(image.shape)

    def child(self, parent: Pixels, pixel_sha: str, number: int, seed: int) -> Pixels:
        """The child of that number of a picture, the same whenever and wherever it is made.

        Args:
            parent: uint8 ``[H, W, C]``, at the dataset's size.
            pixel_sha: The parent's.
            number: From 0.
            seed: Of the balancing.
        """
        return self(parent, _child_seed(seed, pixel_sha, number))


def _child_seed(seed: int, pixel_sha: str, number: int) -> int:
    """The seed of a parent's child of that number, whatever else is augmented and in what order."""
    return int.from_bytes(hashlib.sha256(f"{seed} {pixel_sha} {number}".encode()).digest()[:4], "big")
