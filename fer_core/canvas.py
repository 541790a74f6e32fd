"""What all PNG figures share: size, colours, type, and sheets of faces.

The figures lie in dataset and run folders, where no dashboard shows them. matplotlib is loaded when one is drawn and
never before, because the Streamlit server and light commands import the modules that can draw; pyplot, which keeps
figures and a display of its own, is not used.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import cv2
import numpy as np

from fer_core.jobs.store import write_atomically
from fer_core.preprocessing import Pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK: Final = "#1B2226"
QUIET: Final = "#8A9499"
BORDER: Final = "#DDE3E3"
ACCENT: Final = "#0F6B6B"

_DPI: Final = 100  # one unit of a sheet is one pixel
_SIDE: Final = 104  # of a face on a sheet, in pixels: twice FER2013's 48 and a little
_GAP: Final = 10
_LINE: Final = 13  # of a caption below a face
_LABEL: Final = 92  # left of a row
_HEAD: Final = 58


def new_figure(title: str, width: float, height: float) -> Figure:
    """A figure with nothing but a title; sizes in pixels of a screen, written at half as many again for sharp type."""
    from matplotlib.figure import Figure

    size = width / _DPI, height / _DPI
    figure = Figure(figsize=size, dpi=_DPI * 1.5, layout="constrained", facecolor="white")
    # Names may hold a dollar sign, which would otherwise begin a formula.
    figure.suptitle(title, color=INK, fontsize=11, x=0.01, ha="left", parse_math=False)
    return figure


def save(figure: Figure, file: Path | IO[bytes]) -> None:
    """Writes a figure as PNG, a file at once or not at all."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in another script is drawn as boxes
        figure.savefig(content, format="png")
    if isinstance(file, Path):
        write_atomically(file, content.getvalue())
    else:
        file.write(content.getvalue())


def bare(axes: Axes) -> None:
    """Takes frame and ticks off; the names of an axis stay."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, colors=INK, labelsize=10)


@dataclass(frozen=True)
class Tile:
    """A face on a sheet.

    Attributes:
        image: uint8 ``[H, W, 1]`` or RGB ``[H, W, 3]``.
        caption: At most two short lines below it.
        marked: Whether it is framed.
    """

    image: Pixels
    caption: str = ""
    marked: bool = False


@dataclass(frozen=True)
class SheetRow:
    """Faces in a row behind a label; where there are none, ``empty`` says why."""

    label: str
    tiles: Sequence[Tile]
    colour: str | None = None
    empty: str = ""


def sheet(rows: Sequence[SheetRow], *, title: str, note: str) -> Figure:
    """Rows of faces, drawn as one picture: a set of axes per face would take seconds.

    Args:
        rows: From top to bottom.
        title: What the sheet shows.
        note: A line below the title.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    columns = max((len(row.tiles) for row in rows), default=0)
    lines = max((tile.caption.count("\n") + 1 for row in rows for tile in row.tiles if tile.caption), default=0)
    pitch = _SIDE + lines * _LINE + _GAP
    width = _LABEL + max(6, columns) * (_SIDE + _GAP)
    height = _HEAD + len(rows) * pitch
    picture = np.full((height, width, 3), 255, np.uint8)
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    axes.text(_GAP, 18, title, color=INK, fontsize=11, fontweight="bold", va="center", parse_math=False)
    axes.text(_GAP, 38, note, color=INK, fontsize=9, va="center")
    for number, row in enumerate(rows):
        top = _HEAD + number * pitch
        middle = top + _SIDE / 2
        if row.colour:
            axes.add_patch(Rectangle((_GAP, middle - 5), 10, 10, color=row.colour, lw=0))
        axes.text(_GAP + (16 if row.colour else 0), middle, row.label, color=INK, fontsize=9.5, va="center")
        if not row.tiles:
            axes.text(_LABEL, middle, row.empty, color=INK, fontsize=9, va="center")
        for column, tile in enumerate(row.tiles):
            left = _LABEL + column * (_SIDE + _GAP)
            picture[top : top + _SIDE, left : left + _SIDE] = _enlarged(tile.image)
            for line, text in enumerate(tile.caption.split("\n"), start=1):
                axes.text(left, top + _SIDE + line * _LINE, text, color=INK, fontsize=7.5)
            if tile.marked:
                axes.add_patch(Rectangle((left, top), _SIDE, _SIDE, fill=False, ec=ACCENT, lw=2.5))
    figure.figimage(picture, origin="upper", zorder=-1)  # pixel by pixel; imshow would resample
    return figure


def _enlarged(image: Pixels) -> Pixels:
    """RGB uint8 ``[side, side, 3]``; a picture that is not square keeps its proportions on white."""
    height, width = image.shape[:2]
    scale = _SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    resized = cv2.resize(image, size, interpolation=method).reshape(size[1], size[0], -1)
    tile = np.full((_SIDE, _SIDE, 3), 255, np.uint8)
    tile[: size[1], : size[0]] = resized
    return tile
