"""Curves of the chosen runs: a line for each, or one for all seeds of a recipe."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from dashboard.charts import Band, RunCurves
from dashboard.run_table import RunRow
from fer_core.training.seeds import SeedGroup


def curves_of(chosen: Sequence[RunRow], groups: Sequence[SeedGroup] = (), baseline: str = "") -> list[RunCurves]:
    """The curves of runs with at least one epoch, in their order.

    Args:
        chosen: The runs.
        groups: In place of a run of one of these, its whole group is drawn, once.
        baseline: Name of the run that is drawn in ink.
    """
    return list(_curves(chosen, groups, baseline))


def group_of(row: RunRow, groups: Sequence[SeedGroup]) -> SeedGroup | None:
    """The group that a run is of."""
    return next((group for group in groups if row.name in group.names), None)


def _curves(chosen: Sequence[RunRow], groups: Sequence[SeedGroup], baseline: str) -> Iterator[RunCurves]:
    drawn: list[SeedGroup] = []
    for row in chosen:
        group = group_of(row, groups)
        if group in drawn:
            continue
        if group and all(facts.accuracies for facts in group.runs):
            drawn.append(group)
            yield _of_group(group, baseline)
        elif row.facts.accuracies:
            yield RunCurves(row.name, row.facts.accuracies, row.facts.losses, row.baseline)


def _of_group(group: SeedGroup, baseline: str) -> RunCurves:
    """Mean and band over the epochs that all of its runs have: where one drops out, a mean would jump."""
    accuracies, losses = ([getattr(facts, name) for facts in group.runs] for name in ("accuracies", "losses"))
    (accuracy, accuracy_band), (loss, loss_band) = (_together(lines) for lines in (accuracies, losses))
    name = f"{group.name} ×{len(group.runs)}"
    return RunCurves(name, accuracy, loss, baseline in group.names, accuracy_band, loss_band)


def _together(lines: Sequence[Sequence[float]]) -> tuple[list[float], Band]:
    epochs = list(zip(*lines, strict=False))
    return [statistics.fmean(epoch) for epoch in epochs], Band(list(map(min, epochs)), list(map(max, epochs)))
