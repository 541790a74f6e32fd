"""Where a model looked in a face, by two methods that need no training framework; neither says why."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fer_core.emotions import INDEX
from fer_core.inference.batch import annotated_name
from fer_core.inference.images import PictureResult
from fer_core.inference.predictor import Predictor
from fer_core.preprocessing import Pixels

GRAD_CAM: Final = "Grad-CAM"
OCCLUSION: Final = "Occlusion"

_PATCH: Final = 1 / 4  # side of what occlusion covers at a time, of the face's: an eye or the mouth, 12 of 48 pixels
_PLACES: Final = 8  # along each side where it is put: every 6 of 48 pixels
_LITTLE: Final = 0.01  # of a probability: a map is relative to its brightest place, however little that is
_STRENGTH: Final = 0.65  # of the colours over the face, where the influence is greatest: its lines stay visible
_COLOURS: Final = {"light": ("#FFFFFF", "#1B2226"), "dark": ("#0F1318", "#E6EAED")}  # paper and ink


def methods(predictor: Predictor) -> tuple[str, ...]:
    """By which a model can be explained, the quicker one first; occlusion is possible with any."""
    return (GRAD_CAM, OCCLUSION) if predictor.explains else (OCCLUSION,)


def heat_map(predictor: Predictor, crop: Pixels, emotion: str) -> NDArray[np.float32]:
    """How much each place of a face speaks for an expression: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391).

    Args:
        predictor: Its model must give what this is made of, see ``Predictor.explains``.
        crop: uint8 ``[H, W, C]``, as the model reads it.
        emotion: Any of the seven, also one that the model does not say.

    Returns:
        float32 ``[h, w]``, as fine as the model's last features: 0 where a place says nothing for it (or speaks against
        it), 1 where it speaks for it most; all 0 if no place does.

    Raises:
        ModelError: The model gives probabilities alone, fails, or reads pictures of another size.
    """
    features, gradient = predictor.explain(crop[None])
    # Pooling takes the mean, so the gradient of a logit by each place is that by the pooled features, up to a factor.
    return relative(features[0] @ gradient[0, INDEX[emotion]])


def occlusion_map(predictor: Predictor, crop: Pixels, emotion: str) -> NDArray[np.float32]:
    """How much less probable an expression is where a face is covered (Zeiler and Fergus 2014, arXiv:1311.2901).

    A patch of the face's own mean colour, a quarter as wide and high as the face, covers one place of a regular grid
    after the other; at the borders only its part inside the face. The model is asked about all copies at once.

    Args:
        predictor: Any model.
        crop: uint8 ``[H, W, C]``, as the model reads it.
        emotion: Any of the seven, also one that the model does not say.

    Returns:
        float32 ``[8, 8]``, by where the patch has its middle: the drop of the probability, -1 to 1. It is 0.2 where
        covering lowers it by 20 points, and negative where covering raises it.

    Raises:
        ModelError: The model fails, or reads pictures of another size.
    """
    rows, columns = (_covered(side) for side in crop.shape[:2])
    copies = np.repeat(crop[None], 1 + len(rows) * len(columns), axis=0)
    for copy, patch in zip(copies[1:], product(rows, columns), strict=True):
        copy[patch] = crop.mean(axis=(0, 1)).round()
    whole, *covered = predictor.classify(copies)[:, INDEX[emotion]]
    return np.asarray(whole - np.reshape(covered, (len(rows), len(columns))), np.float32)


def _covered(side: int) -> list[slice]:
    """What a patch covers of a side of so many pixels, at each of its places."""
    middles, half = (np.arange(_PLACES) + 0.5) / _PLACES, _PATCH / 2
    return [slice(max(0, round(side * (at - half))), round(side * (at + half))) for at in middles]


def relative(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """A map from 0, where a place says nothing for an expression or speaks against it, to 1, where it does most."""
    positive = np.maximum(values, 0)
    most = positive.max()
    return np.asarray(positive / most if most > 0 else positive, np.float32)


def occlusion_heat(drops: NDArray[np.float32]) -> NDArray[np.float32]:
    """``relative`` of an occlusion map; all 0 where no place lowers the probability by a point, as good as nothing."""
    return relative(drops) if drops.max() >= _LITTLE else np.zeros_like(drops)


def grid_words(heat: NDArray[np.float32]) -> str:
    """How fine a map is: ``3 x 3 places``."""
    rows, columns = heat.shape
    return f"{rows} x {columns} places"


def agreement(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """How alike two maps of a face are: their correlation, -1 to 1, on the coarser one's grid.

    Returns:
        NaN where one of them is the same everywhere.
    """
    coarse, fine = sorted((one, other), key=lambda heat: heat.size)
    fine = cv2.resize(fine, coarse.shape[::-1], interpolation=cv2.INTER_AREA)
    with np.errstate(invalid="ignore"):
        return float(np.corrcoef(coarse.ravel(), fine.ravel())[0, 1])


def overlay(crop: Pixels, heat: NDArray[np.float32], side: int) -> Pixels:
    """A face with its heat map over it.

    Args:
        crop: uint8 ``[H, W, C]``.
        heat: 0 to 1, from ``heat_map`` or ``occlusion_heat``.
        side: Height and width of the result in pixels.

    Returns:
        uint8 RGB ``[side, side, 3]``: gray where nothing speaks for the expression, then violet to yellow (viridis,
        which is told apart with any colour vision and in print).
    """
    gray = crop[..., 0] if crop.shape[-1] == 1 else cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    face = cv2.resize(gray, (side, side), interpolation=cv2.INTER_CUBIC)
    return _coloured(face, cv2.resize(heat, (side, side), interpolation=cv2.INTER_CUBIC))


def _coloured(gray: Pixels, heat: NDArray[np.float32]) -> Pixels:
    fine = np.clip(heat, 0, 1)
    colours = cv2.applyColorMap((255 * fine).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    share = _STRENGTH * fine[..., None]
    return np.asarray((1 - share) * gray[..., None] + share * colours, np.uint8)


def legended(
    crop: Pixels, heat: NDArray[np.float32], emotion: str, method: str, theme: str = "light", side: int = 480
) -> Pixels:
    """``overlay``, and under it what it is of, by which method, and what its colours mean.

    Args:
        crop: uint8 ``[H, W, C]``.
        heat: 0 to 1, from ``heat_map`` or ``occlusion_heat``.
        emotion: Which expression the map is of.
        method: ``GRAD_CAM`` or ``OCCLUSION``.
        theme: Of the paper below the face, "light" or "dark".
        side: Of the face in pixels; the words grow with it.

    Returns:
        uint8 RGB ``[1.2 side, side, 3]``.
    """
    paper, ink = _COLOURS[theme]
    size, middle, bar = side / 19, round(1.15 * side), (round(0.45 * side), round(side / 25))
    picture = Image.new("RGB", (side, round(1.2 * side)), paper)
    picture.paste(Image.fromarray(overlay(crop, heat, side)))
    ramp = np.tile(np.linspace(0, 1, bar[0], dtype=np.float32), (bar[1], 1))
    legend = _coloured(np.full(ramp.shape, 128, np.uint8), ramp)
    left = round((side - bar[0] + 1.3 * size) / 2)  # "nothing" is longer than "most"
    picture.paste(Image.fromarray(legend), (left, middle - bar[1] // 2))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size)
    draw.text((side / 2, 1.06 * side), f"{emotion.capitalize()} · {method}, {grid_words(heat)}", ink, font, "mm")
    draw.text((left - size / 2, middle), "nothing", ink, font, "rm")
    draw.text((left + bar[0] + size / 2, middle), "most", ink, font, "lm")
    return np.asarray(picture)


def write_explained(folder: Path, number: int, result: PictureResult, predictor: Predictor) -> None:
    """Writes a PNG for each face of a picture: what speaks for the expression that it appears to have.

    Args:
        folder: Where to.
        number: Of the picture among all, from 1.
        result: What was found in it, by the same model.
        predictor: The model; by Grad-CAM if it can be explained so, else by occlusion.

    Raises:
        ModelError: The model fails.
    """
    method = methods(predictor)[0]
    stem = Path(annotated_name(number, result.path)).stem
    for place, face in enumerate(result.faces, start=1):
        if method == GRAD_CAM:
            heat = heat_map(predictor, face.crop, face.emotion)
        else:
            heat = occlusion_heat(occlusion_map(predictor, face.crop, face.emotion))
        picture = legended(face.crop, heat, face.emotion, method)
        Image.fromarray(picture).save(folder / f"{stem}-{place}-{face.emotion}.png")
