"""The table of runs: its rows, its cells and what it comes to in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler

from dashboard import caching
from dashboard.components import accuracy, duration, theme
from fer_core.errors import FerError
from fer_core.evaluation.compare import PairedDifference
from fer_core.jobs.store import list_jobs
from fer_core.training import run_folder
from fer_core.training.comparison import why_not_compared
from fer_core.training.facts import RunFacts
from fer_core.training.runs import KIND, Run
from fer_core.workspace import Workspace

_CURVE: Final = "Accuracy by epoch"
COLUMNS: Final = ("Run", "Validation", "vs baseline", "State", "Dataset", _CURVE, "Time")
MORE: Final = ("Disk", "Tags", "Note")
NOISE: Final = "within noise"

_GREY: Final = {"light": "#5F6A70", "dark": "#9AA5AD"}  # text: 4.5:1 on the page, unlike the grey of lines


@dataclass(frozen=True)
class RunRow:
    """A run in the table.

    Attributes:
        run: The run.
        facts: What its files say.
        baseline: Whether the others are compared with it.
        difference: To the baseline, B being this run; None where that is not known.
        why_not: Why it is not known.
    """

    run: Run
    facts: RunFacts
    baseline: bool = False
    difference: PairedDifference | None = None
    why_not: str = ""

    @property
    def name(self) -> str:
        return self.run.name


def read_rows(space: Workspace) -> list[RunRow]:
    """All training runs, damaged ones included: the baseline, then the newest first."""
    runs = [Run(job) for job in list_jobs(space.runs) if job.kind in (KIND, "")]
    chosen = run_folder.baseline(space)
    first = next((run for run in runs if run.name == chosen), None)
    rows = [_row(run, first) for run in runs]
    return sorted(rows, key=lambda row: not row.baseline)


def _row(run: Run, baseline: Run | None) -> RunRow:
    facts = caching.run_facts(run.folder)
    if baseline is None or run.name == baseline.name:
        return RunRow(run, facts, baseline=baseline is not None)
    if not facts.comparable:
        return RunRow(run, facts)
    found, why_not = paired(baseline, run)
    return RunRow(run, facts, difference=found, why_not=why_not)


def paired(a: Run, b: Run) -> tuple[PairedDifference | None, str]:
    """How run ``b`` differs from ``a``; or None, and why that is not known."""
    try:
        found = caching.run_difference(a.folder, b.folder)
    except (FerError, OSError):
        return None, "no answers to compare"
    return found, "" if found else why_not_compared(a, b)


def points(difference: PairedDifference) -> str:
    """A difference of accuracies with half its 95% interval, in percentage points."""
    low, high = difference.ci95
    return f"{100 * difference.difference:+.1f} ± {50 * (high - low):.1f}"


def finding_sentence(rows: list[RunRow]) -> str:
    """Which run is best so far, among those that can be compared with the baseline or else the newest."""
    finished = [row for row in rows if row.facts.finished and row.facts.score and row.facts.comparable]
    if not finished:
        working = sum(row.run.state.alive for row in rows)
        return f"No finished run yet, {working} at work." if working else "No finished run yet."
    reference = next((row for row in finished if row.baseline), None)
    reference = reference or next((row for row in finished if not row.facts.contaminated), finished[0])
    alike = [row for row in finished if row.facts.contaminated == reference.facts.contaminated]
    group = [(row, found) for row in alike if (found := paired(reference.run, row.run)[0])]
    best = max(group, key=lambda pair: pair[1].difference)[0] if group else reference
    assert best.facts.score is not None  # of a finished run
    told = accuracy(best.facts.score, "validation", best.facts.leak)
    on = f" on {best.facts.dataset}" if len({row.facts.dataset for row in finished}) > 1 else ""
    if len(group) < 2:
        others = sum(row.facts.dataset == best.facts.dataset for row in finished) - 1
        alone = "cannot be compared with the other finished runs" if others else "is the only finished run"
        return f"{best.name} {alone}{on}: {told}"
    rest = [paired(best.run, row.run)[0] for row, _ in group if row is not best]
    close = sum(found is None or found.within_noise for found in rest)
    if close == len(rest):
        return f"Differences so far{on} are inside noise. Highest is {best.name}: {told}"
    others = f" ({close} more within noise of it)" if close else ""
    return f"{best.name} is best so far{on}{others}: {told}"


def table(rows: list[RunRow], more: bool) -> Styler:
    """The rows as they are shown; what may be chance is grey.

    Args:
        rows: From ``read_rows``.
        more: Whether disk use and notes are shown, too.
    """
    cells = pd.DataFrame([_cells(row, more) for row in rows], columns=[*COLUMNS, *(MORE if more else ())])
    if not any(row.baseline for row in rows):
        cells = cells.drop(columns="vs baseline")
    grey = f"color: {_GREY[theme()]}"
    return cells.style.map(lambda cell: grey if NOISE in str(cell) else "", subset=cells.columns.drop(_CURVE))


def example() -> Styler:
    """One greyed row that shows what will stand here."""
    row = {
        "Run": "example",
        "Validation": "60.0 % ± 1.0 · n 9,000 · Clean",
        "vs baseline": "+2.0 ± 0.9",
        "State": "Done",
        "Dataset": "faces",
        _CURVE: [30, 43, 50, 54, 57, 59, 60, 60],
        "Time": "24 min",
    }
    return pd.DataFrame([row]).style.map(lambda _: f"color: {_GREY[theme()]}")


def column_config(names: Sequence[str]) -> dict[str, Any]:
    """How the columns look and what their heads say under the pointer; ``names`` are those of the runs."""
    return {
        "Run": st.column_config.TextColumn(pinned=True, width=min(200, 24 + 8 * max(map(len, names)))),
        "Validation": st.column_config.TextColumn(
            help="Accuracy on the validation split with its 95 % interval; the epoch was chosen on the same images.",
        ),
        "vs baseline": st.column_config.TextColumn(
            help="Percentage points against the baseline, on the validation images that both runs were scored on, "
            "with the paired 95 % interval (Newcombe 1998). Within noise: the interval holds 0.",
        ),
        _CURVE: st.column_config.LineChartColumn(help="Validation accuracy after each epoch.", width=120),
        "Time": st.column_config.TextColumn(help="Spent on its epochs."),
        "Note": st.column_config.TextColumn(width=240),
    }


def _cells(row: RunRow, more: bool) -> dict[str, Any]:
    facts = row.facts
    cells = {
        "Run": row.name,
        "Validation": _score(facts),
        "vs baseline": _against_baseline(row),
        "State": _state(row),
        "Dataset": " · ".join(filter(None, (facts.dataset, facts.dataset_leak if facts.contaminated else ""))),
        _CURVE: [100 * value for value in facts.accuracies],
        "Time": duration(facts.seconds) if facts.seconds else "",
    }
    if more:
        use, notes = run_folder.disk_use(row.run.folder), run_folder.read_notes(row.run.folder)
        of_these = f", checkpoints {use.checkpoints / 2**20:,.0f}" if use.checkpoints else ""
        disk = f"{use.total / 2**20:,.0f} MB{of_these}"
        cells |= {"Disk": disk, "Tags": ", ".join(notes.tags), "Note": notes.note}
    return cells


def _score(facts: RunFacts) -> str:
    """Value, interval, n and whether it is clean; the column's head says which split."""
    if facts.score is None:
        return ""
    low, high = facts.score.ci95
    so_far = "" if facts.finished else " · so far"
    return f"{100 * facts.score.accuracy:.1f} % ± {50 * (high - low):.1f} · n {facts.score.n:,} · {facts.leak}{so_far}"


def _against_baseline(row: RunRow) -> str:
    if row.baseline:
        return "baseline"
    if row.difference is None:
        return row.why_not
    n, score = row.difference.n, row.facts.score
    shared = f" · n {n:,}" if score and n != score.n else ""
    noise = f" · {NOISE}" if row.difference.within_noise else ""
    return points(row.difference) + noise + shared


def _state(row: RunRow) -> str:
    state = str(row.run.state).capitalize()
    if row.run.state.alive and row.facts.config:
        state += f" {len(row.facts.accuracies)}/{row.facts.config.total_epochs}"
    return " · ".join((state, *row.facts.problems))
