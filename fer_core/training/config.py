"""What a run is asked to do. Loads no training framework: pages build their form from these models.

Every field has a title and a description, written once here: they are the label and tooltip of the form, the
text of error messages and the documentation.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fer_core.errors import ConfigError
from fer_core.workspace import expand

_PRESETS: Final = Path(__file__).parent / "presets"

_BAD_YAML: Final = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)
"""What PyYAML raises on bad text: it lets through the errors of its own code, such as of an impossible date."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class AugmentationConfig(_Section):
    """Random changes to each training image, drawn anew every epoch and applied as one affine map."""

    flip: bool = Field(True, title="Flip", description="Mirror half of the images left to right.")
    rotate: float = Field(
        12.0, ge=0, le=45, title="Rotate (degrees)", description="Turn by up to this many degrees either way."
    )
    scale_min: float = Field(
        0.9,
        gt=0.2,
        le=1,
        title="Smallest scale",
        description="Shrink down to this factor; 1 leaves the size.",
    )
    scale_max: float = Field(
        1.12, ge=1, lt=5, title="Largest scale", description="Enlarge up to this factor; 1 leaves the size."
    )
    shift: float = Field(
        4.0,
        ge=0,
        le=32,
        title="Shift (pixels)",
        description="Move by up to this many pixels in each direction.",
    )


class PhaseConfig(_Section):
    """One stretch of training with its own optimizer, from its first epoch to its last."""

    name: str = Field("Train", min_length=1, title="Name", description="What the phase is called in curves.")
    epochs: int = Field(
        24, ge=1, le=1000, title="Epochs", description="How often every training image is seen in this phase."
    )
    trainable: Literal["all", "head"] = Field(
        "all",
        title="Trainable part",
        description="Which layers learn: all, or only the head after the convolutions.",
    )
    optimizer: Literal["adamw", "sgd"] = Field(
        "adamw", title="Optimizer", description="AdamW, or SGD with Nesterov momentum 0.9."
    )
    learning_rate: float = Field(
        2e-3, gt=0, le=10, title="Learning rate", description="The size of a step; with a schedule, its peak."
    )
    schedule: Literal["cosine", "constant"] = Field(
        "cosine",
        title="Schedule",
        description="Cosine lowers the learning rate to zero over the phase; constant keeps it.",
    )
    warmup_epochs: float = Field(
        2.0,
        ge=0,
        le=100,
        title="Warm-up (epochs)",
        description="With the cosine schedule, the learning rate first rises from zero over so many epochs, "
        "at most a fifth of the phase.",
    )
    weight_decay: float = Field(
        0.02,
        ge=0,
        le=1,
        title="Weight decay",
        description="Pulls weights toward zero at every step, in proportion to the learning rate; biases and "
        "normalisation are spared.",
    )
    label_smoothing: float = Field(
        0.1,
        ge=0,
        le=0.9,
        title="Label smoothing",
        description="Share of certainty taken from each label and spread over the seven classes, since "
        "labels are noisy.",
    )
    batch_size: int = Field(
        64, ge=1, le=8192, title="Batch size", description="Images per step. Halve it if memory runs out."
    )


class DatasetReference(_Section):
    """The dataset that a run trains on."""

    name: str = Field(title="Name", description="Its name.")
    path: str = Field(title="Path", description="Its folder.")
    fingerprint: str = Field(title="Fingerprint", description="What it must still hold when the run goes on.")


class RunConfig(_Section):
    """``config.yaml`` of a run, and the content of a preset."""

    preset: str = Field("", title="Preset", description="Where the settings started from.")
    title: str = Field("", title="Title", description="What the preset is called.")
    description: str = Field("", title="Description", description="One sentence about the preset.")
    architecture: Literal["compact"] = Field("compact", title="Network", description="The network that is trained.")
    weights: Literal["none"] = Field(
        "none", title="Initial weights", description="What the network starts from; none is random weights."
    )
    dropout: float = Field(
        0.3,
        ge=0,
        le=0.9,
        title="Dropout",
        description="Share of the pooled features that each training step leaves out, against learning by heart.",
    )
    phases: list[PhaseConfig] = Field(
        min_length=1, title="Phases", description="Stretches of training, one after the other."
    )
    augmentation: AugmentationConfig = Field(
        default_factory=AugmentationConfig,
        title="Augmentation",
        description="Random changes to training images.",
    )
    seed: int = Field(
        42,
        ge=0,
        lt=2**32,
        title="Seed",
        description="Fixes initial weights, order and augmentation: the same seed and threads repeat a run.",
    )
    threads: int | None = Field(
        None, ge=1, le=1024, title="Threads", description="Processor threads to use; empty uses every core."
    )
    dataset: DatasetReference | None = Field(
        None, title="Dataset", description="What the run trains on; written when it starts."
    )
    allow_leaks: bool = Field(
        False,
        title="Allow leaks",
        description="Train although evaluation photographs are in the training split; the scores then mean little.",
    )

    @property
    def total_epochs(self) -> int:
        """Epochs of all phases together."""
        return sum(phase.epochs for phase in self.phases)

    def to_yaml(self) -> str:
        """All settings, defaults included."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


NOT_SETTABLE: Final = ("preset", "title", "description", "dataset", "allow_leaks")
"""Fields that the command writes itself; neither a form nor ``--set`` offers them."""


def list_presets() -> list[str]:
    """Names of the presets that ship with the package."""
    return sorted(file.stem for file in _PRESETS.glob("*.yaml"))


def load_preset(name: str) -> RunConfig:
    """A preset by name.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in list_presets():
        raise ConfigError(f"Unknown preset {name!r}; known: {', '.join(list_presets())}.{_hint(name, list_presets())}")
    return _read(_PRESETS / f"{name}.yaml").model_copy(update={"preset": name})


