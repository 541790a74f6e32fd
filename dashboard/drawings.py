"""Faces and their seven bars, drawn without a charting library: they stand on the first page and in every answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import cv2
import numpy as np

from fer_core.emotions import EMOTIONS, PALETTES
from fer_core.preprocessing import Pixels

INK: Final = {"light": "#1B2226", "dark": "#E6EAED"}
_ROW: Final = 29  # pixels, as are the next two
_BAR: Final = 20
_GAP: Final = 6
_LABELS: Final = 25  # per cent of the width, as is the next
_LONGEST: Final = 59  # leaves room for "100.0" beside it in the narrowest column


def seven_bars(probabilities: Mapping[str, float], theme: str) -> str:
    """Seven horizontal bars in fixed order on a fixed scale of 0 to 100; the highest solid, the others pale.

    Args:
        probabilities: Of each emotion, 0 to 1.
        theme: "light" or "dark".

    Returns:
        SVG, as wide as what it stands in; its text does not grow with it.
    """
    top = max(EMOTIONS, key=lambda emotion: probabilities[emotion])
    rows = []
    for number, emotion in enumerate(EMOTIONS):
        percent, middle = 100 * probabilities[emotion], number * _ROW + _ROW / 2
        length = _LONGEST * percent / 100
        rows.append(
            f'<text x="{_LABELS}%" y="{middle}" dx="{-_GAP}" text-anchor="end">{emotion.capitalize()}</text>'
            f'<rect x="{_LABELS}%" y="{middle - _BAR / 2}" width="{length:.2f}%" height="{_BAR}" rx="2" '
            f'fill="{PALETTES[theme][emotion]}" opacity="{1 if emotion == top else 0.4}"/>'
            f'<text x="{_LABELS + length:.2f}%" y="{middle}" dx="{_GAP}">{percent:.1f}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="100%" height="{_ROW * len(EMOTIONS)}" fill="{INK[theme]}" '
        f'font-family="system-ui, sans-serif" font-size="13" dominant-baseline="central">{"".join(rows)}</svg>'
    )


def told(probabilities: Mapping[str, float]) -> str:
    """The same in words, most probable first."""
    ranked = sorted(EMOTIONS, key=lambda emotion: -probabilities[emotion])
    return ", ".join(f"{emotion} {100 * probabilities[emotion]:.1f} %" for emotion in ranked)


def face(picture: Pixels, side: int = 144) -> Pixels:
    """A face enlarged smoothly: uint8 ``[h, w, ...]`` -> ``[side, side, ...]``."""
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC)


def side_by_side(left: Pixels, right: Pixels, side: int = 144) -> Pixels:
    """Two gray faces, enlarged smoothly, with a gap between them.

    Args:
        left: uint8 ``[h, w]``.
        right: The same.
        side: Height and width of each afterwards, in pixels.

    Returns:
        uint8 ``[side, 2 * side + gap, 4]``, the gap transparent.
    """
    gap = side // 24
    picture = np.zeros((side, 2 * side + gap, 4), np.uint8)
    for start, picture_of in ((0, left), (side + gap, right)):
        picture[:, start : start + side] = cv2.cvtColor(face(picture_of, side), cv2.COLOR_GRAY2RGBA)
    return picture
