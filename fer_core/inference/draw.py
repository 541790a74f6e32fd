"""Numbered boxes on a picture, for showing it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from fer_core.emotions import PALETTES
from fer_core.inference.faces import Box
from fer_core.preprocessing import Pixels

LONGER_SIDE: Final = (480, 1280)
"""The picture is enlarged or shrunk into this range first, in pixels, so that numbers stay legible."""

_LINE: Final = 2
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_FONT_SCALE: Final = 0.6
_PAD: Final = 4
_PLATE: Final = (27, 34, 38)
_INK: Final = (255, 255, 255)


def draw_faces(
    image: Pixels, faces: Sequence[tuple[Box, str]], theme: str = "light", plates: Sequence[str] | None = None
) -> Pixels:
    """Draws a box in the colour of its emotion round each face, and its number, from 1, on a dark plate.

    The number leads to the words beside the picture: colour alone must not tell emotions apart.

    Args:
        image: uint8 RGB ``[h, w, 3]``, upright; not changed.
        faces: Box (in pixels of ``image``) and emotion of each.
        theme: Whose palette, ``light`` or ``dark``.
        plates: What stands on the plate of each face in place of its number; a few ASCII characters.

    Returns:
        uint8 RGB ``[h', w', 3]`` with the longer side within ``LONGER_SIDE``.
    """
    longer = max(image.shape[:2])
    scale = float(np.clip(longer, *LONGER_SIDE)) / longer
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    canvas: Pixels = cv2.resize(image, size, interpolation=method) if scale != 1 else image.copy()
    for number, (box, emotion) in enumerate(faces, start=1):
        x, y, width, height = (round(value * scale) for value in box)
        # The line lies inside the box, so that a box as large as the picture is seen as well.
        corners = (x, y), (x + width, y + height)
        for inset in range(_LINE):
            (left, top), (right, bottom) = corners
            cv2.rectangle(
                canvas,
                (left + inset, top + inset),
                (right - 1 - inset, bottom - 1 - inset),
                _rgb(PALETTES[theme][emotion]),
            )
        _plate(canvas, plates[number - 1] if plates else str(number), x, y)
    return canvas


def encode_jpeg(picture: Pixels) -> bytes:
    """A photograph, encoded: as a PNG it would take many times as long to make and to send.

    Args:
        picture: uint8 RGB ``[h, w, 3]``.
    """
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])
    return encoded.tobytes()


def _plate(canvas: Pixels, text: str, x: int, y: int) -> None:
    """A few characters above the corner ``(x, y)`` of a box, or inside the picture where there is no room above."""
    (width, height), _ = cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)
    plate_width, plate_height = width + 2 * _PAD, height + 2 * _PAD
    left = max(0, min(x, canvas.shape[1] - plate_width))
    top = max(0, min(y - plate_height, canvas.shape[0] - plate_height))
    cv2.rectangle(canvas, (left, top), (left + plate_width, top + plate_height), _PLATE, cv2.FILLED)
    origin = (left + _PAD, top + plate_height - _PAD)
    cv2.putText(canvas, text, origin, _FONT, _FONT_SCALE, _INK, 1, cv2.LINE_AA)


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue
