"""Where a model looked: Grad-CAM (Selvaraju et al. 2017) from what a served model itself can answer."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.emotions import INDEX
from fer_core.inference.predictor import Predictor
from fer_core.preprocessing import Pixels

_STRENGTH: Final = 0.65  # of the colours over the face, where the influence is greatest: its lines stay visible


def heat_map(predictor: Predictor, crop: Pixels, emotion: str) -> NDArray[np.float32]:
    """How much each place of a face speaks for an expression.

    Args:
        predictor: Its model must explain itself, see ``Predictor.explains``.
        crop: uint8 ``[H, W, C]``, as the model reads it.
        emotion: Any of the seven, also one that the model does not say.

    Returns:
        float32 ``[h, w]``, as fine as the model's last features: 0 where a place says nothing for it (or speaks against
        it), 1 where it speaks for it most; all 0 if no place does.

    Raises:
        ModelError: The model does not explain itself, fails, or reads pictures of another size.
    """
    features, gradient = predictor.explain(crop[None])
    # Pooling takes the mean, so the gradient of a logit by each place is that by the pooled features, up to a factor.
    heat = np.maximum(features[0] @ gradient[0, INDEX[emotion]], 0)
    most = heat.max()
    return np.asarray(heat / most if most > 0 else heat, np.float32)


def overlay(crop: Pixels, heat: NDArray[np.float32], side: int) -> Pixels:
    """A face with its heat map over it.

    Args:
        crop: uint8 ``[H, W, C]``.
        heat: From ``heat_map``.
        side: Height and width of the result in pixels.

    Returns:
        uint8 RGB ``[side, side, 3]``: gray where nothing speaks for the expression, then violet to yellow (viridis,
        which is told apart with any colour vision and in print).
    """
    gray = crop[..., 0] if crop.shape[-1] == 1 else cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    face = cv2.cvtColor(cv2.resize(gray, (side, side), interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2RGB)
    fine = np.clip(cv2.resize(heat, (side, side), interpolation=cv2.INTER_CUBIC), 0, 1)
    colours = cv2.applyColorMap((255 * fine).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    share = _STRENGTH * fine[..., None]
    return np.asarray((1 - share) * face + share * colours, np.uint8)
