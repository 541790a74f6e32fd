"""Every cache of the dashboard, each with a bound and a key that changes when the file does.

What only some pages need is imported where it is used: the first page does not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from fer_core.data.config import AugmentConfig, BalanceConfig
from fer_core.data.dataset import LEFT_OUT, Dataset
from fer_core.data.fetch import cache_folder
from fer_core.data.info import SPLITS, Counts, count_by_source
from fer_core.data.sources import FoundArchive, find_archives
from fer_core.errors import DatasetError, FerError
from fer_core.inference.detector_options import DetectorChoice
from fer_core.inference.faces import Detector, load_detector
from fer_core.inference.images import Picture, PictureResult, read_picture
from fer_core.inference.predictor import Predictor
from fer_core.preprocessing import Pixels
from fer_core.workspace import Workspace, printable

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from dashboard.comparison_view import Compared
    from dashboard.dataset_comparison import Comparison
    from dashboard.uploads import FileReadings
    from fer_core.data.decisions import Decision
    from fer_core.data.families import Family
    from fer_core.data.quality import Quality
    from fer_core.doctor import Report
    from fer_core.evaluation.label_check import LabelCheck
    from fer_core.evaluation.matching import Matches
    from fer_core.evaluation.report import EvaluationReport
    from fer_core.evaluation.results_csv import Results
    from fer_core.evaluation.slices import Added
    from fer_core.training.catalog import Catalog


def _stamp(path: Path) -> float:
    return path.stat().st_mtime


@st.cache_resource(max_entries=8, show_spinner=False)
def _dataset(folder: Path, stamp: float) -> Dataset:
    return Dataset.open(folder)


def dataset(folder: Path) -> Dataset:
    """A prepared dataset, opened once per version on disk."""
    return _dataset(folder, _stamp(folder / "dataset.json"))


@st.cache_resource(max_entries=2, show_spinner=False)
def _table(folder: Path, split: str, stamp: float) -> pd.DataFrame:
    return _dataset(folder, stamp).table(split)


def table(opened: Dataset, split: str) -> pd.DataFrame:
    """The rows of a split without their pictures. Shared: do not change it."""
    return _table(opened.folder, split, _stamp(opened.folder / "dataset.json"))


@st.cache_data(max_entries=8, show_spinner=False)
def _source_counts(folder: Path, stamp: float) -> dict[str, Counts]:
    opened = _dataset(folder, stamp)
    return count_by_source({split: opened.table(split) for split in SPLITS})


def source_counts(opened: Dataset) -> dict[str, Counts]:
    """Images by source, split and emotion."""
    return _source_counts(opened.folder, _stamp(opened.folder / "dataset.json"))


@st.cache_data(max_entries=32, show_spinner=False)
def _family(
    folder: Path, stamp: float, emotion: str, number: int, config: tuple[int, AugmentConfig] | None
) -> Family | None:
    from fer_core.data.families import preview_family, stored_family

    opened = _dataset(folder, stamp)
    rows = _table(folder, "train", stamp)
    if config is None:
        return stored_family(opened, rows, emotion, number)
    seed, strengths = config
    return preview_family(opened, rows, emotion, number, seed, strengths)


def family(opened: Dataset, emotion: str, number: int, config: BalanceConfig | None) -> Family | None:
    """An original with its augmented children: those it has, or with settings those that balancing would make."""
    decisive = None if config is None else (config.seed, config.augment)
    return _family(opened.folder, _stamp(opened.folder / "dataset.json"), emotion, number, decisive)


@st.cache_resource(max_entries=2, show_spinner=False)
def _left_out(folder: Path, stamp: float) -> pd.DataFrame:
    return _dataset(folder, stamp).table(LEFT_OUT)


def left_out_problem(opened: Dataset) -> str:
    """Why the pictures that were left out of a dataset cannot be shown; empty where they can."""
    try:
        _left_out(opened.folder, _stamp(opened.folder / "dataset.json"))
    except DatasetError as error:
        return str(error)
    return ""


@st.cache_resource(max_entries=2, show_spinner=False)
def _images(folder: Path, stamp: float, whole: bool) -> pd.DataFrame:
    import pandas as pd

    opened = _dataset(folder, stamp)
    parts = []
    for split in (*SPLITS, LEFT_OUT) if whole else SPLITS:
        rows = _left_out(folder, stamp) if split == LEFT_OUT else opened.table(split)
        parts.append(rows.assign(split=split, row=range(len(rows)), why=rows.get("why", "")))
    images = pd.concat(parts, ignore_index=True)
    # Filters compare all rows at once: words that are few are compared as numbers.
    return images.astype({"split": "category", "source": "category", "flags": "category"})


def images(opened: Dataset) -> pd.DataFrame:
    """All rows of a dataset, with their ``split`` and ``row`` in it. Shared: do not change it.

    Those left out are among them unless there is a ``left_out_problem``: what is in the splits can be shown without.
    """
    return _images(opened.folder, _stamp(opened.folder / "dataset.json"), not left_out_problem(opened))


@st.cache_resource(max_entries=2, show_spinner=False)
def _places(folder: Path, stamp: float, whole: bool) -> dict[str, tuple[str, int]]:
    rows = _images(folder, stamp, whole)
    rows = rows[rows["parent_id"].isna()]
    return dict(zip(rows["pixel_sha"], zip(rows["split"], rows["row"].tolist(), strict=True), strict=True))


def places(opened: Dataset) -> dict[str, tuple[str, int]]:
    """``pixel_sha`` of every original in ``images`` -> split and row. Shared: do not change it."""
    return _places(opened.folder, _stamp(opened.folder / "dataset.json"), not left_out_problem(opened))


@st.cache_resource(max_entries=2, show_spinner=False)
def _comparison(folder: Path, stamp: float, other: Path, other_stamp: float) -> Comparison:
    from dashboard.dataset_comparison import compare

    return compare(images(_dataset(folder, stamp)), images(_dataset(other, other_stamp)))


def comparison(opened: Dataset, other: Dataset) -> Comparison:
    """What a dataset has against another one. Shared: do not change it."""
    stamp, other_stamp = (_stamp(one.folder / "dataset.json") for one in (opened, other))
    return _comparison(opened.folder, stamp, other.folder, other_stamp)


@st.cache_resource(max_entries=2, show_spinner=False)
def _findings(folder: Path, stamp: float) -> pd.DataFrame | None:
    table = _dataset(folder, stamp).findings()
    return None if table is None else table.to_pandas()


@st.cache_data(max_entries=6, show_spinner=False)
def _dataset_file(folder: Path, stamp: float, kind: str) -> str | bytes:
    from fer_core.data.card import report
    from fer_core.data.config import PrepareConfig
    from fer_core.data.decisions import decisions_csv
    from fer_core.data.export import manifest_csv, split_files_zip
    from fer_core.data.findings import findings_csv

    opened = _dataset(folder, stamp)
    makers: dict[str, Callable[[], str | bytes]] = {
        "manifest": lambda: manifest_csv(opened),
        "splits": lambda: split_files_zip(opened),
        "report": lambda: report(opened.info),
        "findings": lambda: findings_csv(opened.findings()),
        "decisions": lambda: decisions_csv(PrepareConfig.of_dataset(opened.info.config).decisions),
    }
    return makers[kind]()


def dataset_file(opened: Dataset, kind: str) -> str | bytes:
    """What can be downloaded of a dataset: "manifest", "splits", "report", "findings" or "decisions"."""
    return _dataset_file(opened.folder, _stamp(opened.folder / "dataset.json"), kind)


def findings(opened: Dataset) -> pd.DataFrame | None:
    """What the audit found, ``images`` as lists of dicts; None where it was not kept. Shared: do not change it."""
    return _findings(opened.folder, _stamp(opened.folder / "dataset.json"))


@st.cache_resource(max_entries=2, show_spinner=False)
def _pending(folder: Path, version: tuple[int, ...]) -> list[Decision]:
    from fer_core.data.decisions import Pending

    return Pending(folder).read()


def pending(opened: Dataset) -> list[Decision]:
    """What was decided about a dataset since it was made, parsed once per version on disk. Shared: do not change it.

    Raises:
        FerError: The file is damaged.
    """
    from fer_core.data.decisions import PENDING

    try:
        stat = (opened.folder / PENDING).stat()
    except FileNotFoundError:
        return []
    # Decisions follow each other faster than a clock may tick: each version is another file.
    return _pending(opened.folder, (stat.st_mtime_ns, stat.st_size, stat.st_ino))


@st.cache_resource(max_entries=2, show_spinner=False)
def _label_check(folder: Path, stamps: tuple[float, ...]) -> LabelCheck:
    from fer_core.evaluation.label_check import read_label_check

    return read_label_check(folder)


def label_check(folder: Path) -> LabelCheck:
    """A finished label check, whose tables are then read once per version on disk. Shared: do not change them.

    Raises:
        FerError: It is damaged.
    """
    from fer_core.evaluation.label_check import BEFORE_AFTER_FILE, INFO_FILE, ISSUES_FILE

    files = [folder / name for name in (INFO_FILE, ISSUES_FILE, BEFORE_AFTER_FILE)]
    return _label_check(folder, tuple(_stamp(file) if file.is_file() else 0.0 for file in files))


@st.cache_resource(max_entries=4, show_spinner=False)
def _predictions(file: Path, stamp: float) -> tuple[pd.DataFrame, EvaluationReport]:
    from fer_core.evaluation.predictions import read_predictions
    from fer_core.evaluation.report import report_of

    found = read_predictions(file)
    return found, report_of(found)


def predictions(file: Path) -> tuple[pd.DataFrame, EvaluationReport]:
    """Stored predictions and their scores. Shared: do not change them."""
    return _predictions(file, _stamp(file))


@st.cache_resource(max_entries=4, show_spinner="Measuring how the images look")
def _quality(folder: Path, stamp: float, split: str) -> Quality:
    from fer_core.data.quality import measure_images

    return measure_images(_dataset(folder, stamp).split(split).images)


def quality(opened: Dataset, split: str) -> Quality:
    """How the images of a split look. Shared: do not change it."""
    return _quality(opened.folder, _stamp(opened.folder / "dataset.json"), split)


@st.cache_data(max_entries=2, scope="session", show_spinner=False)
def slice_columns(data: bytes, name: str, paths: pd.Series[str], where: str) -> Added:
    """The columns of a CSV that this visitor uploaded, matched to images; see ``slices.column_dimensions``."""
    from fer_core.evaluation.slices import column_dimensions, read_columns

    return column_dimensions(read_columns(data, name), name, paths.tolist(), where)


@st.cache_resource(max_entries=1, scope="session", show_spinner="Looking into it")
def _results(file_id: str, folder: Path, stamp: float, split: str, _file: UploadedFile) -> tuple[Results, Matches]:
    from fer_core.evaluation.matching import match
    from fer_core.evaluation.results_csv import parse_results

    results = parse_results(_file.getvalue(), printable(_file.name))
    return results, match(results.files, _table(folder, split, stamp)["path"].tolist())


def results(file: UploadedFile, opened: Dataset, split: str) -> tuple[Results, Matches]:
    """What an uploaded CSV says, and of which images of a split. Shared: do not change it.

    Raises:
        FerError: It cannot be read.
    """
    return _results(file.file_id, opened.folder, _stamp(opened.folder / "dataset.json"), split, file)


@st.cache_data(max_entries=256, show_spinner=False)
def _scores(file: Path, stamp: float) -> tuple[EvaluationReport, str]:
    from dashboard.evaluation import leak_text

    table, report = _predictions(file, stamp)
    return report, leak_text(table, report)


def scores(file: Path) -> tuple[EvaluationReport, str]:
    """The scores of stored predictions, and whether the model knows the photographs; kept of many models."""
    return _scores(file, _stamp(file))


@st.cache_resource(max_entries=4, show_spinner=False)
def _compared(other: Path, other_stamp: float, this: Path, stamp: float) -> Compared | None:
    from dashboard.comparison_view import compare

    return compare(_predictions(other, other_stamp)[0], _predictions(this, stamp)[0])


def compared(other: Path, this: Path) -> Compared | None:
    """Two models by their stored predictions; None where they share no image. Shared: do not change it."""
    return _compared(other, _stamp(other), this, _stamp(this))


@st.cache_resource(max_entries=3, show_spinner=False)
def _predictor(path: Path, stamp: float) -> Predictor:
    return Predictor.load(path)


def predictor(path: Path) -> Predictor:
    """A model's session, shared by all visitors."""
    return _predictor(path, _stamp(path))


