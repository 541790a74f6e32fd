"""The event files of a run for TensorBoard, written with TensorBoard's own records and without TensorFlow."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util import tensor_util

from fer_core.evaluation.figures import confusion_matrix_file
from fer_core.jobs.state import JobState
from fer_core.training.runs import Run
from fer_core.training.tracking.epochs import Epoch
from fer_core.training.tracking.places import TENSORBOARD_FOLDER

_MARK: Final = "tfevents"  # by which TensorBoard knows the files that it reads


class TensorBoard:
    """Writes the run from its first epoch on into a new event file, which then takes the place of those before.

    A ``TensorBoard`` that shows the run already drops what it had read when it meets the new file, whose first event
    says that a session starts at step 0.

    Args:
        run: Whose folder it writes into.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._folder = run.folder / TENSORBOARD_FOLDER
        self._file: Any = None
        self._written: set[int] = set()

    def update(self, epochs: Sequence[Epoch]) -> None:
        """Writes the epochs that are not written yet; they are on disk when it returns.

        Raises:
            OSError: The disk is full or the like; what stood there before stays.
        """
        if self._file is None:
            self._begin(epochs)
        else:
            self._add(epochs)
            self._file.flush()

    def finish(self, state: JobState) -> None:
        """Adds what a finished run leaves: the picture of its confusion matrix."""
        picture = confusion_matrix_file(self._run.folder, "validation")
        if state is JobState.DONE and picture.is_file():
            self._write(max(self._written, default=0), time.time(), _image("confusion_matrix/validation", picture))
        self.close()

    def close(self) -> None:
        """Ends the file."""
        if self._file is not None:
            self._file.close()

    def _begin(self, epochs: Sequence[Epoch]) -> None:
        self._folder.mkdir(exist_ok=True)
        # TensorBoard reads the files of a folder in the order of their names.
        name = self._folder / f"events.out.{_MARK}.{time.time():.6f}.fer_core"
        temporary = name.with_name(name.name.replace(_MARK, "writing"))
        before = [*self._folder.glob(f"*{_MARK}*"), *self._folder.glob("*.writing.*")]
        try:
            self._file = temporary.open("wb")
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            for event in (
                event_pb2.Event(wall_time=self._run.job.spec().created, file_version="brain.Event:2"),
                event_pb2.Event(wall_time=self._run.job.spec().created, step=0, session_log=start),
            ):
                self._record(event)
            settings = "".join(f"    {line}\n" for line in self._run.config.to_yaml().splitlines())
            self._write(0, self._run.job.spec().created, text_pb("settings", settings))
            self._add(epochs)
            self._file.flush()
            temporary.replace(name)
        except BaseException:
            self.close()
            temporary.unlink(missing_ok=True)
            raise
        for old in before:
            with contextlib.suppress(OSError):
                old.unlink()

    def _add(self, epochs: Sequence[Epoch]) -> None:
        for epoch in epochs:
            if epoch.step in self._written:
                continue
            for point in epoch.batches:
                scores = {"batch/loss": point.loss, "batch/accuracy": point.accuracy}
                self._write(point.step, point.time, _scalars(scores))
            self._write(epoch.step, epoch.time, _scalars(epoch.scores))
            self._written.add(epoch.step)

    def _write(self, step: int, when: float, summary: summary_pb2.Summary) -> None:
        self._record(event_pb2.Event(wall_time=when, step=step, summary=summary))

    def _record(self, event: event_pb2.Event) -> None:
        RecordWriter(self._file).write(event.SerializeToString())


def _scalars(scores: Mapping[str, float]) -> summary_pb2.Summary:
    return summary_pb2.Summary(
        value=[summary_pb2.Summary.Value(tag=name, simple_value=value) for name, value in scores.items()]
    )


def _image(name: str, file: Path) -> summary_pb2.Summary:
    """A PNG file as the image plugin takes it: width and height as text, then the file."""
    with Image.open(file) as picture:
        width, height = picture.size
    content = [str(width).encode(), str(height).encode(), file.read_bytes()]
    summary = summary_pb2.Summary()
    summary.value.add(
        tag=name,
        metadata=image_metadata.create_summary_metadata(display_name=None, description=None),
        tensor=tensor_util.make_tensor_proto(content, dtype=np.object_),
    )
    return summary
