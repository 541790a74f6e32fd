"""Takes the README's screenshots from the running app, on drawn faces only.

    python docs/take_screenshots.py

Runs the tour in a workspace of its own, starts the dashboard and photographs each page, light and dark.
The one photograph in them is scikit-image's (NASA, public domain).
Needs the development requirements and Chromium.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import cv2
from playwright.sync_api import sync_playwright
from skimage import data

ROOT = Path(__file__).parents[1]
PAGES = {
    "overview": "",
    "data": "data",
    "balance": "balance",
    "labels": "labels",
    "train": "train",
    "runs": "runs?compare=demo-1&compare=larger-batches",
    "evaluate": "evaluate?true=happy&read=happy",
    "predict": "predict",
    "webcam": "webcam",
    "about": "about",
}
SIZE = {"width": 1366, "height": 900}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "FER_WORKSPACE": str(Path(folder) / "workspace")}
        second = (
            "train demo --preset compact --name larger-batches --set phases.0.epochs=10 --set phases.0.batch_size=32"
        )
        check = "labels check demo --folds 3 --set phases.0.epochs=20"
        for command in ("tour", second, check):
            subprocess.run([sys.executable, "-m", "fer_core", *command.split()], cwd=ROOT, env=environment, check=True)
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = [f"--server.port={port}", "--server.headless=true"]
        command = [sys.executable, "-m", "streamlit", "run", "dashboard/app.py", *options]
        server = subprocess.Popen(command, cwd=ROOT, env=environment)
        try:
            wait_for(f"http://localhost:{port}/_stcore/health")
            photograph(f"http://localhost:{port}", film(Path(folder) / "camera.mjpeg"))
        finally:
            server.terminate()
            server.wait()


def wait_for(url: str) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(0.2)
    raise SystemExit("The dashboard did not start.")


def film(file: Path) -> Path:
    """What Chromium's camera plays: the sample photograph, standing still."""
    picture = data.astronaut()[:384, :, ::-1]  # 512 x 384, as a camera's 4:3
    file.write_bytes(cv2.imencode(".jpg", cv2.resize(picture, (640, 480)))[1].tobytes())
    return file


def photograph(url: str, camera: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    flags = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    flags += [f"--use-file-for-fake-video-capture={camera}", "--no-sandbox", "--disable-gpu"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        for theme in ("light", "dark"):
            page = browser.new_context(viewport=SIZE, color_scheme=theme).new_page()
            for name, path in PAGES.items():
                page.goto(f"{url}/{path}")
                page.wait_for_selector("h1")
                page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
                if name == "webcam":
                    page.frame_locator("iframe[title*=webrtc]").get_by_role("button", name="Start camera").click()
                    page.get_by_text("Camera on").wait_for()
                    page.wait_for_timeout(10_000)  # until the lines have something to show
                page.wait_for_timeout(2500)  # fonts, charts and pictures
                page.screenshot(path=ROOT / "docs" / "screenshots" / f"{name}-{theme}.png")
        browser.close()


if __name__ == "__main__":
    main()
