"""Which output is which class, and which pixel values a foreign model expects: found out on labelled pictures.

Neither is in a model file. Two orders of the classes are in use: that of FER2013's numbers, and the alphabetical
one of folders, which Keras' directory readers give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fer_core.emotions import EMOTIONS, parse_emotion
from fer_core.errors import ConfigError, ModelError
from fer_core.evaluation.metrics import wilson_interval

ORDERS: Final[dict[str, tuple[str, ...]]] = {"FER2013": EMOTIONS, "alphabetical": tuple(sorted(EMOTIONS))}
"""Orders that are tried; the adjectives of the other Kaggle archive (``disgusted``) sort alike."""

DETECT: Final = "detect"


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

_HINT_GAIN: Final = 0.05
"""How much more than the known orders a free assignment of the classes must fit to be believed."""


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


def parse_order(text: str) -> tuple[str, ...] | None:
    """Reads ``--labels``: seven names, ``fer2013`` or ``alphabetical``; None for ``detect``.

    Raises:
        ConfigError: It is none of these, or not each class once.
    """
    word = text.strip().lower()
    if word == DETECT:
        return None
    for name, order in ORDERS.items():
        if word == name.lower():
            return order
    names = [part.strip() for part in text.split(",")]
    found = [parse_emotion(name) for name in names]
    if sorted(filter(None, found)) != sorted(EMOTIONS) or len(found) != len(EMOTIONS):
        unknown = [name for name, emotion in zip(names, found, strict=True) if emotion is None]
        problem = f"{unknown[0]!r} is none of the seven" if unknown else f"{len(names)} names, not each class once"
        raise ConfigError(
            f"--labels {text}: {problem}. Name all of {', '.join(EMOTIONS)} in the order of the model's outputs, "
            "or say fer2013, alphabetical or detect."
        )
    return tuple(emotion for emotion in found if emotion is not None)


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
    candidates = {"stated": tuple(order)} if order else ORDERS
    predicted = {scale: np.nan_to_num(values, nan=-np.inf).argmax(axis=1) for scale, values in outputs.items()}
    hits = {
        (scale, name): np.array([EMOTIONS.index(emotion) for emotion in classes])[answer] == labels
        for scale, answer in predicted.items()
        for name, classes in candidates.items()
    }
    scale, name = max(hits, key=lambda key: float(hits[key].mean()))  # the first of equals
    best, n = hits[scale, name], len(labels)
    fits = ", ".join(
        f"{other} order fits {hits[scale, other].mean():.0%}"
        for other in sorted(candidates, key=lambda other: -float(hits[scale, other].mean()))
    )
    others = ", ".join(f"{other} {hits[other, name].mean():.0%}" for other in outputs if other != scale)
    evidence = f"{fits} of {n:,} {source} with pixel values {scale}" + (f" ({others})" if others else "")
    evidence = evidence.replace("%", " %")
    if order is None:
        _check_free_assignment(predicted[scale], labels, best, evidence)
    # Always naming the most frequent class fits as well.
    share = np.bincount(labels, minlength=len(EMOTIONS)).max() / n
    if wilson_interval(int(best.sum()), n)[0] <= share:
        raise ModelError(
            f"Nothing fits: {evidence}, where always naming the most frequent class fits {100 * share:.0f} %. "
            "State --labels and --scale if you know them."
        )
    for other in candidates:
        if other != name and not _clearly_better(best, hits[scale, other]):
            raise ModelError(f"The order cannot be told: {evidence}. Use more pictures, or state --labels.")
    return Detected(candidates[name], scale, evidence)


def _clearly_better(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> bool:
    """Whether a paired difference is outside its 95% interval (McNemar 1947)."""
    won, lost = int((first & ~second).sum()), int((second & ~first).sum())
    return bool(won - lost > 1.96 * np.sqrt(won + lost))


def _check_free_assignment(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], best: NDArray[np.bool_], evidence: str
) -> None:
    """Raises ModelError where quite another order fits much better than the known ones."""
    size = len(EMOTIONS)
    table = np.bincount(predicted * size + labels, minlength=size * size).reshape(size, size)
    every = np.array(list(permutations(range(size))))  # 5,040
    fits = table[np.arange(size), every].sum(axis=1)
    free = every[fits.argmax()]
    if fits.max() / len(labels) < best.mean() + _HINT_GAIN or not _clearly_better(free[predicted] == labels, best):
        return
    names = ",".join(EMOTIONS[label] for label in free)
    raise ModelError(
        f"The outputs are in neither known order: {evidence}; but --labels {names} fits "
        f"{100 * fits.max() / len(labels):.0f} %. Say so if that is right."
    )
