from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer_core.data.demo import draw_demo, draw_face
from fer_core.data.layouts import Layout
from fer_core.data.sources import find_archives
from fer_core.emotions import EMOTIONS
from fer_core.errors import ConfigError, DatasetError


@pytest.mark.parametrize("emotion", EMOTIONS)
@pytest.mark.parametrize("size", [48, 96, 288])
def test_faces_are_drawn_at_any_size_and_from_the_seed(emotion, size):
    image = draw_face(emotion, 3, size)
    assert image.shape == (size, size)
    assert image.dtype == np.uint8
    assert image.std() > 20
    np.testing.assert_array_equal(image, draw_face(emotion, 3, size))
    assert not np.array_equal(image, draw_face(emotion, 4, size))


def test_an_unknown_emotion_is_refused():
    with pytest.raises(ConfigError, match="No emotion named 'bored'"):
        draw_face("bored", 1)


def test_the_demo_is_exactly_two_archives_in_the_two_layouts(tmp_path, demo):
    made = draw_demo(tmp_path / "demo")
    assert sorted((tmp_path / "demo").iterdir()) == sorted(made)
    assert {archive.path: archive.layout for archive in find_archives([tmp_path / "demo"])} == {
        made[0]: Layout.FER2013_FOLDERS,
        made[1]: Layout.EDF,
    }
    again = [Path(spec.partition("=")[2]) for spec in demo]
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in made]
    with pytest.raises(DatasetError, match="exists already"):
        draw_demo(tmp_path / "demo")
