"""Predictions as a table, one row per face, for CSV files and pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fer_core.emotions import EMOTIONS
from fer_core.inference.images import PictureResult

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("path", "face", "x", "y", "width", "height", "emotion", "uncertain", "unreliable"),
    *(f"p_{emotion}" for emotion in EMOTIONS),
    *("score", "error"),
)


def faces_table(results: Iterable[PictureResult]) -> pd.DataFrame:
    """One row per face, numbered from 1 within its picture; a picture without a face has one row with none.

    Returns:
        Columns as in ``COLUMNS``; boxes in pixels of the upright picture, probabilities 0 to 1.
    """
    import pandas as pd

    rows: list[dict[str, object]] = []
    for result in results:
        if not result.faces:
            rows.append({"path": result.path, "error": result.error or "No face found."})
        for number, face in enumerate(result.faces, start=1):
            values = {f"p_{e}": round(float(p), 4) for e, p in zip(EMOTIONS, face.probabilities, strict=True)}
            box = dict(zip(("x", "y", "width", "height"), face.box, strict=True))
            words = {"emotion": face.emotion, "uncertain": face.uncertain, "unreliable": face.unreliable}
            rows.append({"path": result.path, "face": number, **box, **words, **values, "score": face.score})
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    whole = ["face", "x", "y", "width", "height"]
    return table.astype(dict.fromkeys(whole, "Int64"))