@st.cache_data(max_entries=16, ttl=30, show_spinner=False)
def archives(folders: tuple[Path, ...]) -> list[FoundArchive]:
    """Archives in some folders; looked for again after half a minute."""
    return find_archives(folders)


def archive_folders() -> tuple[Path, ...]:
    """Where archives are looked for: the inbox, the working folder and its ``data``, and Kaggle's cache."""
    kaggle = cache_folder().glob("*/*/versions")
    return (Workspace.default().sources, Path.cwd(), Path.cwd() / "data", *sorted(kaggle))


@st.cache_data(max_entries=64, show_spinner=False)
def emotion_icon(emotion: str, size: int = 96) -> Pixels:
    """Our own drawn face of an expression."""
    from fer_core.data.demo import draw_face

    return np.asarray(draw_face(emotion, seed=7, size=size), np.uint8)


@st.cache_resource(max_entries=4, show_spinner=False)
def detector(choice: DetectorChoice) -> Detector:
    """A face detector, shared by all visitors (detectors are thread-safe)."""
    return load_detector(choice.name, choice.options)


@st.cache_data(max_entries=64, scope="session", show_spinner=False)
def _reading(
    data: bytes, name: str, path: Path, stamp: float, choice: DetectorChoice, threshold: float
) -> PictureResult:
    return read_picture(Picture(name, data), _predictor(path, stamp), detector(choice), threshold)


