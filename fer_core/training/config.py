"""What a run is asked to do. Loads no training framework: pages build their form from these models.

Every field has a title and a description, written once here: they are the label and tooltip of the form, the
text of error messages and the documentation.
"""

from __future__ import annotations

import difflib
import math
import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from fer_core.emotions import EMOTIONS
from fer_core.errors import ConfigError
from fer_core.workspace import expand

DEFAULT_PRESET: Final = "compact"

_PRESETS: Final = Path(__file__).parent / "presets"

_OURS: Final = (DEFAULT_PRESET, "bundled", "teacher")
"""The presets that are offered first."""

_LARGEST_SEED: Final = 2**32 - 1

_BAD_YAML: Final = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)
"""What PyYAML raises on bad text: it lets through the errors of its own code, such as of an impossible date."""


_RESIDUAL: Final = ("compact", "wide", "resnet18")

_FROM_SCRATCH: Final = (*_RESIDUAL, "vgg")
"""Networks of ours for pictures at native size: there are no weights to begin with."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class AugmentationConfig(_Section):
    """Random changes to each training image, drawn anew every epoch: one affine map, then its light, then a hole."""

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
    brightness: float = Field(
        0.0,
        ge=0,
        le=1,
        title="Brightness",
        description="Brighten or darken by up to this share of the full range.",
    )
    contrast: float = Field(
        0.0, ge=0, lt=1, title="Contrast", description="Raise or lower contrast by up to this share."
    )
    erase: float = Field(
        0.0,
        ge=0,
        le=1,
        title="Erase",
        description="Share of the images in which a rectangle, 2 to 20 % of the area, is filled with noise.",
    )

    @property
    def still(self) -> bool:
        """Whether nothing is moved."""
        return not (self.flip or self.rotate or self.shift) and self.scale_min == self.scale_max == 1

    @property
    def off(self) -> bool:
        """Whether every image stays as it is stored."""
        return self.still and not (self.brightness or self.contrast or self.erase)


NO_AUGMENTATION: Final = AugmentationConfig(flip=False, rotate=0, scale_min=1, scale_max=1, shift=0)

STRONG_AUGMENTATION: Final = AugmentationConfig(
    flip=True, rotate=20, scale_min=0.8, scale_max=1.25, shift=6, brightness=0.2, contrast=0.4, erase=0.5
)
"""About half as much again as the presets': for few images or many epochs."""


