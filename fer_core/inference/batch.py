"""Thousands of pictures -> a folder of results that is whole at every moment, in constant memory."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TextIO

from pydantic import BaseModel, ValidationError

from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError, Stopped
from fer_core.inference.draw import draw_faces, encode_jpeg
from fer_core.inference.faces import Detector
from fer_core.inference.images import UNCERTAIN_BELOW, Picture, PictureResult, read_pictures
from fer_core.inference.predictor import BATCH, Predictor
from fer_core.inference.table import COLUMNS, document, face_rows
from fer_core.jobs.progress import Progress, silent
from fer_core.jobs.store import write_atomically
from fer_core.preprocessing import decode

KIND: Final = "predict"
"""Of the jobs that do it."""

FACES_FILE: Final = "faces.csv"
RESULTS_FILE: Final = "results.jsonl"
SUMMARY_FILE: Final = "summary.json"
ANNOTATED_FOLDER: Final = "annotated"
RESULTS_FOLDER: Final = "results"
"""Of a job, where it was not told another one."""

OTHER_FOLDERS: Final = "other folders"
MAX_FOLDERS: Final = 1000
"""Folders that a summary counts each for itself; all after them are counted together."""

_GROUP_BYTES: Final = 16 * 2**20
# Of encoded pictures held at a time. It is some five photographs of a phone: a stop is heeded after about a second.


class Counts(BaseModel):
    """Of pictures: how many, what was found in them, and the apparent expressions of the faces."""

    pictures: int = 0
    faces: int = 0
    faceless: int = 0
    unreadable: int = 0
    uncertain: int = 0
    emotions: dict[str, int] = dict.fromkeys(EMOTIONS, 0)

    def add(self, result: PictureResult) -> None:
        """Counts one more picture."""
        self.pictures += 1
        self.faces += len(result.faces)
        self.unreadable += result.error is not None
        self.faceless += result.error is None and not result.faces
        for face in result.faces:
            self.uncertain += face.uncertain
            self.emotions[face.emotion] += 1

    def shares(self) -> dict[str, float]:
        """Each expression's share of the faces, 0 to 1; zeros where there is no face."""
        return {emotion: count / max(1, self.faces) for emotion, count in self.emotions.items()}

    def told(self) -> str:
        """What was found, in a sentence: "1,204 faces in 1,000 pictures: happy 100 %; 2 could not be read."."""
        shares = self.shares()
        ranked = sorted((emotion for emotion in EMOTIONS if shares[emotion]), key=lambda emotion: -shares[emotion])
        named = ", ".join(f"{emotion} {100 * shares[emotion]:.0f} %" for emotion in ranked)
        words = f"{_number(self.faces, 'face')} in {_number(self.pictures, 'picture')}{': ' if named else ''}{named}"
        words += f"; {self.faceless:,} without a face" if self.faceless else ""
        return words + (f"; {self.unreadable:,} could not be read." if self.unreadable else ".")


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


class Summary(Counts):
    """``summary.json``, written at the end, also at a stop.

    Attributes:
        total: How many pictures there were to read.
        stopped: Whether somebody stopped it before all were read.
        threshold: Top probability below which a face counts as uncertain.
        seconds: How long it took.
        shares_of_faces: See ``Counts.shares``.
        folders: The same counts for each folder, at most ``MAX_FOLDERS``.
    """

    total: int
    stopped: bool = False
    model: str
    detector: str
    threshold: float
    seconds: float = 0.0
    shares_of_faces: dict[str, float] = {}
    folders: dict[str, Counts] = {}

    def add(self, result: PictureResult) -> None:
        super().add(result)
        folder = result.path.rpartition("/")[0]
        if folder not in self.folders and len(self.folders) >= MAX_FOLDERS:
            folder = OTHER_FOLDERS
        self.folders.setdefault(folder, Counts()).add(result)


def read_summary(folder: Path) -> Summary | None:
    """The summary in a folder of results; None where there is none, as after a crash.

    Raises:
        FerError: It is damaged.
    """
    file = folder / SUMMARY_FILE
    if not file.is_file():
        return None
    try:
        return Summary.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise FerError(f"{file}: damaged. Read the pictures again.") from error


