"""What presets are known to reach: ``presets/measured.json``, which ``benchmarks.measured`` writes from runs' cards.

Loads no training framework: pages show it beside a preset.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import BaseModel, TypeAdapter

FILE: Final = Path(__file__).parent / "presets" / "measured.json"


class Reached(BaseModel):
    """What a run of a preset reached, and what that took.

    Attributes:
        split: Which it was scored on: test, or validation where test was not looked at.
        n: Images of that split.
        accuracy: 0 to 1.
        ci95: Its 95% interval.
        leaks: Whether it was trained on photographs of that split, in the words of the badge.
        epochs: That it trained, which need not be as many as the preset's.
        device: What it was trained on, in words; empty where that is not known.
        seconds: Spent on the epochs; None where that is not known.
        shared: Whether other work kept the device busy meanwhile, so that ``seconds`` may be fewer.
    """

    split: str
    n: int
    accuracy: float
    ci95: tuple[float, float]
    leaks: str
    epochs: int
    device: str = ""
    seconds: float | None = None
    shared: bool = False


_ALL: Final = TypeAdapter(dict[str, Reached])


def read_reached(file: Path = FILE) -> dict[str, Reached]:
    """By preset; those that nobody measured are missing."""
    return _ALL.validate_json(file.read_bytes())


def write_reached(reached: dict[str, Reached], file: Path = FILE) -> None:
    """Writes what ``read_reached`` reads."""
    file.write_bytes(_ALL.dump_json(reached, indent=2, exclude_defaults=True) + b"\n")