class PhaseConfig(_Section):
    """One stretch of training with its own optimizer, from its first epoch to its last."""

    name: str = Field("Train", min_length=1, title="Name", description="What the phase is called in curves.")
    epochs: int = Field(
        24, ge=1, le=1000, title="Epochs", description="How often every training image is seen in this phase, at most."
    )
    trainable: Literal["all", "head", "top"] = Field(
        "all",
        title="Trainable part",
        description="Which layers learn: all, only the head after the convolutions, or the head and the top layers "
        "below it.",
    )
    top_layers: int = Field(
        50,
        ge=1,
        le=1000,
        title="Top layers",
        description="With the trainable part top: how many layers below the head learn, as Keras counts them.",
    )
    freeze_norm: bool = Field(
        False,
        title="Freeze normalisation",
        description="Keep every BatchNormalization of the convolutions as it is, with its stored statistics.",
    )
    optimizer: Literal["adam", "adamw", "sgd"] = Field(
        "adamw", title="Optimizer", description="Adam, AdamW, or SGD with Nesterov momentum 0.9."
    )
    learning_rate: float = Field(
        2e-3, gt=0, le=10, title="Learning rate", description="The size of a step; with a schedule, its peak."
    )
    schedule: Literal["cosine", "plateau", "constant"] = Field(
        "cosine",
        title="Schedule",
        description="Cosine lowers the learning rate to zero over the phase; plateau lowers it when what is watched "
        "stops improving; constant keeps it.",
    )
    warmup_epochs: float = Field(
        2.0,
        ge=0,
        le=100,
        title="Warm-up (epochs)",
        description="With the cosine schedule, the learning rate first rises from zero over so many epochs, "
        "at most a fifth of the phase.",
    )
    monitor: Literal["val_accuracy", "val_loss"] = Field(
        "val_accuracy",
        title="Watched score",
        description="The score on validation that the plateau schedule and early stopping go by.",
    )
    plateau_factor: float = Field(
        0.5,
        gt=0,
        lt=1,
        title="Plateau factor",
        description="With the plateau schedule, what the learning rate is multiplied by when it drops.",
    )
    plateau_patience: int = Field(
        3,
        ge=1,
        le=1000,
        title="Plateau patience (epochs)",
        description="With the plateau schedule, epochs without improvement before the learning rate drops.",
    )
    min_learning_rate: float = Field(
        1e-6,
        ge=0,
        le=1,
        title="Lowest learning rate",
        description="With the plateau schedule, the learning rate does not drop below this.",
    )
    decay_raise: float = Field(
        1.0,
        ge=1,
        le=100,
        title="Raise decay on a drop",
        description="With the plateau schedule, what weight decay is multiplied by each time the learning rate drops; "
        "1 leaves it.",
    )
    early_stopping: int | None = Field(
        None,
        ge=1,
        le=1000,
        title="Early stopping (epochs)",
        description="End the phase after so many epochs without improvement of the watched score; empty never does.",
    )
    restore_best: bool = Field(
        False,
        title="Go back to the best epoch",
        description="The next phase begins with the weights of the best epoch so far instead of the last ones.",
    )
    weight_decay: float = Field(
        0.02,
        ge=0,
        le=1,
        title="Weight decay",
        description="Pulls weights toward zero at every step, in proportion to the learning rate; biases and "
        "normalisation are spared. Adam has none.",
    )
    label_smoothing: float = Field(
        0.1,
        ge=0,
        le=0.9,
        title="Label smoothing",
        description="Share of certainty taken from each label and spread over the seven classes, since "
        "labels are noisy.",
    )
    class_weights: str = Field(
        "none",
        title="Class weights",
        description="What each class counts in the loss: none, inverse (frequency), or seven numbers from angry to "
        "neutral.",
    )
    mixup: float = Field(
        0.0,
        ge=0,
        le=10,
        title="Mixup",
        description="Blends pairs of images and of their labels; the strength of Beta(a, a), 0 for none.",
    )
    teachers: str = Field(
        "",
        title="Teachers",
        description="Finished runs, with commas between, whose mean answer this phase learns beside the labels "
        "(distillation); empty for none.",
    )
    teacher_share: float = Field(
        0.7,
        gt=0,
        le=1,
        title="Share of the teachers",
        description="How much of each target is what the teachers say; the rest is the label.",
    )
    teacher_views: int = Field(
        16,
        ge=1,
        le=1000,
        title="Views for the teachers",
        description="How many differently moved copies of the training images the teachers look at; epochs go through "
        "them in turn.",
    )
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        title="Averaged weights",
        description="Momentum of a running mean of the weights (EMA) that is validated and kept instead of them; "
        "0 for none, 0.999 is usual.",
    )
    clip_norm: float | None = Field(
        None,
        gt=0,
        le=1000,
        title="Clip gradients",
        description="Shorten the gradient of a step to this length; empty leaves it.",
    )
    batch_size: int = Field(
        64, ge=1, le=8192, title="Batch size", description="Images per step. Halve it if memory runs out."
    )
    accumulate: int = Field(
        1,
        ge=1,
        le=1024,
        title="Accumulate gradients",
        description="Batches whose gradients are added up before the weights change: the effective batch is this many "
        "times the batch size, in the memory of one.",
    )
    augmentation: AugmentationConfig = Field(
        default_factory=AugmentationConfig,
        title="Augmentation",
        description="Random changes to training images, drawn anew every epoch.",
    )

    @field_validator("teachers", mode="before")
    @classmethod
    def _check_teachers(cls, text: Any) -> Any:
        return "" if text is None else text  # `--set phases.0.teachers=`

    @field_validator("class_weights")
    @classmethod
    def _check_class_weights(cls, text: str) -> str:
        if text not in ("none", "inverse"):
            _seven(text)
        return text

    @model_validator(mode="after")
    def _check_decay(self) -> PhaseConfig:
        if self.optimizer == "adam" and self.weight_decay:
            raise ValueError("have weight_decay 0 with the optimizer adam: adamw is the one that decays")
        if self.teachers and self.trainable == "head":
            raise ValueError("have teachers only where the whole network or its top layers learn")
        if self.decay_raise > 1 and (self.schedule != "plateau" or not self.weight_decay):
            raise ValueError("have decay_raise 1 unless the schedule is plateau and there is weight decay to raise")
        return self

    @property
    def teacher_names(self) -> list[str]:
        """The runs that teach, in order."""
        return [name for name in (part.strip() for part in self.teachers.split(",")) if name]

    @property
    def given_class_weights(self) -> list[float] | None:
        """The seven numbers, where they were given."""
        return None if self.class_weights in ("none", "inverse") else _seven(self.class_weights)


