"""The recipes as cards: what each is, what it takes on this machine, what it is known to reach, what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard import caching
from dashboard.components import accuracy, all_jobs, duration, errors_shown, job_card, plain
from fer_core.inference.card_text import leak_words
from fer_core.inference.served import list_models
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState
from fer_core.machine import has_gpu
from fer_core.training.config import DEFAULT_PRESET, RunConfig, list_presets, load_preset
from fer_core.training.estimate import Estimate, estimate
from fer_core.training.reached import Reached, read_reached
from fer_core.training.runs import missing_teachers
from fer_core.training.speeds import KIND, Pictures, Speeds, read_speeds
from fer_core.training.weights import WEIGHTS, find
from fer_core.workspace import Workspace

if TYPE_CHECKING:
    from fer_core.data.dataset import Dataset
    from fer_core.jobs.store import Job

_CHOSEN: Final = "train_preset"  # in the session


def preset_cards(dataset: Dataset) -> RunConfig:
    """One card for each preset, one of which is chosen; returns that preset."""
    names = list_presets()
    if st.session_state.get(_CHOSEN) not in names:
        st.session_state[_CHOSEN] = DEFAULT_PRESET
    measured = [job for job in all_jobs() if job.kind == KIND]
    at_work = [job for job in measured if job.state().alive]
    measuring = next(iter([*reversed(at_work), *measured]), None)  # the one whose turn it is, else the newest
    if measuring and measuring.state() not in (JobState.DONE, JobState.STOPPED):
        job_card(measuring)
    speeds, best = read_speeds(Workspace.default()), _best_here()
    with st.grid(3, min_column_width=200):
        for name in names:
            with st.container(border=True, height="stretch", gap="xsmall"):
                _card(load_preset(name), dataset, speeds, best.get(name, ""), measuring)
    return load_preset(st.session_state[_CHOSEN])


def _card(preset: RunConfig, dataset: Dataset, speeds: Speeds, best: str, measuring: Job | None) -> None:
    name, chosen = preset.preset, st.session_state[_CHOSEN] == preset.preset
    st.button(
        f"**{preset.title}**" + (" :gray[chosen]" if chosen else ""),
        icon=f":material/radio_button_{'checked' if chosen else 'unchecked'}:",
        type="tertiary",
        help=None if chosen else "Choose this recipe",
        key=f"preset-{name}",
        on_click=st.session_state.__setitem__,
        args=(_CHOSEN, name),
    )
    st.markdown(preset.description)
    _time(preset, dataset, speeds, measuring)
    for line in (_known(preset), best):
        if line:
            st.caption(line)
    for line, told in _missing(preset):
        st.caption(f":material/info: {line}", help=told)


def _time(preset: RunConfig, dataset: Dataset, speeds: Speeds, measuring: Job | None) -> None:
    found = estimate(preset, Pictures.of(dataset), speeds)
    if found is not None:
        words = estimate_words(found)
        st.markdown(f":material/timer: {words[0].upper()}{words[1:]}")
    problem = measuring.status().result.get(preset.preset, "") if measuring else ""
    if problem and found is None:
        st.caption(plain(problem))
    if found is None or found.busy:
        if found is None and not problem:
            st.caption("Time not measured on this machine yet")
        st.button(
            "Measure again" if found or problem else "Measure",
            icon=":material/timer:",
            help="Times a few steps on made-up pictures: some seconds for the small network, about a minute or two "
            "for the others. It waits for a run that is on.",
            disabled=measuring is not None and measuring.state().alive,
            key=f"measure-{preset.preset}",
            on_click=_start_measuring,
            args=(preset.preset, str(dataset.folder)),
        )


def estimate_words(found: Estimate) -> str:
    """Time and memory, as ``about 24 min, 1.2 GB``; says what is uncertain about it."""
    how = "up to" if found.at_most else "about"
    words = f"{how} {duration(found.seconds)}"
    if found.memory is not None:
        words += f", {found.memory / 1e9:.1f} GB"
    if found.gpu_memory is not None:
        words += f" and {found.gpu_memory / 1e9:.1f} GB of the GPU"
    if not found.exact:
        words += ", reckoned from another batch size"
    if found.busy:
        words += ", measured while this machine was busy"
    return words


def _start_measuring(preset: str, dataset: str) -> None:
    space = Workspace.default()
    with errors_shown():
        name = space.new_name(space.jobs, KIND)
        supervisor.launch(space.jobs, KIND, name, ["models", "measure", preset, "--dataset", dataset])


def _known(preset: RunConfig) -> str:
    """What the recipe is known to reach and to take: as published, or as we measured it."""
    if preset.published:
        return f"{plain(preset.published)}."
    reached = read_reached().get(preset.preset)
    if reached is None:
        return "What it reaches is not known."
    took = _took(reached, preset)
    for model in list_models(Workspace.default()):
        card = model.card
        if model.bundled and card and card.preset == preset.preset and reached.split in card.metrics:
            # Of the file that ships, which is not stored as the run's own is.
            said = accuracy(card.metrics[reached.split], reached.split, leak_words(card, reached.split))
            return f"The model in the box: {said}. {took}."
    return f"Measured: {accuracy(reached, reached.split, reached.leaks)}. {took}."


def _took(reached: Reached, preset: RunConfig) -> str:
    """Epochs, time and device, as ``50 epochs instead of 24, 40 min on two processor cores``."""
    words = f"{reached.epochs} epochs"
    if reached.epochs != preset.total_epochs:
        words += f" instead of {preset.total_epochs}"
    if reached.seconds:
        words += f", {duration(reached.seconds)}"
    if reached.device:
        words += f" on {reached.device}"
    return f"{words}, which other runs shared" if reached.shared else words


def _best_here() -> dict[str, str]:
    """By preset, the best validation score of a finished run in this workspace, in a sentence."""
    best = {}
    known = (summary.facts for summary in caching.catalog().look())
    scored = [facts for facts in known if facts.finished and facts.score and facts.config]
    for facts in sorted(scored, key=lambda facts: facts.score.accuracy):  # type: ignore[union-attr]
        said = accuracy(facts.score, "validation", facts.leak)  # type: ignore[arg-type]
        best[facts.config.preset] = f"Best here: {said} ({plain(facts.name)})"  # type: ignore[union-attr]
    return best


def _missing(preset: RunConfig) -> list[tuple[str, str]]:
    """What the recipe lacks on this machine, and what to do about it."""
    lacks = []
    if preset.weights == "imagenet" and find(preset.architecture) is None:
        file = WEIGHTS[preset.architecture]
        told = f"They are downloaded once when training starts. Without a network, put {file.name} into the folder "
        lacks.append(("ImageNet weights: not here yet", plain(f"{told}{file.path.parent}.")))
    if teachers := missing_teachers(Workspace.default(), preset):
        title, names = load_preset("teacher").title, ", ".join(teachers)
        told = "Give each run the name that stands here, or name other finished runs under All settings."
        lacks.append((f"No finished runs {names}: train them first, with the recipe {title}", told))
    if preset.made_for_gpu and not has_gpu():
        lacks.append(("Made for a GPU: none here", "A processor does the same, many times slower."))
    return lacks
