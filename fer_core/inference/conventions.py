"""Which output is which class, and which pixel values a foreign model expects: stated, or found out on pictures.

Neither is in a model file. The orders that are tried are those of ``evaluation.orders``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from fer_core.emotions import EMOTIONS
from fer_core.errors import ModelError
from fer_core.evaluation.orders import fit_orders

if TYPE_CHECKING:
    from fer_core.data.dataset import Split
    from fer_core.preprocessing import Pixels


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

SHRINKS: Final = 0.1
"""A factor below this (1/255, 1/127.5) brings bytes to scale; standardising values up to 1 multiplies them."""

MAX_SAMPLES: Final = 700
"""Labelled pictures to look at: enough to tell 60 % from 31 % beyond doubt, few enough for a large network."""


@dataclass(frozen=True)
class Samples:
    """Labelled pictures of a validation split, and what they are in words."""

    split: Split
    source: str


class Stated(BaseModel):
    """What is known of a foreign model; ``scale`` and ``order`` are looked for on ``samples`` where they are None.

    ``samples`` names an ``.npz`` with ``images`` (uint8 ``[N, H, W, C]``) and ``labels`` (int ``[N]``),
    ``source`` says in words what they are.
    """

    order: tuple[str, ...] | None
    scale: str | None
    samples: Path | None = None
    source: str = ""

    def with_samples(self, samples: Samples, folder: Path) -> Self:
        """The same with pictures, which are written into a folder for the process that looks at them."""
        file = folder / "samples.npz"
        np.savez(file, images=samples.split.images, labels=samples.split.labels)
        return self.model_copy(update={"samples": file, "source": samples.source})


@dataclass(frozen=True)
class Convention:
    """What a foreign model means: the class of each output, a key of ``SCALES``, and sentences for the model card."""

    order: tuple[str, ...]
    scale: str
    notes: list[str]


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


def possible_scales(channels: int) -> list[str]:
    """Keys of ``SCALES`` that make sense for pictures of so many channels."""
    return [name for name, scale in SCALES.items() if channels == 3 or scale.gray]


def other_classes(file: Path, sizes: Sequence[object]) -> ModelError:
    """The error for a model whose outputs, of so many numbers a picture, cannot be the seven classes."""
    return ModelError(
        f"{file}: the model gives {' x '.join(map(str, sizes))} outputs; expected {len(EMOTIONS)}, one for each of "
        f"{', '.join(EMOTIONS)}. It was made for other classes."
    )


def choose_samples(split: Split, source: str) -> Samples:
    """At most ``MAX_SAMPLES`` pictures of a split, drawn with a fixed seed."""
    from fer_core.data.dataset import Split  # pandas: pages that only offer scales do without

    if len(split) == 0:
        raise ModelError(f"{source} holds no pictures to look at. Choose a dataset with a validation split.")
    chosen = np.sort(np.random.default_rng(0).permutation(len(split))[:MAX_SAMPLES])
    part = Split(split.images[chosen], split.labels[chosen], split.table.iloc[chosen])
    return Samples(part, f"validation pictures of {source}")


def find_convention(
    stated: Stated,
    samples: tuple[Pixels, NDArray[np.int64]] | None,
    answers: Callable[[Pixels, str], NDArray[np.float32]],
    scales: Sequence[str],
    *,
    rescales: bool,
) -> Convention:
    """What was stated, completed by what fits labelled pictures or, where there are none, by what is usual.

    Args:
        stated: Without an order, ``samples`` are needed.
        samples: Pictures as the model reads them, and their labels.
        answers: What the model gives for pictures with pixel values of a scale, float ``[N, 7]``.
        scales: Those that are tried where none is stated.
        rescales: Whether it expects values up to 255.

    Raises:
        ModelError: Nothing fits.
    """
    order, scale, notes = stated.order, stated.scale, []
    if samples and (order is None or scale is None):
        images, labels = samples
        tried = {name: answers(images, name) for name in ([scale] if scale else scales)}
        found = detect(tried, labels, order, stated.source)
        notes.append(f"{'Labels and pixel values' if order is None else 'Pixel values'} detected: {found.evidence}.")
        order, scale = found.order, found.scale
    elif scale is None:
        scale = "0-255" if rescales else "0-1"
        reason = "the model rescales them itself" if rescales else "which is the usual choice"
        notes.append(
            f"Pixel values taken to be {scale}, {reason}; the file does not say. State --scale if it is wrong."
        )
    assert order is not None  # the caller asks for detection only with samples
    if stated.order:
        notes.append(f"Labels as stated: {', '.join(order)}.")
    if stated.scale:
        notes.append(f"Pixel values as stated: {scale}.")
    return Convention(order, scale, notes)
