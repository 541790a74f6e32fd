"""A dataset for use elsewhere: its pictures in class folders, and CSV files that say which is in which split."""

from __future__ import annotations

import io
import re
import unicodedata
import zipfile
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import numpy as np

from fer_core.data.card import report
from fer_core.data.dataset import Dataset, LazyRows, check_free, partial_folder
from fer_core.data.folds import folds
from fer_core.data.info import SPLITS
from fer_core.data.layouts import PICTURES
from fer_core.emotions import EMOTIONS
from fer_core.jobs.progress import Progress, silent
from fer_core.spreadsheet import is_formula

if TYPE_CHECKING:
    import pandas as pd

FOLDERS: Final = {"train": "TRAIN", "validation": "VAL", "test": "TEST"}
"""What the folder of each split is called."""

MANIFEST: Final = "manifest.csv"

_CHUNK: Final = 512  # pictures in memory at a time
_ENDINGS: Final = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG": ".png",
    b"RIFF": ".webp",
    b"BM": ".bmp",
    b"GIF8": ".gif",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
}
_UNSAFE: Final = re.compile(r"[^\w.-]+")
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])(\.|$)", re.IGNORECASE)  # devices, to Windows
_NAME_BYTES: Final = 200  # file systems allow 255, and a number and an ending are added


def manifest(dataset: Dataset, k: int | None = None, seed: int = 42) -> pd.DataFrame:
    """Which picture is in which split, and what else is known of it.

    Args:
        dataset: A prepared dataset.
        k: Also divide train into so many folds; see ``folds``.
        seed: Of the folds.

    Returns:
        One row per image: source, path (in its source), usage, label (the class's name), split, pixel_sha, photo_id,
        parent_id, flags and, with ``k``, fold, which only train has.

    Raises:
        ConfigError: Train cannot be divided so.
        DatasetError: The dataset is damaged.
    """
    import pandas as pd

    tables = [dataset.table(split).assign(split=split) for split in SPLITS]
    table = pd.concat(tables, ignore_index=True)
    columns = ["source", "path", "usage", "label", "split", "pixel_sha", "photo_id", "parent_id", "flags"]
    if k is not None:
        train = tables[0]
        fold = folds(train["label"].to_numpy(), train["photo_id"].tolist(), k, seed)
        table["fold"] = pd.Series(fold, dtype="Int64")
        columns.append("fold")
    table["label"] = np.array(EMOTIONS, object)[table["label"]]
    table["path"] = [_no_formula(path) for path in table["path"]]
    return table[columns]


def manifest_csv(dataset: Dataset, k: int | None = None, seed: int = 42) -> str:
    """``manifest`` as text."""
    return _csv(manifest(dataset, k, seed))


def csv_files(dataset: Dataset, k: int | None = None, seed: int = 42) -> dict[str, str]:
    """What ``data export --format csv`` writes: the manifest, a list of pictures and labels per split, the report.

    The lists are for trainers that read the sources' own files. They have the columns path and label; where pictures
    come from several sources, a path begins with its source's name. Augmented images have no file in a source, so
    they are in the manifest alone.

    Args:
        dataset: A prepared dataset.
        k: Also divide train into so many folds, in the manifest; see ``folds``.
        seed: Of the folds.

    Returns:
        Texts by the names of their files.
    """
    table = manifest(dataset, k, seed)
    there = table[table["parent_id"].isna()]
    several = there["source"].nunique() > 1
    paths = there["source"] + "/" + there["path"].str.removeprefix("./") if several else there["path"]
    lists = {
        f"{split}.csv": _csv(there.assign(path=paths).loc[there["split"] == split, ["path", "label"]])
        for split in SPLITS
    }
    return {MANIFEST: _csv(table), **lists, "README.md": report(dataset.info)}


