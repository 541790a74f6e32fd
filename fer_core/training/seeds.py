"""Runs that differ in nothing but the seed, taken together: one seed's score is luck as well as recipe."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from os.path import commonprefix
from typing import Final

from fer_core.training.facts import RunFacts

_ENDING: Final = re.compile(r"([-_.](seed|s))?[-_.]*$", re.IGNORECASE)


@dataclass(frozen=True)
class SeedGroup:
    """Finished runs of one recipe on one dataset, one for each of at least two seeds.

    Attributes:
        runs: In the order of their seeds.
    """

    runs: tuple[RunFacts, ...]

    @property
    def name(self) -> str:
        """What the names of its runs begin with, or else that of the first."""
        shared = commonprefix(self.names)  # noqa: RUF071 - of names, not of paths
        if any(name[len(shared) : len(shared) + 1].isdigit() for name in self.names):  # cut within a number
            shared = shared.rstrip("0123456789")
        return _ENDING.sub("", shared) or self.names[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Of its runs, in the order of their seeds."""
        return tuple(facts.name for facts in self.runs)

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(facts.config.seed for facts in self.runs if facts.config)

    @property
    def accuracies(self) -> tuple[float, ...]:
        """On validation, 0 to 1, in the order of the seeds."""
        return tuple(facts.score.accuracy for facts in self.runs if facts.score)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.accuracies)

    @property
    def deviation(self) -> float:
        """Standard deviation of the accuracies as a sample (n - 1): how much a seed moves the score."""
        return statistics.stdev(self.accuracies)

    @property
    def n(self) -> int:
        """Images of the validation split."""
        assert self.runs[0].score is not None  # `seed_groups` takes no others
        return self.runs[0].score.n

    @property
    def leak(self) -> str:
        """In the words of the badge."""
        return self.runs[0].leak

    def sentence(self) -> str:
        """All of it in one line."""
        low, high = 100 * min(self.accuracies), 100 * max(self.accuracies)
        return (
            f"{self.name}, {len(self.runs)} seeds ({', '.join(map(str, self.seeds))}): validation "
            f"{100 * self.mean:.1f} % mean, {100 * self.deviation:.1f} standard deviation, "
            f"{low:.1f} to {high:.1f} %, n {self.n:,}, {self.leak}"
        )


def seed_groups(runs: Iterable[RunFacts]) -> list[SeedGroup]:
    """Groups runs by recipe and dataset, the best mean first.

    Only finished runs count, and none that the user ended before its time. Of several runs with one seed the first
    that is given counts: a repetition of the same seed says nothing of what other seeds do. A group has at least two
    seeds.

    Args:
        runs: The newest first.
    """
    groups: dict[tuple[str, int, str], dict[int, RunFacts]] = {}
    for facts in runs:
        if facts.finished and facts.score and facts.config and facts.ended_after is None:
            same = groups.setdefault((facts.recipe, facts.score.n, facts.leak), {})
            same.setdefault(facts.config.seed, facts)
    found = [SeedGroup(tuple(same[seed] for seed in sorted(same))) for same in groups.values() if len(same) > 1]
    return sorted(found, key=lambda group: group.mean, reverse=True)
