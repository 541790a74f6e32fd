"""Drawn faces: a small data set of our own with the layouts, the imbalance and the copies of the real ones.

Everything is drawn from a seed; no photograph is involved, so the pictures may be shown and shared freely.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.data.dataset import check_free
from fer_core.data.decode import encode_png
from fer_core.emotions import EMOTIONS, INDEX
from fer_core.errors import ConfigError, from_os_error
from fer_core.jobs.progress import Progress, silent
from fer_core.preprocessing import Pixels

_CANVAS: Final = 192  # the least size at which a face is drawn, to be shrunk
_SHIFT: Final = 4  # fractional bits of coordinates given to OpenCV

_TRAIN: Final = {
    "angry": 84,
    "disgust": 12,
    "fear": 86,
    "happy": 150,
    "sad": 100,
    "surprise": 66,
    "neutral": 104,
}
_TEST: Final = {"angry": 18, "disgust": 4, "fear": 18, "happy": 32, "sad": 22, "surprise": 16, "neutral": 22}
"""FER2013's proportions, one image in fifty."""

_EXACT, _NEAR, _MIRRORED = (
    0.08,
    0.05,
    0.02,
)  # shares of test that get a copy in train: FER2013's is 14% in all
_CONFLICTS: Final = 3
_ADJECTIVES: Final = dict(
    zip(EMOTIONS, ("angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral"), strict=True)
)


@dataclass(frozen=True)
class _Look:
    """What an expression does to a face. Lengths are in units of half the face's width, angles in degrees.

    Attributes:
        brow_lift: How far the brows are above their resting place.
        brow_slope: Height of the inner end of a brow over its outer end; negative is a frown.
        brow_bend: How much a brow is arched.
        eye_open: Half the height of the eyes.
        pupil: Radius of the pupils.
        mouth_width: Half the mouth's width.
        mouth_curve: How far the corners are above the middle; negative turns them down.
        mouth_open: Half the height of the opening.
        teeth: Whether teeth show.
    """

    brow_lift: float = 0.0
    brow_slope: float = 0.0
    brow_bend: float = 0.06
    eye_open: float = 0.13
    pupil: float = 0.085
    mouth_width: float = 0.36
    mouth_curve: float = 0.0
    mouth_open: float = 0.0
    teeth: bool = False


_LOOKS: Final = {
    "angry": _Look(-0.10, -0.20, 0.02, 0.095, 0.075, 0.34, -0.12, 0.09, teeth=True),
    "disgust": _Look(-0.08, -0.08, 0.02, 0.07, 0.07, 0.30, -0.14, 0.05),
    "fear": _Look(0.14, 0.14, 0.02, 0.19, 0.06, 0.34, -0.10, 0.13, teeth=True),
    "happy": _Look(0.05, 0.0, 0.09, 0.10, 0.085, 0.46, 0.20, 0.13, teeth=True),
    "sad": _Look(0.03, 0.20, 0.0, 0.09, 0.075, 0.30, -0.17, 0.0),
    "surprise": _Look(0.24, 0.0, 0.14, 0.21, 0.08, 0.20, 0.0, 0.28),
    "neutral": _Look(),
}


def draw_face(emotion: str, seed: int, size: int = 48) -> Pixels:
    """Draws a face with an apparent expression.

    Head, hair, skin, pose, light and background vary with the seed, the expression only slightly.

    Args:
        emotion: One of ``EMOTIONS``.
        seed: Decides everything else.
        size: Height and width, in pixels.

    Returns:
        uint8 ``[size, size]``, gray.

    Raises:
        ConfigError: There is no such emotion.
    """
    if emotion not in _LOOKS:
        raise ConfigError(f"No emotion named {emotion!r}. There are {', '.join(EMOTIONS)}.")
    random = np.random.default_rng([seed, INDEX[emotion]])
    return cv2.resize(
        _Pen(random, max(_CANVAS, 2 * size)).face(_LOOKS[emotion]), (size, size), interpolation=cv2.INTER_AREA
    )


