"""Class order, spellings and the two palettes."""

import itertools
import tomllib
from pathlib import Path

import numpy as np
import pytest

from fer_core.emotions import CODES, EMOTIONS, PALETTES, parse_emotion

ROOT = Path(__file__).parents[2]

# Machado, Oliveira and Fernandes 2009, severity 1.0, linear RGB.
VISION = {
    "normal": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def linear(colour: str) -> np.ndarray:
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def luminance(colour: str) -> float:
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b*, D65, from linear RGB."""
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = matrix @ np.clip(rgb, 0, 1) / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_order_is_fer2013s():
    assert EMOTIONS == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    assert list(CODES) == list(EMOTIONS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("happy", "happy"),
        ("Disgusted", "disgust"),
        ("  FEARFUL ", "fear"),
        ("surprised", "surprise"),
        ("3", "happy"),
        ("6", "neutral"),
        ("7", None),  # contempt in other data sets
        ("33", None),
        ("4_sad", "sad"),
        ("2-surprise", "surprise"),  # numbered in another order: the name decides
        ("contempt", None),
        ("", None),
        ("..", None),
    ],
)
def test_spellings(text, expected):
    assert parse_emotion(text) == expected


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_stand_out_from_the_theme_background(theme):
    config = tomllib.loads((ROOT / ".streamlit/config.toml").read_text())
    background = config["theme"][theme]["backgroundColor"]
    for emotion, colour in PALETTES[theme].items():
        assert contrast(colour, background) >= 3.0, (emotion, colour)
    assert contrast(config["theme"][theme]["textColor"], background) >= 7.0
    primary = config["theme"][theme]["primaryColor"]
    assert contrast(primary, "#FFFFFF") >= 3.0  # the text of primary buttons is white
    assert contrast(primary, background) >= 3.0


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_stay_apart_in_every_colour_vision(theme, vision):
    seen = {e: lab(np.asarray(VISION[vision]) @ linear(c)) for e, c in PALETTES[theme].items()}
    for a, b in itertools.combinations(EMOTIONS, 2):
        assert np.linalg.norm(seen[a] - seen[b]) >= 20, (a, b)
