"""Which of seven outputs is which class: how well the orders in use fit labelled pictures.

Two orders are in use: that of FER2013's numbers, and the alphabetical one of folders, which Keras' directory readers
give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.emotions import EMOTIONS, parse_emotion
from fer_core.errors import ConfigError
from fer_core.evaluation.metrics import wilson_interval

ORDERS: Final[dict[str, tuple[str, ...]]] = {"FER2013": EMOTIONS, "alphabetical": tuple(sorted(EMOTIONS))}
"""Orders that are tried; the adjectives of the other Kaggle archive (``disgusted``) sort alike."""

DETECT: Final = "detect"

_HINT_GAIN: Final = 0.05
"""How much more than the known orders a free assignment of the classes must fit to be believed."""


@dataclass(frozen=True)
class Fits:
    """How well some orders fit labelled pictures.

    Attributes:
        shares: Share of the pictures that are read rightly in each order, the best first.
        n: Number of pictures.
        frequent: Share of the most frequent class: always naming it fits as well.
        order: The order that fits clearly better than the others and than that; None where none does.
        other: Quite another order that fits much better than all of them, and its share.
    """

    shares: dict[str, float]
    n: int
    frequent: float
    order: tuple[str, ...] | None
    other: tuple[tuple[str, ...], float] | None = None

    @property
    def words(self) -> str:
        """``alphabetical order fits 67 %, FER2013 order 31 %``."""
        (best, share), *others = self.shares.items()
        return ", ".join(
            [f"{best} order fits {_percent(share)}", *(f"{name} order {_percent(fit)}" for name, fit in others)]
        )

    @property
    def option(self) -> str:
        """The option of commands that states the order, with ``other`` if that was found."""
        return f"--labels {order_text(self.other[0])}" if self.other else "--labels"

    def doubt(self, evidence: str) -> str:
        """Why none of the orders is the right one beyond doubt, in a sentence with the evidence; empty where one is."""
        if self.other is not None:
            order, share = self.other
            return f"Neither known order fits: {evidence}; but the order {', '.join(order)} fits {_percent(share)}."
        if self.order is not None:
            return ""
        hits = round(max(self.shares.values()) * self.n)
        if wilson_interval(hits, self.n)[0] <= self.frequent:
            return (
                f"Nothing fits: {evidence}, where always naming the most frequent class fits {_percent(self.frequent)}."
            )
        return f"The order cannot be told: {evidence}. More pictures may tell."


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


def order_text(order: tuple[str, ...]) -> str:
    """An order as ``--labels`` takes it."""
    return next((name.lower() for name, known in ORDERS.items() if known == order), ",".join(order))


def fit_orders(predicted: NDArray[np.int64], labels: NDArray[np.int64], stated: tuple[str, ...] | None = None) -> Fits:
    """Finds the order of seven outputs that fits labelled pictures best.

    Args:
        predicted: Which output is the largest, int64 ``[N]``.
        labels: int64 ``[N]``, indices into ``EMOTIONS``.
        stated: The order, if it is known; then it alone is tried.
    """
    candidates: Mapping[str, tuple[str, ...]] = {"stated": stated} if stated else ORDERS
    hits = {
        name: np.array([EMOTIONS.index(emotion) for emotion in classes])[predicted] == labels
        for name, classes in candidates.items()
    }
    names = sorted(hits, key=lambda name: -float(hits[name].mean()))  # the first of equals stays first
    best, n = hits[names[0]], len(labels)
    frequent = _frequent(labels)
    clear = wilson_interval(int(best.sum()), n)[0] > frequent and all(
        _clearly_better(best, hits[name]) for name in names[1:]
    )
    return Fits(
        shares={name: float(hits[name].mean()) for name in names},
        n=n,
        frequent=frequent,
        order=candidates[names[0]] if clear else None,
        other=None if stated else _better_order(predicted, labels, best),
    )


def misfit(predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> str:
    """What speaks against the names of seven outputs, in a sentence; empty where nothing does.

    Args:
        predicted: The class named, int64 ``[N]``, an index into ``EMOTIONS``.
        labels: int64 ``[N]``, likewise.
    """
    hits = predicted == labels
    if better := _better_order(predicted, labels, hits):
        order, share = better
        moved = ", ".join(f"{named} is {truly}" for named, truly in zip(EMOTIONS, order, strict=True) if named != truly)
        return (
            f"The classes may be named in a wrong order: as named they fit {_percent(hits.mean())}, but "
            f"{_percent(share)} if what is called {moved}. Check the names of the columns, or the order that was "
            "stated."
        )
    frequent = _frequent(labels)
    if hits.mean() < frequent:
        return (
            f"They fit {_percent(hits.mean())}, less than always naming the most frequent class "
            f"({_percent(frequent)}): check that they are of these images."
        )
    return ""


def _frequent(labels: NDArray[np.int64]) -> float:
    """Share of the most frequent class."""
    return float(np.bincount(labels).max() / len(labels))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _clearly_better(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> bool:
    """Whether a paired difference is outside its 95% interval (McNemar 1947)."""
    won, lost = int((first & ~second).sum()), int((second & ~first).sum())
    return bool(won - lost > 1.96 * np.sqrt(won + lost))


def _better_order(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], best: NDArray[np.bool_]
) -> tuple[tuple[str, ...], float] | None:
    """The free assignment of classes to outputs that fits best, and its share, where that is much better."""
    size = len(EMOTIONS)
    table = np.bincount(predicted * size + labels, minlength=size * size).reshape(size, size)
    every = np.array(list(permutations(range(size))))  # 5,040
    fits = table[np.arange(size), every].sum(axis=1)
    free, share = every[fits.argmax()], float(fits.max() / len(labels))
    # The best of 5,040 fits chance, too.
    if wilson_interval(int(fits.max()), len(labels))[0] <= _frequent(labels):
        return None
    if share < best.mean() + _HINT_GAIN or not _clearly_better(free[predicted] == labels, best):
        return None
    return tuple(EMOTIONS[label] for label in free), share
