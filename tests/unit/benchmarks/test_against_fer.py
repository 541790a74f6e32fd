"""What counts as a found face, that frames hold what they should, and what an installation is made of."""

import importlib.metadata

import numpy as np
import pytest

from benchmarks.against_fer import FACE, HEIGHT, WIDTH, _frames, _hit
from benchmarks.fer_sides import _installed, _pinned


@pytest.mark.parametrize(
    ("faces", "said"),
    [
        ([], None),
        ([((100, 50, FACE, FACE), 3)], 3),
        ([((400, 200, FACE, FACE), 3)], None),  # elsewhere
        ([((150, 100, 40, 40), 3)], None),  # a mouth, say
        ([((90, 40, FACE + 20, FACE + 20), 1), ((100, 50, FACE, FACE), 2)], 2),  # the better box counts
    ],
)
def test_a_face_counts_as_found_where_it_is(faces, said):
    assert _hit(faces, (100, 50)) == said


def test_every_frame_holds_its_face_whole():
    crops = np.arange(20, dtype=np.uint8)[:, None, None] + np.zeros((20, 48, 48), np.uint8)
    frames, places = _frames(crops)
    assert frames.shape == (20, HEIGHT, WIDTH)
    for number, (frame, (left, top)) in enumerate(zip(frames, places, strict=True)):
        assert (frame[top : top + FACE, left : left + FACE] == number).all()
        assert (frame == number).sum() == FACE * FACE


def test_an_installation_counts_what_its_packages_need():
    own = sum(
        file.locate().stat().st_size for file in importlib.metadata.files("pydantic") or () if file.locate().is_file()
    )
    assert _installed(["pydantic"]) > own > 0  # and pydantic-core
    assert _installed(["Pydantic", "pydantic"]) == _installed(["pydantic"])
    assert _installed(["none-of-that-name"]) == 0
    assert {"numpy", "streamlit"} <= set(_pinned())
