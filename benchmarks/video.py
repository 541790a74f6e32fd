"""A video at 640x480 read to the end: times faster than it plays, and memory after N and 10 N frames."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.measure import Figure, Summary, arguments, interleave, machine, ratios, report

SIZE: Final = (640, 480)
FPS: Final = 30
SECONDS: Final = 10  # of the video whose speed is measured
FRAMES: Final = 300  # N; of frames that hardly need decoding, so that 10 N do not take ten minutes
DECODING: Final = "decoding alone"
ONE_THREAD: Final = "one thread, frame by frame"


def main() -> None:
    parser = arguments(__doc__, data="Not used: the video is made of the sample photograph, twice.", repeats=5)
    options: argparse.Namespace = parser.parse_args()
    on = machine()

    import psutil

    from fer_core.inference import faces
    from fer_core.inference.detector_options import default_every
    from fer_core.inference.frames import read_frames
    from fer_core.inference.images import read_faces
    from fer_core.inference.predictor import Predictor
    from fer_core.inference.served import default_model
    from fer_core.inference.tracking import FaceTracker
    from fer_core.inference.video import VideoOptions, read_video, read_video_into
    from fer_core.workspace import Workspace

    predictor = Predictor.load(default_model(Workspace(Path("none"))))
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        video = _write(Path(folder) / "clip.mp4", FPS * SECONDS)

        def timed(read: Callable[[], object]) -> Callable[[], float]:
            def run() -> float:
                began = time.perf_counter()
                read()
                return time.perf_counter() - began

            return run

        for name in _usable(faces):
            detector = faces.load_detector(name)

            every = default_every(name)

            def ours(detector: Any = detector, every: int = every) -> None:
                options = VideoOptions(every)
                assert sum(len(frame.faces) for frame in read_video(video, predictor, detector, options))

            def one_thread(detector: Any = detector, every: int = every) -> None:
                tracker = FaceTracker()
                for frame in read_frames(video, every):
                    tracker.update(read_faces(frame.image, predictor, detector), frame.time)

            def decoding() -> None:
                assert sum(1 for _ in read_frames(video)) == FPS * SECONDS

            sides = {f"{name}, ours": ours, f"{name}, {ONE_THREAD}": one_thread, DECODING: decoding}
            own, plain, bare = interleave({what: timed(side) for what, side in sides.items()}, options.repeats).values()
            said = f"{name}, every {every}th frame" if every > 1 else name
            read = FPS * SECONDS / every
            figures += [
                Figure(f"{said}: faster than it plays", "x", Summary.of([SECONDS / s for s in own]), at_least=1),
                Figure(f"{said}: per frame that is read", "ms", Summary.of([1000 * s / read for s in own])),
                Figure(f"{said}: time", "x", Summary.of(ratios(own, plain)), ONE_THREAD),
                Figure(f"{said}: time", "x", Summary.of(ratios(own, bare)), DECODING),
            ]
        memory = []
        for frames in (FRAMES, FRAMES, 10 * FRAMES):  # the first warms up
            long = _write(Path(folder) / "long.mp4", frames, still=True)
            read_video_into(long, Path(folder) / "out", predictor, faces.load_detector("none"))
            memory.append(psutil.Process().memory_info().rss / 1e6)
        _, few, many = memory
        figures += [
            Figure(f"memory after {FRAMES:,} frames", "MB", Summary.of([few])),
            Figure(f"memory added by {10 * FRAMES:,} more", "MB", Summary.of([many - few]), at_most=20),
        ]
    told = f"{SECONDS} s of {SIZE[0]}x{SIZE[1]} at {FPS} frames a second (H.264), two faces; model {predictor.name}"
    report("video", told, on, figures, as_json=options.json)


def _usable(faces: Any) -> list[str]:
    """Detectors by name, without those whose file is missing here."""
    from fer_core.errors import FerError

    names = []
    for name in faces.DETECTORS:
        try:
            faces.load_detector(name)
        except FerError:
            continue
        if name != "none":
            names.append(name)
    return names


def _write(path: Path, n: int, *, still: bool = False) -> Path:
    """``n`` frames of two faces that move, or that do not."""
    import av
    import cv2
    import numpy as np

    from fer_core.inference.images import sample_photograph

    photograph = cv2.cvtColor(cv2.imread(str(sample_photograph())), cv2.COLOR_BGR2RGB)
    pair = np.hstack([photograph[:480, 40:360], photograph[:480, 40:360]])

    def frames() -> Iterator[Any]:
        for number in range(n):
            yield np.roll(pair, 0 if still else number, axis=1)

    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for frame in frames():
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        file.mux(stream.encode(None))
    return path


if __name__ == "__main__":
    main()
