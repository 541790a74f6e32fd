"""Copies of one photograph: exact, near (another crop, contrast or codec) and mirrored.

The rule and its thresholds are those measured on FER2013: candidates are pairs whose 12 x 12 block means,
centred and normalised, correlate above .95; a pair counts when the full 48 x 48 pixels correlate at .90 or
more. Of 50 such pairs that were looked at, ten of them between .90 and .92, all showed the same photograph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.data.decode import VIEW
from fer_core.jobs.progress import Progress, silent
from fer_core.preprocessing import Pixels, to_native

BLOCK_CORRELATION: Final = 0.95
PIXEL_CORRELATION: Final = 0.90

SAME_PICTURE: Final = 2.0
"""Mean absolute difference, in gray levels, up to which two near pictures of different sources are one
picture in two codecs. Measured between a JPEG (quality 95) and a PNG edition of FER2013: each of 32,286
pictures differs from its own re-encoding by at most 1.6, while another crop or contrast of the same
photograph starts at 1.7 and is typically at 10. A correlation does not separate them: a dim picture and its
re-encoding correlate at .993, below many other crops."""

RULE: Final = {
    "method": "12x12 block means, then 48x48 pixels, centred and normalised; also against the mirrored picture",
    "block_correlation": BLOCK_CORRELATION,
    "pixel_correlation": PIXEL_CORRELATION,
    "same_picture_gray_levels": SAME_PICTURE,
    "recall": None,
}

_BLOCKS: Final = 12
_TILE: Final = 2**23  # entries of the block of the correlation matrix that is in memory at a time
_PARTNERS: Final = 64  # candidates kept per picture and tile: a film of equal frames must not fill the memory
_VERIFY: Final = 4096  # pairs compared at a time at full size


@dataclass(frozen=True)
class Pairs:
    """Pairs of pictures that show one photograph; ``a`` < ``b``.

    A pair can be there twice, near and mirrored, if the face is symmetric.

    Attributes:
        a, b: int64 ``[K]``, indices of pictures.
        similarity: float32 ``[K]``, correlation of the pixels (of the mirrored ones where ``mirrored``).
        mirrored: bool ``[K]``.
        difference: float32 ``[K]``, mean absolute difference in gray levels.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    similarity: NDArray[np.float32]
    mirrored: NDArray[np.bool_]
    difference: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.a)

    def where(self, mask: NDArray[np.bool_]) -> Pairs:
        """Some of the pairs."""
        return Pairs(self.a[mask], self.b[mask], self.similarity[mask], self.mirrored[mask], self.difference[mask])


