"""A Streamlit server of its own whose memory and loaded modules can be looked at from outside.

``python -m benchmarks.watched FILE run app.py ...`` is ``streamlit run app.py ...`` that writes the names of
its loaded modules to FILE whenever it gets SIGUSR1.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

import psutil

from benchmarks.measure import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

FRAMEWORKS: Final = frozenset(("tensorflow", "keras", "jax", "jaxlib", "torch", "sklearn"))
"""What the server must not load: training happens in processes of its own."""

_PATIENCE: Final = 60  # seconds; an upper bound, never a measurement
_DONE: Final = "[data-testid=stApp][data-test-script-state=notRunning]"


class WatchedServer:
    """``streamlit run`` of a script on a free port.

    Args:
        script: The app.
        folder: For its workspace (``workspace`` inside, used as it is) and its log.
    """

    def __init__(self, script: Path, folder: Path) -> None:
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://localhost:{self.port}"
        self.log = folder / "server.log"
        self._modules = folder / "modules.txt"
        command = [sys.executable, "-m", "benchmarks.watched", self._modules, "run", script]
        self.started = time.monotonic()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*map(str, command), f"--server.port={self.port}", "--server.headless=true"],
                cwd=ROOT,
                env={**os.environ, "FER_WORKSPACE": str(folder / "workspace")},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self) -> WatchedServer:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()

    def wait(self) -> None:
        """Returns as soon as the server accepts a browser."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("localhost", self.port)):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"The server does not start:\n{self.log.read_text()}")
            time.sleep(0.005)

    def memory(self) -> int:
        """Resident bytes of the server process."""
        return psutil.Process(self._process.pid).memory_info().rss

    def cpu_seconds(self) -> float:
        """Processor time that the server has taken so far."""
        times = psutil.Process(self._process.pid).cpu_times()
        return times.user + times.system

    def modules(self) -> set[str]:
        """Names of the modules that the server has loaded."""
        self._modules.unlink(missing_ok=True)
        self._process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + _PATIENCE
        while not self._modules.exists():
            if time.monotonic() > deadline:
                raise SystemExit("The server does not answer SIGUSR1.")
            time.sleep(0.01)
        return set(self._modules.read_text().split())

    def frameworks(self) -> list[str]:
        """Training frameworks in the server: as modules, or as shared libraries where the system tells."""
        found = {name.partition(".")[0] for name in self.modules()}
        with contextlib.suppress(OSError):
            maps = Path(f"/proc/{self._process.pid}/maps").read_text()
            found |= set(re.findall(r"/site-packages/(\w+)/", maps))
        return sorted(found & FRAMEWORKS)


def open_first_page(page: Page, server: WatchedServer) -> tuple[float, float]:
    """Opens the app while it starts.

    Returns:
        Seconds from the server's start to its heading on the screen, and to the end of the page's script.
    """
    server.wait()
    page.goto(server.url, wait_until="commit")
    # Looked for with every frame that is drawn: a locator looks only every half second in the end.
    page.wait_for_function("document.querySelector('[data-testid=stMain] h1')?.getClientRects().length > 0")
    heading = time.monotonic() - server.started
    page.wait_for_function("done => document.querySelector(done) !== null", arg=_DONE)
    return heading, time.monotonic() - server.started


def open_every_page(page: Page, server: WatchedServer) -> list[str]:
    """Opens each page of the sidebar once and waits until its script has ended.

    Returns:
        Their names, in the order of the sidebar.
    """
    page.goto(server.url)
    links = page.get_by_test_id("stSidebarNavLink")
    links.first.wait_for()
    names = [text.splitlines()[-1] for text in links.all_inner_texts()]  # an icon's name stands before
    for number, name in enumerate(names):
        _follow(page, number, name)
        page.locator(_DONE).wait_for()
    return names


def _follow(page: Page, number: int, name: str) -> None:
    """Clicks a link of the sidebar until its page is there: a component that mounts at the same moment, as the camera's
    does, asks the server for its own page once more, and the click is lost."""
    from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

    heading = page.get_by_test_id("stMain").get_by_role("heading", name=name, exact=True)
    for patience in (5_000, 5_000, None):
        page.get_by_test_id("stSidebarNavLink").nth(number).click()
        with contextlib.suppress(*([PlaywrightTimeoutError] if patience else [])):
            heading.wait_for(timeout=patience)
            return


def _main() -> None:
    target = Path(sys.argv[1])

    def write(signum: int, frame: FrameType | None) -> None:
        partial = target.with_suffix(".partial")
        partial.write_text("\n".join(list(sys.modules)))
        partial.rename(target)

    signal.signal(signal.SIGUSR1, write)
    sys.argv = ["streamlit", *sys.argv[2:]]
    from streamlit.web.cli import main

    main(prog_name="streamlit")


if __name__ == "__main__":
    _main()
