"""Small sources for the tests of ``fer_core.data``: drawn faces, and archives built by hand."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from fer_core.data.decode import encode_png
from fer_core.data.demo import draw_face
from fer_core.emotions import EMOTIONS
from fer_core.preprocessing import Pixels


def face(seed: int, emotion: str = "happy") -> Pixels:
    return draw_face(emotion, seed)


def png(seed: int, emotion: str = "happy") -> bytes:
    return encode_png(face(seed, emotion))


def jpeg(image: Pixels) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def make_zip(path: Path, files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def make_csv(path: Path, rows: list[str], header: str = "emotion,pixels,Usage") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def pixels(seed: int, emotion: str = "happy") -> str:
    return " ".join(map(str, face(seed, emotion).ravel().tolist()))


def class_folders(train: int = 8, test: int = 4, start: int = 0) -> dict[str, bytes]:
    """Distinct faces in ``train|test/<emotion>/``; every class the same number."""
    files = {}
    for split, n in (("train", train), ("test", test)):
        for emotion in EMOTIONS:
            for number in range(n):
                seed = start + number + 1000 * (split == "test")
                files[f"{split}/{emotion}/{number:03}.png"] = png(seed, emotion)
    return files


def black() -> bytes:
    return encode_png(np.zeros((48, 48), np.uint8))
