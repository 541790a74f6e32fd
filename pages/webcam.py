"""Webcam: the visitor's camera, read live; a photo where there can be no stream."""

import streamlit as st

from dashboard.components import errors_shown, page_link, plain
from dashboard.faces import read, show_reading
from dashboard.live_view import answers, buttons, choices, lines, live_reader
from dashboard.webcam import IDLE, PATIENCE, WORDS, is_late, is_secure, privacy, stream

address = st.context.url or "http://localhost"  # none in a test without a browser
reader, state = live_reader(), IDLE

st.caption(plain(privacy(address)))
head = st.container()
picture, beside = st.columns([3, 2], gap="medium")
# Before anything that may fail: a script run that does not come here resets the stream.
with picture:
    if is_secure(address):
        with errors_shown():
            state = stream(reader)
    else:
        st.warning(
            "Browsers give the camera only to pages opened by HTTPS, or on the machine itself. Upload photos instead, "
            "or open this page by HTTPS.",
            icon=":material/lock_open:",
        )
        page_link("predict", "Upload photos")

    # Frames say it as well: where the server is busy, the browser's word that it plays can get lost.
    playing = state.playing or reader.view().frames_per_second > 0

    @st.fragment(run_every=1.0 if state.signalling or playing != state.playing else None)
    def connection() -> None:
        if not state.playing and playing != (reader.view().frames_per_second > 0):
            st.rerun()
        if is_late(state) and not playing:
            st.warning(
                f"Browser and server have not found each other within {PATIENCE:.0f} seconds. Across networks they "
                "need a TURN server: set `FER_TURN_URL`, `FER_TURN_USERNAME` and `FER_TURN_PASSWORD` in the server's "
                "environment or in `.streamlit/secrets.toml`, and start it again. Until then, take a photo below.",
                icon=":material/cloud_off:",
            )

    connection()

with head:
    model, detector, threshold = choices(reader)
    if model is None:
        st.info("There is no model yet: the picture is shown as it is.", icon=":material/model_training:")
        page_link("train", "Go to Train")
with beside:
    answers(reader, playing)
buttons(reader, playing)
lines(reader, playing)

if is_secure(address) and not playing:
    with st.expander("No picture?", icon=":material/help:"):
        st.markdown("\n".join(f"- `{name}`: {words}" for name, words in WORDS.items()))
    if model and st.toggle("Take a photo instead", key="webcam-photo"):
        photo = st.camera_input("Photo", label_visibility="collapsed", width=480)
        if photo:
            answer = read(photo.getvalue(), "photo", model, detector, threshold)
            show_reading(photo.getvalue(), answer, model)
