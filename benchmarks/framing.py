"""How faces are framed: where YuNet finds the landmarks of FER2013's pictures, and how well the bundled model reads
faces in larger pictures, cut out upright or by their box, turned, small, in half profile and cut off at a border.

Landmarks are those of the train split; accuracy is that on the validation split that the bundled model was made with.
No test picture is looked at.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

from benchmarks import inputs
from benchmarks.measure import Figure, Summary, arguments, machine, note, report

PICTURES = 1000
SIDE = 144
ANGLES = (0, 10, 20, 30, 45, 60)
SIDES = (12, 16, 20, 24, 32)
OUTSIDE = (0.1, 0.2, 0.3)
OFFSETS = (0.0, 0.1, 0.2, 0.3, 0.4, 9.0)
POINTS = ("right eye", "left eye", "nose", "right corner of the mouth", "left corner of the mouth")


def main() -> None:
    parser = arguments(__doc__, data=inputs.DATASET_HELP, repeats=1)
    parser.add_argument("--pictures", type=int, default=PICTURES, help="How many of each split. Default: %(default)s.")
    options = parser.parse_args()
    on = machine()

    import numpy as np

    from benchmarks.frames import FRAME, Readings, compose, landmarks_of, the_face
    from fer_core.data.dataset import Dataset
    from fer_core.inference.faces import DetectorOptions, load_detector
    from fer_core.inference.predictor import Predictor
    from fer_core.inference.served import default_model
    from fer_core.preprocessing import to_native
    from fer_core.workspace import Workspace

    yunet, haar = load_detector("yunet"), load_detector("haar")
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset.open(inputs.leak_free_dataset(options.data, Path(folder), *inputs.AS_BUNDLED))
        random = np.random.default_rng(1)
        train, validation = dataset.split("train"), dataset.split("validation")
        chosen = random.permutation(len(train))[: options.pictures]
        natives = [train.images[row][:, :, 0] for row in chosen]
        rows = random.permutation(len(validation))[: options.pictures]
        faces = [(validation.images[row][:, :, 0], int(validation.labels[row])) for row in rows]
    predictor = Predictor.load(default_model(Workspace.default()))

    note("landmarks")
    boxes, landmarks = landmarks_of(natives, load_detector("yunet", DetectorOptions(score=0.8)))
    figures = [
        Figure(f"{name} {axis}, share of the picture's side", "", Summary.of(values[:, number].tolist()))
        for name, points in zip(POINTS, landmarks.swapaxes(0, 1), strict=True)
        for values, number, axis in ((points, 0, "x"), (points, 1, "y"))
    ]
    for number, name in enumerate(("left", "top", "width", "height")):
        figures.append(Figure(f"box, {name}", "", Summary.of(boxes[:, number].tolist())))

    def read(what: str, angle: float = 0, outside: float = 0.0) -> Readings:
        note(what)
        readings, by_haar = Readings(predictor), 0
        for number, (native, label) in enumerate(faces):
            frame = compose(native, SIDE, angle * (-1) ** number, number, outside)
            middle = FRAME / 2 if not outside else SIDE * (0.5 - outside)
            readings.add(native, label, frame, the_face(frame, yunet, middle))
            if not outside:
                by_haar += the_face(frame, haar, middle) is not None
        found = len(readings.offsets)
        figures.append(Figure(f"found by yunet, {what}", "", share_of(found, readings.asked)))
        if not outside:
            figures.append(Figure(f"found by haar, {what}", "", share_of(by_haar, readings.asked)))
        for name, right in readings.right().items():
            figures.append(Figure(f"accuracy, {name}, {what}", "", share_of(int(right.sum()), len(right))))
        return readings

    upright = read(f"{SIDE} pixels, upright")
    for angle in ANGLES[1:]:
        read(f"{SIDE} pixels, turned by {angle} degrees", angle=angle)
    labels = np.array([label for _, label in faces])
    for side in SIDES:
        # Pictures of FER2013 alone are not found when they are small; what is lost with their pixels is seen so too.
        small = [to_native(to_native(native, (side, side), 1), predictor.input_shape[:2], 1) for native, _ in faces]
        right = predictor.classify(np.stack(small)).argmax(axis=1) == labels
        figures.append(
            Figure(f"accuracy, original shrunk to {side} pixels", "", share_of(int(right.sum()), len(faces)))
        )
    for outside in OUTSIDE:
        read(f"{SIDE} pixels, {outside:.0%} outside", outside=outside)
    right = upright.right()["aligned"]
    for low, high in itertools.pairwise(OFFSETS):
        among = right[(upright.offsets >= low) & (upright.offsets < high)]
        if len(among):
            what = f"accuracy, aligned, nose {low:g} to {high:g} of the eyes' distance from their middle"
            figures.append(Figure(what, "", share_of(int(among.sum()), len(among))))
    what = f"{len(natives)} train and {len(faces)} validation pictures; ranges of shares are 95% intervals"
    report("framing", what, on, figures, as_json=options.json)


def share_of(part: int, whole: int) -> Summary:
    """A share with its 95% interval (Wilson)."""
    from fer_core.evaluation.metrics import wilson_interval

    return Summary(part / whole, *wilson_interval(part, whole), whole)


if __name__ == "__main__":
    main()
