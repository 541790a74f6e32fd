"""The working table: one row per picture read from the sources, before anything is decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer_core.data.copies import Pairs, find_pairs, link
from fer_core.data.decode import Pictures, decode_source
from fer_core.data.info import Quarantined
from fer_core.data.layouts import Source
from fer_core.data.quality import measure
from fer_core.errors import SourceError
from fer_core.jobs.progress import Progress, silent
from fer_core.preprocessing import Pixels


@dataclass(frozen=True)
class Material:
    """Everything read, and which of it shows the same photograph.

    Attributes:
        table: One row per readable image: ``source`` (name), ``entry`` (index in its source), ``path``,
        ``usage``,
            ``published`` (its split in the source, train where it has none), ``label``, ``pixel_sha``,
            ``keep``, ``constant``, ``flat``, ``dark``, ``bright``, ``blurry`` (how it looks), ``picture`` (images of
            equal pixels share it) and ``photo`` (copies of any kind share it).
        pairs: Near and mirrored pairs of pictures.
        quarantined: What could not be read.
    """

    table: pd.DataFrame
    pairs: Pairs
    quarantined: list[Quarantined]


def read_material(
    sources: Sequence[Source], size: tuple[int, int], channels: int, progress: Progress = silent
) -> Material:
    """Decodes sources and finds all copies in and between them.

    Args:
        sources: Opened sources of distinct names.
        size: Native height and width, in pixels.
        channels: 1 (gray) or 3 (RGB).
        progress: Told of both phases.

    Raises:
        SourceError: Not one picture of a source can be read.
    """
    tables, views = [], []
    quarantined: list[Quarantined] = []
    for source in sources:
        pictures, failed = decode_source(source, size, channels, progress)
        quarantined += [
            entry.model_copy(update={"path": f"{source.name}:{entry.path}"}) for entry in (*source.quarantined, *failed)
        ]
        frame = _frame(source, pictures)
        readable = frame["pixel_sha"] != ""
        if not readable.any():
            raise SourceError(
                f"{source.path}: none of its {len(frame):,} pictures can be read, for example "
                f"{failed[0].path}: {failed[0].reason}"
            )
        tables.append(frame[readable])
        views.append(pictures.view[readable.to_numpy()])
    table = pd.concat(tables, ignore_index=True)
    view = np.concatenate(views)
    views.clear()
    return identify(table, view, quarantined, progress)


def identify(
    table: pd.DataFrame, view: Pixels, quarantined: list[Quarantined], progress: Progress = silent
) -> Material:
    """Adds ``picture`` and ``photo``, and how pictures look, to a table.

    Args:
        table: Rows with a ``pixel_sha``.
        view: uint8 ``[N, 48, 48]``, gray, row by row.
        quarantined: Passed on.
        progress: Told of the search.
    """
    picture, _ = pd.factorize(table["pixel_sha"])
    first = np.unique(picture, return_index=True)[1]
    pairs = find_pairs(view, first, progress)
    photo = link(len(first), pairs)
    return Material(table.assign(**measure(view).looks(), picture=picture, photo=photo[picture]), pairs, quarantined)


def _frame(source: Source, pictures: Pictures) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "source": source.name,
            "entry": np.arange(len(source.entries)),
            "path": [entry.path for entry in source.entries],
            "usage": [entry.usage for entry in source.entries],
            "published": [entry.split or "train" for entry in source.entries],
            "label": np.array([entry.label for entry in source.entries], np.int64),
            "pixel_sha": pictures.sha,
            "keep": pictures.keep,
            "constant": pictures.constant,
        }
    )


def picture_labels(table: pd.DataFrame) -> NDArray[np.int64]:
    """The labels of each picture as bits, int64 ``[pictures]``: more than one bit set is a conflict."""
    bits = np.zeros(int(table["picture"].max()) + 1, np.int64)
    np.bitwise_or.at(bits, table["picture"].to_numpy(), 1 << table["label"].to_numpy())
    return bits
