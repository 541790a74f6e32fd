"""Ours against the PyPI package ``fer``, its own model and detector: accuracy, milliseconds, memory, install size.

Both see the same pictures in the same run: validation images of FER2013 as they are, and each alone in a frame of
640 x 480, where it has to be found first. The test part stays sealed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import inputs
from benchmarks.measure import ROOT, Figure, Summary, arguments, interleave, machine, note, ratios, report, run_child

if TYPE_CHECKING:
    import numpy as np

FER: Final = "fer 25.10.3"
# It looks its model up with pkg_resources, which later versions of setuptools do not bring.
PACKAGES: Final = ("fer==25.10.3", "setuptools<81")

FRAMES: Final = 500
WIDTH, HEIGHT, FACE = 640, 480, 192
"""Of a frame and of the face in it, in pixels: four times FER2013's size."""

OVERLAP: Final = 0.5
"""Intersection over union from which a box counts as the face (as in PASCAL VOC)."""

CAVEAT: Final = (
    "fer's network was trained on FER2013's train part by its authors, so it has probably learnt from these very "
    "images; of ours, epoch and temperature were chosen on validation"
)


def main() -> None:
    parser = arguments(__doc__, data=inputs.DATASET_HELP, repeats=3)
    parser.add_argument("--environment", type=Path, default=ROOT / ".venv-fer", help="Made if missing; takes 8 GB.")
    parser.add_argument("--images", type=int, default=0, help="At most so many validation images. Default: all.")
    options = parser.parse_args()
    on = machine()
    python = _environment(options.environment)

    import cv2
    import numpy as np

    from fer_core.data.copies import fingerprint
    from fer_core.data.dataset import Dataset
    from fer_core.inference.served import default_model
    from fer_core.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        dataset = Dataset.open(inputs.leak_free_dataset(options.data, scratch))
        split = dataset.split("validation")
        model = default_model(Workspace.default())
        assert model.fingerprints is not None  # the bundled model has them
        known = {row.tobytes() for row in np.load(model.fingerprints)}
        new = [number for number, row in enumerate(fingerprint(split.images)) if row.tobytes() not in known]
        chosen = np.random.default_rng(0).permutation(new)[: options.images or None]
        crops, labels = split.images[chosen, :, :, 0], split.labels[chosen]
        frames, places = _frames(crops[:FRAMES])
        for name, images in (("crops", crops), ("frames", frames)):
            (scratch / name).mkdir()
            for number, image in enumerate(images):
                cv2.imwrite(str(scratch / name / f"{number:06}.png"), image)

        def side(name: str, interpreter: str | Path) -> Callable[[], dict[str, Any]]:
            def run() -> dict[str, Any]:
                output = run_child([interpreter, "-m", "benchmarks.fer_sides", name, scratch]).output
                found = json.loads(output.splitlines()[-1])
                right = np.asarray(found["crops"]) == labels
                hits = [_hit(faces, place) for faces, place in zip(found["frames"], places, strict=True)]
                read = [hit is not None and hit == label for hit, label in zip(hits, labels, strict=False)]
                return {
                    **found,
                    "accuracy": 100 * right.mean(),
                    "found": 100 * np.mean([hit is not None for hit in hits]),
                    "frame_accuracy": 100 * np.mean(read),
                }

            return run

        ours, theirs = interleave(
            {"fer_core": side("fer_core", sys.executable), "fer": side("fer", python)}, options.repeats
        ).values()
    left = len(split) - len(new)
    what = (
        f"{len(labels):,} validation images of {dataset.name}, {len(frames)} of them alone in frames of "
        f"{WIDTH} x {HEIGHT}; {left} left out because {model.name} was trained on copies of them; {CAVEAT}"
    )
    report("against_fer", what, on, _figures(ours, theirs), as_json=options.json)


def _environment(folder: Path) -> Path:
    """The interpreter of an environment with ``fer`` in it, which is made where it is missing."""
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if not ready.is_file():
        note(f"installing {FER} into {folder}")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True, stdout=sys.stderr)
        ready.touch()
    return python


def _frames(crops: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Every face enlarged, somewhere in a gray frame of its own.

    Returns:
        uint8 ``[N, HEIGHT, WIDTH]``, and left and top of each face.
    """
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    frames, places = np.full((len(crops), HEIGHT, WIDTH), 128, np.uint8), []
    for frame, crop in zip(frames, crops, strict=True):
        left, top = int(rng.integers(0, WIDTH - FACE)), int(rng.integers(0, HEIGHT - FACE))
        large = cv2.resize(crop, (FACE, FACE), interpolation=cv2.INTER_CUBIC)
        frame[top : top + FACE, left : left + FACE] = large
        places.append((left, top))
    return frames, places


def _hit(faces: list[Any], place: tuple[int, int]) -> int | None:
    """The class of the face that was found where one is; None if none was."""
    left, top = place
    best, said = OVERLAP, None
    for (x, y, width, height), emotion in faces:
        across = max(0, min(x + width, left + FACE) - max(x, left))
        down = max(0, min(y + height, top + FACE) - max(y, top))
        share = across * down / (width * height + FACE * FACE - across * down)
        if share >= best:
            best, said = share, emotion
    return said


def _figures(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> list[Figure]:
    figures = []
    for key, name, unit in (
        ("accuracy", "accuracy on crops", "%"),
        ("found", "frames whose face is found", "%"),
        ("frame_accuracy", "frames whose face is found and read right", "%"),
        ("crop_ms", "one crop", "ms"),
        ("frame_ms", "one frame, detection included", "ms"),
        ("ready_s", "import and open the model", "s"),
        ("peak_mb", "peak memory", "MB"),
        ("installed_mb", "installed with all that it needs", "MB"),
    ):
        a, b = [one[key] for one in ours], [one[key] for one in theirs]
        figures += [Figure(f"{name}, fer_core", unit, Summary.of(a)), Figure(f"{name}, {FER}", unit, Summary.of(b))]
        if unit != "%":
            figures.append(Figure(name, "x", Summary.of(ratios(a, b)), FER))
    return figures


if __name__ == "__main__":
    main()
