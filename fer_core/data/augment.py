"""New pictures from old ones: the only module that imports albumentations, when an ``Augmenter`` is made."""

from __future__ import annotations

import hashlib
import random
from typing import Any, Final

import cv2
import numpy as np

from fer_core.data.config import USUAL, AugmentConfig
from fer_core.errors import ConfigError
from fer_core.preprocessing import Pixels

_TRIES: Final = 100
"""A child that equals its parent is drawn again so often: a black picture is only changed by more light."""


class Augmenter:
    """Flip, rotation, shear, brightness, contrast and, for colour, hue: those of the recipe ``resnet50``.

    A strength of 0 takes no step out, so that a change of one strength leaves what the others do to a child.

    Args:
        channels: 1 or 3. Hue means nothing on gray pictures and is left out there.
        strengths: Of each.

    Raises:
        ConfigError: At these strengths there is nothing to vary.
    """

    def __init__(self, channels: int, strengths: AugmentConfig = USUAL) -> None:
        strengths.check(channels)
        import albumentations as alb

        turn, shear = strengths.rotation, strengths.shear
        steps: list[Any] = [
            alb.HorizontalFlip(p=strengths.flip),
            # Reflecting leaves no black corners to learn from.
            alb.Affine(rotate=(-turn, turn), shear=(-shear, shear), border_mode=cv2.BORDER_REFLECT_101, p=1.0),
            alb.RandomBrightnessContrast(
                brightness_limit=strengths.brightness, contrast_limit=strengths.contrast, p=0.8
            ),
        ]
        if channels == 3:
            # OpenCV counts hue in steps of two degrees.
            hue, saturation = strengths.hue / 2, strengths.hue
            steps.append(
                alb.HueSaturationValue(hue_shift_limit=hue, sat_shift_limit=saturation, val_shift_limit=0, p=0.5)
            )
        self._strengths = strengths
        self._pipeline = alb.Compose(steps)

    def __call__(self, image: Pixels, seed: int) -> Pixels:
        """One variation of a picture, never the picture itself; the same seed gives the same one.

        Args:
            image: uint8 ``[H, W, C]``.
            seed: 0 to 2**32 - 1.

        Raises:
            ConfigError: The strengths are so small that they leave the picture as it is.
        """
        # Reseeding one pipeline is several times as fast as building one per picture. Its steps share the
        # generators: `set_random_seed` would give each the same numbers, and flips and light would go together.
        self._pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        for _ in range(_TRIES):
            out: Pixels = self._pipeline(image=image)["image"].reshape(image.shape)
            if not np.array_equal(out, image):
                return out
        told = ", ".join(f"{name} {value:g}" for name, value in self._strengths)
        raise ConfigError(
            f"A picture stays as it is with the augmentation {told}: its children would equal it. Raise the strengths, "
            "brightness for a picture of one colour."
        )

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
