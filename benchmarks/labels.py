"""What a label check of real data found, and what changing the labels that it doubts bought.

Reads a finished check of the workspace that `labels measure` was run on, and keeps its figures.
"""

from __future__ import annotations

import argparse

from benchmarks.measure import Figure, Summary, machine, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="Print JSON, and keep it in benchmarks/results/.")
    parser.add_argument("check", metavar="CHECK", help="Name of the label check.")
    options = parser.parse_args()
    on = machine()

    from fer_core.errors import FerError
    from fer_core.evaluation.label_check import find_label_check, read_label_check
    from fer_core.workspace import Workspace

    try:
        check = read_label_check(find_label_check(Workspace.default(), options.check).folder)
        found = check.before_after
    except FerError as error:
        raise SystemExit(str(error)) from None
    if found is None:
        raise SystemExit(f"{check.name} was not measured yet: python -m fer_core labels measure {check.name}")
    info = check.info
    figures = [
        Figure("out-of-fold accuracy", "", Summary(info.accuracy, *info.ci95, info.n)),
        *(
            Figure(f"{issue}, share of the labels of train", "", Summary(n / info.n, n / info.n, n / info.n, info.n))
            for issue, n in info.issues.items()
        ),
    ]
    for word, side in (("before", found.before), ("after", found.after)):
        figures.append(Figure(f"validation accuracy {word}", "", Summary(side.accuracy, *side.ci95, found.n)))
    figures.append(
        Figure("validation accuracy, after minus before", "", Summary(found.difference, *found.ci95, found.n))
    )
    changes = ", ".join(f"{action} {n:,}" for action, n in found.decisions.items())
    who = "nobody looked at them" if found.automatic else "decided by a person"
    what = (
        f"{info.dataset}, {info.folds} folds of {info.preset} ({' '.join(info.settings) or 'as it is'}), seed "
        f"{info.seed}; {changes}: {who}; one training each; ranges are 95% intervals"
    )
    report("labels", what, on, figures, as_json=options.json)


if __name__ == "__main__":
    main()