def _seven(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != len(EMOTIONS) or not all(math.isfinite(n) and n >= 0 for n in numbers) or not any(numbers):
        raise ValueError(f"be none, inverse, or seven numbers of 0 or more for {', '.join(EMOTIONS)}")
    return numbers


class HeadLayer(NamedTuple):
    """One word of ``RunConfig.head``: its kind, and its number (0 for norm)."""

    kind: Literal["norm", "dense", "dropout", "attention"]
    value: float


def parse_head(text: str) -> list[HeadLayer]:
    """The layers between pooling and the seven logits, from words such as ``norm, dense 512, dropout 0.5``.

    Raises:
        ValueError: It says how the text should be.
    """
    layers = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        kind, _, number = word.partition(" ")
        try:
            value = float(number or 0)
        except ValueError:
            value = -1.0
        whole = value == int(value) if math.isfinite(value) else False
        fits = {
            "norm": not number,
            "dense": whole and 1 <= value <= 8192,
            "dropout": bool(number) and 0 <= value < 1,
            "attention": whole and 1 <= value <= 256,
        }
        if not fits.get(kind):
            raise ValueError(
                f"be words like norm, dense 512, dropout 0.5, attention 16, with commas between; {word!r} is none"
            )
        layers.append(HeadLayer(kind, value))  # type: ignore[arg-type]
    return layers


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
    published: str = Field(
        "", title="Published", description="What accuracy its source states, and that we have not measured it."
    )
    made_for_gpu: bool = Field(False, title="Made for a GPU", description="Whether a processor alone takes very long.")
    architecture: Literal["compact", "wide", "vgg", "resnet18", "resnet50v2", "resnet50", "efficientnetv2b0"] = Field(
        "compact", title="Network", description="The network that is trained, without its head."
    )
    weights: str = Field(
        "none",
        min_length=1,
        title="Initial weights",
        description="What the network starts from: none (random weights), imagenet (downloaded once), or the path of "
        "a Keras weights file.",
    )
    side: int | None = Field(
        None,
        ge=16,
        le=1024,
        title="Side (pixels)",
        description="Pictures are resized to this inside the network; empty keeps the dataset's size.",
    )
    pixels: Literal["fer2013", "0-1", "0-255", "-1-1", "imagenet-caffe", "imagenet-torch"] = Field(
        "fer2013",
        title="Pixel values",
        description="What the network gets: standardised by FER2013's mean and deviation, a range, or as ImageNet's "
        "weights expect it.",
    )
    attention: int = Field(
        0,
        ge=0,
        le=256,
        title="Attention in blocks",
        description="Squeeze-excitation in every block of the compact, wide and ResNet18 networks, narrowed by this "
        "factor; 0 for none.",
    )
    width: float = Field(
        1.0,
        ge=0.5,  # TensorFlow 2.21 crashes in its oneDNN kernels with the eight channels of a narrower compact network
        le=4,
        title="Width",
        description="Multiplies the channels of every layer of the networks without ImageNet weights (compact, wide, "
        "VGG, ResNet18), rounded to eights: twice as wide is four times the work.",
    )
    head: str = Field(
        "dropout 0.3",
        title="Head",
        description="Layers between pooling and the seven logits, in order: norm, dense 512 (with ReLU), dropout 0.5, "
        "attention 16 (squeeze-excitation).",
    )
    head_l2: float = Field(
        0.0,
        ge=0,
        le=1,
        title="L2 of the head",
        description="Penalty on the squared weights of the head's dense layers, added to the training loss.",
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "auto",
        title="Precision",
        description="What is computed in; the mixed ones are faster on a GPU and keep weights in float32. Auto is "
        "mixed on a GPU and float32 on a processor; the run records which.",
    )
    phases: list[PhaseConfig] = Field(
        min_length=1, title="Phases", description="Stretches of training, one after the other."
    )
    reveal_test: bool = Field(
        False,
        title="Reveal test at the end",
        description="Score the model on the test split when training ends, as the published recipes do; the look is "
        "counted.",
    )
    seed: int = Field(
        42,
        ge=0,
        le=_LARGEST_SEED,
        title="Seed",
        description="Fixes initial weights, order and augmentation: the same seed and threads repeat a run.",
    )
    threads: int | None = Field(
        None, ge=1, le=1024, title="Threads", description="Processor threads to use; empty uses every core."
    )
    devices: int | None = Field(
        None,
        ge=1,
        le=1024,
        title="Devices",
        description="GPUs of this machine that share each batch; empty uses every one, or the processor.",
    )
    tensorboard: bool = Field(
        False,
        title="TensorBoard",
        description="Also write the run's curves for TensorBoard, into its folder; needs requirements-tensorboard.txt.",
    )
    mlflow: str = Field(
        "",
        title="MLflow",
        description="Address of an MLflow server that also gets the run, as http://localhost:5000; empty for none. "
        "User and password go into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD; needs "
        "requirements-mlflow.txt.",
    )
    dataset: DatasetReference | None = Field(
        None, title="Dataset", description="What the run trains on; written when it starts."
    )
    allow_leaks: bool = Field(
        False,
        title="Allow leaks",
        description="Train although evaluation photographs are in the training split; the scores then mean little.",
    )

    @field_validator("mlflow", mode="before")
    @classmethod
    def _check_mlflow(cls, uri: Any) -> str:
        return check_tracking_uri(uri)

    @field_validator("head")
    @classmethod
    def _check_head(cls, text: str) -> str:
        parse_head(text)
        return text

    @model_validator(mode="after")
    def _check_network(self) -> RunConfig:
        if self.architecture in _FROM_SCRATCH and self.weights == "imagenet":
            raise ValueError(f"have weights none: there are no ImageNet weights of the {self.architecture} network")
        if self.attention and self.architecture not in _RESIDUAL:
            raise ValueError(
                f"have attention 0: only the blocks of {', '.join(_RESIDUAL)} take it; write it in head instead"
            )
        if self.width != 1 and self.architecture not in _FROM_SCRATCH:
            raise ValueError(f"have width 1: {self.architecture} has the channels that its ImageNet weights ask for")
        return self

    @property
    def policy(self) -> str:
        """What Keras calls its precision; float32 as long as no machine was asked (``auto``)."""
        return "float32" if self.precision == "auto" else self.precision

    @property
    def total_epochs(self) -> int:
        """Epochs of all phases together."""
        return sum(phase.epochs for phase in self.phases)

    def to_yaml(self) -> str:
        """All settings, defaults included."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def with_augmentation(config: RunConfig, augmentation: AugmentationConfig) -> RunConfig:
    """The same settings with one augmentation in all phases."""
    phases = [phase.model_copy(update={"augmentation": augmentation}) for phase in config.phases]
    return config.model_copy(update={"phases": phases})


def inverse_weight_settings(config: RunConfig) -> list[str]:
    """The ``--set`` that let each class count by its inverse frequency in all phases."""
    return [f"phases.{number}.class_weights=inverse" for number in range(len(config.phases))]


DESCRIPTIVE: Final = ("title", "description", "published", "made_for_gpu")
"""Fields that only say what a preset is."""

NOT_SETTABLE: Final = ("preset", *DESCRIPTIVE, "dataset", "allow_leaks")
"""Fields that the command writes itself; neither a form nor ``--set`` offers them."""

TRACKING: Final = ("tensorboard", "mlflow")
"""Fields that change nothing that a run learns, only who else is told of it."""


def check_tracking_uri(uri: Any) -> str:
    """The address of an MLflow server as it is kept; empty for none.

    Raises:
        PydanticCustomError: It is none that a run can be written to, or it holds a password. The message does not
            repeat the address, for it would then stand in logs.
    """
    uri = "" if uri is None else uri.strip() if isinstance(uri, str) else "?"
    if not uri:
        return ""
    try:
        parts = urlsplit(uri)
    except ValueError:
        parts = SplitResult("", "", "", "", "")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise PydanticCustomError(
            "hidden",
            "be without user, password or token, which would stand in files that are passed on: set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, instead",
        )
    if not (parts.hostname if parts.scheme in ("http", "https") else _is_local_store(parts)):
        raise PydanticCustomError(
            "hidden",
            "be the address of a server, as http://localhost:5000, or a file by its absolute path, as "
            "sqlite:////home/me/mlflow.db",
        )
    return uri


def _is_local_store(parts: SplitResult) -> bool:
    """Whether it names a store on this machine by an absolute path: a run may go on from another folder."""
    path = parts.path[1:] if parts.scheme == "sqlite" else parts.path
    return parts.scheme in ("sqlite", "file") and not parts.netloc and path.startswith("/") and len(path) > 1


def list_presets() -> list[str]:
    """Names of the presets that ship with the package, in the order in which they are offered: ours come first."""
    return [*_OURS, *sorted({file.stem for file in _PRESETS.glob("*.yaml")} - {*_OURS})]


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
        if file.is_file():
            raise ConfigError(f"{file}: settings are read from a YAML file. If it is one, let its name end in .yaml.")
        return load_preset(name_or_path)
    if not file.is_file():
        raise ConfigError(f"{file}: no such file. Give a YAML file or a preset: {', '.join(list_presets())}.")
    config = _read(file)
    # What a run recorded of itself does not carry over to the next one.
    return config.model_copy(update={"preset": config.preset or file.stem, "dataset": None, "allow_leaks": False})


def absolute_preset(name_or_path: str) -> str:
    """What ``load_config`` takes, so that it means the same in any folder."""
    file = expand(name_or_path)
    return str(file.absolute()) if file.suffix.lower() in (".yaml", ".yml") else name_or_path


def read_config(file: Path) -> RunConfig:
    """The ``config.yaml`` of a run, as it was written.

    Raises:
        ConfigError: It is missing or damaged.
    """
    kept = "The run cannot go on without it: put it back from a copy, or delete the run and start a new one."
    try:
        config = _read(file)
    except ConfigError as error:
        raise ConfigError(f"{error} {kept}") from error
    if "allow_leaks" not in config.model_fields_set:
        # The last key that is written. What is missing would be read as defaults, and another network trained.
        raise ConfigError(f"{file}: damaged, its end is missing. {kept}")
    return config


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


def parse_seeds(text: str) -> list[int]:
    """The seeds of several runs, from text such as ``1, 2, 3``.

    Raises:
        ConfigError: Some is no seed, or there twice.
    """
    parts = [part.strip() for part in text.split(",")]
    seeds = [int(part) for part in parts if part.isascii() and part.isdigit()]
    if len(seeds) < len(parts) or len(set(seeds)) < len(seeds) or max(seeds) > _LARGEST_SEED:
        raise ConfigError(
            f"Seeds: found {reprlib.repr(text)}, expected whole numbers from 0 to {_LARGEST_SEED} with commas between, "
            "each once, such as 42 or 1, 2, 3."
        )
    return seeds


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
    expected = first["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("should ")
    expected = expected.partition(", unable to")[0]  # a number, whatever hindered pydantic from reading it as one
    if first["type"] == "hidden":  # what was found may be a secret
        return f"{key} should {expected}."
    if isinstance(first["input"], dict):  # a rule about several settings
        return f"{key or 'the settings'} should {expected}."
    return f"{key}: found {reprlib.repr(first['input'])}, it should {expected}."


def _section(path: Sequence[int | str]) -> type[_Section]:
    named = [part for part in path if isinstance(part, str)]
    return _SECTIONS[named[-1]] if named else RunConfig


_SECTIONS: Final[dict[str, type[_Section]]] = {
    "phases": PhaseConfig,
    "augmentation": AugmentationConfig,
    "dataset": DatasetReference,
}


def _hint(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=2, cutoff=0.5)
    return f" Did you mean {' or '.join(near)}?" if near else ""
