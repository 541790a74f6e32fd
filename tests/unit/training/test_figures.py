"""The figure of a run's history."""

import cv2
import pandas as pd
import pytest

from fer_core.training.figures import write_training_history


def history(epochs, best):
    return pd.DataFrame(
        [
            {"global_epoch": n, "accuracy": 0.3 + n / 50, "val_accuracy": 0.3 + n / 60, "loss": 2 - n / 30,
             "val_loss": 2 - n / 40, "best": n in best}
            for n in range(epochs)
        ]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("epochs", "best", "phases"),
    [
        pytest.param(1, [0], [("train", 1)], id="one epoch"),
        pytest.param(12, [0, 3, 9], [("frozen", 4), ("fine-tune", 8)], id="two phases"),
        pytest.param(3, [], [("train", 40)], id="stopped early, no best"),
    ],
)
def test_a_history_is_drawn(tmp_path, epochs, best, phases):
    file = tmp_path / "training_history.png"
    write_training_history(history(epochs, best), phases, file, title="r-1 on faces")
    picture = cv2.imread(str(file))
    assert picture.std() > 5
    accent = (picture[..., ::-1] == (0x0F, 0x6B, 0x6B)).all(axis=2)
    assert accent[: len(accent) // 2].any()  # validation, in both panels
    assert accent[len(accent) // 2 :].any()
