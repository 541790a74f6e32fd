"""What the Webcam page shows of a stream, and what it lets change. Each part is a fragment: the stream goes on."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

import cv2
import streamlit as st

from dashboard import caching, drawings
from dashboard.components import errors_shown, model_picker, show_error, theme
from dashboard.detector_choice import choose_detector, choose_threshold
from dashboard.faces import face_bars, face_words, model_caveat
from fer_core import limits
from fer_core.inference.detector_options import DetectorChoice, default_every
from fer_core.inference.faces import default_detector
from fer_core.inference.live import HISTORY, LiveReader, LiveView
from fer_core.inference.served import ServedModel, list_models
from fer_core.inference.tracking import SMOOTHING, TrackedFace
from fer_core.workspace import Workspace

BARS_EVERY: Final = 1.0
"""Seconds between two looks at the bars. On a busy server, looks every half second left no turn to anything else."""

LINES_EVERY: Final = 2.0
MAX_SHOWN: Final = 3
_CHOSEN: Final = "webcam-chosen"
_HEIGHT: Final = 420  # pixels: a face with its bars, the line above and one below; nothing jumps while it updates


def live_reader() -> LiveReader:
    """This visitor's; it stays when the page is left, and so do its settings."""
    reader: LiveReader = st.session_state.setdefault("webcam-reader", LiveReader())
    reader.change(theme=theme())
    return reader


@st.fragment
def choices(reader: LiveReader) -> tuple[ServedModel | None, DetectorChoice, float]:
    """Model (None if there is none), detector, threshold and the rest, at work from the next frame on."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        bundled = next((model.name for model in list_models(Workspace.default()) if model.bundled), None)
        model = model_picker(prefer=bundled)
        with st.popover("Settings", icon=":material/tune:"):
            detector = choose_detector()
            smoothing = st.slider(
                "Smoothing",
                0.0,
                2.0,
                SMOOTHING,
                0.1,
                format="%.1f s",
                help="How long a face's probabilities are averaged; 0 shows each frame by itself.",
                key="webcam-smoothing",
                persist_state="session",
            )
            threshold = choose_threshold()
            every = st.slider(
                "Look for faces in every … frame",
                1,
                10,
                default_every(default_detector()),
                help="More is faster; between these frames, boxes stay where they are.",
                key="webcam-every",
                persist_state="session",
            )
    reader.change(smoothing=smoothing, threshold=threshold, every=every)
    with errors_shown():
        reader.change(detector=caching.detector(detector))
        if model:
            reader.change(predictor=caching.predictor(Path(model.path)))
            model_caveat(model)
    chosen = (model.path if model else None, detector, threshold)
    if st.session_state.setdefault(_CHOSEN, chosen) != chosen:
        st.session_state[_CHOSEN] = chosen
        if st.session_state.get("webcam-photo"):
            st.rerun()  # what a photo below was read as is outside this fragment
    return model, detector, threshold


def answers(reader: LiveReader, playing: bool) -> None:
    """The faces of the last frame with their bars, and how fast it goes."""

    @st.fragment(run_every=BARS_EVERY if playing else None)
    def part() -> None:
        view = reader.view()
        with st.container(height=_HEIGHT if playing else "content", border=False, gap="small"):
            _indicator(reader, view, playing)
            if not playing:
                return
            if view.error:
                show_error(view.error)
            elif view.frames and not view.faces:
                st.info("No face found.", icon=":material/search_off:")
            for tracked in view.faces[:MAX_SHOWN]:
                _face(tracked)
            if len(view.faces) > MAX_SHOWN:
                st.caption(f"and {len(view.faces) - MAX_SHOWN} more")

    part()


def _indicator(reader: LiveReader, view: LiveView, playing: bool) -> None:
    if not playing:
        st.badge("Camera off", icon=":material/videocam_off:", color="gray")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if reader.settings.paused:
            st.badge("Paused, camera on", icon=":material/pause:", color="gray")
        else:
            st.badge("Camera on", icon=":material/videocam:", color="blue")
            st.caption(f"{view.frames_per_second:.0f} frames/s · {view.milliseconds:.0f} ms")


def _face(tracked: TrackedFace) -> None:
    st.markdown(face_words(tracked.track, tracked.face))
    face_bars(tracked.face)


def lines(reader: LiveReader, playing: bool) -> None:
    """The last minute of the largest face, and how far a recording is."""

    @st.fragment(run_every=LINES_EVERY if playing else None)
    def part() -> None:
        view = reader.view()
        if len(view.times):
            drawn = drawings.seven_lines(view.times, view.probabilities, HISTORY, theme())
            st.image(drawn, width="stretch", alt=f"The largest face over the last {HISTORY:.0f} seconds")
        if view.recording:
            st.badge(f"Recording · {view.recorded:,} rows", icon=":material/fiber_manual_record:", color="blue")
        elif view.recorded >= limits.RECORDED_ROWS:
            st.caption(f"The recording is full: it has {view.recorded:,} rows, all that are kept. Download it.")

    part()


@st.fragment
def buttons(reader: LiveReader, playing: bool) -> None:
    """Pause, snapshot and recording."""
    if not playing:
        reader.change(paused=False)  # a camera that starts again must not show what was before it last time
    view, paused = reader.view(), reader.settings.paused
    with st.container(horizontal=True):
        st.button(
            "Go on" if paused else "Pause",
            icon=":material/play_arrow:" if paused else ":material/pause:",
            help="The picture stands still and nothing is read; the camera stays on.",
            disabled=not playing,
            key="webcam-pause",
            on_click=reader.change,
            kwargs={"paused": not paused},
        )
        st.download_button(
            "Snapshot",
            lambda: _png(reader),
            file_name=f"snapshot-{datetime.now():%Y%m%d-%H%M%S}.png",
            mime="image/png",
            icon=":material/photo_camera:",
            help="The last picture with its boxes.",
            disabled=not playing,
            on_click="ignore",
        )
        st.button(
            "Stop recording" if view.recording else "Record to CSV",
            icon=":material/stop:" if view.recording else ":material/fiber_manual_record:",
            help="Probabilities and boxes of every frame, in the server's memory; no pictures. "
            "A new recording replaces the last one.",
            disabled=not (playing or view.recording),
            key="webcam-record",
            on_click=reader.stop_recording if view.recording else reader.start_recording,
        )
        if view.recorded and not view.recording:
            st.download_button(
                f"Download CSV · {view.recorded:,} rows",
                reader.csv,
                file_name=f"expressions-{datetime.now():%Y%m%d-%H%M%S}.csv",
                mime="text/csv",
                icon=":material/download:",
                on_click="ignore",
            )


def _png(reader: LiveReader) -> bytes:
    picture = reader.view().picture
    if picture is None:
        return b""
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()
