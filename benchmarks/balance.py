"""Balancing a leak-free train split to the published targets, against augmenting one image at a time."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import inputs
from benchmarks.measure import Figure, Summary, arguments, interleave, machine, ratios, report

if TYPE_CHECKING:
    from fer_core.data.dataset import Dataset

ANEW = "one image at a time, a new pipeline for each, a PNG file written for each"
ONCE = "one image at a time through one pipeline, a PNG file written for each"


DRAWN_TARGET = 500


def main() -> None:
    options = arguments(__doc__, data=inputs.DATASET_HELP, repeats=3).parse_args()
    on = machine()

    import numpy as np

    from benchmarks.notebook import SEED, augment_files
    from fer_core.data.balance import BalanceConfig, Recipe, balance, plan
    from fer_core.data.dataset import Dataset
    from fer_core.emotions import EMOTIONS

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        dataset = Dataset.open(inputs.leak_free_dataset(options.data, scratch))
        # Drawn faces are one in fifty: the published targets would make seventy children of each.
        real = inputs.given(options.data) is not None
        config = BalanceConfig(recipe=Recipe.PUBLISHED) if real else BalanceConfig(target=DRAWN_TARGET)
        plans = plan(dataset.counts()["train"], config)
        children = sum(steps.augmented for steps in plans.values())
        files = _as_files(dataset, scratch / "originals")
        out = scratch / "out"

        def timed(work: Callable[[], object]) -> Callable[[], float]:
            def run() -> float:
                began = time.perf_counter()
                work()
                seconds = time.perf_counter() - began
                shutil.rmtree(out)
                return seconds

            return run

        def one_at_a_time(*, anew: bool) -> None:
            random = np.random.default_rng(SEED)
            for emotion in EMOTIONS:
                (out / emotion).mkdir(parents=True)
                augment_files(files[emotion], plans[emotion].augmented, out / emotion, random, anew=anew)

        variants = {
            "balance": timed(lambda: balance(dataset, out, config)),
            "one image at a time, a new pipeline for each": timed(lambda: one_at_a_time(anew=True)),
            "one image at a time, one pipeline": timed(lambda: one_at_a_time(anew=False)),
        }
        variants["balance"]()  # loads what is loaded once
        ours, anew, once = interleave(variants, options.repeats).values()
    figures = [
        Figure("balance: originals and children into a new dataset, with its figures", "s", Summary.of(ours)),
        Figure("children alone, a new pipeline for each", "s", Summary.of(anew)),
        Figure("children alone, one pipeline", "s", Summary.of(once)),
        Figure("times faster", "x", Summary.of(ratios(anew, ours)), ANEW, at_least=2 if real else None),
        Figure("times faster", "x", Summary.of(ratios(once, ours)), ONCE),
    ]
    what = f"{sum(steps.before for steps in plans.values()):,} train images, {children:,} children"
    report("balance", what, on, figures, as_json=options.json)


def _as_files(dataset: Dataset, folder: Path) -> dict[str, list[Path]]:
    """The train split as a notebook has it: one file per image in class folders."""
    from fer_core.emotions import EMOTIONS

    labels = dataset.table("train")["label"].to_numpy()
    files: dict[str, list[Path]] = {emotion: [] for emotion in EMOTIONS}
    for emotion in EMOTIONS:
        (folder / emotion).mkdir(parents=True)
    for row, picture in enumerate(dataset.encoded("train", range(len(labels)))):
        emotion = EMOTIONS[labels[row]]
        # OpenCV looks at the content, not at the ending.
        path = folder / emotion / f"{row}.png"
        path.write_bytes(picture)
        files[emotion].append(path)
    return files


if __name__ == "__main__":
    main()
