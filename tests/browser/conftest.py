"""A real Streamlit server and a real Chromium."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).parents[2]
expect.set_options(timeout=120_000)  # ms; an upper bound for slow machines, never a measurement


class Server:
    """``streamlit run dashboard/app.py`` on a free port, which can be killed and started again."""

    def __init__(self, workspace: Path) -> None:
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://localhost:{self.port}"
        self.workspace = workspace
        self.log = workspace.parent / "server.log"
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "streamlit", "run", "dashboard/app.py"]
        options = [f"--server.port={self.port}", "--server.headless=true"]
        environment = {**os.environ, "FER_WORKSPACE": str(self.workspace)}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *options], cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2):
                return
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def server(tmp_path, workspace):
    running = Server(workspace.root)
    running.start()
    yield running
    running.kill()


def start_chromium(kind, *flags):
    """Chromium without a screen and without anything that it does by itself."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert path, "Chromium is missing: apt-get install chromium"
    quiet = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
    always = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-sync", *quiet]
    return kind.launch(executable_path=path, args=[*always, *flags])


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        chromium = start_chromium(playwright.chromium)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    context.set_default_timeout(120_000)
    yield context.new_page()
    context.close()
