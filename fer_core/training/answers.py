"""Which validation images a run reads rightly, small enough to keep of every run that was ever trained."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fer_core.evaluation.compare import PairedDifference

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Answers:
    """One bit for each image of a table of predictions, in its order.

    Attributes:
        images: Digest of the paths and labels: tables of equal digest were asked about the same images.
        n: Number of images.
        right: Whether each was read rightly, packed into bytes, the first image the highest bit; hexadecimal.
    """

    images: str
    n: int
    right: str

    @classmethod
    def of(cls, predictions: pd.DataFrame) -> Answers:
        """The answers in a table with the columns ``path``, ``label`` and ``predicted``."""
        digest = hashlib.blake2b("\0".join(predictions["path"].tolist()).encode("utf-8", "surrogatepass"))
        digest.update(predictions["label"].to_numpy(np.int64).tobytes())
        right = predictions["predicted"].eq(predictions["label"]).to_numpy(bool)
        return cls(digest.hexdigest()[:32], len(right), np.packbits(right).tobytes().hex())

    def rows(self) -> NDArray[np.bool_]:
        """bool ``[n]``, whether each image was read rightly."""
        packed = np.frombuffer(bytes.fromhex(self.right), np.uint8)
        return np.unpackbits(packed, count=self.n).astype(bool)

    def compare(self, other: Answers) -> PairedDifference | None:
        """How ``other`` differs from these answers, to the same images; None where there is no image."""
        assert self.images == other.images
        a, b = (int(answers.right or "0", 16) for answers in (self, other))
        return paired((a & b).bit_count(), (a & ~b).bit_count(), (b & ~a).bit_count(), self.n)


def paired(both: int, only_a: int, only_b: int, n: int) -> PairedDifference | None:
    """The difference of two runs on ``n`` images; None where there is none."""
    return PairedDifference(both, only_a, only_b, n - both - only_a - only_b) if n else None
