"""ImageNet weights of the backbones: found in Keras' own cache folder, or downloaded into it.

They are the files without classifier that ``keras.applications`` uses itself, in the same place, so that what a
notebook has downloaded is not downloaded again. No framework is loaded: pages ask ``find`` too.

The environment variable ``FER_WEIGHTS_URL`` names another address to download from, such as that of a mirror: the
files must lie right below it under the same names. ``KERAS_HOME``, ``http_proxy``, ``https_proxy`` and ``no_proxy``
are honoured.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fer_core import download
from fer_core.download import Checksum
from fer_core.errors import ModelError
from fer_core.jobs.progress import Progress, silent
from fer_core.workspace import expand


@dataclass(frozen=True)
class WeightsFile:
    """A file as Keras publishes it: its address, and its MD5 in hexadecimal."""

    url: str
    md5: str

    @property
    def name(self) -> str:
        """What it is called, there and in the cache."""
        return self.url.rpartition("/")[2]

    @property
    def source(self) -> str:
        """Where to download it from: ``url``, unless ``FER_WEIGHTS_URL`` names another place."""
        mirror = os.environ.get("FER_WEIGHTS_URL")
        return f"{mirror.rstrip('/')}/{self.name}" if mirror else self.url

    @property
    def checksum(self) -> Checksum:
        return Checksum("md5", self.md5)

    @property
    def path(self) -> Path:
        """Where it belongs."""
        return cache_folder() / self.name


# As in Keras 3.15.1: keras/src/applications/resnet.py (both ResNets) and efficientnet_v2.py. A test compares them.
_PUBLISHED: Final = "https://storage.googleapis.com/tensorflow/keras-applications"
_RESNET_FILE: Final = "weights_tf_dim_ordering_tf_kernels_notop.h5"
WEIGHTS: Final[dict[str, WeightsFile]] = {
    "resnet50v2": WeightsFile(f"{_PUBLISHED}/resnet/resnet50v2_{_RESNET_FILE}", "fac2f116257151a9d068a22e544a4917"),
    "resnet50": WeightsFile(f"{_PUBLISHED}/resnet/resnet50_{_RESNET_FILE}", "4d473c1dd8becc155b73f8504c6f6626"),
    "efficientnetv2b0": WeightsFile(
        f"{_PUBLISHED}/efficientnet_v2/efficientnetv2-b0_notop.h5", "893217f2bb855e2983157299931e43ff"
    ),
}
"""By the name of the network."""


def cache_folder() -> Path:
    """``$KERAS_HOME/models`` or ``~/.keras/models``; like Keras, below /tmp where the home folder is read-only."""
    if given := os.environ.get("KERAS_HOME"):
        return expand(given) / "models"
    home = expand("~")
    return (home if os.access(home, os.W_OK) else Path("/tmp")) / ".keras" / "models"


def find(architecture: str) -> Path | None:
    """The ImageNet weights of a network, if they are in the cache and their checksum is right."""
    file = WEIGHTS.get(architecture)
    return file.path if file is not None and file.checksum.is_of(file.path) else None


def fetch(architecture: str, progress: Progress = silent) -> Path:
    """The ImageNet weights of a network, downloaded if they are not in the cache; see ``download.fetch``.

    Args:
        architecture: A key of ``WEIGHTS``.
        progress: Told of bytes; their total is 0 where it is not known.

    Raises:
        ModelError: There are none of this network, or they cannot be downloaded, or something else arrived.
        FerError: The disk is full, or the cache cannot be written.
    """
    file = WEIGHTS.get(architecture)
    if file is None:
        raise ModelError(f"There are no ImageNet weights of the network {architecture!r}: use --set weights=none.")
    return download.fetch(file.source, file.path, file.checksum, "start with --set weights=none", progress)


def locate(weights: str, architecture: str, progress: Progress = silent) -> Path | None:
    """The file that the setting ``weights`` means: None for ``none``, that of ``fetch`` for ``imagenet``, or a path.

    Raises:
        ModelError: There is no such file, or it cannot be downloaded.
        FerError: The disk is full, or the cache cannot be written.
    """
    if weights == "none":
        return None
    if weights == "imagenet":
        return fetch(architecture, progress)
    path = expand(weights)
    if not path.is_file():
        raise ModelError(f"{path}: no such weights file; give the path of one, or --set weights=imagenet or none.")
    return path
