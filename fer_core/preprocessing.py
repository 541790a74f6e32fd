"""Any picture -> uint8 at a model's native size: the one path that training, evaluation and prediction share."""

from __future__ import annotations

import io
import re
import warnings
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fer_core import limits
from fer_core.errors import ImageError

Pixels = NDArray[np.uint8]

MAX_PIXELS: Final = limits.MEGAPIXELS * 1_000_000
"""Pictures with more pixels are refused before they are decoded."""

_JPEG: Final = b"\xff\xd8\xff"
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_SIGNATURES: Final = (_JPEG, _PNG, b"RIFF", b"BM", b"II*\0", b"MM\0*", b"GIF8")
# How files of the formats we read begin. OpenCV knows a dozen rarer ones, whose decoders strangers need not reach.

_MARKER: Final = re.compile(rb"\xff+([^\x00\x01\xd0-\xd8\xff])")  # of a JPEG's part that has a length (T.81, B.1.1.3)
_SCAN: Final = 0xDA
_END: Final = 0xD9
_MAX_SCANS: Final = 100  # encoders write about ten

FACE_CROP_SIDE: Final = 64
"""A picture whose longer side is at most this many pixels is taken as a face crop: no detector runs on it."""


def decode(data: bytes, name: str = "image", *, gray: bool = False) -> Pixels:
    """Decodes an encoded picture (JPEG, PNG, WebP, BMP, TIFF, GIF) as it should be looked at.

    The EXIF orientation is honoured, what is transparent is shown on white, of an animation the first frame is taken,
    16-bit pictures are scaled to 8 bits.

    Args:
        data: The file's bytes.
        name: What to call it in an error message.
        gray: Whether to return one channel.

    Returns:
        uint8 ``[height, width, 3]`` in RGB order, or ``[height, width]`` if ``gray``.

    Raises:
        ImageError: Empty, not a picture, truncated, or more than ``MAX_PIXELS`` pixels.
    """
    if not data:
        raise ImageError(f"{name}: the file is empty. Copy it again.")
    if not data.startswith(_SIGNATURES):
        raise ImageError(_unknown(name))
    if data.startswith(_PNG) and _claims_too_much(data):
        raise ImageError(_why_not(data, name))
    if data.startswith(_JPEG) and _scans(data) > _MAX_SCANS:
        raise ImageError(f"{name}: a JPEG of more than {_MAX_SCANS} scans. Export it again.")
    try:
        # The limit that fer_core/__init__.py gives OpenCV refuses oversized pictures before allocating them.
        flag = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR_RGB
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error:
        image = None
    if image is None:
        raise ImageError(_why_not(data, name))
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise _too_large(name, image.shape[1], image.shape[0])
    if _transparent(data):
        image = _on_white(data, name)
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if gray else image
    return image


def _claims_too_much(data: bytes) -> bool:
    """Whether a part of a PNG says that it is longer than the file: OpenCV would make room for it, up to 4 GB."""
    place = len(_PNG)
    while place + 8 <= len(data) and data[place + 4 : place + 8] != b"IEND":
        place += 12 + int.from_bytes(data[place : place + 4], "big")  # length, kind, content, CRC
    return place > len(data)


def _scans(data: bytes) -> int:
    """How many times a JPEG draws over its picture; each takes as long as that is large, in however few bytes."""
    found = data.count(b"\xff\xda")
    if found <= _MAX_SCANS:  # whatever they are: some may stand in what cameras append
        return found
    place, scans = 0, 0
    while (marker := _MARKER.search(data, place)) and marker[1][0] != _END:
        scans += marker[1][0] == _SCAN
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return scans


def _transparent(data: bytes) -> bool:
    """Whether a picture that decodes says that it can be seen through."""
    if data.startswith(_JPEG):
        return False
    if data.startswith(_PNG):  # datasets hold tens of thousands of them, so no library is asked
        depth, colour = data[24], data[25]  # bits of a sample, and whether it has alpha (PNG specification, 11.2.2)
        # One level of 65,536 that stands for transparent is passed over: Pillow clips 16-bit gray at 255.
        return colour in (4, 6) or (depth < 16 and b"tRNS" in data[: data.find(b"IDAT")])
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.has_transparency_data
    except Exception:  # a variant that only OpenCV reads
        return False


def _on_white(data: bytes, name: str) -> Pixels:
    """A picture on white paper. OpenCV would show the colour that lies under transparent pixels, often black."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            layer = ImageOps.exif_transpose(image).convert("RGBA")
            paper = Image.new("RGBA", layer.size, "white")
            return np.array(Image.alpha_composite(paper, layer).convert("RGB"))
    except Exception as error:  # Pillow raises many kinds for hostile bytes
        raise ImageError(_why_not(data, name)) from error


def _why_not(data: bytes, name: str) -> str:
    """Says why OpenCV refused the bytes; only reached for bad input, so it may take its time."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own warning of what we are about to refuse
            with Image.open(io.BytesIO(data)) as image:
                width, height, kind = *image.size, image.format
    except Image.DecompressionBombError:
        return f"{name}: far more than the limit of {MAX_PIXELS // 1_000_000} megapixels. Make it smaller."
    except Exception:  # Pillow raises many kinds for hostile bytes
        return _unknown(name)
    if width * height > MAX_PIXELS:
        return str(_too_large(name, width, height))
    return f"{name}: the {kind} file is damaged or cut short. Export it again."


def _unknown(name: str) -> str:
    return f"{name}: not a picture we can read. Use JPEG, PNG, WebP, BMP or TIFF."


def _too_large(name: str, width: int, height: int) -> ImageError:
    return ImageError(
        f"{name}: {width} x {height} is {width * height / 1e6:.0f} megapixels; "
        f"the limit is {MAX_PIXELS // 1_000_000}. Make it smaller."
    )


def to_native(image: Pixels, size: tuple[int, int], channels: int) -> Pixels:
    """Brings a decoded picture, or a crop of one, to the shape that a dataset stores and a model reads.

    Args:
        image: uint8 ``[h, w]``, ``[h, w, 1]`` or RGB ``[h, w, 3]``.
        size: Height and width wanted, in pixels.
        channels: 1 (gray, ITU-R BT.601 weights) or 3 (RGB).

    Returns:
        uint8 ``[height, width, channels]``. A picture that already has the shape is returned unchanged.
    """
    flat = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
    if channels == 1 and flat.ndim == 3:
        flat = cv2.cvtColor(flat, cv2.COLOR_RGB2GRAY)
    elif channels == 3 and flat.ndim == 2:
        flat = cv2.cvtColor(flat, cv2.COLOR_GRAY2RGB)
    height, width = size
    if flat.shape[:2] != (height, width):
        # Area averaging avoids aliasing when shrinking; it degrades to blocks when enlarging.
        shrink = flat.shape[0] >= height and flat.shape[1] >= width
        method = cv2.INTER_AREA if shrink else cv2.INTER_CUBIC
        flat = cv2.resize(flat, (width, height), interpolation=method)
    return flat.reshape(height, width, channels)
