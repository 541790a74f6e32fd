"""Faces and their seven bars, drawn without a charting library: they stand on the first page and in every answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.emotions import CODES, EMOTIONS, PALETTES
from fer_core.preprocessing import Pixels

INK: Final = {"light": "#1B2226", "dark": "#E6EAED"}
_ROW: Final = 29  # pixels, as are the next two
_BAR: Final = 20
_GAP: Final = 6
_LABELS: Final = 25  # per cent of the width, as is the next
_LONGEST: Final = 59  # leaves room for "100.0" beside it in the narrowest column
_LINES: Final = 176  # pixels: the height of the seven lines
_STARTS: Final = 9  # per cent of the width, as is the next
_ENDS: Final = 88  # leaves room for the names
_DASHES: Final = ("none", "8,5", "2,3", "8,3,2,3", "14,4", "14,3,2,3", "8,3,2,3,2,3")


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


def seven_lines(times: NDArray[np.float64], probabilities: NDArray[np.float32], span: float, theme: str) -> str:
    """Seven thin lines over the last moments, each with a dash of its own and its code at the right end.

    It is drawn again and again while a camera runs: a plotly figure would take the server 27 ms of processor time,
    and the browser a library of megabytes.

    Args:
        times: ``[T]``, seconds before now, from ``-span`` to 0.
        probabilities: ``[T, 7]``, 0 to 1; NaN where there is nothing to show.
        span: Seconds that are shown.
        theme: "light" or "dark".

    Returns:
        SVG, as wide as what it stands in.
    """
    seen: NDArray[np.bool_] = np.asarray(np.isfinite(probabilities).all(axis=1))
    drawn, names = [], []
    # A gap in the line where there was no face.
    parts = [part[seen[part]] for part in np.split(np.arange(len(seen)), np.flatnonzero(~seen)) if seen[part].any()]
    for index, emotion in enumerate(EMOTIONS):
        look = f'stroke="{PALETTES[theme][emotion]}" stroke-dasharray="{_DASHES[index]}"'
        for part in parts:
            points = " ".join(f"{times[n]:.2f},{100 - 100 * probabilities[n, index]:.1f}" for n in part)
            drawn.append(f'<polyline points="{points}" {look} vector-effect="non-scaling-stroke"/>')
    if parts:
        last = [100 * float(value) for value in probabilities[parts[-1][-1]]]
        for emotion, place in zip(EMOTIONS, apart(last, 0, 100, 0.1), strict=True):
            names.append(f'<text x="{_ENDS}%" dx="{_GAP}" y="{_inside(100 - place)}">{CODES[emotion]}</text>')
    scale = []
    for share in (0, 50, 100):
        y = _inside(100 - share)
        rule = f'<line x1="{_STARTS}%" x2="{_ENDS}%" y1="{y}" y2="{y}" stroke="{INK[theme]}" stroke-opacity="0.15"/>'
        scale.append(f'<text x="{_STARTS}%" dx="{-_GAP}" y="{y}" text-anchor="end">{share}</text>{rule}')
    for x, words in ((_STARTS, f"-{span:.0f} s"), (_ENDS, "now")):
        scale.append(f'<text x="{x}%" y="{_LINES - 10}" text-anchor="middle">{words}</text>')
    top, height = _inside(0), _inside(100) - _inside(0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="100%" height="{_LINES}" fill="{INK[theme]}" '
        f'font-family="system-ui, sans-serif" font-size="12" dominant-baseline="central">{"".join(scale + names)}'
        f'<svg x="{_STARTS}%" width="{_ENDS - _STARTS}%" y="{top}" height="{height}" fill="none" stroke-width="1.6" '
        f'viewBox="{-span} 0 {span} 100" preserveAspectRatio="none">{"".join(drawn)}</svg></svg>'
    )


def _inside(percent: float) -> float:
    """Pixels from the top of the lines' picture to a share of the room that they have."""
    return round(10 + (_LINES - 44) * percent / 100, 1)


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


def apart(values: Sequence[float], low: float, high: float, share: float) -> list[float]:
    """Places for labels beside ``values`` that keep at least ``share`` of the axis between two of them."""
    gap = share * (high - low)
    order = sorted(range(len(values)), key=lambda index: values[index])
    places = [0.0] * len(values)
    ceiling = high - gap * (len(values) - 0.5)  # leaves room for the labels above
    floor = low + gap / 2
    for index in order:
        places[index] = floor = max(floor, min(values[index], ceiling))
        floor, ceiling = floor + gap, ceiling + gap
    return places
