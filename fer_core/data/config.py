"""How datasets are made: the settings of prepare and balance. Light to import: forms and ``--help`` read them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, Field

from fer_core.data.decisions import Decision
from fer_core.data.labels import LabelMap

MAX_TARGET: Final = 1_000_000
"""Images of one class: over a hundred times what published recipes ask for, and still a dataset that a disk holds."""


class Policy(StrEnum):
    """What may be in train."""

    LEAK_FREE = "leak-free"
    """No photograph of validation or test, in any form."""
    AS_PUBLISHED = "as-published"
    """Everything, as published pipelines do: a dataset that is contaminated on purpose."""
    EVALUATION_ONLY = "evaluation-only"
    """Nothing to train on: every picture, or those that its source calls test, is test."""


class Validation(StrEnum):
    """Where validation comes from."""

    DRAWN = "drawn"
    """From train, by class and photograph; a validation split that was published stays."""
    USAGE = "usage"
    """FER2013's own usage column: PublicTest is validation, PrivateTest test."""


class Recipe(StrEnum):
    """How many images each class is to have."""

    EVEN = "even"
    """Every class at least as many as the median class."""
    PUBLISHED = "published"
    """1,200 disgust, 7,000 of every other class, at most 9,000: the recipe ``resnet50``."""
    NONE = "none"
    """Only what ``target``, ``target_of`` and ``cap`` say."""


def default_recipe(policy: str | None) -> Recipe:
    """The recipe that fits a dataset's policy: the published one for data merged as published, else ``even``."""
    return Recipe.PUBLISHED if policy == Policy.AS_PUBLISHED else Recipe.EVEN


class BalanceConfig(BaseModel):
    """What balancing is to reach. The descriptions are what the forms show."""

    recipe: Recipe = Field(Recipe.EVEN, description="Where the targets come from.")
    target: int | None = Field(None, gt=0, le=MAX_TARGET, description="Images that every class should have at least.")
    cap: int | None = Field(None, gt=0, le=MAX_TARGET, description="Images that no class may exceed.")
    target_of: dict[str, int] = Field({}, description="Targets of single classes, before all others.")
    seed: int = Field(42, ge=0, description="Decides which images are dropped and how the new ones look.")

    def options(self) -> list[str]:
        """The same as options of ``data balance``."""
        words = ["--recipe", self.recipe.value, "--seed", str(self.seed)]
        words += ["--target", str(self.target)] if self.target else []
        words += ["--cap", str(self.cap)] if self.cap else []
        return words + [word for emotion, n in self.target_of.items() for word in ("--target-of", f"{emotion}={n}")]


class PrepareConfig(BaseModel):
    """How a dataset is made. The descriptions are what the forms and ``--help`` show."""

    policy: Policy = Field(
        Policy.LEAK_FREE,
        description="leak-free: no photograph of validation or test is in train. "
        "as-published: everything, as published pipelines do; marked as contaminated. "
        "evaluation-only: nothing to train on; all pictures are test, or those that their source calls so.",
    )
    val_fraction: float = Field(
        0.25, gt=0, lt=1, description="Share of FER2013's train images that becomes validation."
    )
    seed: int = Field(42, ge=0, description="Decides which photographs are drawn for validation.")
    validation: Validation = Field(
        Validation.DRAWN,
        description="drawn: from train, by class and photograph. usage: FER2013's PublicTest is validation, "
        "PrivateTest alone is test.",
    )
    decisions: list[Decision] = Field([], description="What was decided about single pictures, oldest first.")
    size: int = Field(48, ge=16, le=512, description="Height and width of the stored pictures, in pixels.")
    color: bool = Field(False, description="Keep colour. FER2013 is gray.")
    labels: LabelMap = Field(
        {}, description="What labels mean that are none of the seven: contempt=drop, joy=happy, 1=surprise."
    )
    balance: BalanceConfig | None = Field(None, description="Balance train at once; see balance.")

    @classmethod
    def of_dataset(cls, stored: Mapping[str, Any]) -> PrepareConfig:
        """The settings that a dataset was made with, from the ``config`` of its ``dataset.json``."""
        return cls.model_validate({name: stored[name] for name in cls.model_fields if name in stored})
