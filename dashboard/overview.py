"""What the Overview page tells of the workspace: the five steps, the next one, and a photograph read on the spot."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import streamlit as st

from dashboard import caching
from dashboard.components import PAGES, accuracy, errors_shown, page_link, plain
from dashboard.faces import read, sample, show_reading
from fer_core.data.sources import FoundArchive
from fer_core.errors import FerError
from fer_core.inference.card_text import leak_words
from fer_core.inference.images import UNCERTAIN_BELOW
from fer_core.inference.served import ServedModel
from fer_core.jobs import supervisor
from fer_core.workspace import Workspace


def hero(model: ServedModel) -> None:
    """A photograph read on the spot: nothing has to be clicked or loaded first."""
    data, name, detector = sample(model)
    show_reading(data, read(data, name, model, detector, UNCERTAIN_BELOW))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"Read just now by {plain(model.name)}, the model in the box.")
        page_link("predict", "Try your own photo", model=model.name)


def step(title: str, state: str, page: str, link: str) -> None:
    """One of the five: its state in words, and where it is done."""
    with st.container(border=True, height="stretch", gap="xsmall"):
        st.markdown(f"**{title}**")
        st.caption(plain(state).replace(" n ", " n\u00a0"))  # the number stays with its letter
        st.space("stretch")
        page_link(page, link)


def sources_state(archives: Sequence[FoundArchive]) -> str:
    """The archives that lie ready; where there are none, those that the newest dataset was made from."""
    if archives:
        return _counted("found", [archive.path.name for archive in archives])
    if datasets := Workspace.default().list_datasets():
        with contextlib.suppress(FerError):  # a damaged one is told beside it
            used = caching.dataset(datasets[0]).info.config.get("sources", [])
            return _counted("used", [source["name"] for source in used])
    return "no archive found"


def _counted(what: str, names: Sequence[str]) -> str:
    return f"{len(names)} {what}: {', '.join(names[:3])}"


def dataset_state() -> str:
    """The newest dataset, in words."""
    datasets = Workspace.default().list_datasets()
    if not datasets:
        return "none prepared"
    try:
        dataset = caching.dataset(datasets[0])
    except FerError as error:
        return str(error)
    total = sum(sum(split.values()) for split in dataset.counts().values())
    return f"{dataset.name} · {total:,} images · {'leaky' if dataset.info.contaminated else 'clean'}"


def validation_accuracy(model: ServedModel) -> str:
    """The accuracy on a model's card, in the one way it is written."""
    report = model.card.metrics.get("validation") if model.card else None
    if model.card is None or report is None:
        return "no number yet"
    return accuracy(report, "validation", leak_words(model.card, "validation"))


def next_step(trained: bool, prepared: bool, found: bool, busy: bool) -> None:
    """The one primary button: what comes next; the demo stands beside it for whoever wants to see the loop.

    Args:
        trained: Whether there is a finished run.
        prepared: Whether there is a dataset.
        found: Whether there is an archive.
        busy: Whether the demo is at work.
    """
    follow = None
    if trained:
        follow = ("See where it is wrong", "evaluate", ":material/grid_on:")
    elif prepared:
        follow = ("Train a model", "train", ":material/model_training:")
    elif found:
        follow = ("Find my data", "data", ":material/database:")
    with st.container(horizontal=True):
        if follow and st.button(follow[0], type="primary", icon=follow[2]):
            st.switch_page(PAGES / f"{follow[1]}.py")
        st.button(
            "Draw a demo set and run the loop",
            type="secondary" if follow else "primary",
            icon=":material/play_arrow:",
            on_click=_start_tour,
            disabled=busy,
            help="Draws some hundred faces, prepares them and trains a small model, in about a minute.",
        )


def _start_tour() -> None:
    space = Workspace.default()
    with errors_shown():
        supervisor.launch(space.jobs, "tour", space.new_name(space.jobs, "tour"), ["tour"])
