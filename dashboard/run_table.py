"""The table of runs: its rows, its cells and what it comes to in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler

from dashboard import caching
from dashboard.components import accuracy, duration, theme
from fer_core.evaluation.compare import PairedDifference
from fer_core.evaluation.label_check import BeforeAfter
from fer_core.evaluation.metrics import share_words
from fer_core.jobs.state import JobState
from fer_core.training import run_folder
from fer_core.training.catalog import Catalog, RunSummary
from fer_core.training.facts import RunFacts
from fer_core.training.runs import Run
from fer_core.workspace import Workspace

_CURVE: Final = "Accuracy by epoch"
COLUMNS: Final = ("Run", "Validation", "vs baseline", "State", "Dataset", _CURVE, "Time")
MORE: Final = ("Disk", "Tags", "Note")
NOISE: Final = "within noise"
_SLOW: Final = 25  # runs to be read at once that take long enough to say so

_GREY: Final = {"light": "#5F6A70", "dark": "#9AA5AD"}  # text: 4.5:1 on the page, unlike the grey of lines


@dataclass(frozen=True)
class RunRow:
    """A run in the table.

    Attributes:
        summary: What is known of it.
        baseline: Whether the others are compared with it.
        difference: To the baseline, B being this run; None where that is not known.
        why_not: Why it is not known.
    """

    summary: RunSummary
    baseline: bool = False
    difference: PairedDifference | None = None
    why_not: str = ""

    @property
    def name(self) -> str:
        return self.summary.name

    @property
    def facts(self) -> RunFacts:
        return self.summary.facts

    @property
    def state(self) -> JobState:
        return self.summary.state

    @property
    def run(self) -> Run:
        """A fresh look at its folder."""
        return self.summary.run


def read_rows(space: Workspace) -> list[RunRow]:
    """All training runs, damaged ones included: the baseline, then the newest first."""
    place = st.empty()

    def progress(phase: str, done: int, total: int) -> None:
        if total >= _SLOW and done % _SLOW == 0:
            place.progress(done / total, text=f"{phase}: {done:,} of {total:,}. Only this once.")

    catalog = caching.catalog()
    summaries = catalog.look(progress)
    place.empty()
    chosen = run_folder.baseline(space)
    first = next((summary for summary in summaries if summary.name == chosen), None)
    rows = [_row(summary, first, catalog) for summary in summaries]
    return sorted(rows, key=lambda row: not row.baseline)


def _row(summary: RunSummary, baseline: RunSummary | None, catalog: Catalog) -> RunRow:
    if baseline is None or summary is baseline:
        return RunRow(summary, baseline=baseline is not None)
    if not summary.facts.comparable:
        return RunRow(summary)
    found, why_not = catalog.difference(baseline, summary)
    return RunRow(summary, difference=found, why_not=why_not)


def paired(a: RunRow, b: RunRow) -> tuple[PairedDifference | None, str]:
    """How run ``b`` differs from ``a``; or None, and why that is not known."""
    return caching.catalog().difference(a.summary, b.summary)


def matching(rows: Sequence[RunRow], text: str) -> list[RunRow]:
    """The rows that hold every word of a text somewhere: in name, dataset, preset, tags, note, state or leaks."""
    words = text.lower().split()
    return [row for row in rows if all(word in _words(row) for word in words)] if words else list(rows)


def _words(row: RunRow) -> str:
    facts, notes = row.facts, row.summary.notes
    preset = facts.config.preset if facts.config else ""
    parts = (facts.name, facts.dataset, preset, *notes.tags, notes.note, _state(row), facts.leak, facts.dataset_leak)
    return "\n".join((*parts, "baseline" if row.baseline else "")).lower()


def in_order(rows: Sequence[RunRow], order: str) -> list[RunRow]:
    """The rows in one of ``ORDERS``, the baseline always first."""
    return sorted(rows, key=lambda row: (not row.baseline, *_ORDERS[order](row)))


def ticked_too(before: Sequence[str], shown: Sequence[str], ticked: Sequence[str]) -> list[str]:
    """The chosen runs after ticks in the table, which may show only some of them: the others stay chosen.

    Args:
        before: What was chosen.
        shown: Runs in the table.
        ticked: Those of them that are ticked now.
    """
    kept = [name for name in before if name in ticked or name not in shown]
    return kept + [name for name in ticked if name not in kept]


def _by_validation(row: RunRow) -> tuple[bool, bool, float]:
    score = row.facts.score
    return score is None, row.facts.leak != "Clean", -score.accuracy if score else 0.0


_ORDERS: Final[dict[str, Callable[[RunRow], tuple[Any, ...]]]] = {
    "Newest": lambda row: (),  # as they were read: sorting keeps that order
    "Validation": _by_validation,
    "Time": lambda row: (row.facts.seconds,),
    "Name": lambda row: (row.name.lower(),),
}
ORDERS: Final = tuple(_ORDERS)


def points(difference: PairedDifference | BeforeAfter) -> str:
    """A difference of accuracies with half its 95% interval, in percentage points."""
    low, high = difference.ci95
    return f"{100 * difference.difference:+.1f} ± {50 * (high - low):.1f}"


def finding_sentence(rows: list[RunRow]) -> str:
    """Which run is best so far, among those that can be compared with the baseline or else the newest."""
    finished = [row for row in rows if row.facts.finished and row.facts.score and row.facts.comparable]
    if not finished:
        working = sum(row.state.alive for row in rows)
        return f"No finished run yet, {working} at work." if working else "No finished run yet."
    reference = next((row for row in finished if row.baseline), None)
    reference = reference or next((row for row in finished if not row.facts.contaminated), finished[0])
    difference = caching.catalog().difference
    alike = [row for row in finished if row.facts.contaminated == reference.facts.contaminated]
    group = [(row, found) for row in alike if (found := difference(reference.summary, row.summary)[0])]
    best = max(group, key=lambda pair: pair[1].difference)[0] if group else reference
    assert best.facts.score is not None  # of a finished run
    told = accuracy(best.facts.score, "validation", best.facts.leak)
    on = f" on {best.facts.dataset}" if len({row.facts.dataset for row in finished}) > 1 else ""
    if len(group) < 2:
        others = sum(row.facts.dataset == best.facts.dataset for row in finished) - 1
        alone = "cannot be compared with the other finished runs" if others else "is the only finished run"
        return f"{best.name} {alone}{on}: {told}"
    rest = [difference(best.summary, row.summary)[0] for row, _ in group if row is not best]
    close = sum(found is None or found.within_noise for found in rest)
    if close == len(rest):
        return f"Differences of {len(group):,} runs so far{on} are inside noise. Highest is {best.name}: {told}"
    near = f" ({close} more within noise of it)" if close else ""
    return f"{best.name} is best so far of {len(group):,} runs{on}{near}: {told}"


def table(rows: list[RunRow], more: bool) -> Styler:
    """The rows as they are shown; what may be chance is grey.

    Args:
        rows: Those that are shown.
        more: Whether disk use and notes are shown, too.
    """
    cells = pd.DataFrame([_cells(row, more) for row in rows], columns=[*COLUMNS, *(MORE if more else ())])
    if not any(row.baseline or row.difference or row.why_not for row in rows):
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
        "Run": st.column_config.TextColumn(pinned=True, width=min(200, 24 + 8 * max(map(len, names), default=0))),
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
        # One point is no curve: it would be drawn as a level line.
        _CURVE: [100 * value for value in facts.accuracies] if len(facts.accuracies) > 1 else None,
        "Time": duration(facts.seconds) if facts.seconds else "",
    }
    if more:
        use, notes = row.summary.disk, row.summary.notes
        of_these = f", checkpoints {use.checkpoints / 2**20:,.0f}" if use.checkpoints else ""
        disk = f"{use.total / 2**20:,.0f} MB{of_these}"
        cells |= {"Disk": disk, "Tags": ", ".join(notes.tags), "Note": notes.note}
    return cells


def _score(facts: RunFacts) -> str:
    """Value, interval, n and whether it is clean; the column's head says which split."""
    if facts.score is None:
        return ""
    so_far = "" if facts.finished else " · so far"
    return f"{share_words(facts.score.accuracy, facts.score.ci95)} · n {facts.score.n:,} · {facts.leak}{so_far}"


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
    state = str(row.state).capitalize()
    if row.state.alive and row.facts.config:
        state += f" {len(row.facts.accuracies)}/{row.facts.config.total_epochs}"
    elif row.facts.ended_after is not None and row.facts.config:
        state += f" · ended after {row.facts.ended_after} of {row.facts.config.total_epochs} epochs"
    return " · ".join((state, *row.facts.problems))
