"""One side of ``against_fer``, in the environment of that side: ``python -m benchmarks.fer_sides SIDE FOLDER``.

Asks ``fer_core`` or ``fer`` about the pictures in FOLDER's ``crops`` and ``frames`` one by one, as a camera does, and
prints what it said and took as JSON. Pictures are read when their turn comes: they are no part of its memory.
"""

import importlib.metadata
import json
import re
import statistics
import sys
import time
from pathlib import Path

import cv2

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
ROOT = Path(__file__).parents[1]


def ours():
    """Returns how to ask for the emotion of a crop, and for boxes and emotions of the faces of a frame."""
    from fer_core import Reader

    reader = Reader()

    def of_frame(frame):
        return [(face.box, face.emotion) for face in reader.read(frame)]

    return (lambda crop: reader.read(crop)[0].emotion), of_frame, _pinned()


def theirs():
    """The same of the package ``fer`` as it comes: Haar cascade, quantised network, but crops without its margin."""
    from fer.fer import FER

    of_crops, detector = FER(offsets=(0, 0)), FER()

    def top(face):
        return max(face["emotions"], key=face["emotions"].get)

    def of_crop(crop):
        height, width = crop.shape[:2]
        return top(of_crops.detect_emotions(crop, face_rectangles=[(0, 0, width, height)])[0])

    def of_frame(frame):
        return [([int(value) for value in face["box"]], top(face)) for face in detector.detect_emotions(frame)]

    return of_crop, of_frame, ["fer"]


def measure(side, folder):
    start = time.perf_counter()
    of_crop, of_frame, packages = {"fer_core": ours, "fer": theirs}[side]()
    ready = time.perf_counter() - start
    crops, crop_ms = _ask(of_crop, folder / "crops")
    frames, frame_ms = _ask(of_frame, folder / "frames")
    return {
        "ready_s": ready,
        "crops": [EMOTIONS.index(emotion) for emotion in crops],
        "crop_ms": crop_ms,
        "frames": [[(box, EMOTIONS.index(emotion)) for box, emotion in faces] for faces in frames],
        "frame_ms": frame_ms,
        "peak_mb": _peak() / 1e6,
        "installed_mb": _installed(packages) / 1e6,
    }


def _ask(read, folder):
    """What it says of every picture of a folder, and the median milliseconds it takes, decoding not counted."""
    files = sorted(folder.iterdir())
    answers, took = [], []
    read(cv2.imread(str(files[0])))  # the first call prepares
    for file in files:
        picture = cv2.imread(str(file))  # gray in three equal channels, so it is RGB as well as BGR
        start = time.perf_counter()
        answers.append(read(picture))
        took.append(time.perf_counter() - start)
    return answers, 1000 * statistics.median(took)


def _peak():
    """The most bytes this process held in memory; the kernel's other reading also counts the parent that started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def _pinned():
    """Names of the packages in ``requirements.txt``."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [line.partition("==")[0] for line in lines if "==" in line and not line.startswith("#")]


def _installed(names):
    """Bytes of the files of packages and of all that they need and that is installed."""
    pending, seen, total = list(names), set(), 0
    while pending:
        name = re.sub(r"[-_.]+", "-", pending.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # needed on other machines only
            continue
        files = (Path(found.locate_file(file)) for file in found.files or ())
        total += sum(file.stat().st_size for file in files if file.is_file())
        needed = (word for word in found.requires or () if "extra ==" not in word)
        pending += [re.match(r"[A-Za-z0-9._-]+", word).group() for word in needed]
    return total


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]))))
