"""The form of a new run, generated from the configuration's own fields, titles and descriptions."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import streamlit as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dashboard.components import (
    dataset_picker,
    errors_shown,
    job_command,
    leak_badge,
    page_link,
    plain,
    show_error,
    without_train,
)
from dashboard.preset_cards import estimate_words, preset_cards
from fer_core.data.dataset import Dataset
from fer_core.errors import FerError
from fer_core.jobs import device_queue
from fer_core.training import runs
from fer_core.training.config import (
    NO_AUGMENTATION,
    NOT_SETTABLE,
    STRONG_AUGMENTATION,
    RunConfig,
    apply_overrides,
    inverse_weight_settings,
    load_config,
    parse_seeds,
    with_augmentation,
)
from fer_core.training.config import read_config as read_run_config
from fer_core.training.differences import changed_settings
from fer_core.training.estimate import estimate
from fer_core.training.speeds import Pictures, read_speeds
from fer_core.workspace import Workspace

MAIN: Final = ("epochs", "batch_size", "learning_rate")
"""What is shown at once, besides augmentation and seeds; the rest waits behind "All settings"."""

CLASS_WEIGHTS: Final = "class_weights"
"""In the URL: "inverse" begins the form with those in all phases."""

_OF_MACHINE: Final = ("threads", "precision")

_AUGMENTATION: Final = {"Usual": None, "None": NO_AUGMENTATION, "Strong": STRONG_AUGMENTATION}

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
        strength: Of the augmentation that ``shown`` was given; empty where it is its own.
    """

    preset: str
    base: RunConfig
    shown: RunConfig
    stem: str
    key: str
    strength: str = ""


def train_form(repeat: str = "") -> None:
    """Dataset, recipe, a few settings, all settings, and the primary button.

    Args:
        repeat: Name of a run whose settings the form begins with; otherwise those of a preset.
    """
    with st.container(horizontal=True, vertical_alignment="bottom"):
        dataset = dataset_picker()
        if dataset is None:
            st.info("Prepare a dataset first.", icon=":material/database:")
            page_link("data", "Go to Data")
            return
        leak_badge(dataset)
    if without_train(dataset):
        return
    begin = (_from_run(repeat) if repeat else None) or _from_preset(dataset)
    overrides, seeds = _settings(begin)
    config = None
    with errors_shown():
        config = apply_overrides(begin.base, overrides)
    allowed, leaky = False, dataset.info.contaminated
    if leaky:
        allowed = st.checkbox(
            "Train although evaluation photographs are in the training data. The scores will say so.",
            key="train_leaks",
        )
    waiting = leaky and not allowed
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = _name(runs.free_name(Workspace.default(), begin.stem))
        start = st.button(
            "Start training",
            type="primary",
            icon=":material/play_arrow:",
            disabled=waiting or seeds is None or config is None,
            help="This dataset is leaky: tick the box above to train on it anyway." if waiting else None,
        )
    if config is not None:
        _expectation(config, seeds or [], name, dataset)
    arguments = runs.arguments(
        str(dataset.folder), begin.preset, overrides, name, allow_leaks=allowed, seeds=seeds or []
    )
    with st.expander("The same as a command", icon=":material/terminal:"):
        st.code(job_command(arguments), language="bash", wrap_lines=True)
    if start and config is not None:
        with errors_shown():
            config = runs.complete(config, dataset, allow_leaks=allowed)
            _start(runs.plan(config, str(dataset.folder), begin.preset, overrides, name, seeds or []))


def _start(plans: list[runs.Plan]) -> None:
    """Starts the runs, all or none, and draws the page anew with the first of them."""
    for job in runs.create_all(Workspace.default(), plans):
        runs.start(job)
    st.session_state["started"] = plans[0].name  # the picker above stands already: it is set on the next run
    del st.session_state["train_name"]
    for key in ("repeat", CLASS_WEIGHTS):
        st.query_params.pop(key, None)
    st.rerun()


def _name(suggested: str) -> str:
    """The name of the run: what we suggest for these settings, until somebody types another."""
    if st.session_state.get("train_name") in (None, "", st.session_state.get("train_suggested")):
        st.session_state["train_name"] = suggested
    st.session_state["train_suggested"] = suggested
    return st.text_input("Name of the run", key="train_name", max_chars=64, width=280).strip()


def _expectation(config: RunConfig, seeds: list[int], name: str, dataset: Dataset) -> None:
    """What will happen: how long it takes on this machine, how many runs, and behind whom they wait."""
    space, said = Workspace.default(), []
    found = estimate(config, Pictures.of(dataset), read_speeds(space))
    time = f"On this machine: {estimate_words(found)}" if found else "Its time on this machine is not known yet"
    if len(seeds) > 1:
        names = ", ".join(plain(f"{name}-seed{seed}") for seed in seeds)
        said.append(f"{len(seeds)} runs, one after the other: {names}")
        time = f"{time}, each" if found else time
    said.append(time)
    if line := device_queue.line(space):
        said.append(f"Queued behind {plain(line[-1].name)} (position {len(line) + 1}); it starts by itself")
    st.caption(". ".join(said) + ".")