def find_pairs(view: Pixels, rows: NDArray[np.int64], progress: Progress = silent) -> Pairs:
    """Finds near and mirrored copies among pictures.

    The correlation matrix is computed in blocks of bounded size and never held. The block means are split
    into parts even and odd under mirroring, so that one product gives the correlation as it is (even + odd)
    and mirrored (even - odd).

    Args:
        view: uint8 ``[N, 48, 48]``, gray.
        rows: int64 ``[M]``: the distinct pictures, as indices into ``view``. Constant ones match nothing.
        progress: Told after every block.

    Returns:
        Pairs, as indices into ``rows``, ordered by ``a`` and ``b``.
    """
    even, odd, varied = _block_means(view, rows)
    count = len(varied)
    found: list[Pairs] = []
    start = 0
    while start < count:
        stop = min(count, start + max(16, min(256, _TILE // (count - start))))
        direct = even[start:stop] @ even[start:].T
        turned = odd[start:stop] @ odd[start:].T
        best = np.abs(turned)
        best += direct
        # Only the upper triangle: each pair once, no picture with itself.
        left, right = _strongest(best)
        if len(left):
            a, b = varied[start + left], varied[start + right]
            one, two = direct[left, right], turned[left, right]
            near, mirror = one + two > BLOCK_CORRELATION, one - two > BLOCK_CORRELATION
            found.append(_verify(view, rows, a[near], b[near], mirrored=False))
            found.append(_verify(view, rows, a[mirror], b[mirror], mirrored=True))
        start = stop
        progress("Looking for copies", start, count)
    return _joined(found)


def _block_means(
    view: Pixels, rows: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Even and odd halves of the normalised block means, float32 ``[V, 72]``, and the pictures that vary."""
    side = VIEW // _BLOCKS
    means = np.empty((len(rows), _BLOCKS, _BLOCKS), np.float32)
    for start in range(0, len(rows), _VERIFY):
        chunk = view[rows[start : start + _VERIFY]].reshape(-1, _BLOCKS, side, _BLOCKS, side)
        means[start : start + _VERIFY] = chunk.mean((2, 4), dtype=np.float32)
    means -= means.mean((1, 2), keepdims=True)
    norms = np.sqrt(np.einsum("nij,nij->n", means, means))
    varied = np.flatnonzero(norms > 1e-3)
    means = means[varied] / norms[varied, None, None]
    left, right = means[:, :, : _BLOCKS // 2], means[:, :, : _BLOCKS // 2 - 1 : -1]
    scale = np.float32(np.sqrt(0.5))
    shape = (len(varied), _BLOCKS * _BLOCKS // 2)
    return ((left + right) * scale).reshape(shape), ((left - right) * scale).reshape(shape), varied


def _strongest(best: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Candidates in a block of the matrix, right of the diagonal, at most ``_PARTNERS`` per picture."""
    flat = np.flatnonzero(best > BLOCK_CORRELATION)
    left, right = np.divmod(flat, best.shape[1])
    upper = right > left  # the block starts on the diagonal
    left, right = left[upper], right[upper]
    if len(left) <= _PARTNERS:
        return left, right
    order = np.lexsort((-best[left, right], left))
    left, right = left[order], right[order]
    first = np.searchsorted(left, left)  # where the candidates of each picture begin
    few = np.arange(len(left)) - first < _PARTNERS
    return left[few], right[few]


def _verify(
    view: Pixels, rows: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64], *, mirrored: bool
) -> Pairs:
    """Keeps the pairs whose full pixels correlate."""
    similarity = np.empty(len(a), np.float32)
    difference = np.empty(len(a), np.float32)
    for start in range(0, len(a), _VERIFY):
        part = slice(start, start + _VERIFY)
        one = view[rows[a[part]]].reshape(-1, VIEW, VIEW).astype(np.float32)
        two = view[rows[b[part]]].reshape(-1, VIEW, VIEW).astype(np.float32)
        if mirrored:
            two = two[:, :, ::-1]
        difference[part] = np.abs(one - two).mean((1, 2))
        similarity[part] = np.einsum("nij,nij->n", _normalised(one), _normalised(two))
    pairs = Pairs(a, b, similarity, np.full(len(a), mirrored), difference)
    return pairs.where(similarity >= PIXEL_CORRELATION)


def _normalised(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    centred = pixels - pixels.mean((1, 2), keepdims=True)
    norms = np.sqrt(np.einsum("nij,nij->n", centred, centred))
    return centred / np.maximum(norms, 1e-6)[:, None, None]


def _joined(found: Sequence[Pairs]) -> Pairs:
    if not found:
        none = np.zeros(0, np.int64)
        return Pairs(none, none, none.astype(np.float32), none.astype(bool), none.astype(np.float32))
    pairs = Pairs(
        *(
            np.concatenate([getattr(part, name) for part in found])
            for name in ("a", "b", "similarity", "mirrored", "difference")
        )
    )
    order = np.lexsort((pairs.mirrored, pairs.b, pairs.a))
    return Pairs(
        pairs.a[order],
        pairs.b[order],
        pairs.similarity[order],
        pairs.mirrored[order],
        pairs.difference[order],
    )


def compare(one: Pixels, other: Pixels) -> tuple[str, float]:
    """How alike two pictures of a photograph are: "exact", "near" or "mirrored", and the correlation by the rule.

    Args:
        one, other: uint8 ``[H, W, C]``, any size.
    """
    if one.shape == other.shape and (one == other).all():
        return "exact", 1.0
    left, right = (
        _normalised(to_native(image, (VIEW, VIEW), 1)[None, :, :, 0].astype(np.float32)) for image in (one, other)
    )
    near, mirrored = float((left * right).sum()), float((left * right[:, :, ::-1]).sum())
    return ("near", near) if near >= mirrored else ("mirrored", mirrored)


def link(count: int, pairs: Pairs) -> NDArray[np.int64]:
    """Joins pictures into photographs: union-find over all pairs.

    Args:
        count: Number of pictures.
        pairs: Pairs of them that show one photograph.

    Returns:
        int64 ``[count]``: for each picture, the lowest index among the pictures of its photograph.
    """
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for one, two in zip(pairs.a.tolist(), pairs.b.tolist(), strict=True):
        first, second = root(one), root(two)
        if first != second:
            parent[max(first, second)] = min(first, second)
    return np.array([root(node) for node in range(count)], np.int64)


# Fingerprints: what a model keeps of its training photograp ----------------------------------------

FINGERPRINT_DISTANCE: Final = 53
"""Differing bits, of 255, up to which two pictures are taken for copies. Measured on FER2013's 3,589 public
test images against its 28,709 training images: finds 95% of those that have a copy by the rule above, and
flags 1.6% of the others.
"""

_BITS: Final = 256
_SIDE: Final = 16


def fingerprint(images: Pixels) -> Pixels:
    """A 256-bit perceptual hash of each picture: the signs of its 16 x 16 lowest cosine-transform
    coefficients.

    The first bit, which would stand for the brightness, is always 0.

    Args:
        images: uint8 ``[N, H, W, C]``, RGB where ``C`` is 3.

    Returns:
        uint8 ``[N, 32]``.
    """
    bits = np.zeros((len(images), _SIDE, _SIDE), bool)
    for row, image in enumerate(images):
        gray = to_native(image, (VIEW, VIEW), 1)[:, :, 0].astype(np.float32)
        # The margin keeps rounding noise of flat pictures from deciding.
        bits[row] = cv2.dct(gray - gray.mean())[:_SIDE, :_SIDE] > 1e-2
    bits[:, 0, 0] = False
    return np.packbits(bits.reshape(-1, _BITS), axis=1)


def seen_by_fingerprint(
    images: Pixels, fingerprints: Pixels, max_distance: int = FINGERPRINT_DISTANCE
) -> NDArray[np.bool_]:
    """Which pictures look like a copy, as they are or mirrored, of one of those fingerprinted. Approximate.

    Args:
        images: uint8 ``[N, H, W, C]``.
        fingerprints: uint8 ``[M, 32]`` of the training photographs.
        max_distance: Differing bits that still count as a copy.

    Returns:
        bool ``[N]``.
    """
    known = _signs(fingerprints)
    seen = np.zeros(len(images), bool)
    for start in range(0, len(images), _VERIFY):
        chunk = images[start : start + _VERIFY]
        for asked in (_signs(fingerprint(chunk)), _signs(fingerprint(chunk[:, :, ::-1]))):
            for other in range(0, len(known), _VERIFY):
                # A product of +-1 counts agreements minus differences.
                agreement = asked @ known[other : other + _VERIFY].T
                seen[start : start + len(chunk)] |= (_BITS - agreement).min(1) <= 2 * max_distance
    return seen


def _signs(fingerprints: Pixels) -> NDArray[np.float32]:
    return np.unpackbits(fingerprints, axis=1).astype(np.float32) * 2 - 1
