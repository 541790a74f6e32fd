"""Keys that are pressed on a page, every one of them and in their order.

A button's ``shortcut`` loses that: while a page is busy, Streamlit takes several presses together, the same key as one
and different keys in the order of their buttons. A label would then go to the wrong picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import streamlit as st

_KEY: Final = "labels_keys"
_HANDLED: Final = "labels_handled"
"""In the session: when the last press that was acted on happened, in milliseconds, as the browser counts."""

# What was pressed lately is sent as a whole each time, so nothing is lost where only the last message arrives.
_JS: Final = """
let pressed = [], last = 0, shown, listening;

export default function ({ data, parentElement, setStateValue }) {
  const listen = (event) => {
    const typed = event.composedPath()[0], key = event.key.toLowerCase();
    const writing = typed.isContentEditable || /^(input|textarea|select)$/i.test(typed.tagName);
    if (writing || event.repeat || event.ctrlKey || event.metaKey || event.altKey || !data.keys.includes(key)) return;
    last = Math.max(last + 1, Date.now());
    pressed = [...pressed.slice(-99), [last, key]];
    setStateValue("pressed", pressed);
  };
  if (data.view !== shown) document.activeElement?.blur();  // a picker that was used keeps the keys to itself
  shown = data.view;
  // Streamlit calls this again when the data change, and only tidies up when the page is left.
  document.removeEventListener("keydown", listening);
  document.addEventListener("keydown", listen);
  listening = listen;
  parentElement.querySelector("span").textContent = data.told;
  return () => document.removeEventListener("keydown", listen);
}
"""

_CSS: Final = """
span { color: var(--st-text-color); font-family: var(--st-font); font-size: 0.9rem; opacity: 0.6;
  line-height: 2.5rem }
"""

_listener = st.components.v2.component("label_keys", html="<span></span>", css=_CSS, js=_JS)


def listen(keys: Iterable[str], view: str, act: Callable[[str], None]) -> None:
    """Calls ``act`` for every press of one of some keys, once the page gets to it. Not while somebody writes.

    Says that keys may be pressed as soon as the browser listens to them.

    Args:
        keys: In small letters.
        view: What was chosen to be shown. When it changes, the choosing is over, and keys are for the page again.
        act: Gets the key.
    """
    data = {"keys": list(keys), "view": view, "told": "or press its key"}
    _listener(key=_KEY, data=data, on_pressed_change=lambda: _act(act))


def _act(act: Callable[[str], None]) -> None:
    for moment, key in st.session_state.get(_KEY, {}).get("pressed") or ():
        if moment > st.session_state.get(_HANDLED, 0):
            st.session_state[_HANDLED] = moment
            act(key)
