"""How datasets are made: the settings of prepare and balance. Light to import: forms and ``--help`` read them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from fer_core.data.decisions import Decision
from fer_core.data.labels import LabelMap
from fer_core.errors import ConfigError

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


class AugmentConfig(BaseModel):
    """How much augmented children differ from their originals: the strengths, each from 0 (not at all).

    The usual ones are chosen so that a face stays inside the picture and its expression readable.
    """

    model_config = ConfigDict(frozen=True)

    flip: float = Field(
        0.5, ge=0, le=1, title="Flip", description="Probability that a child is mirrored left to right."
    )
    rotation: float = Field(
        15, ge=0, le=45, title="Rotation", description="Children are turned by up to so many degrees either way."
    )
    shear: float = Field(
        8, ge=0, le=30, title="Shear", description="Children are slanted by up to so many degrees either way."
    )
    brightness: float = Field(
        0.2,
        ge=0,
        le=0.5,
        title="Brightness",
        description="Four in five children get lighter or darker by up to this share of white.",
    )
    contrast: float = Field(
        0.2,
        ge=0,
        le=0.5,
        title="Contrast",
        description="The same children's values are multiplied by 1 more or less than this.",
    )
    hue: float = Field(
        20,
        ge=0,
        le=90,
        title="Hue",
        description="Half of the children shift in hue by up to so many degrees either way, and in saturation with it. "
        "Colour data only: it changes nothing on gray pictures.",
    )

    @classmethod
    def largest(cls, name: str) -> float:
        """The largest value of a strength."""
        return next(float(rule.le) for rule in cls.model_fields[name].metadata if hasattr(rule, "le"))

    def changed(self) -> dict[str, float]:
        """The strengths that are not the usual ones."""
        return {name: value for name, value in self if value != type(self).model_fields[name].default}

    def varies(self, channels: int) -> bool:
        """Whether a picture can have more children than its mirror image.

        Args:
            channels: Of the pictures, 1 or 3.
        """
        return any((self.rotation, self.shear, self.brightness, self.contrast, channels == 3 and self.hue))

    def check(self, channels: int) -> None:
        """Refuses strengths that vary nothing.

        Args:
            channels: Of the pictures, 1 or 3.

        Raises:
            ConfigError: It says what to raise.
        """
        if not self.varies(channels):
            hue = ", hue" if channels == 3 else ""
            raise ConfigError(
                "With all strengths of augmentation 0, flip aside, children would equal their original or its mirror "
                f"image. Give rotation, shear, brightness, contrast{hue} or several of them more than 0."
            )


USUAL: Final = AugmentConfig()
"""The strengths of a dataset that says nothing of them."""


class BalanceConfig(BaseModel):
    """What balancing is to reach. The descriptions are what the forms show."""

    recipe: Recipe = Field(Recipe.EVEN, description="Where the targets come from.")
    target: int | None = Field(None, gt=0, le=MAX_TARGET, description="Images that every class should have at least.")
    cap: int | None = Field(None, gt=0, le=MAX_TARGET, description="Images that no class may exceed.")
    target_of: dict[str, int] = Field({}, description="Targets of single classes, before all others.")
    augment: AugmentConfig = Field(USUAL, description="How much the new images differ from the old ones.")
    seed: int = Field(42, ge=0, description="Decides which images are dropped and how the new ones look.")

    def options(self) -> list[str]:
        """The same as options of ``data balance``."""
        words = ["--recipe", self.recipe.value, "--seed", str(self.seed)]
        words += ["--target", str(self.target)] if self.target else []
        words += ["--cap", str(self.cap)] if self.cap else []
        words += [word for emotion, n in self.target_of.items() for word in ("--target-of", f"{emotion}={n}")]
        strengths = self.augment.changed()
        return words + [word for name, x in strengths.items() for word in ("--augment", f"{name}={x:.15g}")]


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
