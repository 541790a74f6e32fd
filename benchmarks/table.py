"""Prints the kept results as Markdown: ``python -m benchmarks.table``."""

from __future__ import annotations

import json

from benchmarks.measure import RESULTS

LONG = frozenset({"framing"})
"""What has too many figures for one table of all; its file holds them."""


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


if __name__ == "__main__":
    print(table())
