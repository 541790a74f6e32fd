"""How faces are looked for, and when one is uncertain: controls that all views of pictures share."""

from __future__ import annotations

import streamlit as st

from fer_core.inference import yunet
from fer_core.inference.detector_options import DetectorChoice, DetectorOptions
from fer_core.inference.faces import DETECTORS, default_detector
from fer_core.inference.images import UNCERTAIN_BELOW


def choose_detector() -> DetectorChoice:
    """Detector, smallest face, score and margin; the choice stays when the page is left."""
    name = st.selectbox(
        "Face detector",
        list(DETECTORS),
        index=list(DETECTORS).index(default_detector()),
        help="`yunet` finds small and turned faces too; `haar` looks for frontal faces; `none` takes the whole "
        "picture as the face. Pictures up to 64 pixels are always taken as a face.",
        key="detector",
        persist_state="session",
    )
    if yunet.find() is None and yunet.unknown() is None:
        st.caption(f"`yunet` finds more faces. Its file is not here yet: run `{yunet.COMMAND}`.")
    usual = DetectorOptions()
    smallest = st.number_input(
        "Smallest face",
        0,
        10_000,
        usual.min_face,
        8,
        help="Width in pixels; narrower faces are passed over. 0 for all that the detector finds.",
        key="detector-min-face",
        persist_state="session",
        disabled=name == "none",
    )
    score = st.slider(
        "Score at least",
        0.0,
        1.0,
        usual.score,
        0.05,
        help="What `yunet` finds with a lower score is no face.",
        key="detector-score",
        persist_state="session",
        disabled=name != "yunet",
    )
    margin = st.slider(
        "Margin",
        -0.25,
        1.0,
        usual.margin,
        0.05,
        help="Shows the model more around each face than its training pictures did, or less.",
        key="detector-margin",
        persist_state="session",
        disabled=name == "none",
    )
    return DetectorChoice(name, DetectorOptions(int(smallest), score, margin))


def choose_threshold() -> float:
    """Top probability below which a face is uncertain; the choice stays when the page is left."""
    return st.slider(
        "Uncertain below",
        0.0,
        1.0,
        UNCERTAIN_BELOW,
        0.05,
        help="A face whose highest probability is lower is marked uncertain.",
        key="threshold",
        bind="query-params",
        persist_state="session",
    )
