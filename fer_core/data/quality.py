"""How pictures look: nearly one colour, very dark, very bright, blurry. Measured on the gray view of 48 x 48 pixels.

The bounds were set by looking at FER2013's pictures on both sides of them: no face can be read in nearly constant
ones; beyond the others most faces still can, but placeholders ("this image was removed") and smears are among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.data.decode import VIEW
from fer_core.preprocessing import Pixels, to_native

FLAT_CONTRAST: Final = 8.0
DARK_BRIGHTNESS: Final = 40.0
BRIGHT_BRIGHTNESS: Final = 210.0
BLURRY_SHARPNESS: Final = 0.35

_CHUNK: Final = 4096  # pictures measured at a time: a few ten megabytes


@dataclass(frozen=True)
class Quality:
    """Measures of pictures.

    Attributes:
        brightness: float32 ``[N]``, mean gray level, 0 to 255.
        contrast: float32 ``[N]``, standard deviation of the gray levels.
        sharpness: float32 ``[N]``, root mean square of the Laplacian by the contrast; 0 for constant pictures.
    """

    brightness: NDArray[np.float32]
    contrast: NDArray[np.float32]
    sharpness: NDArray[np.float32]

    def looks(self) -> dict[str, NDArray[np.bool_]]:
        """Which pictures are ``flat`` (nearly or wholly one colour), ``dark``, ``bright`` and ``blurry``, bool ``[N]``.

        A flat picture is nothing else.
        """
        flat = self.contrast < FLAT_CONTRAST
        return {
            "flat": flat,
            "dark": ~flat & (self.brightness < DARK_BRIGHTNESS),
            "bright": ~flat & (self.brightness > BRIGHT_BRIGHTNESS),
            "blurry": ~flat & (self.sharpness < BLURRY_SHARPNESS),
        }


def measure_images(images: Pixels) -> Quality:
    """Measures pictures as a dataset stores them.

    Args:
        images: uint8 ``[N, H, W, C]``, gray or RGB.
    """
    view = np.empty((len(images), VIEW, VIEW), np.uint8)
    for place, image in enumerate(images):
        view[place] = to_native(image, (VIEW, VIEW), 1)[:, :, 0]
    return measure(view)


def measure(view: Pixels) -> Quality:
    """Measures pictures.

    Args:
        view: uint8 ``[N, H, W]``, gray.
    """
    count, height, width = view.shape
    brightness, contrast, sharpness = (np.zeros(count, np.float32) for _ in range(3))
    pixels = height * width
    for start in range(0, count, _CHUNK):
        chunk = view[start : start + _CHUNK]
        part = slice(start, start + len(chunk))
        gray = chunk.reshape(len(chunk), pixels).astype(np.float32)
        brightness[part] = gray @ np.full(pixels, 1 / pixels, np.float32)
        gray -= brightness[part, None]
        contrast[part] = np.sqrt(np.einsum("ij,ij->i", gray, gray) / pixels)
        # All pictures as one tall strip; rows and columns that see a neighbour or a border are left out.
        edges = cv2.Laplacian(chunk.reshape(-1, width), cv2.CV_16S).reshape(chunk.shape)[:, 1:-1, 1:-1]
        edges = edges.reshape(len(chunk), -1).astype(np.float32)
        sharpness[part] = np.sqrt(np.einsum("ij,ij->i", edges, edges) / edges.shape[1])
    varied = contrast > 0
    sharpness[varied] /= contrast[varied]
    return Quality(brightness, contrast, sharpness)
