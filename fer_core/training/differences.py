"""In what the settings of runs differ, from each other and from the preset they began with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fer_core.machine import has_gpu, usable_cores
from fer_core.training.config import NOT_SETTABLE, TRACKING, RunConfig, list_presets, load_preset

Value = str | int | float | bool | None

_RECORDED: Final = ("preset", "allow_leaks")
"""Fields that no one sets directly, but that change what a run learns or how its score is read."""


def flat(config: RunConfig) -> dict[str, Value]:
    """The settings of a run by dotted key, such as ``phases.0.epochs``, in the order of the configuration.

    Left out is what only describes the preset, and who else is told of the run. The dataset is its name and the
    beginning of its fingerprint.
    """
    document = config.model_dump(mode="json")
    kept = {key: value for key, value in document.items() if key not in (*NOT_SETTABLE, *TRACKING)}
    recorded = {key: document[key] for key in _RECORDED}
    data = config.dataset
    return {"dataset": f"{data.name} ({data.fingerprint[:8]})" if data else None, **recorded, **dict(_leaves(kept))}


def recipe_of(config: RunConfig) -> str:
    """A digest of all settings but the seed, and of the data itself rather than its name."""
    settings = flat(config)
    del settings["seed"]
    settings["dataset"] = config.dataset.fingerprint if config.dataset else None
    return hashlib.blake2b(json.dumps(settings).encode(), digest_size=16).hexdigest()


def settings_that_differ(configs: Mapping[str, RunConfig]) -> dict[str, dict[str, Value]]:
    """The settings that are not the same in all runs.

    Args:
        configs: Name of a run -> its settings.

    Returns:
        Dotted key -> name of a run -> value; None where a run has no such setting.
    """
    tables = {name: flat(config) for name, config in configs.items()}
    keys = dict.fromkeys(key for table in tables.values() for key in table)
    rows = {key: {name: table.get(key) for name, table in tables.items()} for key in keys}
    # Compared as written: 1 and True are equal in Python, and a missing setting is not one that is empty.
    return {
        key: row for key, row in rows.items() if len({repr(table.get(key, "missing")) for table in tables.values()}) > 1
    }


def changed_settings(config: RunConfig) -> dict[str, Value] | None:
    """How a run's settings differ from the preset that it names, by dotted key.

    What a run records of the machine, its threads and precision, counts only where this machine would not choose the
    same: with a GPU, which precision that would be is not known without a training framework.

    Returns:
        None where ``--set`` cannot express it: the preset is not one of ours, or has other phases.
    """
    if config.preset not in list_presets():
        return None
    preset = load_preset(config.preset)
    if len(preset.phases) != len(config.phases):
        return None
    before, after = (_settable(each) for each in (preset, config))
    changed = {key: value for key, value in after.items() if value != before[key]}
    if preset.threads is None and changed.get("threads") == usable_cores():
        del changed["threads"]
    if preset.precision == "auto" and changed.get("precision") == "float32" and not has_gpu():
        del changed["precision"]
    return changed


def _settable(config: RunConfig) -> dict[str, Value]:
    return dict(_leaves(config.model_dump(mode="json", exclude=set(NOT_SETTABLE))))


def _leaves(document: Any, prefix: str = "") -> Iterator[tuple[str, Value]]:
    if not isinstance(document, list | dict):
        yield prefix, document
        return
    for key, value in enumerate(document) if isinstance(document, list) else document.items():
        yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
