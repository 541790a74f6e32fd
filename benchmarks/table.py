"""Prints the kept results as Markdown: ``python -m benchmarks.table``."""

from __future__ import annotations

import json
from collections.abc import Iterable

from benchmarks.measure import RESULTS, Summary

LONG = frozenset({"framing", "copies", "experiments"})
"""What has too many figures for one table of all, or a page of its own; its file holds them."""


def table() -> str:
    """The results in ``benchmarks/results`` as a Markdown table, and under it what each was measured on."""
    found = [json.loads(file.read_text()) for file in sorted(RESULTS.glob("*.json")) if file.stem not in LONG]
    lines = ["| measured | median | range, n | asked for | |", "|---|---:|---|---|---|"]
    for result in found:
        for figure in result["figures"]:
            name = figure["name"] + (f" / {figure['baseline']}" if figure["baseline"] else "")
            value = figure["summary"]
            cells = (
                f"{result['benchmark']}: {name}",
                f"{value['median']:.3g} {figure['unit']}",
                f"{value['low']:.3g}–{value['high']:.3g}, {value['n']}",
                figure["asked"],
                figure["verdict"],
            )
            lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    lines += [
        f"- {result['benchmark']}: {result['input']}; {result['machine']}; "
        f"commit {result['commit']}, {result['date'][:10]}."
        for result in found
    ]
    return "\n".join(lines)


def copies_table() -> str:
    """The kept result of ``benchmarks.copies`` as a Markdown table of its own."""
    result = json.loads((RESULTS / "copies.json").read_text())
    figures = [(figure["name"], Summary(**figure["summary"])) for figure in result["figures"]]
    return f"{planted_table(figures)}\n\n- copies: {result['input']}; commit {result['commit']}, {result['date'][:10]}."


def planted_table(figures: Iterable[tuple[str, Summary]]) -> str:
    """What the search found of planted copies, form by form."""
    by_name = dict(figures)
    lines = ["| planted | n | found | recall, 95 % interval | false pairs |", "|---|---:|---:|---|---:|"]
    for name, recall in by_name.items():
        kind, _, form = name.partition(": ")
        if kind == "found":
            found, false = round(recall.median * recall.n), by_name[f"false pairs: {form}"].median
            interval = f"{recall.low:.1%}–{recall.high:.1%}"
            lines.append(f"| {form} | {recall.n} | {found} | {recall.median:.1%} ({interval}) | {false:g} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
    print()
    print(copies_table())
