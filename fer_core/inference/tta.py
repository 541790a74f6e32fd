"""Test-time augmentation: a model is asked about several views of a picture, and its answers are averaged.

A score made so is another number than that of the model alone, and costs as many times its time: whatever is kept or
printed of it names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from fer_core.preprocessing import Pixels, to_native

if TYPE_CHECKING:
    from fer_core.inference.predictor import Predictor

CROP: Final = 44 / 48
"""Side of a crop, of the side of the picture."""


class Tta(StrEnum):
    """Which views of a picture are taken."""

    FLIP = "flip"
    TEN_CROP = "ten-crop"


def views(images: Pixels, tta: Tta) -> Iterator[Pixels]:
    """The views of pictures, each at their size.

    ``flip`` is the picture and its mirror image. ``ten-crop`` is the four corners and the middle, and their mirror
    images (Krizhevsky et al. 2012), 44 of 48 pixels wide as is usual on FER2013
    (github.com/WuJie1010/Facial-Expression-Recognition.Pytorch). The networks there read 44 pixels; a served model
    reads one size, so a crop is enlarged to it. That is a zoom of 1.09, which the presets train with, where a frame
    around the crop would be something that the model never saw; ``benchmarks/tta.py`` compares the three.

    Args:
        images: uint8 ``[N, H, W, C]``.
        tta: Which views.

    Yields:
        uint8 ``[N, H, W, C]``: two, or ten of them.
    """
    for view in (images,) if tta is Tta.FLIP else _crops(images):
        yield view
        yield view[:, :, ::-1]


def _crops(images: Pixels) -> Iterator[Pixels]:
    _, height, width, channels = images.shape
    high, wide = round(CROP * height), round(CROP * width)
    bottom, right = height - high, width - wide
    for top, left in ((0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)):
        crops = images[:, top : top + high, left : left + wide]
        yield np.array([to_native(crop, (height, width), channels) for crop in crops], np.uint8).reshape(images.shape)


def classify(predictor: Predictor, images: Pixels, tta: Tta | None) -> NDArray[np.float32]:
    """Probabilities of the seven classes, the mean over the views of every picture.

    Args:
        predictor: The model.
        images: uint8 ``[N, H, W, C]`` at the model's native size.
        tta: Which views; None for the pictures alone.

    Returns:
        float32 ``[N, 7]``, rows sum to one.

    Raises:
        ModelError: As ``Predictor.classify``.
    """
    if tta is None:
        return predictor.classify(images)
    return np.mean([predictor.classify(view) for view in views(images, tta)], axis=0, dtype=np.float32)
