"""Facial-expression recognition: from raw archives to a number you can defend.

The stages are sub-packages, and data flows through them in this order:
``data`` -> ``training`` -> ``evaluation`` -> ``inference``; ``jobs`` runs whatever takes long.
"""

import os

from fer_core import limits

__version__ = "0.1.0"

# OpenCV reads its limit once, when the library is loaded, so it is set before any module of ours imports cv2:
# a picture of a few kilobytes can otherwise claim gigabytes of pixels.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(limits.MEGAPIXELS * 1_000_000))
# albumentations asks the package index for news at import unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
