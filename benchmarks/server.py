"""The dashboard's server: first page, memory and modules after every page was opened, beside a minimal app."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import inputs
from benchmarks.measure import ROOT, Figure, Summary, arguments, interleave, machine, note, ratios, report, run_child
from benchmarks.watched import WatchedServer, open_every_page, open_first_page

MINIMAL = "a Streamlit app that is nothing but a title"
WORKSPACE_HELP = (
    "A workspace with a dataset and a run, which is copied. Default: an empty one with the bundled model; "
    "where none is bundled, one with a drawn dataset and a short run."
)


@dataclass(frozen=True)
class Visit:
    """What one server showed: seconds to its first heading and to the end of the page, and memory in 10^6 bytes."""

    heading: float
    complete: float
    memory: float
    pages: list[str]
    frameworks: list[str]


def main() -> None:
    options = arguments(__doc__, data=WORKSPACE_HELP, repeats=5).parse_args()
    on = machine()

    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("Chromium is missing: install it, then run this again.")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        scratch = Path(folder)
        source = options.data or _workspace(scratch)
        minimal = scratch / "minimal.py"
        minimal.write_text("import streamlit as st\n\nst.title('Minimal')\n")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])

        def visit(script: Path, walk: bool) -> Callable[[], Visit]:
            def run() -> Visit:
                place = Path(tempfile.mkdtemp(dir=scratch))
                shutil.copytree(source, place / "workspace")
                page = browser.new_page(viewport={"width": 1366, "height": 768})
                page.set_default_timeout(60_000)
                with WatchedServer(script, place) as server:
                    heading, complete = open_first_page(page, server)
                    pages = open_every_page(page, server) if walk else []
                    found = Visit(heading, complete, server.memory() / 1e6, pages, server.frameworks())
                page.close()
                shutil.rmtree(place)
                return found

            return run

        ours, baseline = interleave(
            {"dashboard": visit(ROOT / "dashboard" / "app.py", True), "minimal": visit(minimal, False)},
            options.repeats,
        ).values()
        browser.close()
    pages, frameworks = ours[0].pages, sorted({name for one in ours for name in one.frameworks})
    figures = [
        Figure("training frameworks loaded", "modules", Summary.of([len(one.frameworks) for one in ours]), at_most=0),
        Figure("memory after every page", "MB", Summary.of([one.memory for one in ours]), at_most=300),
        Figure("memory", "x", Summary.of(ratios([a.memory for a in ours], [b.memory for b in baseline])), MINIMAL),
        Figure("start to first heading", "s", Summary.of([one.heading for one in ours]), at_most=2),
        Figure("start to the first page complete", "s", Summary.of([one.complete for one in ours])),
        Figure(
            "start to first heading",
            "x",
            Summary.of(ratios([a.heading for a in ours], [b.heading for b in baseline])),
            MINIMAL,
        ),
    ]
    loaded = f"; loaded {', '.join(frameworks)}" if frameworks else ""
    report("server", f"{len(pages)} pages: {', '.join(pages)}{loaded}", on, figures, as_json=options.json)


def _workspace(scratch: Path) -> Path:
    """An empty workspace where a model is bundled, else one with a drawn dataset and a short run."""
    workspace = scratch / "source"
    workspace.mkdir()
    listed = run_child([*inputs.FER, "models", "list", "--json"], {"FER_WORKSPACE": str(workspace)})
    if listed.output.strip() in ("", "[]"):
        note("no bundled model: training one on drawn faces")
        run_child([*inputs.FER, "tour"], {"FER_WORKSPACE": str(workspace)})
    return workspace


if __name__ == "__main__":
    main()