def reading(data: bytes, name: str, model: Path, choice: DetectorChoice, threshold: float) -> PictureResult:
    """What a model says of a picture; kept in memory for this visitor only, and only for the last pictures."""
    return _reading(data, name, model, _stamp(model), choice, threshold)


@st.cache_resource(max_entries=1, scope="session", show_spinner=False)
def _upload_readings(path: Path, stamp: float, choice: DetectorChoice) -> dict[str, FileReadings]:
    return {}


def upload_readings(model: Path, choice: DetectorChoice) -> dict[str, FileReadings]:
    """What this visitor's uploads were read as by a model, by the id of the upload; who reads them writes it there."""
    return _upload_readings(model, _stamp(model), choice)


@st.cache_data(max_entries=16, show_spinner=False)
def _labelled(path: Path, stamp: float) -> bool:
    from fer_core.data.sources import look_at

    try:
        look_at(path)
    except FerError:
        return False
    return True


def labelled(path: Path) -> bool:
    """Whether a folder or archive tells the expression of its pictures by the folders they lie in."""
    return path.exists() and _labelled(path, _stamp(path))


@st.cache_resource(max_entries=2, show_spinner=False)
def _video_table(folder: Path, stamp: float) -> pd.DataFrame:
    from fer_core.inference.video_results import read_frames_table

    return read_frames_table(folder)


