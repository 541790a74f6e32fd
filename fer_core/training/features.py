"""What a frozen backbone says of each image, computed once: the head is then trained on it many times faster.

The outcome is the same, to the last bit on a processor that computes an image the same wherever it stands in a batch
(with AVX-512; others round by where it stands, and so does a GPU): a frozen backbone gives the same answer in every
epoch, as long as it sees the same image and draws nothing at random itself.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Final

import keras
import numpy as np
from numpy.typing import NDArray

from fer_core.errors import FerError
from fer_core.jobs.worker import Worker
from fer_core.models.architectures import POOLED, head
from fer_core.preprocessing import Pixels
from fer_core.training import backend
from fer_core.training.config import PhaseConfig

FOLDER: Final = "features"
"""In the folder of a run, while the phase lasts."""

_ROOM: Final = 1.1  # times the size of the files must be free


def why_not(model: keras.Model, phase: PhaseConfig) -> str:
    """Why the features of a frozen phase cannot be computed once, in a few words; empty where nothing is against it."""
    if phase.trainable != "head":
        return ""
    if not phase.augmentation.off:
        return "augmentation changes the images every epoch"
    if phase.mixup:
        return "mixup blends the images anew every epoch"
    names = [layer.name for layer in model.layers]
    if any(isinstance(layer, keras.layers.Dropout) for layer in model.layers[: names.index(POOLED)]):
        return "the backbone drops parts of itself at random"
    return ""


def head_model(model: keras.Model) -> keras.Model:
    """The head by itself, from pooled features ``[N, F]`` to logits; the layers are shared with the network."""
    pooled = keras.Input(model.get_layer(POOLED).output.shape[1:], name="pooled_features")
    x = pooled
    for layer in head(model):
        x = layer(x)
    return keras.Model(pooled, x, name="head")


def backbone_features(
    model: keras.Model, images: Pixels, folder: Path, split: str, worker: Worker, batch_size: int
) -> NDArray[np.float32]:
    """The pooled features of a split, read from disk where they were computed before.

    Args:
        model: The network; frozen below its head.
        images: uint8 ``[N, H, W, C]``.
        folder: Where the file goes; its name tells the backbone's weights and the images, so that it never stands for
            others.
        split: Of the images, for the file's name.
        worker: The run's job; asked after each step whether to stop.
        batch_size: Images at a time.

    Returns:
        float32 ``[N, F]``, mapped from the file.

    Raises:
        FerError: The disk is too full for them.
    """
    backbone = keras.Model(model.inputs, model.get_layer(POOLED).output, name="backbone")
    file = folder / f"{split}-{_key(backbone, images)}.npy"
    if not file.is_file():
        shape = (len(images), backbone.output.shape[1])
        size = 4 * shape[0] * shape[1]
        told = f"Computing features of {split} once, {size / 1e6:,.0f} MB"
        worker(told, 0, len(images))
        folder.mkdir(exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < _ROOM * size:
            raise FerError(
                f"{folder}: the features of the frozen phase take {size / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are "
                "free. Free some disk space and go on with `train --resume`."
            )
        partial = file.with_suffix(".tmp")
        features = np.lib.format.open_memmap(partial, "w+", np.float32, shape)
        for start in range(0, len(images), batch_size):
            part = images[start : start + batch_size]
            features[start : start + len(part)] = backend.answers(backbone, part)
            worker(told, start + len(part), len(images))
        features.flush()
        partial.replace(file)
    return np.load(file, mmap_mode="r")


def remove(folder: Path) -> None:
    """Deletes the files of a phase that is over."""
    shutil.rmtree(folder, ignore_errors=True)


def _key(backbone: keras.Model, images: Pixels) -> str:
    """Of everything that the features depend on: the layers with their settings, their weights, the images."""
    digest = hashlib.sha256(backbone.to_json().encode())
    for array in (*backbone.get_weights(), images):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
