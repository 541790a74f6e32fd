"""The figures of an evaluation, also where a class, an error or all but one image is missing."""

import io

import cv2
import numpy as np
import pytest

from fer_core.evaluation import figures
from fer_core.evaluation.report import evaluate_predictions


def answers(labels, wrong=()):
    """Probabilities that are right but for the rows in ``wrong``, which say the next class."""
    said = np.array(labels)
    said[list(wrong)] = (said[list(wrong)] + 1) % 7
    return np.where(np.arange(7) == said[:, None], 0.7, 0.05)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 4, 5, 6], [3], [2, 2, 5]])
def test_a_matrix_is_drawn_whatever_it_holds(tmp_path, labels):
    report = evaluate_predictions(answers(labels), np.array(labels), None, "")
    file = figures.confusion_matrix_file(tmp_path, "validation")
    figures.write_confusion_matrix(report, file, title="r-1 · validation · Clean")
    assert file.name == "confusion_matrix_val.png"
    assert cv2.imread(str(file)).std() > 5
    assert [path.name for path in tmp_path.iterdir()] == [file.name]  # nothing temporary is left
    figures.write_confusion_matrix(report, drawn := io.BytesIO(), title="r-1 · validation · Clean")
    assert drawn.getvalue() == file.read_bytes()
    assert figures.confusion_matrix_file(tmp_path, "test").name == "confusion_matrix_test.png"


@pytest.mark.parametrize(
    ("labels", "wrong", "expected"),
    [
        pytest.param([0, 1, 2, 3, 4, 5, 6] * 4, range(14), [("Right", 7), ("Right", 7), ("Wrong", 7), ("Wrong", 7)],
                     id="two rows of each"),
        pytest.param([3, 3, 3], [], [("Right", 3), ("Wrong", 0)], id="nothing wrong, one class"),
        pytest.param([6], [0], [("Right", 0), ("Wrong", 1)], id="one image, wrong"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 3])
def test_faces_are_shown_with_what_was_said_of_them(tmp_path, monkeypatch, labels, wrong, expected, channels):
    seen = []
    real = figures.sheet
    monkeypatch.setattr(figures, "sheet", lambda rows, **words: seen.extend(rows) or real(rows, **words))
    labels, probabilities = np.array(labels), answers(labels, wrong)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 48, 48, channels), np.uint8)
    file = tmp_path / figures.SAMPLES_FILE
    figures.write_prediction_samples(images, labels, probabilities, file, title="r-1", seed=1)
    assert [(row.label, len(row.tiles)) for row in seen] == expected
    for row in seen:
        for tile in row.tiles:
            true, _, said = tile.caption.partition("\n→ ")
            assert said.endswith(" 70 %")
            assert (true == said.split()[0]) == (row.label == "Right")
    assert cv2.imread(str(file)).std() > 5
