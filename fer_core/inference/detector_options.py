"""How faces are looked for: what the command line offers, without loading OpenCV."""

from __future__ import annotations

from dataclasses import dataclass, fields

from fer_core.errors import FerError


@dataclass(frozen=True)
class DetectorOptions:
    """How faces are looked for.

    Attributes:
        min_face: Width in pixels of the smallest face wanted; 0 for all that the detector finds.
        score: Score below which what ``yunet`` finds is no face, 0 to 1. ``haar`` and ``none`` give no scores.
        margin: What a crop shows around the framing of the training pictures, on each side, as a share of its side;
            less than 0 for a tighter crop. ``none`` takes the picture as it is.

    Raises:
        FerError: A value is out of range.
    """

    min_face: int = 0
    score: float = 0.7
    margin: float = 0.0

    def __post_init__(self) -> None:
        if self.min_face < 0:
            raise FerError(f"The smallest face is {self.min_face} pixels wide; give 0 or more.")
        if not 0 <= self.score <= 1:
            raise FerError(f"The score of a face is {self.score:g}; give 0 to 1.")
        if not -0.25 <= self.margin <= 1:
            raise FerError(f"The margin is {self.margin:g} of a face's side; give -0.25 to 1.")


@dataclass(frozen=True)
class DetectorChoice:
    """A detector by its name, and how it looks for faces."""

    name: str
    options: DetectorOptions = DetectorOptions()

    def arguments(self) -> list[str]:
        """The options of ``predict`` that choose it."""
        found = ["--detector", self.name]
        for field in fields(DetectorOptions):
            value = getattr(self.options, field.name)
            found += [f"--{field.name.replace('_', '-')}", str(value)] if value != field.default else []
        return found


def default_every(detector: str) -> int:
    """In which frames of a video or camera faces are looked for at first.

    On two cores the cascade takes several times as long as a frame lasts: measured by ``benchmarks.video``.
    """
    return 4 if detector == "haar" else 1