class _Pen:
    """Draws one face on a canvas, in coordinates centred on the face and turned with it."""

    def __init__(self, random: np.random.Generator, canvas: int) -> None:
        self._random = random
        self._canvas = canvas
        uniform = random.uniform
        self._half = self._canvas * uniform(0.29, 0.36)  # half the face's width
        self._centre = np.array([self._canvas * uniform(0.44, 0.56), self._canvas * uniform(0.47, 0.57)])
        self._turn = np.deg2rad(uniform(-11, 11))
        self._tall = uniform(1.16, 1.38)  # height over width
        self._skin = uniform(95, 225)
        self._ink = self._skin * uniform(0.16, 0.30)
        self._image = np.zeros((self._canvas, self._canvas), np.float32)

    def face(self, look: _Look) -> Pixels:
        """The whole picture, uint8 ``[canvas, canvas]``."""
        self._background()
        hair = self._random.choice([self._random.uniform(15, 70), self._random.uniform(120, 200)], p=[0.75, 0.25])
        style = self._random.integers(4)  # bald, short, full, long
        self._shoulders()
        if style >= 2:
            self._ellipse((0, -0.22 if style == 2 else 0.05), (1.13, self._tall * (1.0 if style == 2 else 1.18)), hair)
        self._ellipse((-0.98, 0.05), (0.13, 0.22), self._skin * 0.86)
        self._ellipse((0.98, 0.05), (0.13, 0.22), self._skin * 0.86)
        self._ellipse((0, 0), (1.0, self._tall), self._skin)
        if style:
            self._fringe(hair)
        self._eyes(look)
        self._nose(look)
        self._mouth(look)
        self._details(look)
        return self._lit()

    def _jitter(self, value: float, spread: float) -> float:
        return value + float(self._random.normal(0, spread))

    def _background(self) -> None:
        """Blurred blobs: two drawn photographs must not correlate just because they share an empty wall."""
        middle = self._random.uniform(70, 190)
        coarse = (middle + self._random.normal(0, 38, (4, 4))).clip(8, 247).astype(np.float32)
        self._image[:] = cv2.resize(coarse, (self._canvas, self._canvas), interpolation=cv2.INTER_CUBIC)

    def _shoulders(self) -> None:
        cloth = float(self._random.uniform(20, 235))
        self._ellipse((0, self._tall + 0.75), (1.55, 0.75), cloth)
        self._ellipse((0, self._tall * 0.95), (0.42, 0.45), self._skin * 0.82)

    def _fringe(self, hair: float) -> None:
        side = float(self._random.uniform(-0.35, 0.35))
        top = -self._tall
        line = [(-1.02, -0.35), (-0.8, -0.62), (side, -0.74), (0.8, -0.62), (1.02, -0.35)]
        crown = [
            (0.98, top * 0.78),
            (0.55, top * 1.06),
            (0, top * 1.16),
            (-0.55, top * 1.06),
            (-0.98, top * 0.78),
        ]
        self._polygon(_rounded(line + crown), hair)

    def _eyes(self, look: _Look) -> None:
        openness = max(0.05, self._jitter(look.eye_open, 0.012))
        lift = self._jitter(look.brow_lift, 0.02)
        slope = self._jitter(look.brow_slope, 0.02)
        gaze = float(self._random.uniform(-0.05, 0.05))
        for side in (-1.0, 1.0):
            x, y = side * 0.40, -0.20
            white = min(250.0, self._skin * 1.15 + 45)
            self._ellipse((x, y), (0.20, openness), white)
            self._ellipse((x + gaze, y), (look.pupil, min(look.pupil, openness)), self._ink * 0.6)
            if openness > 0.06:
                self._ellipse((x + gaze + 0.025, y - 0.03), (0.022, 0.022), 250)
            lid = [(x + 0.20 * np.cos(a), y - openness * np.sin(a)) for a in np.linspace(0.1, np.pi - 0.1, 12)]
            self._line(lid, self._ink, 0.04)
            if look is _LOOKS["sad"]:  # the outer half of the lid hangs
                self._line([(x - side * 0.12, y - openness), (x + side * 0.21, y + 0.01)], self._ink, 0.045)
            if look is _LOOKS["happy"]:  # cheeks push the lower lid up
                self._line([(x - 0.18, y + 0.09), (x, y + 0.05), (x + 0.18, y + 0.09)], self._ink, 0.035)
            brow = []
            for t in np.linspace(-1, 1, 9):  # from the outer to the inner end
                height = lift + slope * t + look.brow_bend * (1 - t * t)
                brow.append((side * (0.42 - 0.24 * t), -0.50 - height))
            self._line(brow, self._ink, 0.095)

    def _nose(self, look: _Look) -> None:
        shade = self._skin * 0.62
        length = float(self._random.uniform(0.17, 0.26))
        self._line([(0.02, -0.12), (0.11, length), (0.0, length + 0.05), (-0.08, length + 0.01)], shade, 0.045)
        if look is _LOOKS["disgust"]:  # wrinkles across and beside it
            for y in (-0.22, -0.13, -0.04):
                self._line([(-0.10, y - 0.03), (0.0, y + 0.02), (0.10, y - 0.03)], self._ink, 0.04)
            for side in (-1, 1):
                self._line([(side * 0.18, 0.12), (side * 0.36, 0.36), (side * 0.40, 0.52)], shade * 0.8, 0.05)

    def _mouth(self, look: _Look) -> None:
        width = self._jitter(look.mouth_width, 0.02)
        curve = self._jitter(look.mouth_curve, 0.015)
        opening = max(0.0, self._jitter(look.mouth_open, 0.012)) if look.mouth_open else 0.0
        middle = 0.66
        xs = np.linspace(-1, 1, 15)
        tilt = 0.07 if look is _LOOKS["disgust"] else 0.0  # one side of the upper lip is raised
        if look is _LOOKS["surprise"]:
            self._ellipse((0, middle + 0.05), (width, opening), self._ink * 0.7)
            ring = [(width * np.cos(a), middle + 0.05 + opening * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 24)]
            self._line(ring, self._skin * 0.55, 0.06)
            return
        base = [(width * x, middle - curve * (x * x - 0.4) - tilt * x) for x in xs]
        if not opening:
            self._line(base, self._ink, 0.075)
            return
        round_off = np.sqrt(np.clip(1 - xs**2, 0, 1)) if look is _LOOKS["happy"] else (1 - xs**8)
        upper = [(x, y - opening * (0.25 if curve > 0 else 1) * r) for (x, y), r in zip(base, round_off, strict=True)]
        lower = [(x, y + opening * (1.6 if curve > 0 else 1) * r) for (x, y), r in zip(base, round_off, strict=True)]
        self._polygon(upper + lower[::-1], self._ink * 0.7)
        if look.teeth:
            bite = [(x, y + (low - y) * 0.55) for (x, y), (_, low) in zip(upper, lower, strict=True)]
            self._polygon(upper[1:-1] + bite[1:-1][::-1], 238)
            if look is _LOOKS["angry"]:  # clenched: teeth below as well
                self._polygon(bite[1:-1] + lower[1:-1][::-1], 215)
                self._line(bite[1:-1], self._ink, 0.03)
        self._line([*upper, *lower[::-1], upper[0]], self._skin * 0.5, 0.045)

    def _details(self, look: _Look) -> None:
        shade = self._skin * 0.72
        if look is _LOOKS["angry"]:
            for side in (-1, 1):
                self._line([(side * 0.07, -0.60), (side * 0.05, -0.36)], shade, 0.045)
        if look is _LOOKS["happy"]:
            for side in (-1, 1):
                self._line([(side * 0.44, 0.22), (side * 0.58, 0.44), (side * 0.57, 0.62)], shade, 0.045)
        if look is _LOOKS["fear"]:
            for y in (-0.84, -0.92):
                self._line([(-0.3, y + 0.02), (0, y - 0.01), (0.3, y + 0.02)], shade, 0.035)
        if look is _LOOKS["sad"]:
            x = 0.44 if self._random.random() < 0.5 else -0.44
            self._ellipse((x, 0.12), (0.045, 0.10), min(250.0, self._skin + 60))
        if self._random.random() < 0.15:
            for side in (-1, 1):
                ring = [(side * 0.40 + 0.27 * np.cos(a), -0.19 + 0.25 * np.sin(a)) for a in np.linspace(0, 6.3, 28)]
                self._line(ring, 35, 0.03)
            self._line([(-0.13, -0.22), (0.13, -0.22)], 35, 0.03)

    def _lit(self) -> Pixels:
        """Light from one side, as a smooth gain over the picture."""
        angle = self._random.uniform(0, 2 * np.pi)
        strength = self._random.uniform(0.05, 0.40)
        y, x = np.mgrid[-1 : 1 : self._canvas * 1j, -1 : 1 : self._canvas * 1j].astype(np.float32)
        gain = 1 + strength * (x * np.cos(angle) + y * np.sin(angle))
        return np.clip(self._image * gain, 0, 255).astype(np.uint8)

    def _place(self, points: Sequence[tuple[float, float]]) -> NDArray[np.int32]:
        cos, sin = np.cos(self._turn), np.sin(self._turn)
        turned = np.array(points) @ np.array([[cos, sin], [-sin, cos]])
        return np.round((turned * self._half + self._centre) * 2**_SHIFT).astype(np.int32)

    def _polygon(self, points: Sequence[tuple[float, float]], shade: float) -> None:
        cv2.fillPoly(self._image, [self._place(points)], float(shade), cv2.LINE_AA, _SHIFT)

    def _ellipse(self, centre: tuple[float, float], radii: tuple[float, float], shade: float) -> None:
        angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        self._polygon([(centre[0] + radii[0] * np.cos(a), centre[1] + radii[1] * np.sin(a)) for a in angles], shade)

    def _line(self, points: Sequence[tuple[float, float]], shade: float, width: float) -> None:
        thickness = max(1, round(width * self._half))
        cv2.polylines(self._image, [self._place(points)], False, float(shade), thickness, cv2.LINE_AA, _SHIFT)


