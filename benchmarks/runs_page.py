"""Server time of the Runs page with 500 runs: a rerun, and the first visit to a server that was just started."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.many_runs import make_runs
from benchmarks.measure import ROOT, Figure, Summary, arguments, interleave, machine, ratios, report

MANY, FEW = 500, 5

_PATIENCE = 300  # seconds; an upper bound, never a measurement


def main() -> None:
    parser = arguments(__doc__, data="Not used: the runs are made up.", repeats=9)
    parser.add_argument("--runs", type=int, default=MANY, help="How many. Default: %(default)s.")
    options = parser.parse_args()
    on = machine()

    from streamlit.testing.v1 import AppTest

    from fer_core.training import run_folder
    from fer_core.training.catalog import CATALOG_FILE
    from fer_core.workspace import Workspace

    logging.disable(logging.WARNING)  # of Streamlit, about what a test without a browser lacks

    with tempfile.TemporaryDirectory() as folder:
        spaces = {count: Workspace(Path(folder) / str(count)) for count in (FEW, options.runs)}
        for count, space in spaces.items():
            make_runs(space, count)
            run_folder.set_baseline(space, "recipe-000-1")

        def opened(count: int) -> AppTest:
            os.environ["FER_WORKSPACE"] = str(spaces[count].root)
            app = AppTest.from_file(ROOT / "dashboard/app.py", default_timeout=_PATIENCE).run()
            return app.switch_page(str(ROOT / "pages/runs.py"))

        def rerun(count: int) -> float:
            os.environ["FER_WORKSPACE"] = str(spaces[count].root)
            return _timed(visitors[count])

        def first_visit(*, kept: bool) -> float:
            """What a new server does: nothing in memory, with or without what an earlier one has kept."""
            _forget()
            if not kept:
                (spaces[options.runs].runs / CATALOG_FILE).unlink(missing_ok=True)
            return _timed(opened(options.runs))

        visitors = {count: opened(count).run() for count in spaces}
        reruns: dict[str, Callable[[], float]] = {
            "with all": lambda: rerun(options.runs),
            "with few": lambda: rerun(FEW),
        }
        many, few = interleave(reruns, options.repeats).values()
        visits: dict[str, Callable[[], float]] = {
            "first visit": lambda: first_visit(kept=True),
            "first visit, all runs read": lambda: first_visit(kept=False),
        }
        kept, anew = interleave(visits, min(3, options.repeats)).values()
    few_runs, reading = f"the same with {FEW} runs", "the same without what an earlier server has kept"
    figures = [
        Figure("a rerun", "ms", Summary.of(many), at_most=1000),
        Figure(few_runs, "ms", Summary.of(few)),
        Figure("a rerun", "x", Summary.of(ratios(many, few)), few_runs),
        Figure("first visit to a new server", "ms", Summary.of(kept)),
        Figure(reading, "ms", Summary.of(anew)),
        Figure("first visit to a new server", "x", Summary.of(ratios(kept, anew)), reading),
    ]
    report("runs_page", f"{options.runs:,} runs of 12 to 44 epochs", on, figures, as_json=options.json)


def _timed(app: object) -> float:
    """Milliseconds of one run of the page's script."""
    began = time.perf_counter()
    app.run()  # type: ignore[attr-defined]
    taken = 1000 * (time.perf_counter() - began)
    if app.exception:  # type: ignore[attr-defined]
        raise SystemExit(f"The page failed: {app.exception}")  # type: ignore[attr-defined]
    return taken


def _forget() -> None:
    import streamlit as st

    st.cache_resource.clear()
    st.cache_data.clear()


if __name__ == "__main__":
    main()
