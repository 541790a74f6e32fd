"""Copies of one photograph: exact, near (another crop, contrast or codec) and mirrored.

The rule and its thresholds are those measured on FER2013: candidates are pairs whose 12 x 12 block means,
centred and normalised, correlate above .95; a pair counts when the full 48 x 48 pixels correlate at .90 or
more. Of 50 such pairs that were looked at, ten of them between .90 and .92, all showed the same photograph.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fer_core.data.decode import VIEW
from fer_core.data.recall import RECALL, RECALL_OF
from fer_core.jobs.progress import Progress, silent
from fer_core.machine import usable_cores
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
    "recall": RECALL,
    "recall_of": RECALL_OF,
}

PARTNERS: Final = 64
"""Candidates kept per picture, the most alike: a film of equal frames must not fill the memory."""

_BLOCKS: Final = 12
_COARSE: Final = 5  # frequencies (rows plus columns) up to which pictures are compared before all are
_ROUNDING: Final = 1e-5  # more than single precision loses in a sum of 144 products
_TILE: Final = 768  # side of the tile of the correlation matrix that is in memory at a time: it fits the cache
_VERIFY: Final = 256  # pictures or pairs looked at together at full size
_PRINTS: Final = 4096  # pictures whose fingerprints are compared at a time


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

    Every picture is compared with every other, tile by tile of the correlation matrix, which is never held. A tile
    is first bounded from above by the low frequencies alone, a small part of the products; only pictures with a
    partner that the bound cannot rule out are compared in full.

    Args:
        view: uint8 ``[N, 48, 48]``, gray.
        rows: int64 ``[M]``: the distinct pictures, as indices into ``view``. Constant ones match nothing.
        progress: Told after every row of tiles.

    Returns:
        Pairs, as indices into ``rows``, ordered by ``a`` and ``b``.
    """
    spectra = _spectra(view, rows)
    count = len(spectra.varied)
    starts = range(0, count, _TILE)

    def search(start: int) -> Pairs:
        a, b, near, mirror = _candidates(spectra, start)
        return _joined(
            [
                _verify(view, rows, a[near], b[near], mirrored=False),
                _verify(view, rows, a[mirror], b[mirror], mirrored=True),
            ]
        )

    found: list[Pairs] = []
    # Products this flat take longer to share out than to compute: each thread does its own.
    with threadpool_limits(1, user_api="blas"):
        pool = ThreadPoolExecutor(usable_cores())
        try:
            for start, pairs in zip(starts, pool.map(search, starts), strict=True):
                found.append(pairs)
                progress("Looking for copies", min(start + _TILE, count), count)
        finally:
            pool.shutdown(cancel_futures=True)  # a stop does not wait for the rest
    return _joined(found)


@dataclass(frozen=True)
class _Spectra:
    """Cosine transforms of normalised block means: their products sum up to correlations.

    Mirroring a picture turns the sign of its odd horizontal frequencies and leaves the even ones. So
    ``even + odd`` products give the correlation of two pictures as they are, ``even - odd`` mirrored.

    Attributes:
        even, odd: float32 ``[V, 72]``.
        coarse_even: float32 ``[V, 13]``: the low frequencies of ``even``, and the norm of all high ones, even and odd.
            What these add to a correlation is at most the product of the norms (Cauchy-Schwarz), in either direction.
        coarse_odd: float32 ``[V, 9]``: the low frequencies of ``odd``.
        varied: int64 ``[V]``: the pictures that are not constant.
    """

    even: NDArray[np.float32]
    odd: NDArray[np.float32]
    coarse_even: NDArray[np.float32]
    coarse_odd: NDArray[np.float32]
    varied: NDArray[np.int64]


