"""The recipe ``resnet50`` as notebooks prepare its data: files in class folders, one image at a time, no audit.

``python -m benchmarks.notebook FER2013.zip REEXPORT.zip FOLDER`` prints the seconds of each step as JSON. The
baseline of ``benchmarks.prepare``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

TARGETS = dict.fromkeys(("angry", "fear", "happy", "sad", "surprise", "neutral"), 7000) | {"disgust": 1200}
CAP = 9000
ADJECTIVES = {"disgusted": "disgust", "fearful": "fear", "surprised": "surprise"}
SEED = 42

seconds: dict[str, float] = {}


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - began, 3)


def augment_files(
    files: Sequence[Path], children: int, out: Path, random: np.random.Generator, *, anew: bool = False
) -> None:
    """Writes ``children`` variations of files chosen at random, one image and one file at a time.

    Args:
        files: Gray pictures of a class.
        children: How many to make; none if negative.
        out: Where they go.
        random: Chooses the files.
        anew: Whether to build the pipeline again for each image, as a function that takes one image does.
    """
    import albumentations as alb
    import cv2

    def pipeline(seed: int) -> alb.Compose:
        # The same changes as ours, so that the two sides do the same work.
        steps = [
            alb.HorizontalFlip(p=0.5),
            alb.Affine(rotate=(-15, 15), shear=(-8, 8), border_mode=cv2.BORDER_REFLECT_101, p=1.0),
            alb.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.8),
        ]
        return alb.Compose(steps, seed=seed)

    augment = pipeline(SEED)
    for number in range(children if files else 0):
        if anew:
            augment = pipeline(number)
        image = cv2.imread(str(files[random.integers(len(files))]), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(out / f"aug_{number}.png"), augment(image=image[:, :, None])["image"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("fer2013", "reexport", "out"):
        parser.add_argument(name, type=Path)
    chosen = parser.parse_args()
    with step("import"):
        import albumentations  # noqa: F401  its loading counts here, not with the first image
        import cv2
        import numpy as np
        import pandas as pd
        from sklearn.model_selection import train_test_split

    out: Path = chosen.out
    with step("unzip"):
        for archive in (chosen.fer2013, chosen.reexport):
            with zipfile.ZipFile(archive) as opened:
                opened.extractall(out / "raw" / archive.stem)

    with step("list"):
        rows = []
        for name, archive in (("fer2013", chosen.fer2013), ("edf", chosen.reexport)):
            for path in sorted((out / "raw" / archive.stem).rglob("*.*")):
                if path.is_file():
                    emotion = ADJECTIVES.get(path.parent.name, path.parent.name)
                    rows.append((str(path), name, path.parent.parent.name, emotion))
        frame = pd.DataFrame(rows, columns=["path", "source", "split", "emotion"])

    with step("read"):
        frame["mean"] = [cv2.imread(path, cv2.IMREAD_GRAYSCALE).mean() for path in frame["path"]]

    with step("split and copy"):
        fer_train = frame[(frame["source"] == "fer2013") & (frame["split"] == "train")]
        train, validation = train_test_split(
            fer_train, test_size=0.25, stratify=fer_train["emotion"], random_state=SEED
        )
        train = pd.concat([train, frame[frame["source"] == "edf"]])
        test = frame[(frame["source"] == "fer2013") & (frame["split"] == "test")]
        for split, part in (("TRAIN", train), ("VAL", validation), ("TEST", test)):
            for emotion in TARGETS:
                (out / split / emotion).mkdir(parents=True)
            for path, source, first, emotion in zip(
                part["path"], part["source"], part["split"], part["emotion"], strict=True
            ):
                shutil.copy(path, out / split / emotion / f"{source}_{first}_{Path(path).name}")

    with step("augment"):
        random = np.random.default_rng(SEED)
        for emotion, target in TARGETS.items():
            folder = out / "TRAIN" / emotion
            files = sorted(folder.iterdir())
            augment_files(files, target - len(files), folder, random)

    with step("undersample"):
        for emotion in TARGETS:
            files = sorted((out / "TRAIN" / emotion).iterdir())
            for surplus in random.permutation(len(files))[CAP:]:
                files[surplus].unlink()

    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
