"""Valid archives, tables, pictures, lists and datasets with bytes changed by hypothesis, read to the end.

Nothing but our own errors comes out, nothing hangs, and nothing is written outside the workspace.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fer_core.data.dataset import SPLITS, Dataset
from fer_core.data.decisions import Action, Decision, decisions_csv, read_decisions
from fer_core.data.labels import read_label_map
from fer_core.data.prepare import prepare
from fer_core.data.sources import find_archives, look_at, open_source
from fer_core.errors import FerError
from fer_core.preprocessing import decode
from tests.unit.data.broken import GOOD, ROWS, everything_below, grown_by, table, zipped
from tests.unit.data.pictures import face, jpeg, png

EXAMPLES = int(os.environ.get("FER_FUZZ_EXAMPLES", "300"))
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
many_times = settings(fuzzed, max_examples=10 * EXAMPLES)

NUMBERS = [b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\x80\0\0\0", b"\xff\xff"]


# One to eight changes: what, where as a share of the length, how many bytes, and new ones.
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "cut", "insert", "repeat", "end"]),
        st.one_of(st.floats(0, 1), st.floats(0.9, 1), st.floats(0, 0.1)),
        st.integers(1, 64),
        st.one_of(st.sampled_from(NUMBERS), st.binary(min_size=1, max_size=8)),
    ),
    min_size=1,
    max_size=8,
)


def edited(good: bytes, changes: list[tuple[str, float, int, bytes]]) -> bytes:
    data = bytearray(good)
    for what, where, length, new in changes:
        place = min(int(where * len(data)), max(0, len(data) - 1))
        if what == "flip" and data:
            data[place] ^= new[0] or 1
        elif what == "set":
            data[place : place + len(new)] = new
        elif what == "cut":
            del data[place : place + length]
        elif what == "insert":
            data[place:place] = new
        elif what == "repeat":
            data[place:place] = data[place : place + length] * 3
        elif what == "end":
            del data[place:]
    return bytes(data)


def told(act: Callable[..., object], *arguments: object) -> str:
    """The sentence in which is said why something cannot be done; empty where it can."""
    try:
        act(*arguments)
    except FerError as error:
        return str(error)
    return ""


MOST_MB = 1500  # a picture of up to 64 megapixels may be what comes out


@pytest.fixture
def inbox(tmp_path, monkeypatch) -> Path:
    """A folder for sources, beside the workspace and what else there is. Relative names would show in it, too."""
    monkeypatch.setattr("fer_core.data.dataset.write_figures", lambda dataset: None)
    folder = tmp_path / "inbox"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def fuzz(source: Path, good: bytes, workspace) -> None:
    """Changes a source in many ways, and does everything with it that can be done with one."""
    source.write_bytes(good)
    use(source, workspace)
    before = everything_below(source.parents[1], but=workspace.root).keys()

    @fuzzed
    @given(EDITS)
    def change_and_use(changes):
        source.write_bytes(edited(good, changes))
        assert grown_by(lambda: use(source, workspace)) < MOST_MB
        assert everything_below(source.parents[1], but=workspace.root).keys() == before

    change_and_use()


def use(source: Path, workspace) -> None:
    find_archives([source.parent])
    for act in (look_at, read_all, lambda path: make(path, workspace)):
        assert told(act, source).replace("\ufffd", "?").isprintable()


def read_all(path: Path) -> None:
    source = open_source(str(path))
    for index in range(len(source.entries)):
        with contextlib.suppress(FerError):
            decode(source.read(index))


def make(path: Path, workspace) -> None:
    out = workspace.datasets / "made"
    try:
        made = prepare([str(path)], out)
        made.check()
        for split in SPLITS:
            made.split(split)
    except FerError:
        assert not list(workspace.datasets.glob("*")) + list(workspace.datasets.glob(".*"))
        raise
    assert [entry.name for entry in workspace.datasets.iterdir()] == ["made"]
    shutil.rmtree(out)


METHODS = {name: getattr(zipfile, name) for name in ("ZIP_STORED", "ZIP_DEFLATED", "ZIP_BZIP2", "ZIP_LZMA")}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_archives(inbox, workspace, method):
    fuzz(inbox / "faces.zip", zipped({**GOOD, "train/sad/j.jpg": jpeg(face(5, "sad"))}, method), workspace)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_tables_in_archives(inbox, workspace, method):
    fuzz(inbox / "faces.zip", zipped({"fer2013.csv": table(*ROWS)}, method), workspace)


def test_tables(inbox, workspace):
    fuzz(inbox / "fer2013.csv", table(*ROWS), workspace)


@many_times
@given(st.text(alphabet=st.sampled_from("emotion,pixelsUg \t\r\n\"'\0\ufeff0123456789-.eEnaif+;|\u2028é")))
def test_text_that_looks_like_a_table(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "t.csv"
    path.write_bytes(b"emotion,pixels,Usage\n" + text.encode())
    with pytest.raises(FerError):
        open_source(str(path))


def encodings() -> dict[str, bytes]:
    gray, colour = face(1), cv2.cvtColor(face(2), cv2.COLOR_GRAY2RGB)
    see_through = np.dstack([colour, face(3)])

    def encoded(suffix: str, image: np.ndarray, *options: int) -> bytes:
        return cv2.imencode(suffix, image, options)[1].tobytes()

    return {
        "gray png": png(1),
        "colour png": encoded(".png", colour),
        "transparent png": encoded(".png", see_through),
        "16-bit png": encoded(".png", face(4).astype(np.uint16) * 257),
        "jpeg": jpeg(gray),
        "progressive jpeg": encoded(".jpg", colour, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        "webp": encoded(".webp", colour),
        "transparent webp": encoded(".webp", see_through),
        "bmp": encoded(".bmp", gray),
        "tiff": encoded(".tiff", colour),
        "gif": encoded(".gif", colour),
    }


@pytest.mark.parametrize("kind", encodings())
def test_pictures(kind):
    good = encodings()[kind]
    assert decode(good).shape == (48, 48, 3)

    @many_times
    @given(EDITS, st.booleans())
    def change_and_decode(changes, gray):
        data, sentences = edited(good, changes), []
        assert grown_by(lambda: sentences.append(told(lambda: decode(data, gray=gray)))) < MOST_MB
        assert sentences[0].isprintable()

    change_and_decode()


LABELS = [b"contempt: drop\n1: surprise\nraf:\n  2: fear\n", b'{"contempt": "drop", "raf": {"2": "fear"}}']


@many_times
@given(EDITS, st.sampled_from(LABELS))
def test_lists_of_labels(tmp_path_factory, changes, good):
    file = tmp_path_factory.getbasetemp() / "labels.yaml"
    file.write_bytes(edited(good, changes))
    sentence = told(read_label_map, file)
    assert sentence == "" or sentence.startswith(f"{file}: ")


@many_times
@given(EDITS)
def test_lists_of_decisions(tmp_path_factory, changes):
    made = {"date": "2026-01-02T03:04:05+00:00", "source": "fer2013", "path": "train/sad/1.png"}
    made |= {"pixel_sha": "0f" * 32, "reason": 'a, "b"'}
    good = [Decision(action=Action.DROP, **made), Decision(action=Action.RELABEL, label="sad", **made)]
    file = tmp_path_factory.getbasetemp() / "decisions.csv"
    file.write_bytes(edited(decisions_csv(good).encode(), changes))
    sentence = told(read_decisions, file)
    assert sentence == "" or sentence.startswith(f"{file}: ")


@pytest.mark.parametrize("file", ["dataset.json", "copies.parquet", "findings.parquet", "test-00000-of-00001.parquet"])
def test_prepared_datasets(inbox, workspace, file):
    (inbox / "faces.zip").write_bytes(zipped(GOOD))
    made = prepare([str(inbox / "faces.zip")], workspace.datasets / "made")
    pictures, good = made.split("test").images.tobytes(), (made.folder / file).read_bytes()

    @many_times
    @given(EDITS)
    def change_and_open(changes):
        data = edited(good, changes)
        (made.folder / file).write_bytes(data)
        if told(lambda: Dataset.open(made.folder).check()):
            assert data != good
            told(look_at_parts, made)
        else:
            assert Dataset.open(made.folder).split("test").images.tobytes() == pictures

    change_and_open()


def look_at_parts(dataset: Dataset) -> None:
    """As galleries do, which do not read whole files."""
    Dataset.open(dataset.folder)
    for split in SPLITS:
        dataset.encoded(split, range(len(dataset.table(split))))
    dataset.copies()
    dataset.findings()