def video_table(folder: Path) -> pd.DataFrame:
    """``frames.csv`` in the results of a video. Shared: do not change it."""
    return _video_table(folder, _stamp(folder / "frames.csv"))


def forget_video_tables() -> None:
    """Nothing of results that were deleted stays in memory."""
    _video_table.clear()


@st.cache_resource(max_entries=2, show_spinner=False)
def _catalog(root: Path) -> Catalog:
    from fer_core.training.catalog import Catalog

    return Catalog(Workspace(root))


def catalog() -> Catalog:
    """What is known of all runs; it looks itself which of their files have changed."""
    return _catalog(Workspace.default().root)


@st.cache_resource(max_entries=32, show_spinner=False)
def _figure(key: tuple[Hashable, ...], _draw: Callable[[], Figure]) -> Figure:
    return _draw()


def figure(key: tuple[Hashable, ...], draw: Callable[[], Figure]) -> Figure:
    """A figure that is drawn anew only when ``key`` changes, which must tell all that it shows. Do not change it."""
    return _figure(key, draw)


@st.cache_data(max_entries=4, ttl=600, show_spinner="Looking at this machine")
def _examination(root: Path) -> Report:
    from fer_core.doctor import examine

    return examine(Workspace(root))


def examination() -> Report:
    """What is installed here and what is missing, looked at anew after ten minutes."""
    return _examination(Workspace.default().root)


def examine_again() -> None:
    _examination.clear()