def _from_preset(dataset: Dataset) -> _Start:
    config = preset_cards(dataset)
    if st.query_params.get(CLASS_WEIGHTS) == "inverse":  # from Balance
        weighted = apply_overrides(config, inverse_weight_settings(config))
        return _Start(config.preset, config, weighted, config.preset, f"{config.preset}-weighted")
    return _Start(config.preset, config, config, config.preset, config.preset)


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
    # What a run records of itself is asked for anew; so is what it records of the machine, where this one is like it.
    same = {key: getattr(base, key) for key in _OF_MACHINE if changed is not None and key not in changed}
    shown = config.model_copy(update={"dataset": None, "allow_leaks": False, **same})
    st.markdown(f"Begins with the settings of **{plain(name)}**.")
    return _Start(preset, base, shown, re.sub(r"-\d+$", "", name), f"{name}/{config.preset}")


def _settings(begin: _Start) -> tuple[list[str], list[int] | None]:
    """Widgets for every setting.

    Returns:
        Those that differ from the preset, as ``key=value``; and the seeds where there are several, or None where
        what was typed are none.
    """
    base = {key: value for key, _, value in _fields(begin.base)}
    chosen, single = {}, len(begin.shown.phases) == 1
    with st.grid(5 if single else 4, min_column_width=140, vertical_alignment="bottom"):
        for key, info, value in _fields(begin.shown):
            if key.rpartition(".")[2] in MAIN:
                chosen[key] = _widget(begin, key, info, value, _phase_of(begin.shown, key))
        begin = _augmented(begin)
        typed = st.text_input(
            "Seeds",
            str(begin.shown.seed),
            max_chars=200,
            help="42 for one run; 1, 2, 3 for three that differ in nothing else, which shows how much is chance.",
            key=f"seeds-{begin.key}",
        )
    seeds: list[int] | None = None
    with errors_shown():
        seeds = parse_seeds(typed)
        if len(seeds) == 1:
            chosen["seed"], seeds = seeds[0], []
    phases = [_phase_of(begin.shown, f"phases.{number}.") for number in range(len(begin.shown.phases))]
    with st.expander("All settings", icon=":material/tune:"):
        groups = dict(zip(("Network", *phases), st.tabs(["Network", *map(plain, phases)]), strict=True))
        grids = {name: group.grid(4, min_column_width=170) for name, group in groups.items()}
        for key, info, value in _fields(begin.shown):
            if key.rpartition(".")[2] not in (*MAIN, "seed"):
                with grids[_phase_of(begin.shown, key) or "Network"]:
                    chosen[key] = _widget(begin, key, info, value)
    changed = [_override(key, value) for key, value in chosen.items() if value != base[key]]
    if changed:
        st.caption("Changed: " + ", ".join(f"`{entry}`" for entry in changed))
    return changed, seeds


def _augmented(begin: _Start) -> _Start:
    """One control for the augmentation of all phases: the detailed settings then begin with what it says."""
    strength = st.selectbox(
        "Augmentation",
        list(_AUGMENTATION),
        help="Random changes to training images, in every phase. Usual leaves what the recipe says, which may be none; "
        "the figures of each are under All settings.",
        key=f"augmentation-{begin.key}",
    )
    chosen = _AUGMENTATION[strength]
    return begin if chosen is None else replace(begin, shown=with_augmentation(begin.shown, chosen), strength=strength)


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
    label = f"{info.title} · {plain(phase)}" if phase and len(begin.shown.phases) > 1 else info.title or key
    of = f"{begin.key}-{begin.strength}" if begin.strength and ".augmentation." in key else begin.key
    options: dict[str, Any] = {"help": info.description, "key": f"set-{of}-{key}"}
    kind = info.annotation
    if typing.get_origin(kind) is typing.Literal:
        choices = list(typing.get_args(kind))
        chosen: Any = st.selectbox(label, choices, index=choices.index(value), disabled=len(choices) == 1, **options)
    elif kind is bool:
        chosen = st.toggle(label, value=value, **options)
    elif kind is str:
        chosen = st.text_input(label, value=value, **options)
    else:
        # Without limits: a value outside of them would not leave the browser, and Start would take the one before.
        if kind is int or (isinstance(kind, types.UnionType) and int in typing.get_args(kind)):
            chosen = st.number_input(label, value=value, step=1, placeholder="empty", **options)
        else:
            step = 10.0 ** (-4 if 0 < (value or 0) < 0.01 else -2 if (value or 0) < 1 else 0)
            chosen = st.number_input(label, value=value, step=step, format="%g", placeholder="empty", **options)
    return chosen
