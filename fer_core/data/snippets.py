"""Three lines each that use a dataset elsewhere: in PyTorch, Keras, Hugging Face ``datasets`` and pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fer_core.data.info import SPLITS

if TYPE_CHECKING:
    from fer_core.data.dataset import Dataset


def snippets(dataset: Dataset) -> dict[str, str]:
    """Python code that reads a dataset where it lies, without this library.

    All but the one for pandas need the package ``datasets``. Pictures are brought to one mode, since some sources
    write gray ones in three channels.

    Args:
        dataset: A prepared dataset.

    Returns:
        Code by what it is for. Each takes the first split that has images.
    """
    folder = repr(str(dataset.folder))
    channels, mode = dataset.info.channels, "L" if dataset.info.channels == 1 else "RGB"
    size = f"{dataset.info.height}, {dataset.info.width}"
    counts = dataset.counts()
    split = next((name for name in SPLITS if any(counts[name].values())), SPLITS[0])
    one_mode = f'cast_column("image", Image(mode="{mode}"))'
    return {
        "PyTorch": f"""\
from datasets import Image, load_dataset
from torch.utils.data import DataLoader

faces = load_dataset({folder})["{split}"].{one_mode}
batches = DataLoader(faces.select_columns(["image", "label"]).with_format("torch"), batch_size=128, shuffle=True)
# of image: uint8 [N, {channels}, {size}], and label: int64 [N]
""",
        "Keras": f"""\
from datasets import Image, load_dataset

faces = load_dataset({folder})["{split}"].{one_mode}.with_format("numpy")
images, labels = faces["image"][:].reshape(-1, {size}, {channels}), faces["label"][:]
# for model.fit(images, labels): uint8 [N, {size}, {channels}], and int64 [N]
""",
        "datasets": f"""\
from datasets import load_dataset

faces = load_dataset({folder})["{split}"]
picture, label = faces[0]["image"], faces.features["label"].names[faces[0]["label"]]
""",
        "pandas": f"""\
from pathlib import Path
import pandas as pd

faces = pd.read_parquet(sorted(Path({folder}).glob("{split}-*.parquet")))
encoded, label = faces["image"][0]["bytes"], faces["label"][0]
""",
    }
