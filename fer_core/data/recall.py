"""What the copy search finds of copies that were planted in FER2013: the limits of every audit."""

from __future__ import annotations

from typing import Final

RECALL_OF: Final = "500 photographs of FER2013, each planted among all in every form: python -m benchmarks.copies"
RECALL: Final = {
    "crop by 1 px": 0.852,
    "crop by 2 px": 0.092,
    "crop by 3 px": 0.016,
    "crop by 4 px": 0.004,
    "shift by 1 px": 0.712,
    "shift by 2 px": 0.08,
    "shift by 3 px": 0.002,
    "contrast x 0.25": 1.0,
    "contrast x 0.5": 1.0,
    "contrast x 0.75": 1.0,
    "contrast x 1.5": 0.988,
    "contrast x 2": 0.896,
    "brightness -80": 0.842,
    "brightness -40": 0.998,
    "brightness +40": 0.992,
    "brightness +80": 0.844,
    "gamma 0.5": 0.998,
    "gamma 0.67": 1.0,
    "gamma 1.5": 1.0,
    "gamma 2": 0.986,
    "JPEG quality 95": 1.0,
    "JPEG quality 75": 1.0,
    "JPEG quality 50": 1.0,
    "JPEG quality 25": 1.0,
    "JPEG quality 10": 0.992,
    "blur sigma 0.5 px": 1.0,
    "blur sigma 1 px": 1.0,
    "blur sigma 1.5 px": 0.952,
    "blur sigma 2 px": 0.78,
    "noise sigma 4": 1.0,
    "noise sigma 8": 0.998,
    "noise sigma 16": 0.954,
    "noise sigma 32": 0.206,
    "crop by 1 px, contrast x 0.75, JPEG quality 75": 0.838,
    "mirrored": 1.0,
    "mirrored, crop by 1 px": 0.852,
    "mirrored, JPEG quality 75": 1.0,
    "mirrored, crop by 1 px, contrast x 0.75, JPEG quality 75": 0.838,
}
"""Share found, by form, from ``benchmarks/results/copies.json``. A px is one of 48."""
