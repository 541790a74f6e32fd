"""A tiny dataset of grey squares whose brightness is the label: small enough to train in seconds."""

import functools
import json
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from fer_core.data.dataset import Dataset, LazyRows, write_dataset
from fer_core.data.info import SPLITS, Audit, DatasetInfo, count
from fer_core.emotions import EMOTIONS

_place = tempfile.TemporaryDirectory()


def make_dataset(folder, sizes, *, side=16, leaked=None, seed=0):
    """Writes a dataset with so many images per split; labels go round the classes named in ``sizes``.

    Args:
        sizes: split -> number of images, or list of labels.
    """
    written = _written(folder.name, json.dumps(sizes), side, json.dumps(leaked), seed)
    return Dataset.open(Path(shutil.copytree(written, folder)))


@functools.cache
def _written(name, sizes, side, leaked, seed):
    """Where such a dataset lies, written once for all tests: its figures take as long as many tests."""
    folder = Path(_place.name) / str(_written.cache_info().currsize) / name
    sizes, leaked = json.loads(sizes), json.loads(leaked)
    rng = np.random.default_rng(seed)
    rows, names, labels = {}, [], []
    for split in SPLITS:
        wanted = sizes.get(split, 0)
        chosen = np.array(wanted if isinstance(wanted, list) else np.arange(wanted) % len(EMOTIONS), np.int64)
        images = (chosen * 34 + 20)[:, None, None] + rng.integers(-15, 16, (len(chosen), side, side))
        encoded = [cv2.imencode(".png", image)[1].tobytes() for image in images.clip(0, 255).astype(np.uint8)]
        keys = [f"{split}-{i}" for i in range(len(chosen))]
        table = pd.DataFrame(
            {
                "path": [f"{key}.png" for key in keys],
                "source": "drawn",
                "usage": split,
                "pixel_sha": keys,
                "photo_id": keys,
                "parent_id": None,
                "flags": "",
                "label": chosen,
            }
        )
        rows[split] = LazyRows(table, lambda wanted, encoded=encoded: [encoded[i] for i in wanted])
        names += [split] * len(chosen)
        labels += chosen.tolist()
    info = DatasetInfo(
        name=folder.name,
        created=0.0,
        config={"policy": "leak-free" if not leaked else "as-published"},
        height=side,
        width=side,
        channels=1,
        counts={"read": count(names, np.array(labels, np.int64))},
        removed=[],
        audit=Audit(exact_groups=0, redundant=0, conflicting_groups=0, constant=0, cross_split={}),
        copy_rule={},
        contaminated=bool(leaked),
        leaked=leaked or {"validation": 0, "test": 0},
    )
    return write_dataset(folder, info, rows).folder


def write_backbone(file, architecture="compact", **settings):
    """Writes weights of a backbone for pictures of 16 pixels, as somebody may have trained them elsewhere."""
    import keras

    from fer_core.models.architectures import build
    from fer_core.training.config import PhaseConfig, RunConfig

    keras.utils.set_random_seed(7)
    model = build(RunConfig(architecture=architecture, phases=[PhaseConfig()], **settings), (16, 16, 1))
    keras.Model(model.inputs, model.get_layer("features").output).save_weights(file)
    return file


@pytest.fixture
def tiny(workspace):
    """45 images to train on (a last batch that is not full), 21 to validate on."""
    return make_dataset(workspace.datasets / "tiny", {"train": 45, "validation": 21, "test": 7})
