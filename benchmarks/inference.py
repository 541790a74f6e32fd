"""Prediction with the bundled model: milliseconds per face and explanation, seconds to start, memory over a thousand
uploads."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from typing import Any, Final

from benchmarks.measure import (
    Figure,
    Summary,
    arguments,
    interleave,
    machine,
    milliseconds,
    note,
    ratios,
    report,
    run_child,
)

KERAS: Final = "the same network in Keras, predict_on_batch"
LIBRARIES: Final = "importing numpy, cv2 and onnxruntime alone"

ASKED: Final = {1: 1.0, 16: 0.6}
"""Faces in a batch, and the milliseconds per face that were asked for."""

_SECONDS: Final = 2.0  # of calls in a row, of which the median is taken
_UPLOADS: Final = (500, 1500)  # the first make the heap what it stays
_FLAT: Final = 1.02  # what the allocator keeps varies by about a percent from one look to the next

_START = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"

# What the server does with an upload, by two visitors at once. Sizes differ, as those of uploads do.
_READ_UPLOADS = """
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import psutil

from fer_core.inference.faces import load_detector
from fer_core.inference.images import Picture, read_picture, sample_photograph
from fer_core.inference.predictor import Predictor
from fer_core.inference.served import default_model
from fer_core.workspace import Workspace

predictor, detector = Predictor.load(default_model(Workspace.default())), load_detector("haar")
photograph = cv2.imread(str(sample_photograph()))

def upload(number):
    side = 240 + 97 * number % 480
    _, encoded = cv2.imencode(".jpg", cv2.resize(photograph, (side, side)))
    return len(read_picture(Picture("upload", encoded.tobytes()), predictor, detector).faces)

done = 0
with ThreadPoolExecutor(2) as visitors:
    for target in map(int, sys.argv[1:]):
        assert sum(visitors.map(upload, range(done, target))) > 0
        done = target
        print(psutil.Process().memory_info().rss)
"""


def main() -> None:
    options = arguments(__doc__, data="Not used: speed does not depend on the images.", repeats=5).parse_args()
    on = machine()

    starts = interleave({"predictor": _predictor_start, "libraries": _libraries_start}, options.repeats)
    memory = []
    for repeat in range(options.repeats):
        note(f"{repeat + 1} of {options.repeats}: {_UPLOADS[-1]:,} uploads")
        found = run_child([sys.executable, "-c", _READ_UPLOADS, *map(str, _UPLOADS)])
        memory.append([int(line) / 1e6 for line in found.output.split()])
    early, late = map(list, zip(*memory, strict=True))

    name, figures = _latencies(options.repeats)
    figures += [
        Figure(
            "importing the predictor and opening the bundled model",
            "s",
            Summary.of(starts["predictor"]),
            at_most=0.5,
        ),
        Figure("the same", "x", Summary.of(ratios(starts["predictor"], starts["libraries"])), LIBRARIES),
        Figure(f"memory after {_UPLOADS[1]:,} uploads", "MB", Summary.of(late)),
        Figure("memory", "x", Summary.of(ratios(late, early)), f"after {_UPLOADS[0]} uploads", at_most=_FLAT),
    ]
    report("inference", f"{name} on made-up faces and one photograph", on, figures, as_json=options.json)


def _predictor_start() -> float:
    return _start("from fer_core import Reader; Reader()")


def _libraries_start() -> float:
    return _start("import numpy, cv2, onnxruntime")


def _start(statement: str) -> float:
    """Seconds that a statement takes in a new interpreter."""
    return float(run_child([sys.executable, "-c", _START.format(statement)]).output)


def _latencies(repeats: int) -> tuple[str, list[Figure]]:
    """Name of the bundled model, and its milliseconds per face beside Keras'."""
    import numpy as np

    from fer_core.inference.explain import heat_map, occlusion_map
    from fer_core.inference.predictor import Predictor
    from fer_core.inference.served import default_model
    from fer_core.training import backend
    from fer_core.training.config import load_preset
    from fer_core.workspace import Workspace

    backend.load()

    from fer_core.models.architectures import build

    served = default_model(Workspace.default())
    assert served.card is not None  # the bundled model has one
    predictor = Predictor.load(served)
    network = build(load_preset(served.card.preset), predictor.input_shape)  # its weights do not matter for its speed

    def median(call: Callable[[Any], Any], faces: Any) -> Callable[[], float]:
        return lambda: statistics.median(milliseconds(lambda: call(faces), _SECONDS)) / len(faces)

    figures = []
    for batch, asked in ASKED.items():
        faces = np.random.default_rng(0).integers(0, 256, (batch, *predictor.input_shape)).astype(np.uint8)
        found = interleave(
            {"ours": median(predictor.classify, faces), "keras": median(network.predict_on_batch, faces)}, repeats
        )
        what = f"one face in a batch of {batch}"
        figures += [
            Figure(what, "ms", Summary.of(found["ours"]), at_most=asked),
            Figure(what, "x", Summary.of(ratios(found["ours"], found["keras"])), KERAS),
        ]
    face = faces[0]
    for what, explain in (("Grad-CAM", heat_map), ("occlusion", occlusion_map)):
        call = median(lambda one, explain=explain: explain(predictor, one[0], "happy"), face[None])
        found = interleave({"map": call}, repeats)
        figures.append(Figure(f"{what} map of one face", "ms", Summary.of(found["map"])))
    return served.name, figures


if __name__ == "__main__":
    main()
