"""Class weights: balancing without copies, each image counting in the loss by how rare its class is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def inverse_class_weights(counts: ArrayLike) -> NDArray[np.float64]:
    """What an image of each class counts, so that the classes count alike in sum and the mean image counts 1.

    scikit-learn's ``balanced``, which here also has a number for a class without images.

    Args:
        counts: Images of each class, int ``[C]``; at least one of them more than 0.

    Returns:
        float64 ``[C]``.
    """
    images: NDArray[Any] = np.asarray(counts)
    return images.sum() / (np.count_nonzero(images) * np.maximum(images, 1))
