"""640x480 frames of a webcam a second, read and with both codecs, and the server's memory over 1,000 of them."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.measure import ROOT, Figure, Summary, arguments, interleave, machine, note, ratios, report
from benchmarks.watched import WatchedServer

if TYPE_CHECKING:
    from fer_core.preprocessing import Pixels

FRAMES: Final = 90
"""Of one repeat: three seconds of a camera."""

STREAMED: Final = 1000
WAIT: Final = 600_000  # ms; an upper bound, never a measurement


def main() -> None:
    options = arguments(__doc__, data="Not used: the camera plays the sample photograph.", repeats=5).parse_args()
    on = machine()

    from fer_core.inference.detector_options import default_every
    from fer_core.inference.faces import DETECTORS, load_detector
    from fer_core.inference.live import LiveReader
    from fer_core.inference.predictor import Predictor
    from fer_core.inference.served import default_model
    from fer_core.workspace import Workspace

    film = _film()
    predictor = Predictor.load(default_model(Workspace.default()))

    def rate(turn: Callable[[Pixels, float], object]) -> Callable[[], float]:
        def run() -> float:
            began = time.perf_counter()
            for number in range(FRAMES):
                turn(film[number % len(film)], number / 30)
            return FRAMES / (time.perf_counter() - began)

        return run

    figures: list[Figure] = []
    for name in DETECTORS:
        detector = load_detector(name)
        sides = {f"{name} alone": rate(lambda frame, _, detector=detector: detector.detect(frame))}  # type: ignore[misc]
        every = default_every(name)
        reader = LiveReader()
        reader.change(predictor=predictor, detector=detector, every=every)
        said = f"{name}, faces looked for in every {_ordinal(every)}frame"
        sides[said] = rate(reader.read)
        sides[f"{said}, with both codecs"] = _coded(reader, film)
        (_, alone), (_, ours), (coded, rates) = interleave(sides, options.repeats).items()
        figures += [
            Figure(said, "frames/s", Summary.of(ours)),
            Figure(coded, "frames/s", Summary.of(rates), at_least=30),
        ]
        if name != "none":  # it looks for nothing
            baseline = f"the detector {name} alone, in every frame"
            figures.append(Figure(said, "x", Summary.of(ratios(ours, alone)), baseline))
    start, end = _server_memory(film)
    figures += [
        Figure("server memory while streaming", "MB", Summary.of([start]), at_most=350),
        Figure(f"the same {STREAMED:,} frames later", "MB", Summary.of([end]), at_most=350),
    ]
    report("webcam", "640x480, the sample photograph moving, the bundled model", on, figures, as_json=options.json)


def _ordinal(every: int) -> str:
    return "" if every == 1 else f"{every}th "


def _film() -> list[Pixels]:
    """A second of the sample photograph, moving by a pixel from frame to frame: uint8 RGB ``[480, 640, 3]`` each."""
    import cv2
    import numpy as np

    from fer_core.inference.images import sample_photograph

    photograph = cv2.cvtColor(cv2.imread(str(sample_photograph())), cv2.COLOR_BGR2RGB)
    frames = []
    for number in range(30):
        frame = np.full((480, 640, 3), 110, np.uint8)
        left = 49 + abs(15 - number)
        frame[:, left : left + 512] = photograph[:480]
        frames.append(frame)
    return frames


def _coded(reader: object, film: list[Pixels]) -> Callable[[], float]:
    """What the server does for a frame of a stream: decode, read, draw, encode; the network is left out."""
    import av
    from aiortc.codecs import depayload
    from aiortc.codecs.vpx import Vp8Decoder, Vp8Encoder
    from aiortc.jitterbuffer import JitterFrame
    from aiortc.rtcrtpparameters import RTCRtpCodecParameters

    kind = RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90000, payloadType=96)

    def encode(encoder: Vp8Encoder, picture: Pixels, number: int) -> tuple[list[bytes], int]:
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = number * 3000, Fraction(1, 90000)
        return encoder.encode(frame)

    browser = Vp8Encoder()
    sent = []
    for number in range(FRAMES):
        payloads, timestamp = encode(browser, film[number % len(film)], number)
        sent.append(JitterFrame(b"".join(depayload(kind, payload) for payload in payloads), timestamp))

    def run() -> float:
        decoder, encoder = Vp8Decoder(), Vp8Encoder()
        began = time.perf_counter()
        for number, coded in enumerate(sent):
            for frame in decoder.decode(coded):
                picture = reader.read(frame.to_ndarray(format="rgb24"), number / 30)  # type: ignore[attr-defined]
                encode(encoder, picture, number)
        return FRAMES / (time.perf_counter() - began)

    return run


def _server_memory(film: list[Pixels]) -> tuple[float, float]:
    """Resident 10^6 bytes of the server after the first 100 frames of a stream, and ``STREAMED`` frames later."""
    import cv2
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("Chromium is missing: install it, then run this again.")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        place = Path(folder)
        camera = place / "camera.mjpeg"  # JPEGs one after the other
        camera.write_bytes(b"".join(cv2.imencode(".jpg", frame[..., ::-1])[1].tobytes() for frame in film))
        flags = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        flags += [f"--use-file-for-fake-video-capture={camera}", "--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        with WatchedServer(ROOT / "dashboard" / "app.py", place) as server:
            server.wait()
            page = browser.new_page(viewport={"width": 1366, "height": 900})
            page.set_default_timeout(WAIT)
            page.goto(f"{server.url}/webcam")
            page.frame_locator("iframe[title*=webrtc]").get_by_role("button", name="Start camera").click()
            page.get_by_text("Camera on").wait_for()
            page.get_by_role("button", name="Record to CSV").click()
            memory = []
            for rows in (100, 100 + STREAMED):  # one face: a row for each frame
                note(f"streaming {rows:,} frames")
                told = page.get_by_text(re.compile(r"Recording · [\d,]+ rows"))
                while int(re.sub(r"\D", "", told.inner_text().partition("·")[2])) < rows:
                    page.wait_for_timeout(500)
                memory.append(server.memory() / 1e6)
        browser.close()
    return memory[0], memory[1]


if __name__ == "__main__":
    main()