def split_files_zip(dataset: Dataset) -> bytes:
    """``csv_files`` in a zip, for a download."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in csv_files(dataset).items():
            archive.writestr(name, text)
    return packed.getvalue()


def export_csv(dataset: Dataset, out: Path, k: int | None = None, seed: int = 42) -> None:
    """Writes ``csv_files`` into a new folder, whole or not at all.

    Raises:
        DatasetError: ``out`` exists already.
        FerError: The disk is full, or the place cannot be written.
    """
    check_free(out)
    files = csv_files(dataset, k, seed)
    with partial_folder(out) as folder:
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")


def export_folders(
    dataset: Dataset, out: Path, k: int | None = None, seed: int = 42, progress: Progress = silent
) -> None:
    """Writes the pictures into class folders below ``TRAIN``, ``VAL`` and ``TEST``, whole or not at all.

    The bytes are those that the dataset stores. Beside the folders are the manifest, which then has the column
    file in front, and the report. ``data prepare`` reads such a folder back into the same splits.

    Args:
        dataset: A prepared dataset.
        out: The folder to make.
        k: Also divide train into so many folds, in the manifest; see ``folds``.
        seed: Of the folds.
        progress: Told of every chunk written. Raising from it leaves nothing behind.

    Raises:
        DatasetError: ``out`` exists already, or the dataset is damaged.
        FerError: The disk is full, or the place cannot be written.
    """
    check_free(out)
    table = manifest(dataset, k, seed)
    places = iter(_places(table))
    files: list[str] = []
    with partial_folder(out) as folder:
        for split in SPLITS:
            rows = LazyRows(table[table["split"] == split], partial(dataset.encoded, split))
            if len(rows):
                # Also the empty ones: who numbers classes by their folders must count the same in every split.
                for emotion in EMOTIONS:
                    (folder / FOLDERS[split] / emotion).mkdir(parents=True)
            before = len(files)
            for _, pictures in rows.chunks(_CHUNK):
                for picture in pictures:
                    files.append(next(places) + _ending(picture))
                    (folder / files[-1]).write_bytes(picture)
                progress(f"Writing {split}", len(files) - before, len(rows))
        table.insert(0, "file", files)
        (folder / MANIFEST).write_text(_csv(table), encoding="utf-8")
        (folder / "README.md").write_text(report(dataset.info), encoding="utf-8")


def _places(table: pd.DataFrame) -> list[str]:
    """For each row its file in an exported folder, without the ending; no two that some file system takes for one."""
    taken: dict[str, set[str]] = defaultdict(set)
    used: Counter[tuple[str, str]] = Counter()
    places = []
    for split, label, path, parent in table[["split", "label", "path", "parent_id"]].itertuples(index=False):
        folder = f"{FOLDERS[split]}/{label}"
        wanted = name = _stem(path, child=isinstance(parent, str))
        while name.casefold() in taken[folder]:
            used[folder, wanted] += 1
            name = f"{wanted}-{used[folder, wanted] + 1}"
        taken[folder].add(name.casefold())
        places.append(f"{folder}/{name}")
    return places


def _stem(path: str, *, child: bool) -> str:
    """The file name of a source as a name that every system allows; ``#2`` of a child becomes ``-augmented-2``."""
    path, _, number = path.rpartition("#") if child else (path, "", "")
    name = PurePosixPath(path)
    stem = unicodedata.normalize("NFC", name.stem if name.suffix.lower() in PICTURES else name.name)
    stem = _UNSAFE.sub("-", stem).encode()[:_NAME_BYTES].decode(errors="ignore").strip("-._") or "image"
    if _RESERVED.match(stem):
        stem = f"image-{stem}"
    return f"{stem}-augmented-{number}" if child else stem


def _ending(picture: bytes) -> str:
    """The file ending that fits a picture's content: source files can be named anything."""
    return next((ending for start, ending in _ENDINGS.items() if picture.startswith(start)), ".png")


def _no_formula(path: str) -> str:
    """A path that no spreadsheet takes for a formula: with ``./`` before it, it leads to the same file."""
    return f"./{path}" if is_formula(path) else path


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, lineterminator="\n")
