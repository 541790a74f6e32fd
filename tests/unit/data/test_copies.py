from __future__ import annotations

import cv2
import numpy as np
import pytest

from fer_core.data import copies
from fer_core.data.copies import find_pairs, fingerprint, link, seen_by_fingerprint
from fer_core.data.merge import same_picture

from .pictures import face


def variants() -> tuple[np.ndarray, dict[str, int]]:
    """Twelve different faces, then copies of the first in several forms."""
    faces = [face(seed) for seed in range(12)]
    first = faces[0]
    crop = cv2.resize(first[1:-1, 1:-1], (48, 48), interpolation=cv2.INTER_CUBIC)
    forms = {
        "near": np.clip(crop * 0.8 + 20, 0, 255).astype(np.uint8),
        "mirrored": np.ascontiguousarray(first[:, ::-1]),
        "reencoded": cv2.imdecode(cv2.imencode(".jpg", first, [cv2.IMWRITE_JPEG_QUALITY, 95])[1], 0),
        "constant": np.full((48, 48), 7, np.uint8),
        "constant too": np.full((48, 48), 9, np.uint8),
    }
    places = {name: len(faces) + number for number, name in enumerate(forms)}
    return np.stack([*faces, *forms.values()]), places


def test_near_mirrored_and_reencoded_copies_are_found_and_nothing_else():
    view, places = variants()
    pairs = find_pairs(view, np.arange(len(view)))
    of_first = {int(b): bool(m) for a, b, m in zip(pairs.a, pairs.b, pairs.mirrored, strict=True) if a == 0}
    assert of_first == {places["near"]: False, places["mirrored"]: True, places["reencoded"]: False}
    photo = link(len(view), pairs)
    assert np.flatnonzero(photo == 0).tolist() == [0, *(places[n] for n in ("near", "mirrored", "reencoded"))]
    assert len(set(photo.tolist())) == len(view) - 3  # constants and other faces stay alone


def test_only_a_reencoding_counts_as_the_same_picture():
    view, places = variants()
    close = same_picture(find_pairs(view, np.arange(len(view))))
    assert list(zip(close.a.tolist(), close.b.tolist(), strict=True)) == [(0, places["reencoded"])]


@pytest.mark.parametrize("tile", [16, 2**23])
def test_the_size_of_the_blocks_changes_nothing(monkeypatch, tile):
    view, _ = variants()
    view = np.concatenate([view, view[:, ::-1], view[:, :, ::-1]])
    expected = find_pairs(view, np.arange(len(view)))
    monkeypatch.setattr(copies, "_TILE", tile)
    again = find_pairs(view, np.arange(len(view)))
    np.testing.assert_array_equal(expected.a, again.a)
    np.testing.assert_array_equal(expected.b, again.b)


def normalised(pictures: np.ndarray) -> np.ndarray:
    flat = pictures.reshape(len(pictures), -1).astype(float)
    flat -= flat.mean(1, keepdims=True)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def test_what_is_ruled_out_early_is_no_pair():
    """The rule as it is written down, picture by picture, on faces and on noise that has no low frequencies."""
    random = np.random.default_rng(1)
    faces = np.stack([face(seed) for seed in range(30)]).astype(float)
    noise = np.kron(random.integers(0, 2, (10, 12, 12)), np.ones((4, 4))) * 200
    first = np.concatenate([faces, noise])
    changed = [
        first,
        first[:, :, ::-1],
        *(first * 0.7 + random.normal(0, strength, first.shape) for strength in (5, 20, 40, 60)),
        np.roll(first, 2, axis=2),
    ]
    view = np.clip(np.concatenate(changed), 0, 255).astype(np.uint8)
    blocks = view.reshape(-1, 12, 4, 12, 4).mean((2, 4))
    expected = {}
    for mirrored, other, small in ((False, view, blocks), (True, view[:, :, ::-1], blocks[:, :, ::-1])):
        candidate = normalised(blocks) @ normalised(small).T > copies.BLOCK_CORRELATION
        alike = normalised(view) @ normalised(other).T >= copies.PIXEL_CORRELATION
        pairs = np.argwhere(np.triu(candidate & alike, 1))
        expected[mirrored] = {(int(a), int(b)) for a, b in pairs}
    found = find_pairs(view, np.arange(len(view)))
    for mirrored, pairs in expected.items():
        assert len(pairs) > 40
        some = found.where(found.mirrored == mirrored)
        assert set(zip(some.a.tolist(), some.b.tolist(), strict=True)) == pairs


def test_a_film_of_equal_frames_does_not_give_all_its_pairs():
    random = np.random.default_rng(0)
    view = np.clip(face(3) + random.normal(0, 2, (400, 48, 48)), 0, 255).astype(np.uint8)
    pairs = find_pairs(view, np.arange(400))
    assert len(pairs) <= 400 * copies.PARTNERS * 2
    assert set(link(400, pairs).tolist()) == {0}


def test_pictures_of_one_colour_each_have_no_copies():
    assert len(find_pairs(np.stack([np.full((48, 48), level, np.uint8) for level in range(3)]), np.arange(3))) == 0


def test_fingerprints_recognise_copies():
    view, places = variants()
    prints = fingerprint(view[:1, :, :, None])
    assert prints.shape == (1, 32)
    assert prints.dtype == np.uint8
    seen = seen_by_fingerprint(view[:, :, :, None], prints)
    assert set(np.flatnonzero(seen).tolist()) == {0, *(places[n] for n in ("near", "mirrored", "reencoded"))}
    colour = np.repeat(view[:1, :, :, None], 3, axis=3)
    np.testing.assert_array_equal(fingerprint(colour), prints)
    assert not seen_by_fingerprint(view[:, :, :, None], np.zeros((0, 32), np.uint8)).any()
