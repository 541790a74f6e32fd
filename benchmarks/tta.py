"""What test-time augmentation buys, and which of three ways to take ten crops of a picture is best.

Accuracy of the bundled model on the validation split that it was made with. No test picture is looked at.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import inputs
from benchmarks.framing import share_of
from benchmarks.measure import Figure, arguments, machine, note, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from fer_core.preprocessing import Pixels

SHIFTS: Final = ((-2, -2), (-2, 2), (2, -2), (2, 2), (0, 0))
"""Down and to the right, in pixels of 48: where a crop of 44 lies, of the middle one."""


def main() -> None:
    parser = arguments(__doc__, data=inputs.DATASET_HELP, repeats=1)
    options = parser.parse_args()
    on = machine()

    import numpy as np

    from fer_core.data.dataset import Dataset
    from fer_core.inference.predictor import Predictor
    from fer_core.inference.served import default_model
    from fer_core.inference.tta import Tta, classify
    from fer_core.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset.open(inputs.leak_free_dataset(options.data, Path(folder), *inputs.AS_BUNDLED))
        split = dataset.split("validation")
    predictor = Predictor.load(default_model(Workspace.default()))

    def framed(frame: Callable[[Pixels, int, int], Pixels]) -> float:
        """Mean over ten crops that are not enlarged but framed to the model's size."""
        views = [frame(split.images, down, right) for down, right in SHIFTS]
        answers = [predictor.classify(side) for view in views for side in (view, view[:, :, ::-1])]
        return np.mean(answers, axis=0)

    answers = {
        "plain": lambda: classify(predictor, split.images, None),
        "flip": lambda: classify(predictor, split.images, Tta.FLIP),
        "ten-crop, crops enlarged": lambda: classify(predictor, split.images, Tta.TEN_CROP),
        "ten-crop, margin mirrored": lambda: framed(lambda *crop: framed_crop(*crop, "symmetric")),
        "ten-crop, margin black": lambda: framed(lambda *crop: framed_crop(*crop, "constant")),
    }
    figures = []
    for name, ask in answers.items():
        note(name)
        right = ask().argmax(axis=1) == split.labels
        figures.append(Figure(f"accuracy, {name}", "", share_of(int(right.sum()), len(right))))
    what = f"the bundled model on {len(split):,} validation pictures of FER2013; ranges are 95% intervals"
    report("tta", what, on, figures, as_json=options.json)


def framed_crop(images: Pixels, down: int, right: int, mode: str) -> Pixels:
    """A crop of 44 of 48 pixels, in the middle of a margin that is mirrored (``symmetric``) or black (``constant``)."""
    import numpy as np

    top, left = 2 + down, 2 + right
    crop = images[:, top : top + 44, left : left + 44]
    margins = ((0, 0), (2, 2), (2, 2), (0, 0))
    return np.pad(crop, margins, mode="symmetric" if mode == "symmetric" else "constant")


if __name__ == "__main__":
    main()
