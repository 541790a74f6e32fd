"""The form of a new run, generated from the configuration's own fields, titles and descriptions."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import streamlit as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dashboard.components import dataset_picker, errors_shown, job_command, leak_badge, page_link, plain, show_error
from fer_core.errors import FerError
from fer_core.training import runs
from fer_core.training.config import (
    DEFAULT_PRESET,
    NOT_SETTABLE,
    RunConfig,
    apply_overrides,
    list_presets,
    load_config,
    load_preset,
)
from fer_core.training.config import read_config as read_run_config
from fer_core.training.differences import changed_settings
from fer_core.training.weights import WEIGHTS, find
from fer_core.workspace import Workspace

MAIN: Final = ("epochs", "batch_size", "learning_rate", "seed")
"""What is shown at once; the rest waits behind "All settings"."""

_YAML_VALUES: Final = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")  # words that are no text there


@dataclass(frozen=True)
class _Start:
    """What the form begins with.

    Attributes:
        preset: As ``--preset`` takes it.
        base: The settings of that preset: what differs from them becomes ``--set``.
        shown: The settings that the widgets begin with.
        stem: Of the new run's name.
        key: Of the widgets.
    """

    preset: str
    base: RunConfig
    shown: RunConfig
    stem: str
    key: str


def train_form(repeat: str = "") -> None:
    """Preset, dataset, a few settings, all settings, and the primary button.

    Args:
        repeat: Name of a run whose settings the form begins with; otherwise those of a preset.
    """
    begin = _from_run(repeat) if repeat else None
    begin = begin or _from_preset()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        dataset = dataset_picker()
        if dataset is None:
            st.info("Prepare a dataset first.", icon=":material/database:")
            page_link("data", "Go to Data")
            return
        leak_badge(dataset)
    overrides = _settings(begin)
    space = Workspace.default()
    free = space.new_name(space.runs, begin.stem)
    name = st.text_input("Name of the run", value=free, key="train_name", max_chars=64)
    arguments = ["train", str(dataset.folder), "--preset", begin.preset, "--name", name.strip()]
    for override in overrides:
        arguments += ["--set", override]
    allowed, leaky = False, dataset.info.contaminated
    if leaky:
        allowed = st.checkbox(
            "Train although evaluation photographs are in the training data. The scores will say so.",
            key="train_leaks",
        )
        arguments += ["--allow-leaks"] if allowed else []
    waiting = leaky and not allowed
    start = st.button(
        "Start training",
        type="primary",
        icon=":material/play_arrow:",
        disabled=waiting,
        help="This dataset is leaky: tick the box above to train on it anyway." if waiting else None,
    )
    with st.expander("The same as a command", icon=":material/terminal:"):
        st.code(job_command(arguments), language="bash", wrap_lines=True)
    if start:
        with errors_shown():
            complete = runs.complete(apply_overrides(begin.base, overrides), dataset, allow_leaks=allowed)
            runs.start(runs.create(space, name.strip(), complete, arguments))
            st.session_state["started"] = name.strip()  # the picker above stands already: it is set on the next run
            del st.session_state["train_name"]
            st.query_params.pop("repeat", None)
            st.rerun()


def _from_preset() -> _Start:
    names = sorted(list_presets(), key=lambda name: name != DEFAULT_PRESET)
    preset = st.segmented_control("Preset", names, default=DEFAULT_PRESET, required=True, key="train_preset")
    config = load_preset(preset)
    st.markdown(f"**{config.title}** · {config.description}")
    if config.weights == "imagenet" and find(config.architecture) is None:
        file = WEIGHTS[config.architecture]
        st.caption(f"Needs {plain(file.name)}, which is not here yet: it is downloaded once when training starts.")
    return _Start(preset, config, config, preset, preset)


def _from_run(name: str) -> _Start | None:
    """The settings of a run; None, with a message, where they cannot be read."""
    try:
        file = Workspace.default().run(name) / runs.CONFIG_FILE
        config = read_run_config(file)
        changed = changed_settings(config)
        preset = str(file) if changed is None else config.preset
        base = load_config(preset)
    except FerError as error:
        show_error(str(error))
        return None
    except OSError:  # a link may hold any text, also one too long for a file's name
        show_error("No run has the name that is in this link.")
        return None
    # What a run records of itself is asked for anew; so are threads, where they are what this machine uses anyway.
    threads = base.threads if changed is not None and "threads" not in changed else config.threads
    shown = config.model_copy(update={"dataset": None, "allow_leaks": False, "threads": threads})
    st.markdown(f"Begins with the settings of **{plain(name)}**.")
    return _Start(preset, base, shown, re.sub(r"-\d+$", "", name), f"{name}/{config.preset}")


def _settings(begin: _Start) -> list[str]:
    """Widgets for every setting; returns those that differ from the preset, as ``key=value``."""
    fields = list(_fields(begin.shown))
    base = {key: value for key, _, value in _fields(begin.base)}
    chosen = {}
    with st.grid(4, min_column_width=150, vertical_alignment="bottom"):
        for key, info, value in fields:
            if key.rpartition(".")[2] in MAIN:
                chosen[key] = _widget(begin, key, info, value, _phase_of(begin.shown, key))
    phases = [_phase_of(begin.shown, f"phases.{number}.") for number in range(len(begin.shown.phases))]
    with st.expander("All settings", icon=":material/tune:"):
        groups = dict(zip(("Network", *phases), st.tabs(["Network", *phases]), strict=True))
        grids = {name: group.grid(4, min_column_width=170) for name, group in groups.items()}
        for key, info, value in fields:
            if key.rpartition(".")[2] not in MAIN:
                with grids[_phase_of(begin.shown, key) or "Network"]:
                    chosen[key] = _widget(begin, key, info, value)
    changed = [_override(key, value) for key, value in chosen.items() if value != base[key]]
    if changed:
        st.caption("Changed: " + ", ".join(f"`{entry}`" for entry in changed))
    return changed


def _phase_of(config: RunConfig, key: str) -> str:
    """Number and name of the phase that a setting belongs to; empty for one of the whole run."""
    if not key.startswith("phases."):
        return ""
    number = int(key.split(".")[1])
    return f"{number + 1} {config.phases[number].name}" if len(config.phases) > 1 else config.phases[number].name


def _override(key: str, value: Any) -> str:
    """``key=value`` as ``--set`` reads it: text is quoted where YAML would take it for something else."""
    word = isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w -]*", value) and value.lower() not in _YAML_VALUES
    return f"{key}={value if word else json.dumps(value)}"


def _fields(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, FieldInfo, Any]]:
    """Dotted key, field and value of every single setting, in the order of the model."""
    for name, info in type(model).model_fields.items():
        key, value = f"{prefix}{name}", getattr(model, name)
        if not prefix and name in NOT_SETTABLE:
            continue
        if isinstance(value, BaseModel):
            yield from _fields(value, f"{key}.")
        elif isinstance(value, list):
            for number, item in enumerate(value):
                yield from _fields(item, f"{key}.{number}.")
        else:
            yield key, info, value


def _widget(begin: _Start, key: str, info: FieldInfo, value: Any, phase: str = "") -> Any:
    """The widget that fits a field's type; returns what it holds. Of several phases, the label says which."""
    label = f"{info.title} · {phase}" if phase and len(begin.shown.phases) > 1 else info.title or key
    options = {"help": info.description, "key": f"set-{begin.key}-{key}"}
    kind = info.annotation
    if typing.get_origin(kind) is typing.Literal:
        choices = list(typing.get_args(kind))
        chosen: Any = st.selectbox(label, choices, index=choices.index(value), disabled=len(choices) == 1, **options)
    elif kind is bool:
        chosen = st.toggle(label, value=value, **options)
    elif kind is str:
        chosen = st.text_input(label, value=value, **options)
    else:
        integer = kind is int or (isinstance(kind, types.UnionType) and int in typing.get_args(kind))
        low, high = _bounds(info)
        number = {"min_value": low, "max_value": high, "value": value}
        if integer:
            chosen = st.number_input(label, step=1, placeholder="empty", **number, **options)
        else:
            step = 10.0 ** (-4 if 0 < (value or 0) < 0.01 else -2 if (value or 0) < 1 else 0)
            chosen = st.number_input(label, step=step, format="%g", placeholder="empty", **number, **options)
    return chosen


def _bounds(info: FieldInfo) -> tuple[Any, Any]:
    """Inclusive limits of a field; exclusive ones are left to the configuration's own check."""
    limits = {name: getattr(rule, name) for rule in info.metadata for name in ("ge", "le") if hasattr(rule, name)}
    integer = info.annotation not in (float, float | None)
    cast = int if integer else float
    return tuple(cast(limits[name]) if name in limits else None for name in ("ge", "le"))  # type: ignore[return-value]
