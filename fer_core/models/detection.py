"""Which output is which class, and which pixel values a foreign model expects: found out on labelled pictures.

Neither is in a model file. The orders that are tried are those of ``evaluation.orders``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fer_core.errors import ModelError
from fer_core.evaluation.orders import fit_orders


class Scale(NamedTuple):
    """What becomes of a pixel value from 0 to 255: ``value * factor + offset``, by channel in RGB order.

    With ``reverse`` the channels are then handed over as BGR.
    """

    factors: tuple[float, float, float]
    offsets: tuple[float, float, float] = (0.0, 0.0, 0.0)
    reverse: bool = False

    @property
    def gray(self) -> bool:
        """Whether it makes sense for one channel."""
        return len(set(self.factors)) == len(set(self.offsets)) == 1


_FER2013_MEAN, _FER2013_STD = 0.508, 0.255  # of its train split, from 0 to 1
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

SCALES: Final = {
    "0-1": Scale((1 / 255,) * 3),
    "0-255": Scale((1.0,) * 3),
    "-1-1": Scale((1 / 127.5,) * 3, (-1.0,) * 3),
    # ImageNet's statistics, as keras.applications.imagenet_utils applies them.
    "imagenet-caffe": Scale((1.0,) * 3, (-123.68, -116.779, -103.939), reverse=True),
    "imagenet-torch": Scale(
        (1 / (255 * _STD[0]), 1 / (255 * _STD[1]), 1 / (255 * _STD[2])),
        (-_MEAN[0] / _STD[0], -_MEAN[1] / _STD[1], -_MEAN[2] / _STD[2]),
    ),
    "fer2013": Scale((1 / (255 * _FER2013_STD),) * 3, (-_FER2013_MEAN / _FER2013_STD,) * 3),
}
"""What models are trained to expect of pixel values, by name."""


@dataclass(frozen=True)
class Detected:
    """What was found out.

    Attributes:
        order: The class of each output, in the order of the outputs.
        scale: A key of ``SCALES``.
        evidence: A sentence with the figures.
    """

    order: tuple[str, ...]
    scale: str
    evidence: str


def detect(
    outputs: Mapping[str, NDArray[np.float32]],
    labels: NDArray[np.int64],
    order: Sequence[str] | None,
    source: str,
) -> Detected:
    """Finds the order of the outputs and the scale of the pixels that fit labelled pictures best.

    Args:
        outputs: For each scale tried, what the model gives, float ``[N, 7]``.
        labels: int64 ``[N]``, indices into ``EMOTIONS``.
        order: The order, if it is known; then only the scale is looked for.
        source: What the pictures are, in words.

    Raises:
        ModelError: Nothing fits clearly better than chance, or than the next best order.
    """
    stated = tuple(order) if order else None
    fits = {
        scale: fit_orders(np.nan_to_num(values, nan=-np.inf).argmax(axis=1), labels, stated)
        for scale, values in outputs.items()
    }
    best = {scale: next(iter(fit.shares.values())) for scale, fit in fits.items()}
    scale = max(best, key=lambda key: best[key])  # the first of equals
    name = next(iter(fits[scale].shares))
    others = ", ".join(f"{other} {100 * fit.shares[name]:.0f} %" for other, fit in fits.items() if other != scale)
    evidence = f"{fits[scale].words} of {len(labels):,} {source} with pixel values {scale}"
    evidence += f" ({others})" if others else ""
    if doubt := fits[scale].doubt(evidence):
        raise ModelError(f"{doubt} State {fits[scale].option} and --scale if you know them.")
    found = fits[scale].order
    assert found is not None  # there is no doubt
    return Detected(found, scale, evidence)
