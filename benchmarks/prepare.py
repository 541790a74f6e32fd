"""Preparing both archives: seconds, memory, and the ratio to a notebook's pipeline without any audit."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import inputs
from benchmarks.measure import Child, Figure, Summary, arguments, interleave, machine, ratios, report, run_child

NOTEBOOK = "a notebook's pipeline: unzip, read, copy, split, augment file by file"
LEANER = "the same, without reading every image"


def main() -> None:
    options = arguments(__doc__, data=inputs.ARCHIVES_HELP, repeats=3).parse_args()
    on = machine()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        first, second = inputs.archives(options.data, scratch)
        sources = [f"fer2013={first}", f"edf={second}"]
        out = scratch / "out"
        environment = {"FER_WORKSPACE": str(scratch / "workspace"), "NO_ALBUMENTATIONS_UPDATE": "1"}

        def fresh(*command: str | Path) -> Callable[[], Child]:
            def run() -> Child:
                child = run_child(command, environment)
                shutil.rmtree(out)
                return child

            return run

        prepare = [*inputs.FER, "data", "prepare", *sources, "--out", out, "--json"]
        found = interleave(
            {
                "prepare leak-free": fresh(*prepare),
                "prepare as published, balanced": fresh(*prepare, "--policy", "as-published", "--balance"),
                "notebook": fresh(sys.executable, "-m", "benchmarks.notebook", first, second, out),
            },
            options.repeats,
        )
    leak_free, published, notebook = found.values()
    count = sum(sum(split.values()) for split in json.loads(leak_free[0].output)["counts"]["read"].values())
    times = [child.seconds for child in notebook]
    unread = [child.seconds - json.loads(child.output)["read"] for child in notebook]
    ours = [child.seconds for child in published]
    # The figures are asked for of the complete archives; drawn ones are too few to judge by.
    judged = inputs.given(options.data) is not None
    bar, share, memory = (15, 1.5, 1500) if judged else (None, None, None)
    figures = [
        Figure("prepare leak-free with full audit", "s", Summary.of([c.seconds for c in leak_free]), at_most=bar),
        Figure("its peak memory", "MB", Summary.of([c.peak_mb for c in leak_free]), at_most=memory),
        Figure("prepare as published, balanced, audited", "s", Summary.of(ours)),
        Figure("its peak memory", "MB", Summary.of([c.peak_mb for c in published]), at_most=memory),
        Figure("notebook", "s", Summary.of(times)),
        Figure("prepare as published", "x", Summary.of(ratios(ours, times)), NOTEBOOK, at_most=share),
        Figure("prepare as published", "x", Summary.of(ratios(ours, unread)), LEANER, at_most=share),
    ]
    report("prepare", f"{count:,} {'real' if judged else 'drawn'} images", on, figures, as_json=options.json)


if __name__ == "__main__":
    main()
