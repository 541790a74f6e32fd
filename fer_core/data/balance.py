"""Balancing train: small classes grow by augmented copies, large ones are cut."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fer_core.data.augment import Augmenter
from fer_core.data.config import MAX_TARGET, BalanceConfig, Recipe
from fer_core.data.dataset import Dataset, DatasetInfo, LazyRows, check_free, write_dataset
from fer_core.data.decode import encode_png
from fer_core.data.info import BALANCED, SPLITS, Change, leaks
from fer_core.emotions import EMOTIONS, INDEX
from fer_core.errors import ConfigError
from fer_core.jobs.progress import Progress, silent
from fer_core.machine import usable_cores
from fer_core.preprocessing import decode, to_native

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "BalanceConfig",
    "BalancedRows",
    "ClassPlan",
    "Recipe",
    "balance",
    "balanced",
    "expected_bytes",
    "plan",
    "plan_of",
    "planned",
]

PUBLISHED_TARGETS: Final = {emotion: 1200 if emotion == "disgust" else 7000 for emotion in EMOTIONS}
PUBLISHED_CAP: Final = 9000


@dataclass(frozen=True)
class ClassPlan:
    """What happens to one class: ``after = before + augmented - removed``."""

    before: int
    after: int
    augmented: int
    removed: int

    @property
    def per_original(self) -> float:
        """Augmented children per original; 0 for a class without images."""
        return self.augmented / self.before if self.before else 0.0


def plan(counts: Mapping[str, int], config: BalanceConfig) -> dict[str, ClassPlan]:
    """What balancing will do, without doing it.

    Args:
        counts: Train images by emotion.
        config: What is to be reached. A class without images stays empty: there is nothing to vary.

    Returns:
        A plan for every emotion.

    Raises:
        ConfigError: ``target_of`` names an unknown emotion or a target out of range, or a target is above the cap.
    """
    for emotion, wanted in config.target_of.items():
        if emotion not in INDEX or not 1 <= wanted <= MAX_TARGET:
            raise ConfigError(
                f"Target {emotion}={wanted}: expected one of {', '.join(EMOTIONS)} "
                f"and a number from 1 to {MAX_TARGET:,}."
            )
    targets = dict.fromkeys(EMOTIONS, 0)
    cap = config.cap
    if config.recipe is Recipe.EVEN:
        present = [n for n in counts.values() if n]
        targets = dict.fromkeys(EMOTIONS, int(statistics.median(present)) if present else 0)
    elif config.recipe is Recipe.PUBLISHED:
        targets, cap = dict(PUBLISHED_TARGETS), cap or PUBLISHED_CAP
    given = config.target_of if config.target is None else dict.fromkeys(EMOTIONS, config.target) | config.target_of
    # Those of a recipe may be above a lower cap: who gives one wants the recipe, and less of it.
    if cap and (above := max(given.values(), default=0)) > cap:
        raise ConfigError(f"A target of {above:,} is above the cap of {cap:,}: lower the target or raise the cap.")
    targets |= given
    plans = {}
    for emotion in EMOTIONS:
        before = counts.get(emotion, 0)
        limit = cap or max(before, targets[emotion])
        augmented = max(0, min(targets[emotion], limit) - before) if before else 0
        removed = max(0, before - limit)
        plans[emotion] = ClassPlan(before, before + augmented - removed, augmented, removed)
    return plans


def planned(dataset: Dataset, config: BalanceConfig) -> dict[str, ClassPlan]:
    """What balancing a dataset will do, where it will do anything.

    Raises:
        ConfigError: As ``plan``; also where the dataset is balanced already, or the plan changes nothing.
    """
    if dataset.info.before_balancing() is not None:
        raise ConfigError(
            f"{dataset.name} is balanced already. Balance the dataset it was made from: "
            f"{dataset.info.parent or 'prepare it without --balance'}."
        )
    plans = plan(dataset.counts()["train"], config)
    if all(steps.after == steps.before for steps in plans.values()):
        raise ConfigError(
            f"Nothing would change: no class of {dataset.name} is below its target or above the cap. Choose another "
            f"recipe, target or cap, or train on {dataset.name} as it is."
        )
    return plans


def plan_of(info: DatasetInfo) -> dict[str, ClassPlan] | None:
    """What was done to make a balanced dataset, from its ledger; None where it is not balanced."""
    counts = info.before_balancing()
    if counts is None:
        return None
    before, after = counts["train"], info.final()["train"]
    # A class grows or is cut, never both.
    return {
        emotion: ClassPlan(n, after[emotion], max(0, after[emotion] - n), max(0, n - after[emotion]))
        for emotion, n in before.items()
    }


def expected_bytes(dataset: Dataset, plans: Mapping[str, ClassPlan]) -> int:
    """About how large a balanced dataset will be on disk, if children take as many bytes as originals.

    Args:
        dataset: The one to balance.
        plans: What will be done to its train split.
    """
    size = {split: sum(file.stat().st_size for file in dataset.folder.glob(f"{split}-*.parquet")) for split in SPLITS}
    before, after = (sum(getattr(steps, name) for steps in plans.values()) for name in ("before", "after"))
    return size["validation"] + size["test"] + round(size["train"] * after / max(1, before))


@dataclass(frozen=True)
class BalancedRows:
    """Train rows after balancing: those that stay, then their augmented children.

    Attributes:
        original: The rows before.
        kept: int64: indices of the rows that stay.
        parents: int64: for each child its parent's index, ascending.
        size: Native height and width, in pixels.
        channels: 1 or 3.
        config: Its seed and strengths make the variations.
    """

    original: LazyRows
    kept: NDArray[np.int64]
    parents: NDArray[np.int64]
    size: tuple[int, int]
    channels: int
    config: BalanceConfig

    @classmethod
    def choose(
        cls,
        original: LazyRows,
        plans: Mapping[str, ClassPlan],
        size: tuple[int, int],
        channels: int,
        config: BalanceConfig,
    ) -> BalancedRows:
        """Draws which rows stay and spreads the children evenly over the parents of their class."""
        random = np.random.default_rng(config.seed)
        labels = original.table["label"].to_numpy()
        kept, parents = [], []
        for emotion in EMOTIONS:
            rows = np.flatnonzero(labels == INDEX[emotion])
            steps = plans[emotion]
            kept.append(random.permutation(rows)[: len(rows) - steps.removed])
            if steps.augmented:
                rounds, rest = divmod(steps.augmented, len(rows))
                parents += [np.repeat(rows, rounds), random.permutation(rows)[:rest]]
        children = np.sort(np.concatenate(parents)) if parents else np.zeros(0, np.int64)
        return cls(original, np.sort(np.concatenate(kept)), children, size, channels, config)

    def __len__(self) -> int:
        return len(self.kept) + len(self.parents)

    def chunks(self, size: int) -> Iterator[tuple[pd.DataFrame, list[bytes]]]:
        import pandas as pd

        # Writers fill files with chunks of one size; a chunk may hold the last originals and the first
        # children.
        makers = usable_cores() if len(self.parents) else 0
        augmenters = [Augmenter(self.channels, self.config.augment) for _ in range(makers)]
        # Counted per picture, not per row: where a picture occurs twice, the children must still differ.
        sha = self.original.table["pixel_sha"].iloc[self.parents]
        number = sha.groupby(sha.to_numpy()).cumcount().to_numpy(np.int64)
        for start in range(0, len(self), size):
            rows = self.kept[start : start + size]
            table, pictures = self.original.table.iloc[rows], self.original.encoded(rows)
            first = max(0, start - len(self.kept))
            last = max(0, start + size - len(self.kept))
            if augmenters and last > first:
                children = self._children(self.parents[first:last], number[first:last], augmenters)
                table, pictures = pd.concat([table, children[0]]), pictures + children[1]
            yield table, pictures

    def _children(
        self, parents: NDArray[np.int64], number: NDArray[Any], augmenters: Sequence[Augmenter]
    ) -> tuple[pd.DataFrame, list[bytes]]:
        table = self.original.table.iloc[parents].copy()
        table["parent_id"] = table["pixel_sha"]
        table["path"] = [f"{path}#{n + 1}" for path, n in zip(table["path"], number, strict=True)]
        table["flags"] = [f"{flags} augmented".strip() for flags in table["flags"]]
        jobs = list(zip(self.original.encoded(parents), table["parent_id"], number.tolist(), strict=True))
        seed = self.config.seed

        def make(augment: Augmenter, part: list[tuple[bytes, str, int]]) -> list[tuple[bytes, str]]:
            made = []
            for data, sha, n in part:
                image = augment.child(to_native(decode(data), self.size, self.channels), sha, n, seed)
                made.append((encode_png(image), hashlib.sha256(image.tobytes()).hexdigest()))
            return made

        # Decoding, warping and encoding leave Python's lock, so threads overlap them. A child depends on its
        # parent and number alone, not on the thread that makes it; each thread has a pipeline of its own.
        share = -(-len(jobs) // len(augmenters))
        parts = [jobs[start : start + share] for start in range(0, len(jobs), share)]
        with ThreadPoolExecutor(len(augmenters)) as pool:
            made = [child for part in pool.map(make, augmenters, parts) for child in part]
        table["pixel_sha"] = [sha for _, sha in made]
        return table, [picture for picture, _ in made]


def balanced(
    info: DatasetInfo, rows: Mapping[str, LazyRows], config: BalanceConfig
) -> tuple[DatasetInfo, BalancedRows]:
    """What a dataset becomes by balancing: its description, with one more step in its ledger, and its train rows."""
    before = info.final()
    plans = plan(before["train"], config)
    after = {split: dict(before[split]) for split in SPLITS}
    after["train"] = {emotion: steps.after for emotion, steps in plans.items()}
    changes = []
    if removed := sum(steps.removed for steps in plans.values()):
        changes.append(Change(step=BALANCED, split="train", n=removed, why="drawn out of classes above the cap"))
    if augmented := sum(steps.augmented for steps in plans.values()):
        changes.append(Change(step=BALANCED, split="train", n=-augmented, why=_why(config)))
    train = BalancedRows.choose(rows["train"], plans, (info.height, info.width), info.channels, config)
    # Of a class that is cut, a photograph may have left train. Children show photographs that stay.
    tables = {split: rows[split].table for split in SPLITS}
    leaked = leaks({**tables, "train": tables["train"].iloc[train.kept]})
    return info.model_copy(
        update={
            "counts": {**info.counts, BALANCED: after},
            "removed": [*info.removed, *changes],
            "leaked": leaked,
            "contaminated": any(leaked.values()),
            "config": {**info.config, "balance": config.model_dump(mode="json")},
        }
    ), train


def _why(config: BalanceConfig) -> str:
    unusual = [f"{name} {strength:g}" for name, strength in config.augment.changed().items()]
    return "augmented from train images" + (f", with {', '.join(unusual)}" if unusual else "")


def balance(dataset: Dataset, out: Path, config: BalanceConfig, progress: Progress = silent) -> Dataset:
    """Makes a second dataset from a prepared one, with a balanced train split.

    Args:
        dataset: The one to start from; it is not changed.
        out: The folder to make.
        config: What is to be reached.
        progress: Told of every chunk written.

    Raises:
        ConfigError: As ``planned``; or the strengths of augmentation leave a picture as it is.
        DatasetError: ``out`` exists already, or the dataset is damaged.
    """
    check_free(out)
    planned(dataset, config)
    rows = {split: LazyRows(dataset.table(split), partial(dataset.encoded, split)) for split in SPLITS}
    info, train = balanced(dataset.info, rows, config)
    info = info.model_copy(update={"name": out.name, "parent": dataset.name, "created": time.time()})
    return write_dataset(out, info, {**rows, "train": train}, dataset.attached(), progress)
