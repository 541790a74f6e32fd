"""Uploaded pictures and what a model says of them. Their bytes stay in memory, and nothing is written to disk."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter

import cv2
import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

from dashboard import caching
from fer_core import limits
from fer_core.errors import ImageError
from fer_core.inference.collect import ZippedPictures
from fer_core.inference.detector_options import DetectorChoice
from fer_core.inference.faces import Detector
from fer_core.inference.images import FaceResult, Picture, PictureResult, read_faces
from fer_core.inference.predictor import Predictor
from fer_core.inference.served import ServedModel
from fer_core.preprocessing import Pixels, decode
from fer_core.workspace import printable

_THUMBNAIL = 96  # pixels


@dataclass(frozen=True)
class Reading:
    """What was found in a picture, and how it looks small: uint8 RGB ``[96, 96, 3]``, gray where it cannot be read."""

    result: PictureResult
    thumbnail: Pixels


@dataclass
class FileReadings:
    """Of one upload, which may be an archive of many pictures: those that were read so far, in order."""

    readings: list[Reading] = field(default_factory=list)
    complete: bool = False


@dataclass(frozen=True)
class UploadedPicture:
    """A picture that was uploaded, alone or as number ``place`` (from 0) in an archive."""

    file: UploadedFile
    place: int
    reading: Reading

    @property
    def result(self) -> PictureResult:
        return self.reading.result

    def data(self) -> bytes:
        """The encoded picture."""
        return _pictures(self.file)[self.place].data


def encoded(pictures: Sequence[UploadedPicture]) -> Iterator[tuple[UploadedPicture, bytes]]:
    """Each with its encoded picture, one at a time. An archive is opened once for all of its pictures that follow."""
    for file, of_file in groupby(pictures, key=attrgetter("file")):
        found = _pictures(file)
        for picture in of_file:
            yield picture, found[picture.place].data


@dataclass(frozen=True)
class UploadedPictures:
    """Those that were read, and a sentence that says why there are no more of them, if there should be."""

    pictures: list[UploadedPicture]
    cut_short: str | None


def too_much(files: Sequence[UploadedFile]) -> str | None:
    """Why uploads are not read, in a sentence: they are more than one visitor may keep in the server's memory."""
    size = sum(file.size for file in files) / 2**20
    if size <= limits.UPLOAD_MB:
        return None
    return (
        f"These {len(files):,} files hold {size:,.0f} MB together; the limit is {limits.UPLOAD_MB}. "
        "They were let go. Upload fewer, or put them into a folder on this machine and choose Folder."
    )


def let_go_of_others(files: Sequence[UploadedFile], key: str = "uploads_kept") -> None:
    """Frees what this visitor uploaded before and the page does not show any more.

    Streamlit keeps it until the browser's tab is closed, unless somebody clicks it away one by one.

    Args:
        files: What is shown.
        key: Of a value in the session, one for each place that takes uploads.
    """
    kept = {file.file_id for file in files}
    gone = st.session_state.get(key, set()) - kept
    st.session_state[key] = kept
    context = get_script_run_ctx()
    if context and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        for file_id in gone:
            context.uploaded_file_mgr.remove_file(context.session_id, file_id)


def read_uploads(
    files: Sequence[UploadedFile], model: ServedModel, detector: DetectorChoice, threshold: float
) -> UploadedPictures:
    """Reads what was not read yet, within the limits of number and time, and says how far it is.

    Raises:
        FerError: The model cannot be used.
    """
    known = caching.upload_readings(model.path, detector)
    for gone in known.keys() - {file.file_id for file in files}:
        del known[gone]
    bar = st.empty()
    cut_short = _read_new(files, known, caching.predictor(model.path), caching.detector(detector), bar)
    bar.empty()
    pictures = [
        UploadedPicture(file, place, replace(reading, result=marked(reading.result, threshold)))
        for file in files
        if file.file_id in known
        for place, reading in enumerate(known[file.file_id].readings)
    ]
    return UploadedPictures(pictures, cut_short)


def _read_new(
    files: Sequence[UploadedFile],
    known: dict[str, FileReadings],
    predictor: Predictor,
    detector: Detector,
    bar: DeltaGenerator,
) -> str | None:
    """Adds to what is known; returns why it ended early, if it did."""
    deadline = time.monotonic() + limits.UPLOAD_SECONDS
    before = done = sum(len(readings.readings) for readings in known.values())
    unread = [file for file in files if not known.setdefault(file.file_id, FileReadings()).complete]
    total = before + sum(len(_pictures(file)) - len(known[file.file_id].readings) for file in unread)
    for file in unread:
        mine, pictures = known[file.file_id], _pictures(file)
        for place in range(len(mine.readings), len(pictures)):
            if done >= limits.UPLOAD_PICTURES:
                return (
                    f"Only the first {done:,} pictures are read here. "
                    "For more, put them into a folder on this machine and choose Folder."
                )
            if done > before and time.monotonic() > deadline:
                return f"{done:,} of {total:,} pictures are read; {limits.UPLOAD_SECONDS} s at a stretch is the limit."
            bar.progress(min(1.0, done / total), text=f"Reading picture {done + 1:,} of {total:,}")
            mine.readings.append(_read(pictures[place], predictor, detector))
            done += 1
        mine.complete = True
    return None


def _pictures(file: UploadedFile) -> list[Picture] | ZippedPictures:
    name = printable(file.name)
    return ZippedPictures(file, name) if name.lower().endswith(".zip") else [Picture(name, file.getvalue())]


def _read(picture: Picture, predictor: Predictor, detector: Detector) -> Reading:
    if picture.error is not None:
        return Reading(PictureResult(picture.path, [], picture.error), _blank())
    try:
        image = decode(picture.data, picture.path)
        faces = read_faces(image, predictor, detector)
    except ImageError as error:
        return Reading(PictureResult(picture.path, [], str(error)), _blank())
    return Reading(PictureResult(picture.path, faces), _thumbnail(image, faces))


def _blank() -> Pixels:
    return np.full((_THUMBNAIL, _THUMBNAIL, 3), 128, np.uint8)


def _thumbnail(image: Pixels, faces: Sequence[FaceResult]) -> Pixels:
    """The largest square of a picture, moved to where its faces are."""
    side = min(image.shape[:2])
    corner = []
    for axis, length in ((1, image.shape[0]), (0, image.shape[1])):
        middles = [face.box[axis] + face.box[axis + 2] / 2 for face in faces] or [length / 2]
        corner.append(int(np.clip(np.mean(middles) - side / 2, 0, length - side)))
    top, left = corner
    square = image[top : top + side, left : left + side]
    method = cv2.INTER_AREA if side >= _THUMBNAIL else cv2.INTER_CUBIC
    return cv2.resize(square, (_THUMBNAIL, _THUMBNAIL), interpolation=method)


def marked(result: PictureResult, threshold: float) -> PictureResult:
    """The same faces, those below the threshold marked as uncertain: moving it asks no model again."""
    faces = [replace(face, uncertain=bool(face.probabilities.max() < threshold)) for face in result.faces]
    return replace(result, faces=faces)
