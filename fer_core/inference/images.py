"""Pictures -> faces with seven probabilities each, in constant memory however many pictures there are."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError, ImageError
from fer_core.inference.faces import Box, Detector, Face, find_faces
from fer_core.inference.framing import cut, doubt
from fer_core.inference.predictor import BATCH, Predictor
from fer_core.preprocessing import Pixels, decode

UNCERTAIN_BELOW: Final = 0.5
"""A face whose top class is less probable than this is uncertain: the other six together are likelier."""


@dataclass(frozen=True)
class Picture:
    """An encoded picture and what to call it, or the sentence that says why there is none."""

    path: str
    data: bytes = b""
    error: str | None = None


@dataclass(frozen=True)
class FaceResult:
    """One face: where it is, what the model saw of it, and what it said.

    Attributes:
        box: Left, top, width, height in pixels of the upright picture (EXIF applied).
        score: The detector's; None where it gives none.
        emotion: The most probable class: an apparent expression, not what the person feels.
        uncertain: Whether its probability is below the threshold.
        probabilities: float32 ``[7]``, in the order of ``emotions.py``.
        crop: uint8 ``[H, W, C]``, the face as the model reads it.
        unreliable: Why not to rely on it: ``tiny``, ``cut off``, ``profile`` or ``rotated``; None if nothing is known.
    """

    box: Box
    score: float | None
    emotion: str
    uncertain: bool
    probabilities: NDArray[np.float32]
    crop: Pixels
    unreliable: str | None = None


@dataclass(frozen=True)
class PictureResult:
    """The faces of a picture from left to right, or the sentence that says why it could not be read."""

    path: str
    faces: list[FaceResult]
    error: str | None = None


@dataclass(frozen=True)
class _Seen:
    """A face before the model has seen it."""

    face: Face
    crop: Pixels
    unreliable: str | None


@dataclass(frozen=True)
class _Found:
    """The faces of a picture; the picture itself is let go."""

    path: str
    faces: list[_Seen]
    error: str | None = None


def read_pictures(
    pictures: Iterable[Picture],
    predictor: Predictor,
    detector: Detector,
    threshold: float = UNCERTAIN_BELOW,
) -> Iterator[PictureResult]:
    """Finds and classifies the faces of pictures, a batch at a time.

    Args:
        pictures: From ``collect``, or an upload: ``Picture(name, data)``.
        predictor: The model.
        detector: From ``faces.load_detector``. Pictures no larger than a face crop are taken as one.
        threshold: Top probability below which a face is marked uncertain, 0 to 1.

    Yields:
        One result per picture, in order. A picture that cannot be read is a result with an error.

    Raises:
        ModelError: The model fails.
    """
    found = (_find(picture, predictor, detector) for picture in pictures)
    while group := list(islice(found, BATCH)):
        results = iter(_classify([face for entry in group for face in entry.faces], predictor, threshold))
        for entry in group:
            yield PictureResult(entry.path, list(islice(results, len(entry.faces))), entry.error)


def read_picture(
    picture: Picture, predictor: Predictor, detector: Detector, threshold: float = UNCERTAIN_BELOW
) -> PictureResult:
    """Finds and classifies the faces of one picture; see ``read_pictures``."""
    return next(read_pictures([picture], predictor, detector, threshold))


def read_faces(
    image: Pixels,
    predictor: Predictor,
    detector: Detector,
    threshold: float = UNCERTAIN_BELOW,
    faces: list[Face] | None = None,
) -> list[FaceResult]:
    """Finds and classifies the faces of a picture that is decoded already, such as a frame of a video.

    Args:
        image: uint8 RGB ``[h, w, 3]``, upright.
        predictor: The model.
        detector: From ``faces.load_detector``.
        threshold: As for ``read_pictures``.
        faces: From ``find_faces``, where they are known already; None to look for them.

    Returns:
        Faces from left to right, classified in one batch.

    Raises:
        ImageError: OpenCV cannot look for faces in it.
        ModelError: The model fails.
    """
    return _classify(_see(image, predictor, detector, faces), predictor, threshold)


def _see(image: Pixels, predictor: Predictor, detector: Detector, faces: list[Face] | None = None) -> list[_Seen]:
    height, width, channels = predictor.input_shape
    try:
        found = find_faces(image, detector) if faces is None else faces
        return [_Seen(face, cut(image, face, (height, width), channels), doubt(face)) for face in found]
    except cv2.error as error:  # one odd picture must not end the reading of thousands
        raise ImageError(f"OpenCV cannot look for faces in this picture ({error.err}). Save it anew.") from error


def _find(picture: Picture, predictor: Predictor, detector: Detector) -> _Found:
    if picture.error is not None:
        return _Found(picture.path, [], picture.error)
    try:
        return _Found(picture.path, _see(decode(picture.data, picture.path), predictor, detector))
    except FerError as error:
        return _Found(picture.path, [], str(error))


def _classify(faces: list[_Seen], predictor: Predictor, threshold: float) -> list[FaceResult]:
    answers = predictor.classify(np.stack([seen.crop for seen in faces])) if faces else ()
    return [_result(seen, answer, threshold) for seen, answer in zip(faces, answers, strict=True)]


def _result(seen: _Seen, answer: NDArray[np.float32], threshold: float) -> FaceResult:
    face, top = seen.face, int(answer.argmax())
    uncertain = bool(answer[top] < threshold)
    return FaceResult(face.box, face.score, EMOTIONS[top], uncertain, answer, seen.crop, seen.unreliable)


def sample_photograph() -> Path:
    """A photograph with one face that comes with scikit-image: Eileen Collins (NASA, public domain).

    Raises:
        FerError: scikit-image is not installed.
    """
    # Only looked up: importing scikit-image would take longer than everything else here.
    spec = importlib.util.find_spec("skimage")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (file := Path(folder) / "data" / "astronaut.png").is_file():
            return file
    raise FerError("The sample photograph is missing. Install it with `pip install scikit-image`.")
