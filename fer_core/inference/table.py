"""Predictions as rows of a table, one per face, and as documents, one per picture: for files and pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from fer_core.emotions import EMOTIONS
from fer_core.inference.images import FaceResult, PictureResult
from fer_core.spreadsheet import guarded

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("path", "face", "x", "y", "width", "height", "emotion", "uncertain", "unreliable"),
    *(f"p_{emotion}" for emotion in EMOTIONS),
    *("score", "error"),
)


def face_rows(result: PictureResult) -> Iterator[dict[str, object]]:
    """A row for each face, numbered from 1; a picture without one has one row that says so.

    Yields:
        Some of ``COLUMNS``: boxes in pixels of the upright picture, probabilities 0 to 1.
    """
    if not result.faces:
        yield {"path": guarded(result.path), "error": guarded(result.error or "No face found.")}
    for number, face in enumerate(result.faces, start=1):
        values = {f"p_{e}": round(float(p), 4) for e, p in zip(EMOTIONS, face.probabilities, strict=True)}
        box = dict(zip(("x", "y", "width", "height"), face.box, strict=True))
        words = {"emotion": face.emotion, "uncertain": face.uncertain, "unreliable": face.unreliable}
        yield {"path": guarded(result.path), "face": number, **box, **words, **values, "score": face.score}


def faces_table(results: Iterable[PictureResult]) -> pd.DataFrame:
    """The rows of several pictures.

    Returns:
        Columns as in ``COLUMNS``.
    """
    import pandas as pd

    rows = [row for result in results for row in face_rows(result)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    whole = ["face", "x", "y", "width", "height"]
    return table.astype(dict.fromkeys(whole, "Int64"))


def face_document(face: FaceResult) -> dict[str, Any]:
    """A face in ``predict --json``: box, score, emotion, what speaks against relying on it, probabilities."""
    return {
        "box": list(face.box),
        "score": face.score,
        "emotion": face.emotion,
        "uncertain": face.uncertain,
        "unreliable": face.unreliable,
        "probabilities": {e: float(p) for e, p in zip(EMOTIONS, face.probabilities, strict=True)},
    }


def document(result: PictureResult) -> dict[str, Any]:
    """What ``predict --json`` prints of a picture: path, error and faces."""
    return {"path": result.path, "faces": [face_document(face) for face in result.faces], "error": result.error}
