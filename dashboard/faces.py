"""A picture that was read: boxes on it, and beside it each face with its seven bars."""

from __future__ import annotations

from pathlib import Path

import cv2
import streamlit as st

from dashboard import caching, drawings
from dashboard.components import show_error, theme
from dashboard.explanation import explanation
from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError
from fer_core.inference.detector_options import DetectorChoice
from fer_core.inference.draw import draw_faces, encode_jpeg
from fer_core.inference.faces import default_detector
from fer_core.inference.images import FaceResult, PictureResult, sample_photograph
from fer_core.inference.served import ServedModel
from fer_core.preprocessing import decode

MAX_SHOWN = 12
HERO_HEIGHT = 340
DEMO_DATASET = "demo"


def knows_only_drawings(model: ServedModel) -> bool:
    """Whether a model was trained on the demo set: it then has nothing to say of photographs."""
    return model.card is not None and model.card.dataset.name == DEMO_DATASET


def sample(model: ServedModel | None) -> tuple[bytes, str, DetectorChoice]:
    """A picture to begin with: bytes, name and detector. A drawn face for a model that knows only drawings."""
    if model is not None and knows_only_drawings(model):
        _, encoded = cv2.imencode(".png", caching.emotion_icon("happy", 288))
        return encoded.tobytes(), "a drawn face", DetectorChoice("none")
    return sample_photograph().read_bytes(), "astronaut.png", DetectorChoice(default_detector())


def show_reading(data: bytes, result: PictureResult, model: ServedModel | None = None) -> None:
    """The picture with numbered boxes, and its faces; with the model, each can be explained."""
    if result.error:
        show_error(result.error)
        return
    left, right = st.columns([3, 2], gap="medium")
    boxes = [(face.box, face.emotion) for face in result.faces]
    found = ", ".join(face.emotion for face in result.faces) or "no face"
    picture = draw_faces(decode(data, result.path), boxes, theme())
    # As wide as its column, but no taller than the first screen.
    width = max(1, min(640, round(HERO_HEIGHT * picture.shape[1] / picture.shape[0])))
    left.image(encode_jpeg(picture), width=width, alt=f"{result.path}: {found}")
    with right:
        if not result.faces:
            st.info(
                "No face found. If the picture is itself a face crop, choose `none` as the detector.",
                icon=":material/search_off:",
            )
        for number, face in enumerate(result.faces[:MAX_SHOWN], start=1):
            _face(number, face, model)
        if len(result.faces) > MAX_SHOWN:
            st.caption(f"{len(result.faces) - MAX_SHOWN} more faces are in the table.")


def _face(number: int, face: FaceResult, model: ServedModel | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.image(drawings.face(face.crop, 64), width=64, alt=f"Face {number} as the model sees it")
        st.markdown(face_words(number, face, "  \n"))
    face_bars(face)
    if model is not None:
        explanation(face.crop, face.emotion, model.path, str(number))


def face_words(number: int, face: FaceResult, between: str = " ") -> str:
    """Number, apparent expression and its probability, and what speaks against relying on it, as Markdown."""
    words = f"**{number} · {face.emotion.capitalize()}** · {100 * float(face.probabilities.max()):.0f} %"
    badges = [f":gray-badge[{doubt}]" for doubt in ("uncertain" * face.uncertain, face.unreliable) if doubt]
    return between.join([words, *([" ".join(badges)] if badges else [])])


def face_bars(face: FaceResult) -> None:
    """The seven bars of a face."""
    probabilities = dict(zip(EMOTIONS, map(float, face.probabilities), strict=True))
    st.image(drawings.seven_bars(probabilities, theme()), width="stretch", alt=drawings.told(probabilities))


def model_caveat(model: ServedModel) -> None:
    """What to bear in mind about this model, in one grey line."""
    if knows_only_drawings(model):
        st.caption("This model was trained on drawn faces: what it says of a photograph means nothing.")


def read(data: bytes, name: str, model: ServedModel, detector: DetectorChoice, threshold: float) -> PictureResult:
    """What the model says of a picture; a model that cannot be used is an error of the picture."""
    try:
        return caching.reading(data, name, Path(model.path), detector, threshold)
    except FerError as error:
        return PictureResult(name, [], str(error))
