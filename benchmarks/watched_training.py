"""What watching costs: images a second of a ``compact`` run with its page open in Chromium, and with no page open."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from benchmarks import inputs
from benchmarks.measure import ROOT, Figure, Summary, arguments, machine, note, ratios, report
from benchmarks.watched import WatchedServer

STEPS = 160
"""Of an epoch: about twenty seconds on two cores, so that what opening the page takes does not count for much."""

VALIDATION = 256
"""Images to validate on. Validation is no part of the figures."""


def browser_seconds() -> float:
    """Processor time that Chromium's processes have taken so far."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "chrom" in process.name():
                times = process.cpu_times()
                total += times.user + times.system
    return total


def main() -> None:
    options = arguments(__doc__, data=inputs.DATASET_HELP, repeats=4).parse_args()
    on = machine()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("Chromium is missing: install it, then run this again.")

    from playwright.sync_api import Page, sync_playwright

    from fer_core.training import backend
    from fer_core.training.config import load_preset

    config = load_preset("compact")
    config.phases[0].epochs = 1 + 2 * options.repeats
    backend.load(config.threads)

    import numpy as np

    from fer_core.data.dataset import Dataset, Split
    from fer_core.errors import Stopped
    from fer_core.jobs.worker import Worker, work
    from fer_core.training import runs
    from fer_core.training.loop import train
    from fer_core.workspace import Workspace

    @dataclass(frozen=True)
    class Part(Dataset):
        """As many images as the epochs need, repeated where there are fewer."""

        def split(self, name: str, *args: Any) -> Split:
            whole = super().split(name, *args)
            wanted = STEPS * config.phases[0].batch_size if name == "train" else VALIDATION
            rows = np.resize(np.arange(len(whole)), wanted)
            return replace(whole, images=whole.images[rows], labels=whole.labels[rows], table=whole.table.iloc[rows])

    def turn_the_page(worker: Worker, page: Page, server: WatchedServer, address: str) -> None:
        """Opens or closes the page after every epoch, and takes down what the epoch before came to."""
        emit = worker.emit
        began = (0.0, 0.0, 0.0)

        def emit_and_turn(kind: str, **fields: Any) -> None:
            nonlocal began
            emit(kind, **fields)
            if kind == "epoch":
                speeds.append(fields["images_per_second"])
                took = time.monotonic() - began[0]
                busy.append(((server.cpu_seconds() - began[1]) / took, (browser_seconds() - began[2]) / took))
            if kind != "checkpoint":
                return
            note(f"epoch {len(speeds)} of {config.phases[0].epochs}")
            if len(speeds) == config.phases[0].epochs:
                raise Stopped("Measured.")  # before the run's results are written
            if len(speeds) % 2:
                page.goto(address)
                page.locator(".js-plotly-plot").first.wait_for(timeout=60_000)
            else:
                page.goto("about:blank")
            began = time.monotonic(), server.cpu_seconds(), browser_seconds()

        worker.emit = emit_and_turn  # type: ignore[method-assign]

    speeds: list[float] = []
    busy: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        scratch = Path(folder)
        os.environ["FER_WORKSPACE"] = str(scratch / "workspace")
        space = Workspace.default()
        whole = Dataset.open(inputs.leak_free_dataset(options.data, scratch))
        dataset = Part(whole.folder, whole.info)
        job = runs.create(space, "watched", runs.complete(config, whole, allow_leaks=True), ["train", whole.name])
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        with WatchedServer(ROOT / "dashboard" / "app.py", scratch) as server, contextlib.suppress(Stopped):
            server.wait()
            with work(space.runs, runs.KIND, job.name, [], resume=True) as worker:
                turn_the_page(worker, page, server, f"{server.url}/train?run={job.name}")
                train(runs.Run(job).config, dataset, worker)
        browser.close()
    watched, alone = speeds[1::2], speeds[2::2]  # the first epoch compiles
    nobody = "the same run with no page open, epoch by epoch"
    figures = [
        Figure("training, its page open in Chromium on the same cores", "images/s", Summary.of(watched)),
        Figure("training, no page open", "images/s", Summary.of(alone)),
        Figure("training while it is watched", "x", Summary.of(ratios(watched, alone)), nobody),
        *(
            Figure(f"{who}'s share of one core, {when}", "%", Summary.of([100 * shares[of] for shares in epochs]))
            for of, who in enumerate(("server", "Chromium"))
            for when, epochs in (("page open", busy[1::2]), ("no page open", busy[2::2]))
        ),
    ]
    what = f"compact, batches of {config.phases[0].batch_size}, {STEPS} steps an epoch, on {whole.name}"
    report("watched_training", what, on, figures, as_json=options.json)


if __name__ == "__main__":
    main()
