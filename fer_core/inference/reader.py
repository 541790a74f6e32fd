"""Predictions in three lines of Python, for whoever wants nothing else of this project."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from fer_core.errors import FerError, ImageError
from fer_core.inference.collect import collect
from fer_core.inference.detector_options import DetectorOptions
from fer_core.inference.faces import default_detector, load_detector
from fer_core.inference.images import (
    UNCERTAIN_BELOW,
    FaceResult,
    Picture,
    PictureResult,
    read_faces,
    read_pictures,
)
from fer_core.inference.predictor import Predictor
from fer_core.inference.served import default_model, find_model
from fer_core.preprocessing import MAX_PIXELS, Pixels, to_native
from fer_core.workspace import Workspace, expand

Image = str | Path | bytes | Pixels
"""A path, the bytes of an encoded picture, or pixels: uint8 ``[h, w, 3]`` in RGB order, or gray ``[h, w]``."""

_GRAY_OR_RGB: Final = (1, 3)


class Reader:
    """Finds the faces of pictures and says which expression each appears to have.

    It loads its model once and may be used from several threads at once. Nothing is downloaded or written.

    Args:
        model: A run, an imported or bundled model by name, or an ``.onnx`` file. None: the bundled model.
        detector: How faces are found, a name of ``faces.DETECTORS``. None: ``yunet`` where its file is there, else
            ``haar``. Pictures of at most 64 pixels are taken as a face whatever the detector.
        threshold: A face whose highest probability is below is marked uncertain, 0 to 1.
        options: Smallest face, score and margin, see ``DetectorOptions``.

    Raises:
        FerError: There is no such model or detector, or the model cannot be opened.

    Example:
        >>> from fer_core import Reader
        >>> from skimage import data
        >>> for face in Reader().read(data.astronaut()):
        ...     print(face.emotion, face.probabilities.shape)
        happy (7,)
    """

    def __init__(
        self,
        model: str | Path | None = None,
        detector: str | None = None,
        threshold: float = UNCERTAIN_BELOW,
        options: DetectorOptions | None = None,
    ) -> None:
        space = Workspace.default()
        served = default_model(space) if model is None else find_model(str(model), space)
        self._predictor = Predictor.load(served)
        self._detector = load_detector(detector or default_detector(), options)
        self._threshold = threshold

    def read(self, image: Image) -> list[FaceResult]:
        """Reads one picture.

        Args:
            image: See ``Image``. Pixels must be upright and in RGB order: OpenCV's are BGR, so hand over
                ``image[:, :, ::-1]`` of those. Of a file the EXIF orientation is honoured.

        Returns:
            Faces from left to right, none if none is found. Each has ``box``, ``emotion``, ``probabilities``
            (float32 ``[7]``, in the order of ``fer_core.emotions.EMOTIONS``), ``uncertain``, ``score``, ``crop``.

        Raises:
            ImageError: It cannot be read.
            FerError: It is no picture at all, or a folder or archive, which are for ``read_many``.
        """
        results = list(islice(self.read_many([image]), 2))
        if len(results) != 1:
            raise FerError(f"{image!s}: not exactly one picture. Give it to read_many.")
        if results[0].error is not None:
            raise ImageError(results[0].error)
        return results[0].faces

    def read_many(self, images: Iterable[Image]) -> Iterator[PictureResult]:
        """Reads any number of pictures in constant memory; encoded ones are classified in batches.

        Args:
            images: As for ``read``; the path of a folder or zip archive stands for all pictures in it.

        Yields:
            One result per picture, in order, with ``path`` (``image 3`` for the third, where it has none),
            ``faces`` and ``error``: what cannot be read does not end the reading.

        Raises:
            FerError: Something in ``images`` is neither path, bytes nor pixels; or the model fails.
        """
        if isinstance(images, str | Path | bytes):
            raise FerError("read_many takes several pictures: give it a list, as [path].")
        for is_pixels, group in groupby(enumerate(images, start=1), lambda entry: isinstance(entry[1], np.ndarray)):
            if is_pixels:
                for number, image in group:
                    yield self._read_pixels(image, f"image {number}")
            else:
                pictures = (picture for number, image in group for picture in _encoded(image, f"image {number}"))
                yield from read_pictures(pictures, self._predictor, self._detector, self._threshold)

    def _read_pixels(self, image: Any, name: str) -> PictureResult:
        channels = image.shape[2] if image.ndim == 3 else 1
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or channels not in _GRAY_OR_RGB or not image.size:
            shape = " x ".join(map(str, image.shape))
            return PictureResult(
                name,
                [],
                f"{name}: pixels are {image.dtype} of {shape}; expected uint8, height x width x 3 in RGB order.",
            )
        height, width = image.shape[:2]
        if height * width > MAX_PIXELS:
            return PictureResult(name, [], f"{name}: more than {MAX_PIXELS // 1_000_000} megapixels. Make it smaller.")
        rgb = np.ascontiguousarray(to_native(image, (height, width), 3))
        return PictureResult(name, read_faces(rgb, self._predictor, self._detector, self._threshold))


def _encoded(image: Any, name: str) -> Iterable[Picture]:
    """The pictures that a path or bytes stand for."""
    if isinstance(image, bytes):
        return [Picture(name, image)]
    if not isinstance(image, (str, Path)):
        raise FerError(
            f"{name}: a {type(image).__name__} cannot be read. Give a path, the bytes of a picture file, or its pixels "
            "as a uint8 array in RGB order."
        )
    try:
        return collect([expand(str(image))])
    except FerError as error:  # there is no such file
        return [Picture(str(image), error=str(error))]
