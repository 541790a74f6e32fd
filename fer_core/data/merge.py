"""Merging: one row per identical picture, FER2013's before those of other sources."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer_core.data.copies import SAME_PICTURE, Pairs
from fer_core.data.layouts import Source
from fer_core.data.ledger import GONE

FOREIGN_SPLIT = "evaluation images of another source than the one that gives test join train"
_REPEATED = "identical picture in another source"
_REENCODED = "same picture in another source, re-encoded"
REPEATS = (_REPEATED, _REENCODED)
"""Reasons why rows are left out that only repeat another source."""


def primary_source(sources: Sequence[Source]) -> str:
    """The source that gives test and validation: the first with FER2013's layout or name, else the first."""
    for source in sources:
        if source.layout.is_fer2013:
            return source.name
    for source in sources:
        if source.name.lower() == "fer2013":
            return source.name
    return sources[0].name


def same_picture(pairs: Pairs) -> Pairs:
    """Near pairs so close that, between two sources, they are one picture in two codecs."""
    return pairs.where(~pairs.mirrored & (pairs.difference <= SAME_PICTURE))


def merge(table: pd.DataFrame, pairs: Pairs, primary: str) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Decides which rows stay.

    Rows of the primary source stay unless their split has the same pixels already; its test rows always
    stay. Rows of other sources stay only if the picture is new, in these pixels or re-encoded; their
    evaluation images join train.

    Args:
        table: Columns ``source``, ``published``, ``picture``.
        pairs: Near and mirrored pairs of pictures.
        primary: The name of the source that gives test and validation.

    Returns:
        For each row its split afterwards (``GONE`` if it is left out) and the reason where that changed.
    """
    splits = table["published"].to_numpy(object).copy()
    why = np.full(len(table), "", object)
    first = (table["source"] == primary).to_numpy()
    kept = np.zeros(int(table["picture"].max()) + 1, bool)

    repeated = first & (splits != "test") & table.duplicated(["source", "published", "picture"]).to_numpy()
    splits[repeated], why[repeated] = GONE, "identical picture already in this split"
    kept[table.loc[first, "picture"]] = True

    close = same_picture(pairs)
    for name in dict.fromkeys(table["source"]):
        if name == primary:
            continue
        rows = np.flatnonzero(table["source"] == name)
        picture = table["picture"].to_numpy()[rows]
        reencoded = np.zeros(len(kept), bool)
        reencoded[close.a[kept[close.b]]] = True
        reencoded[close.b[kept[close.a]]] = True
        repeats = pd.Series(picture).duplicated().to_numpy()
        reason = np.select(
            [kept[picture], reencoded[picture], repeats],
            [
                _REPEATED,
                _REENCODED,
                "identical picture already in this source",
            ],
            "",
        ).astype(object)
        out = rows[reason != ""]
        splits[out], why[out] = GONE, reason[reason != ""]
        stay = rows[reason == ""]
        moved = stay[splits[stay] != "train"]
        splits[moved], why[moved] = "train", FOREIGN_SPLIT
        kept[picture[reason == ""]] = True
    return splits, why


def repeats_of_other_sources(table: pd.DataFrame, pairs: Pairs, primary: str) -> NDArray[np.bool_]:
    """bool ``[N]``: rows that only repeat a picture that an earlier source, the primary one first, has too."""
    return np.isin(merge(table, pairs, primary)[1], REPEATS)
