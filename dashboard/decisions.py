"""Deciding about pictures: buttons beside any picture, what is pending, undo, and the next dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

import streamlit as st

from dashboard import caching
from dashboard.components import errors_kept, errors_shown, page_link, plain, show_kept_error
from dashboard.prepare_form import dataset_name, launch_dataset_job
from fer_core.data.dataset import Dataset
from fer_core.data.decisions import Action, Decision, Pending, Picture, applied_in, decisions_csv, now
from fer_core.data.findings import Reason
from fer_core.emotions import EMOTIONS
from fer_core.workspace import Workspace

_REFUSED: Final = "decision_refused"
_WORDS: Final = {
    Action.KEEP: "Keep",
    Action.DROP_TRAIN: "Drop from train",
    Action.DROP_EVALUATION: "Drop from evaluation",
    Action.DROP: "Drop",
    Action.MERGE: "Merge",
}
_HELP: Final = {
    Action.KEEP: "It stays, whatever its flags say. Copies across splits are left out all the same.",
    Action.DROP_TRAIN: "Not in train.",
    Action.DROP_EVALUATION: "Neither in validation nor in test.",
    Action.DROP: "In no split.",
    Action.MERGE: "Of the images of one photograph, the first of each split stays.",
}


def pending_of(dataset: Dataset) -> list[Decision]:
    """What was decided about a dataset since it was made, to be read only; what is damaged is told."""
    with errors_shown():
        return caching.pending(dataset)
    return []


def in_words(decision: Decision) -> str:
    return f"relabel as {decision.label}" if decision.action is Action.RELABEL else _WORDS[decision.action].lower()


def decide_about(
    dataset: Dataset,
    pictures: Sequence[Picture],
    key: str,
    because: str = "",
    *,
    without: Collection[Action] = (),
) -> None:
    """Buttons that decide about pictures, all in the same way; nothing changes before the next dataset is made.

    Args:
        dataset: Whose pictures.
        pictures: One or more.
        key: Unique on the page.
        because: The reason that is recorded where the visitor gives none.
        without: Actions that would change nothing about them, which are not offered.
    """
    show_kept_error(_REFUSED)
    shas = {picture.pixel_sha for picture in pictures}
    made = {decision.pixel_sha: decision for decision in pending_of(dataset) if decision.pixel_sha in shas}
    if made:
        told = Counter(in_words(decision) for decision in made.values())
        words = ", ".join(f"{word} ({n:,})" if len(shas) > 1 else word for word, n in told.items())
        st.badge(f"Decided: {words}", icon=":material/gavel:", color="blue")
    # Merging settles no dispute about the label: what stays would leave train all the same.
    merges = len(pictures) > 1 and not because.endswith(Reason.CONFLICT)
    actions = [action for action in _WORDS if action not in without and (action is not Action.MERGE or merges)]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for action in actions:
            st.button(
                _WORDS[action], help=_HELP[action], key=f"{key}-{action}", on_click=_decide,
                args=(dataset, pictures, action, "", key, because),
            )  # fmt: skip
        st.selectbox(
            "Relabel as", EMOTIONS, index=None, placeholder="Relabel as", key=f"{key}-label", width=150,
            label_visibility="collapsed", on_change=_relabel, args=(dataset, pictures, key, because),
        )  # fmt: skip
        st.text_input(
            "Why", placeholder=because or "why (optional)", key=f"{key}-why", max_chars=200, width=180,
            label_visibility="collapsed",
        )  # fmt: skip


def _relabel(dataset: Dataset, pictures: Sequence[Picture], key: str, because: str) -> None:
    if label := st.session_state.get(f"{key}-label"):
        _decide(dataset, pictures, Action.RELABEL, label, key, because)
        st.session_state[f"{key}-label"] = None


def _decide(dataset: Dataset, pictures: Sequence[Picture], action: Action, label: str, key: str, because: str) -> None:
    with errors_kept(_REFUSED):
        date = now()  # one act: it is undone as one
        reason = st.session_state.get(f"{key}-why", "").strip() or because
        Pending(dataset.folder).add([picture.decision(action, label, reason, date) for picture in pictures])
        st.session_state[f"{key}-why"] = ""  # it was about these pictures


def pending_panel(dataset: Dataset) -> None:
    """What is decided but in no dataset yet: undo, download, and the dataset with it."""
    decisions = pending_of(dataset)
    if not decisions:
        return
    held = {decision.pixel_sha: decision for decision in decisions}
    told = Counter(in_words(decision) for decision in held.values())
    holder = applied_in(decisions, Workspace.default().list_datasets(), caching.dataset)
    state = f"applied in {plain(holder)}" if holder else "not applied yet"
    with st.container(border=True):
        words = ", ".join(f"{n:,} {action}" for action, n in told.items())
        st.markdown(f"**{len(held):,} decided, {state}** :gray[{words}]")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            name = dataset_name(f"{dataset.name[:48]}-decided", "decided_name")
            start = st.button(
                "Create again" if holder else f"Create dataset with {len(held):,} decision{'s' * (len(held) != 1)}",
                type="secondary" if holder else "primary",
                icon=":material/play_arrow:",
                key="decided_start",
            )
            last = decisions[-1]
            st.button("Undo last", icon=":material/undo:", key="decided_undo", on_click=_undo, args=(dataset, last))
            st.download_button(
                "Download CSV",
                lambda: decisions_csv(decisions),
                file_name=f"{dataset.name}-decisions.csv",
                on_click="ignore",
                type="tertiary",
            )
        if holder:
            page_link("data", f"{plain(holder)} was made with them", dataset=holder)
        st.caption(plain(f"Last: {in_words(last)} · {last.path}{f' · {last.reason}' if last.reason else ''}"))
    if start:
        with errors_shown():
            arguments = ["data", "prepare", "--add-to", str(dataset.folder)]
            arguments += ["--decisions", str(Pending(dataset.folder).frozen())]
            launch_dataset_job("prepare", name, arguments, "decided_name")


def _undo(dataset: Dataset, last: Decision) -> None:
    with errors_kept(_REFUSED):
        Pending(dataset.folder).undo(last.date)  # not one that another visitor made since
