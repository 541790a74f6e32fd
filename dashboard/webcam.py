"""A visitor's camera: the stream between browser and server. The only user of streamlit-webrtc.

Browser and server find each other without anyone's help on one machine and in one network. Across networks they need
servers in between, which are named in the environment, or under the same names at the top level of
``.streamlit/secrets.toml`` (Streamlit puts those into the environment when it starts):

    FER_STUN_URL       stun:stun.example.org:3478
    FER_TURN_URL       turn:turn.example.org:3478, several separated by commas
    FER_TURN_USERNAME
    FER_TURN_PASSWORD

Without them nobody else is contacted; streamlit-webrtc by itself would ask Google's STUN server.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import av
import numpy as np
import streamlit as st
from aiortc.contrib.media import MediaRelay
from streamlit_webrtc import webrtc_streamer
from streamlit_webrtc.component import WebRtcStreamerState
from streamlit_webrtc.relay import get_global_relay

from fer_core.errors import ConfigError
from fer_core.inference.live import LiveReader
from fer_core.preprocessing import Pixels

PATIENCE: Final = 10.0
"""Seconds after which a connection that has not come about is spoken of."""

_URL: Final = {
    "FER_STUN_URL": re.compile(r"stuns?:[\w.\-\[\]:]+"),
    "FER_TURN_URL": re.compile(r"turns?:[\w.\-\[\]:]+(\?transport=(udp|tcp))?"),
}
_SAFE_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
_CONSTRAINTS: Final = {
    "video": {"width": {"ideal": 640}, "height": {"ideal": 480}, "frameRate": {"ideal": 30}},
    "audio": False,
}
_REFUSED: Final = "The camera was refused. Allow it in the browser's address bar, then start again."
_NO_CAMERA: Final = "No camera was found. Connect one, or take the picture elsewhere and upload it on Predict."
_BUSY: Final = "Another program uses the camera. Close it, then start again."
WORDS: Final = {"NotAllowedError": _REFUSED, "NotFoundError": _NO_CAMERA, "NotReadableError": _BUSY}
"""What the names mean that the component shows when the camera does not start; it tells the server nothing."""

IDLE: Final = WebRtcStreamerState(playing=False, signalling=False)


def ice_servers(settings: Mapping[str, str] = os.environ) -> list[dict[str, str]]:
    """The servers that help browser and server to find each other; none by default.

    Args:
        settings: The four names of the module's docstring, each of which may be missing.

    Raises:
        ConfigError: A URL that is none.
    """
    found = []
    for name, pattern in _URL.items():
        for url in filter(None, (part.strip() for part in settings.get(name, "").split(","))):
            if not pattern.fullmatch(url):
                raise ConfigError(f"{name}: {url!r} is no such server; write {name[4:8].lower()}:HOST:PORT.")
            found.append({"urls": url})
            if name == "FER_TURN_URL":
                found[-1]["username"] = settings.get("FER_TURN_USERNAME", "")
                found[-1]["credential"] = settings.get("FER_TURN_PASSWORD", "")
    return found


def is_secure(url: str) -> bool:
    """Whether browsers give a page of this address the camera: by HTTPS, or on the machine itself."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "https" or host in _SAFE_HOSTS or host.endswith(".localhost")


def privacy(address: str, settings: Mapping[str, str] = os.environ) -> str:
    """Who gets the camera's picture, in words.

    Args:
        address: Of the page, as the visitor sees it.
        settings: As for ``ice_servers``.
    """
    relay = settings.get("FER_TURN_URL")
    carried = f"; the relay {relay} may carry it, encrypted" if relay else ", and to nobody else"
    return (
        f"Your camera's picture goes to the server you opened, {urlsplit(address).hostname}{carried}. "
        "It is read in memory and not stored; only what you download is kept."
    )


def stream(reader: LiveReader) -> WebRtcStreamerState:
    """The camera's picture with its faces, and the button that starts it.

    A script run that does not reach this resets the stream: call it before anything that may fail.

    Args:
        reader: Is given every frame; those that come while it reads are dropped, all but the newest.

    Returns:
        Whether it plays, or is about to.

    Raises:
        ConfigError: A server for the connection is named wrongly.
    """

    async def answer(frames: list[av.VideoFrame]) -> list[av.VideoFrame]:
        frame: Pixels = frames[-1].to_ndarray(format="rgb24").astype(np.uint8, copy=False)
        picture = reader.read(frame, time.monotonic())
        return [av.VideoFrame.from_ndarray(picture, format="rgb24")]

    servers = ice_servers()
    # The relay between us and the encoder keeps frames in a queue without a bound: where encoding is slower than the
    # camera, the picture would come later and later, and memory would fill. Without a queue it is given the newest.
    relay = get_global_relay()
    relay.subscribe = partial(MediaRelay.subscribe, relay, buffered=False)  # type: ignore[method-assign]
    return webrtc_streamer(
        "webcam",
        rtc_configuration={"iceServers": servers},
        media_stream_constraints=_CONSTRAINTS,
        queued_video_frames_callback=answer,
        video_html_attrs={"autoPlay": True, "controls": False, "muted": True, "style": {"width": "100%"}},
        translations={
            "start": "Start camera",
            "stop": "Stop camera",
            "select_device": "Choose camera",
            "media_api_not_available": "This browser gives pages no camera.",
            "device_ask_permission": "Allow the camera in the browser's question.",
            "device_not_available": f"{_NO_CAMERA} Or: {_BUSY}",
            "device_access_denied": _REFUSED,
        },
        sendback_audio=False,
    ).state


def is_late(state: WebRtcStreamerState) -> bool:
    """Whether this visitor's connection has not come about for ``PATIENCE`` seconds.

    Once stopped, the last attempt counts, until the next one begins.
    """
    memory, now = st.session_state, time.monotonic()
    if not state.signalling:
        memory.pop("webcam-asked", None)
        if state.playing:
            memory["webcam-late"] = False
        return memory.get("webcam-late", False)
    memory["webcam-late"] = late = now - memory.setdefault("webcam-asked", now) > PATIENCE
    return late
