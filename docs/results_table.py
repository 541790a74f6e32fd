"""Writes the README's tables: scores of the bundled models, and what the benchmarks measured.

    python docs/results_table.py

No figure of them is typed: measured rows come from ``model_card.json`` and ``benchmarks/results``, rows marked as
published from the constants below, which are the sources' own figures and were not measured here.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.table import copies_table, table  # noqa: E402
from fer_core.evaluation.metrics import share_words  # noqa: E402
from fer_core.evaluation.report import EvaluationReport  # noqa: E402
from fer_core.inference.served import ServedModel, list_models  # noqa: E402
from fer_core.workspace import Workspace  # noqa: E402

MARK = "<!-- {}: written by docs/results_table.py -->"
END = "<!-- end -->"
HEAD = (
    "| model | split | n | accuracy | never seen in train | macro-F1 | calibration error |",
    "|---|---|---|---|---|---|---|",
)
PUBLISHED = ("| recipe `resnet50v2`, as published, not measured here | FER2013 test | 7,178 | 67.08 % | — | — | — |",)


def row(model: ServedModel, split: str, report: EvaluationReport) -> str:
    leak_free = report.leak_free
    known = leak_free.accuracy is not None and leak_free.ci95 is not None
    apart = f"{share_words(leak_free.accuracy, leak_free.ci95)} (n {leak_free.n:,})" if known else "not known"
    chosen = " (chosen and fitted on it)" if split == model.card.selection_set else ""
    return (
        f"| `{model.name}` | {split}{chosen} | {report.n:,} | {share_words(report.accuracy, report.ci95)} | {apart} "
        f"| {report.macro_f1:.3f} | {100 * report.ece:.1f} % |"
    )


def scores() -> str:
    """The Markdown table of all bundled models on all splits they were scored on, and what was published."""
    nowhere = Workspace(Path("/nonexistent"))  # the bundled models alone
    models = [model for model in list_models(nowhere) if model.card]
    rows = [row(model, split, report) for model in models for split, report in sorted(model.card.metrics.items())]
    return "\n".join((*HEAD, *rows, *PUBLISHED))


def with_tables(readme: str) -> str:
    """A README with the tables of today, each between its two marks."""
    for name, content in (("scores", scores()), ("copies", copies_table()), ("speed", table())):
        before, mark, rest = readme.partition(MARK.format(name))
        _, end, after = rest.partition(END)
        if not (mark and end):
            raise SystemExit(f"README.md lacks {MARK.format(name)} or {END} after it.")
        readme = f"{before}{mark}\n{content}\n{END}{after}"
    return readme


if __name__ == "__main__":
    file = ROOT / "README.md"
    file.write_text(with_tables(file.read_text()))