def load_config(name_or_path: str) -> RunConfig:
    """A preset by name, or settings from a YAML file: a copy of a preset, or the ``config.yaml`` of a run.

    Raises:
        ConfigError: There is no such preset or file, or a setting in it is unknown or out of range.
        FerError: The path starts with the home folder of an unknown user.
    """
    file = expand(name_or_path)
    if file.suffix.lower() not in (".yaml", ".yml"):
        return load_preset(name_or_path)
    if not file.is_file():
        raise ConfigError(f"{file}: no such file. Give a YAML file or a preset: {', '.join(list_presets())}.")
    config = _read(file)
    # What a run recorded of itself does not carry over to the next one.
    return config.model_copy(update={"preset": config.preset or file.stem, "dataset": None, "allow_leaks": False})


def read_config(file: Path) -> RunConfig:
    """The ``config.yaml`` of a run, as it was written.

    Raises:
        ConfigError: It is missing or damaged.
    """
    return _read(file)


def apply_overrides(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """Settings changed by ``key=value`` with dotted keys, such as ``phases.0.epochs=1``.

    Args:
        config: What to start from; it is not changed.
        overrides: Values are read as YAML (``true``, ``null``, ``2e-3``).

    Raises:
        ConfigError: Not of that form, an unknown key, or a value of another kind or out of range.
    """
    document = config.model_dump(mode="json")
    known = [key for key in _keys(document) if key.split(".")[0] not in NOT_SETTABLE]
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals:
            raise ConfigError(f"{override!r} is not a setting: write key=value, for example {known[0]}=...")
        if key not in known:
            raise ConfigError(f"Unknown setting {key!r}.{_hint(key, known) or ' Known: ' + ', '.join(known) + '.'}")
        _assign(document, key, _parse(key, text))
    return _validate(document, "--set")


def _assign(document: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    place: Any = document
    for part in parents:
        place = place[int(part) if isinstance(place, list) else part]
    place[last] = value


def _parse(key: str, text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except _BAD_YAML:
        value = text
    if isinstance(value, list | dict):
        raise ConfigError(f"{key}: found {text.strip()!r}, expected a single value.")
    return value


def _keys(document: Any, prefix: str = "") -> Iterator[str]:
    """Dotted keys of all single values."""
    if not isinstance(document, list | dict):
        yield prefix
        return
    for key, value in enumerate(document) if isinstance(document, list) else document.items():
        yield from _keys(value, f"{prefix}.{key}" if prefix else str(key))


def _read(file: Path) -> RunConfig:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file.") from None
    except (OSError, *_BAD_YAML) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
            reason = f"{error.problem}, line {error.problem_mark.line + 1}"
        raise ConfigError(f"{file}: cannot be read as YAML ({reason}).") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{file}: expected settings as `key: value` lines, found none. Start from a preset.")
    return _validate(document, str(file))


def _validate(document: dict[str, Any], where: str) -> RunConfig:
    try:
        return RunConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    """The first fault in one sentence: the key, what was found and what was expected."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        model = _section(first["loc"][:-1])
        siblings = [".".join(map(str, (*first["loc"][:-1], name))) for name in model.model_fields]
        return f"unknown setting {key!r}.{_hint(key, siblings) or ' Known here: ' + ', '.join(siblings) + '.'}"
    if first["type"] == "missing":
        return f"the setting {key!r} is missing."
    expected = first["msg"].removeprefix("Input ").removeprefix("should ")
    return f"{key}: found {reprlib.repr(first['input'])}, it should {expected}."


def _section(path: Sequence[int | str]) -> type[_Section]:
    sections: dict[str, type[_Section]] = {
        "phases": PhaseConfig,
        "augmentation": AugmentationConfig,
        "dataset": DatasetReference,
    }
    return sections[str(path[0])] if path else RunConfig


def _hint(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=2, cutoff=0.5)
    return f" Did you mean {' or '.join(near)}?" if near else ""
