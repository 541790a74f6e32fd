"""How long a page takes to answer a click, seen from inside the browser: from the pointer's release to the picture."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.measure import ROOT
from benchmarks.watched import WatchedServer

if TYPE_CHECKING:
    from playwright.sync_api import Page

MINIMAL: Final = "a Streamlit app that is one button and the text it changes"

PICTURE: Final = "document.querySelector('[role=dialog] img')?.currentSrc"
"""The picture in the drawer, in JavaScript."""

_WATCH: Final = """([condition, first, second]) => {
  const look_at = code => new Function("return " + code)();
  const before = [look_at(first), look_at(second)];
  const holds = new Function("before", "return " + condition);
  window.clicked = 0;
  addEventListener("pointerup", () => { window.clicked = performance.now() }, {capture: true, once: true});
  window.answered = new Promise((resolve, reject) => {
    const observer = new MutationObserver(look);
    const late = setTimeout(() => { observer.disconnect(); reject(Error("no answer in 20 s: " + condition)) }, 20000);
    function look() {
      if (!window.clicked || !holds(before)) return;
      const taken = performance.now() - window.clicked;
      observer.disconnect(); clearTimeout(late); resolve(taken);
    }
    observer.observe(document.body, {subtree: true, childList: true, characterData: true, attributes: true});
    document.addEventListener("load", look, true);  // a picture has come
  });
}"""


def sheet(number: int) -> str:
    """The contact sheet that is that chart of the page, from 0, in JavaScript."""
    return f"document.querySelectorAll('.js-plotly-plot')[{number}]?.querySelector('image')?.getAttribute('href')"


def answer(page: Page, click: Callable[[], Any], condition: str, shown: str) -> float:
    """Milliseconds from a click to what it asked for.

    Args:
        page: Open.
        click: Does it.
        condition: What is to hold afterwards, in JavaScript; ``before`` holds what ``shown`` and ``PICTURE`` were.
        shown: The contact sheet, in JavaScript.
    """
    page.evaluate(_WATCH, [condition, shown, PICTURE])
    click()
    taken = float(page.evaluate("window.answered"))
    page.wait_for_timeout(400)  # let the page come to rest before the next click
    return taken


@contextlib.contextmanager
def app_and_minimal(scratch: Path, query: str, height: int) -> Iterator[tuple[Page, Page]]:
    """Pages in Chromium: one of the dashboard, on the workspace in ``scratch``, and the app that it is compared with.

    Args:
        scratch: A folder.
        query: Which page, with its choices.
        height: Of the dashboard's window, in pixels.

    Raises:
        SystemExit: Chromium is missing.
    """
    from playwright.sync_api import sync_playwright

    path = _chromium()
    with (
        sync_playwright() as playwright,
        WatchedServer(ROOT / "dashboard" / "app.py", scratch) as server,
        WatchedServer(_minimal_app(scratch / "other"), scratch / "other") as other,
    ):
        server.wait()
        other.wait()
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page, bare = (browser.new_page(viewport={"width": 1366, "height": height}) for _ in range(2))
        bare.goto(other.url)
        page.goto(f"{server.url}/{query}")
        yield page, bare
        browser.close()


def _chromium() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise SystemExit("Chromium is missing: install it, then run this again.")
    return found


def _minimal_app(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "minimal.py"
    script.write_text(
        "import streamlit as st\n\nst.title('Minimal')\n"
        "n = st.session_state.setdefault('n', 0)\n"
        "st.button('More', on_click=lambda: st.session_state.update(n=st.session_state['n'] + 1))\n"
        "st.write(f'pressed {n}')\n"
    )
    return script


def drawer(words: str) -> str:
    """Whether the drawer shows some words and another picture than before, in JavaScript."""
    dialog = "document.querySelector('[role=dialog]')"
    loaded = f"{PICTURE} && {PICTURE} !== before[1] && {dialog}.querySelector('img').complete"
    return f"{dialog}?.innerText.includes('{words}') && {loaded}"
