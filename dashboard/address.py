"""The address names what is shown, also what nobody chose, so that it can be handed on."""

from __future__ import annotations

from typing import Final

import streamlit as st

_SHOWN: Final = "address_shown"
"""In the session: what the pickers of this page stand at that the address did not name when they were drawn."""

# Streamlit's own way would make each of them a step in the browser's history, and "Back" would go through them all.
_JS: Final = """
export default function ({ data }) {
  const url = new URL(location.href);
  for (const [key, value] of Object.entries(data)) {
    if (!url.searchParams.has(key)) url.searchParams.set(key, value);
  }
  if (url.href !== location.href) history.replaceState(history.state, "", url);
}
"""

_writer = st.components.v2.component("address", html="<span></span>", js=_JS)


def begin_address() -> None:
    """Forgets what was not written because a page stopped early: it is of no concern to the next one."""
    st.session_state.pop(_SHOWN, None)


def stand_in_address(*keys: str) -> None:
    """Has the address name what pickers stand at, where a link does not say it."""
    shown = st.session_state.setdefault(_SHOWN, {})
    shown.update({key: st.session_state[key] for key in keys if key not in st.query_params})


def write_address(key: str) -> None:
    """Writes it, after the pickers, also of a part of a page that is drawn alone; ``key`` is unique on the page."""
    _writer(key=key, data=st.session_state.pop(_SHOWN, {}))
