"""Numbered boxes on pictures of any size."""

import numpy as np
import pytest

from fer_core.emotions import PALETTES
from fer_core.inference.draw import LONGER_SIDE, draw_faces


@pytest.mark.parametrize("shape", [(48, 48), (480, 640), (4000, 3000), (400, 2000)])
@pytest.mark.parametrize("theme", PALETTES)
def test_the_box_has_the_colour_and_is_two_pixels_at_any_size(shape, theme):
    height, width = shape
    box = (0, 0, width, height)
    drawn = draw_faces(np.zeros((*shape, 3), np.uint8), [(box, "happy")], theme)
    assert LONGER_SIDE[0] <= max(drawn.shape[:2]) <= LONGER_SIDE[1]
    colour = np.frombuffer(bytes.fromhex(PALETTES[theme]["happy"][1:]), np.uint8)
    row = drawn[-1 - drawn.shape[0] // 4, :, :]  # crosses the left and the right side
    assert np.flatnonzero((row == colour).all(1)).tolist() == [
        0, 1, drawn.shape[1] - 2, drawn.shape[1] - 1,
    ]  # fmt: skip


def test_the_number_is_drawn_and_the_original_kept():
    image = np.full((600, 600, 3), 128, np.uint8)
    one = draw_faces(image, [((200, 200, 100, 100), "sad")])
    assert (image == 128).all()
    plate = one[180:200, 200:215].astype(int)  # above the box
    assert plate.min() < 50
    assert plate.max() > 200
    other = draw_faces(image, [((0, 0, 50, 50), "fear"), ((200, 200, 100, 100), "sad")])
    assert not np.array_equal(other[180:200, 200:215], one[180:200, 200:215])  # 2, not 1


def test_no_faces_leave_the_picture_as_it_is():
    image = np.random.default_rng(0).integers(0, 255, (500, 600, 3), np.uint8)
    assert np.array_equal(draw_faces(image, []), image)
