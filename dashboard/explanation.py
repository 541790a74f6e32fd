"""Where a model looked in a face, on demand: for any expression, by any method that it can be explained with."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import streamlit as st

from dashboard import caching
from dashboard.components import errors_shown, theme
from fer_core.emotions import EMOTIONS
from fer_core.inference.explain import (
    GRAD_CAM,
    agreement,
    grid_words,
    heat_map,
    legended,
    methods,
    occlusion_heat,
    occlusion_map,
)
from fer_core.preprocessing import Pixels, to_native

_SIDE: Final = 256  # pixels of the face; twice as many are sent, for sharp words
_ELSEWHERE: Final = 0.0
"""Maps that correlate less show different places, as of 25 % of 300 validation images (fer2013-5, bundled model)."""


@st.fragment
def explanation(picture: Pixels, said: str, model: Path, key: str) -> None:
    """Folded until it is asked for: a map of what speaks for an expression in a face, with its legend.

    Args:
        picture: uint8 ``[h, w]`` or ``[h, w, C]``, the face.
        said: The expression that the model says it is, which is shown first.
        model: Its file.
        key: Unique on the page.
    """
    part = st.expander("Explain", icon=":material/visibility:", key=f"explain-{key}", on_change="rerun")
    if not part.open:
        return
    with part, errors_shown():
        predictor = caching.predictor(model)
        height, width, channels = predictor.input_shape
        crop = to_native(picture, (height, width), channels)
        possible = methods(predictor)
        with st.container(horizontal=True):
            shown, beside = st.container(width=_SIDE), st.container(width=_SIDE)
        with beside:
            emotion = st.selectbox("What speaks for", EMOTIONS, index=EMOTIONS.index(said), key=f"explain-{key}-{said}")
            method = possible[0]
            if len(possible) > 1:
                method = st.selectbox("Method", possible, key=f"explain-{key}-method")
            else:
                st.caption("This model gives probabilities alone, so Grad-CAM is not possible with it.")
        most, elsewhere = 0.0, False
        if method == GRAD_CAM:
            heat = heat_map(predictor, crop, emotion)
            told = f"The map has {grid_words(heat)}, drawn smoothly. "
        else:
            with shown, st.spinner("Covering one place after the other"):
                drops = occlusion_map(predictor, crop, emotion)
            heat = occlusion_heat(drops)
            most = float(drops.max())
            told = f"Covering the brightest place lowers {emotion} by {_points(most)}. "
            if GRAD_CAM in possible:
                elsewhere = agreement(heat, heat_map(predictor, crop, emotion)) < _ELSEWHERE
        shown.image(
            legended(crop, heat, emotion, method, theme(), 2 * _SIDE),
            width=_SIDE,
            alt=f"What speaks for {emotion} in this face, by {method}",
        )
        with beside:
            if heat.any():
                st.caption(f"{told}It shows where the model looked, not why.")
            elif most > 0:
                st.caption(f"Practically nothing: covering a place lowers {emotion} by {_points(most)} at most.")
            else:
                st.caption(f"Nothing in this face speaks for {emotion}.")
            if elsewhere:
                st.caption("Grad-CAM points to other places here: do not rely on either map alone.")


def _points(drop: float) -> str:
    """A drop of a probability in words."""
    return "less than 0.1 points" if drop < 0.001 else f"{100 * drop:.1f} points"
