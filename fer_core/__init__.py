"""Facial-expression recognition: from raw archives to a number you can defend.

The stages are sub-packages, and data flows through them in this order:
``data`` -> ``training`` -> ``evaluation`` -> ``inference``; ``jobs`` runs whatever takes long.

For predictions alone there is ``from fer_core import Reader``.
"""

import os
from typing import TYPE_CHECKING, Any

from fer_core import limits

if TYPE_CHECKING:
    from fer_core.inference.reader import Reader

__all__ = ["Reader"]
__version__ = "0.1.0"

# OpenCV reads its limit once, when the library is loaded, so it is set before any module of ours imports cv2:
# a picture of a few kilobytes can otherwise claim gigabytes of pixels. What is wrong with a picture is said by us.
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(limits.MEGAPIXELS * 1_000_000))
# albumentations asks the package index for news at import unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


def __getattr__(name: str) -> Any:
    """Loads the reader when it is asked for: whoever imports one module of ours does not wait for all."""
    if name == "Reader":
        from fer_core.inference.reader import Reader

        return Reader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