def new_folder(folder: Path) -> Path:
    """The folder for new results, made if need be.

    Raises:
        FerError: Something lies there already, which would be mixed up with them.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FerError(f"{folder}: there is something here already. Choose a folder that is new or empty.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def read_into(
    pictures: Iterable[Picture],
    total: int,
    folder: Path,
    predictor: Predictor,
    detector: Detector,
    *,
    detector_name: str,
    threshold: float = UNCERTAIN_BELOW,
    annotated: bool = False,
    progress: Progress = silent,
) -> Summary:
    """Finds and classifies the faces of pictures and writes what it finds while it goes.

    ``faces.csv`` gets a row per face, ``results.jsonl`` a document per picture (both see ``table``), ``annotated/`` the
    pictures with boxes where they are wanted, and ``summary.json`` the counts at the end.

    Args:
        pictures: From ``collect``; they are asked for one after the other.
        total: How many there are, for the progress.
        folder: From ``new_folder``.
        predictor: The model.
        detector: From ``faces.load_detector``.
        detector_name: What the summary calls it.
        threshold: Top probability below which a face is marked uncertain, 0 to 1.
        annotated: Whether to draw the boxes on every picture with a face.
        progress: Told of every picture.

    Raises:
        Stopped: By ``progress``. What was read until then is written, and the summary says that there was more.
        ModelError: The model fails.
    """
    summary = Summary(total=total, model=predictor.name, detector=detector_name, threshold=threshold)
    begun = time.monotonic()

    def conclude() -> None:
        summary.seconds = round(time.monotonic() - begun, 2)
        summary.shares_of_faces = {emotion: round(share, 4) for emotion, share in summary.shares().items()}
        write_atomically(folder / SUMMARY_FILE, summary.model_dump_json(indent=2))

    with (
        (folder / FACES_FILE).open("w", encoding="utf-8", newline="") as faces,
        (folder / RESULTS_FILE).open("w", encoding="utf-8") as documents,
    ):
        table = csv.DictWriter(faces, COLUMNS, lineterminator="\n")
        table.writeheader()
        try:
            for group in _groups(pictures):
                results = read_pictures(group, predictor, detector, threshold)
                for picture, result in zip(group, results, strict=True):
                    table.writerows(face_rows(result))
                    documents.write(json.dumps(document(result), allow_nan=False) + "\n")
                    if annotated and result.faces:
                        _annotate(folder / ANNOTATED_FOLDER, summary.pictures + 1, picture, result)
                    summary.add(result)
                _flush(faces, documents)
                progress("Reading pictures", summary.pictures, max(total, summary.pictures))
        except (FerError, OSError) as error:
            summary.stopped = True
            with contextlib.suppress(OSError):  # a full disk may have no room for it
                conclude()
            if not isinstance(error, Stopped):
                raise
            read = f"{summary.pictures:,} of {max(total, summary.pictures):,} pictures"
            raise Stopped(f"Stopped after {read}; what was found in them is in {folder}.") from error
    conclude()
    return summary


def _groups(pictures: Iterable[Picture]) -> Iterator[list[Picture]]:
    """Pictures in groups that are few enough, and small enough together, to be held."""
    group: list[Picture] = []
    held = 0
    for picture in pictures:
        group.append(picture)
        held += len(picture.data)
        if len(group) == BATCH or held >= _GROUP_BYTES:
            yield group
            group, held = [], 0
    if group:
        yield group


def _flush(*files: TextIO) -> None:
    """What is written can be read by others, and a crash does not lose it."""
    for file in files:
        file.flush()


def _annotate(folder: Path, number: int, picture: Picture, result: PictureResult) -> None:
    folder.mkdir(exist_ok=True)
    (folder / annotated_name(number, result.path)).write_bytes(annotated_jpeg(picture.data, result))


def annotated_name(number: int, path: str) -> str:
    """What the picture with boxes is called: its number, and as much of its name as is harmless in a file name."""
    stem = path.rpartition("/")[2].rpartition(".")[0]
    harmless = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:60]
    return f"{number:05d}-{harmless or 'picture'}.jpg"


def annotated_jpeg(data: bytes, result: PictureResult, theme: str = "light") -> bytes:
    """A picture with numbered boxes on its faces, as a JPEG file.

    Args:
        data: The encoded picture.
        result: What was found in it.
        theme: Whose palette, ``light`` or ``dark``.
    """
    boxes = [(face.box, face.emotion) for face in result.faces]
    return encode_jpeg(draw_faces(decode(data, result.path), boxes, theme))
