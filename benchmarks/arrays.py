"""From a prepared dataset to the arrays that training takes, against reading class folders file by file."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import inputs
from benchmarks.measure import Figure, Summary, arguments, interleave, machine, ratios, report

if TYPE_CHECKING:
    from numpy.typing import NDArray

WITH_OPENCV = "cv2.imread, one file of a class folder after the other"
WITH_PILLOW = "PIL.Image.open, one file of a class folder after the other"


def main() -> None:
    options = arguments(__doc__, data=inputs.DATASET_HELP, repeats=5).parse_args()
    on = machine()

    import cv2
    import numpy as np
    from PIL import Image

    from fer_core.data.dataset import Dataset
    from fer_core.data.export import export_folders
    from fer_core.emotions import EMOTIONS

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        dataset = Dataset.open(inputs.leak_free_dataset(options.data, scratch))
        out = scratch / "folders"
        export_folders(dataset, out)

        def ours() -> tuple[NDArray[Any], NDArray[Any]]:
            train = Dataset.open(dataset.folder).split("train")
            return train.images, train.labels

        def file_by_file(read: Callable[[Path], NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
            images, labels = [], []
            for label, emotion in enumerate(EMOTIONS):
                for path in sorted((out / "TRAIN" / emotion).iterdir()):
                    images.append(read(path))
                    labels.append(label)
            return np.stack(images)[..., None], np.array(labels)

        def timed(work: Callable[[], tuple[NDArray[Any], NDArray[Any]]]) -> Callable[[], float]:
            def run() -> float:
                began = time.perf_counter()
                images, labels = work()
                seconds = time.perf_counter() - began
                assert len(images) == len(labels) == sum(dataset.counts()["train"].values())
                return seconds

            return run

        variants = {
            "Dataset.split": timed(ours),
            WITH_OPENCV: timed(lambda: file_by_file(lambda path: cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))),
            WITH_PILLOW: timed(lambda: file_by_file(lambda path: np.asarray(Image.open(path).convert("L")))),
        }
        for variant in variants.values():
            variant()  # loads what is loaded once, and the files into the system's cache
        found = interleave(variants, options.repeats)
    split, opencv, pillow = found.values()
    judged = inputs.given(options.data) is not None
    figures = [
        Figure("Dataset.split of train", "s", Summary.of(split), at_most=1.5 if judged else None),
        Figure("file by file with OpenCV", "s", Summary.of(opencv)),
        Figure("file by file with Pillow", "s", Summary.of(pillow)),
        Figure("times faster", "x", Summary.of(ratios(opencv, split)), WITH_OPENCV),
        Figure("times faster", "x", Summary.of(ratios(pillow, split)), WITH_PILLOW),
    ]
    kind = "real" if judged else "drawn"
    what = f"{sum(dataset.counts()['train'].values()):,} {kind} train images, files in the system's cache"
    report("arrays", what, on, figures, as_json=options.json)


if __name__ == "__main__":
    main()