def _rounded(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Cuts the corners of a closed line three times (Chaikin's method)."""
    line = np.array(points)
    for _ in range(3):
        following = np.roll(line, -1, axis=0)
        line = np.stack([0.75 * line + 0.25 * following, 0.25 * line + 0.75 * following], 1).reshape(-1, 2)
    return [(float(x), float(y)) for x, y in line]


# The two archives ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Photo:
    """One picture of the set: uint8 ``[48, 48]``."""

    split: str
    emotion: str
    image: Pixels


def draw_demo(out: Path, seed: int = 42, progress: Progress = silent) -> list[Path]:
    """Draws the set and writes it twice, in the layouts of the two Kaggle data sets.

    Both hold the same pictures, one as JPEG and the other as PNG. Some test pictures have an exact, near or
    mirrored copy in train, some pictures come with two labels, and one is black, as in FER2013.

    Args:
        out: Folder for the two zips; it is made if missing.
        seed: Decides everything.
        progress: Told of every face.

    Returns:
        The paths of ``fer2013.zip`` and ``emotion-detection-fer.zip``.

    Raises:
        DatasetError: One of the two is there already.
        FerError: The folder cannot be written.
    """
    paths = [out / "fer2013.zip", out / "emotion-detection-fer.zip"]
    for path in paths:
        check_free(path)
    photos = _photos(seed, progress)
    names = (_fer2013_names(photos, seed), _edf_names(photos))
    encoders: tuple[Callable[[Pixels], bytes], ...] = (_encode_jpeg, encode_png)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, entries, encode in zip(paths, names, encoders, strict=True):
            _write_zip(path, entries, [encode(photo.image) for photo in photos])
    except OSError as error:
        raise from_os_error(error, out) from error
    return paths


def _photos(seed: int, progress: Progress) -> list[_Photo]:
    random = np.random.default_rng(seed)
    wanted = [("train", e) for e, n in _TRAIN.items() for _ in range(n)]
    wanted += [("test", e) for e, n in _TEST.items() for _ in range(n)]
    photos = []
    for number, (split, emotion) in enumerate(wanted, start=1):
        face = draw_face(emotion, seed * 100_003 + number)
        noise = random.normal(0, random.uniform(2, 6), face.shape)
        photos.append(_Photo(split, emotion, np.clip(face + noise, 0, 255).astype(np.uint8)))
        if number % 20 == 0:
            progress("Drawing faces", number, len(wanted))
    progress("Drawing faces", len(wanted), len(wanted))
    test = [photo for photo in photos if photo.split == "test"]
    shuffled = [test[index] for index in random.permutation(len(test))]
    cuts = np.cumsum([round(share * len(test)) for share in (_EXACT, _NEAR, _MIRRORED)])
    exact, near, mirrored = shuffled[: cuts[0]], shuffled[cuts[0] : cuts[1]], shuffled[cuts[1] : cuts[2]]
    copies = [photo.image for photo in exact]
    copies += [_cropped(photo.image) for photo in near]
    copies += [np.ascontiguousarray(photo.image[:, ::-1]) for photo in mirrored]
    sources = [*exact, *near, *mirrored]
    photos += [_Photo("train", photo.emotion, copy) for photo, copy in zip(sources, copies, strict=True)]
    doubted = [photo for photo in photos if photo.split == "train" and photo.emotion == "fear"][:_CONFLICTS]
    photos += [_Photo("train", "surprise", photo.image) for photo in doubted]
    photos.append(_Photo("train", "angry", np.zeros((48, 48), np.uint8)))
    return photos


def _cropped(image: Pixels) -> Pixels:
    """The same picture one pixel closer and with other contrast."""
    inner = cv2.resize(image[1:-1, 1:-1], (48, 48), interpolation=cv2.INTER_CUBIC)
    return np.clip(inner.astype(np.float32) * 0.85 + 12, 0, 255).astype(np.uint8)


def _fer2013_names(photos: Sequence[_Photo], seed: int) -> list[str]:
    ids = np.random.default_rng(seed).choice(10**8, len(photos), replace=False)
    usage = {"train": "Training", "test": "PublicTest"}
    return [f"{p.split}/{p.emotion}/{usage[p.split]}_{i}.jpg" for p, i in zip(photos, ids, strict=True)]


def _edf_names(photos: Sequence[_Photo]) -> list[str]:
    numbers: dict[str, int] = {}
    names = []
    for photo in photos:
        folder = f"{photo.split}/{_ADJECTIVES[photo.emotion]}"
        numbers[folder] = numbers.get(folder, -1) + 1
        names.append(f"{folder}/im{numbers[folder]}.png")
    return names


def _encode_jpeg(image: Pixels) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def _write_zip(path: Path, names: Sequence[str], pictures: Sequence[bytes]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for name, data in zip(names, pictures, strict=True):
                # A fixed date: the same seed gives the same file.
                archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