def _spectra(view: Pixels, rows: NDArray[np.int64]) -> _Spectra:
    means = np.empty((len(rows), _BLOCKS, _BLOCKS), np.float32)
    for start in range(0, len(rows), _VERIFY):
        chunk = view[rows[start : start + _VERIFY]].reshape(-1, VIEW).astype(np.float32)
        # All pictures of a chunk as one tall picture, made smaller by block means.
        small = cv2.resize(chunk, (_BLOCKS, len(chunk) * _BLOCKS // VIEW), interpolation=cv2.INTER_AREA)
        means[start : start + _VERIFY] = small.reshape(-1, _BLOCKS, _BLOCKS)
    means -= means.mean((1, 2), keepdims=True)
    norms = np.sqrt(np.einsum("nij,nij->n", means, means))
    varied = np.flatnonzero(norms > 1e-3)
    means = means[varied] / norms[varied, None, None]
    basis = cv2.dct(np.eye(_BLOCKS, dtype=np.float32), flags=cv2.DCT_ROWS).T
    spectrum = basis @ means @ basis.T
    half = (len(varied), _BLOCKS * _BLOCKS // 2)
    even, odd = spectrum[:, :, 0::2].reshape(half), spectrum[:, :, 1::2].reshape(half)
    frequency = np.add.outer(np.arange(_BLOCKS), np.arange(_BLOCKS))
    low_even, low_odd = frequency[:, 0::2].ravel() <= _COARSE, frequency[:, 1::2].ravel() <= _COARSE
    high = np.concatenate([even[:, ~low_even], odd[:, ~low_odd]], axis=1)
    rest = np.sqrt(np.einsum("ni,ni->n", high, high))
    return _Spectra(even, odd, np.column_stack([even[:, low_even], rest]), odd[:, low_odd], varied)


def _candidates(
    spectra: _Spectra, start: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Pairs whose block means correlate, of the pictures from ``start`` on, a tile's worth, with all that follow.

    Returns:
        Both pictures, and whether they correlate as they are and mirrored.
    """
    even, odd, count = spectra.even, spectra.odd, len(spectra.varied)
    stop = min(start + _TILE, count)
    buffers = np.empty((2, (stop - start) * min(_TILE, count - start)), np.float32)  # allocating is slow: once
    found = []
    for first in range(start, count, _TILE):
        last = min(first + _TILE, count)
        shape = (stop - start, last - first)
        bound, turned = (buffer[: shape[0] * shape[1]].reshape(shape) for buffer in buffers)
        np.matmul(spectra.coarse_even[start:stop], spectra.coarse_even[first:last].T, out=bound)
        np.matmul(spectra.coarse_odd[start:stop], spectra.coarse_odd[first:last].T, out=turned)
        np.abs(turned, out=turned)
        bound += turned
        left, right = np.divmod(np.flatnonzero(bound > BLOCK_CORRELATION - _ROUNDING), shape[1])
        left, right = np.unique(left) + start, np.unique(right) + first
        direct, turned = even[left] @ even[right].T, odd[left] @ odd[right].T
        a, b = np.nonzero(direct + np.abs(turned) > BLOCK_CORRELATION)
        upper = right[b] > left[a]  # each pair once, no picture with itself
        a, b = a[upper], b[upper]
        found.append(_strongest(left[a], right[b], direct[a, b], turned[a, b]))
    a, b, one, two = _strongest(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
    near, mirror = one + two > BLOCK_CORRELATION, one - two > BLOCK_CORRELATION
    return spectra.varied[a], spectra.varied[b], near, mirror


def _strongest(
    a: NDArray[np.int64], b: NDArray[np.int64], even: NDArray[np.float32], odd: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """At most ``PARTNERS`` candidates per picture ``a``, those that correlate most."""
    if len(a) <= PARTNERS:
        return a, b, even, odd
    order = np.lexsort((-(even + np.abs(odd)), a))
    first = np.searchsorted(a[order], a[order])  # where the candidates of each picture begin
    few = order[np.arange(len(a)) - first < PARTNERS]
    return a[few], b[few], even[few], odd[few]


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
    for start in range(0, len(images), _PRINTS):
        chunk = images[start : start + _PRINTS]
        for asked in (_signs(fingerprint(chunk)), _signs(fingerprint(chunk[:, :, ::-1]))):
            for other in range(0, len(known), _PRINTS):
                # A product of +-1 counts agreements minus differences.
                agreement = asked @ known[other : other + _PRINTS].T
                seen[start : start + len(chunk)] |= (_BITS - agreement).min(1) <= 2 * max_distance
    return seen


def _signs(fingerprints: Pixels) -> NDArray[np.float32]:
    return np.unpackbits(fingerprints, axis=1).astype(np.float32) * 2 - 1
