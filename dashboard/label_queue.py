"""The queue of doubtful labels: one face at a time, what speaks against its label, and a key for each answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import streamlit as st

from dashboard import caching, drawings
from dashboard.components import errors_kept, errors_shown, plain, show_kept_error, theme
from dashboard.decisions import in_words, pending_of, pending_panel
from dashboard.label_keys import listen
from fer_core.data.dataset import Dataset
from fer_core.data.decisions import Action, Decision, Pending, Picture, now
from fer_core.emotions import EMOTIONS, INDEX
from fer_core.evaluation.label_check import Issue, LabelCheck
from fer_core.evaluation.predictions import PROBABILITY_COLUMNS
from fer_core.preprocessing import decode

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ALL: Final = "All"
_ANY: Final = "any label"
_KINDS: Final = {**{issue.value.capitalize(): issue.value for issue in Issue}, _ALL: ""}
_KIND, _CLASS = "issue", "labelled"  # keys of the filters, also in the URL

_SKIPPED: Final = "labels_skipped"
"""In the session: what was skipped, as (date, pixels), oldest first."""

_MADE: Final = "labels_made"
"""In the session: dates of the decisions made here. Other visitors decide about the same images."""

_AGAIN: Final = "labels_again"
"""In the session: pixels of the picture taken back just now, which is shown again although the filters leave it out."""

_ASKED: Final = "labels_asked"
"""In the session: pixels of the picture that is shown. Another visitor may decide about it meanwhile."""

_REFUSED: Final = "labels_refused"

_SKIP, _DROP, _UNDO = "s", "d", "z"
_ANSWERS: Final = {
    **{str(n): (emotion.capitalize(), f"It is {emotion}.") for n, emotion in enumerate(EMOTIONS, start=1)},
    "k": ("Keep", "The label is right, or no worse than another."),
    _DROP: ("Drop", "It is to be in train no longer."),
    _SKIP: ("Skip", "Decide later."),
    _UNDO: ("Undo", "Takes back what you did last."),
}
"""Key -> the words on its button, and what it means. Streamlit keeps C and R to itself."""

_SIDE: Final = 360  # pixels of the face in question
_SMALL: Final = 54
_LAST: Final = 3  # decisions that are shown again


@dataclass(frozen=True)
class Queue:
    """What is left to decide about a label check, under this visitor's filters.

    Attributes:
        dataset: Whose labels.
        check: What was found.
    """

    dataset: Dataset
    check: LabelCheck

    @property
    def decided(self) -> dict[str, str]:
        """Pixels of every picture that something was decided about, here or elsewhere -> the last action."""
        made_with = self.dataset.info.config.get("decisions") or []
        applied = {decision["pixel_sha"]: decision["action"] for decision in made_with}
        return applied | {decision.pixel_sha: decision.action for decision in caching.pending(self.dataset)}

    @property
    def chosen(self) -> NDArray[np.bool_]:
        """Whether the filters leave an image of ``check.issues``, decided or not."""
        issues, keep = self.check.issues, np.ones(len(self.check.issues), bool)
        if kind := _KINDS.get(st.session_state.get(_KIND, ""), ""):
            keep &= (issues["issue"] == kind).to_numpy()
        if (emotion := st.session_state.get(_CLASS)) in EMOTIONS:
            keep &= (issues["label"] == INDEX[emotion]).to_numpy()
        return keep

    def next(self, decided: Mapping[str, str]) -> int | None:
        """Where in ``check.issues`` the image in question stands: the most suspicious one that is open."""
        shas = self.check.issues["pixel_sha"]
        again = st.session_state.get(_AGAIN)
        if again and again not in decided and (found := np.flatnonzero(shas == again)).size:
            return int(found[0])
        skipped = {sha for _, sha in st.session_state.get(_SKIPPED, ())}
        open_ = np.flatnonzero(self.chosen & ~shas.isin(decided.keys() | skipped).to_numpy())
        return int(open_[0]) if open_.size else None

    def left(self, decided: Mapping[str, str]) -> NDArray[np.int64]:
        """Where in ``check.issues`` the images stand that the filters leave and nobody decided about."""
        return np.flatnonzero(self.chosen & ~self.check.issues["pixel_sha"].isin(decided.keys()).to_numpy())

    def asked(self) -> int | None:
        """Where the image that is shown stands; where it was answered since, the next one."""
        shown = np.flatnonzero(self.check.issues["pixel_sha"] == st.session_state.get(_ASKED))
        return int(shown[0]) if shown.size else self.next(self.decided)

    def picture(self, at: int) -> Picture:
        image = self.check.issues.iloc[at]
        return Picture(image["source"], image["path"], image["pixel_sha"])

    def faces(self, rows: list[int]) -> list[NDArray[np.uint8]]:
        """The pictures of some rows of train."""
        return [decode(data) for data in self.dataset.encoded("train", rows)]

    def last(self) -> Decision | None:
        """The newest decision, if it was made in this session: only such a one is taken back here."""
        made = caching.pending(self.dataset)
        return made[-1] if made and made[-1].date in st.session_state.get(_MADE, ()) else None

    @property
    def undoable(self) -> bool:
        return self.last() is not None or bool(st.session_state.get(_SKIPPED))

    @property
    def reason(self) -> str:
        """Begins that of every decision that is made here."""
        return f"label check {self.check.name}:"


@st.fragment
def label_queue(dataset: Dataset, check: LabelCheck) -> None:
    """The image in question, its buttons, how far one is, and what was decided last."""
    with errors_shown():
        _show(Queue(dataset, check))


def _show(queue: Queue) -> None:
    show_kept_error(_REFUSED)
    with st.container(horizontal=True, vertical_alignment="center"):
        _filters()
        st.space("stretch")
        decided = queue.decided
        _progress(queue, decided)
        _all_left(queue, decided)
    at = queue.next(decided)
    st.session_state[_ASKED] = None if at is None else queue.picture(at).pixel_sha
    if at is None:
        _nothing_left(queue, decided)
    else:
        _question(queue, at)
    _last_decisions(queue)
    pending_panel(queue.dataset)
    _decided_elsewhere(queue)


def _filters() -> None:
    st.segmented_control(
        "Issue", list(_KINDS), default=next(iter(_KINDS)), required=True, key=_KIND, bind="query-params",
        label_visibility="collapsed", on_change=_forget,
    )  # fmt: skip
    st.selectbox(
        "Labelled", [_ANY, *EMOTIONS], key=_CLASS, bind="query-params", width=140, label_visibility="collapsed",
        on_change=_forget,
    )  # fmt: skip


def _forget() -> None:
    """Which image comes next is looked up anew."""
    st.session_state.pop(_AGAIN, None)
    st.session_state.pop(_ASKED, None)


def _progress(queue: Queue, decided: Mapping[str, str]) -> None:
    """How far one is with what the filters leave, as ``37 of 214 · 22 relabelled``."""
    actions = queue.check.issues.loc[queue.chosen, "pixel_sha"].map(dict(decided))
    done, relabelled = int(actions.notna().sum()), int((actions == Action.RELABEL).sum())
    st.markdown(f"**{done:,} of {len(actions):,}** · {relabelled:,} relabelled", width="content")


def _all_left(queue: Queue, decided: Mapping[str, str]) -> None:
    """The same for all that the filters leave, where somebody wants a policy rather than a look at each."""
    n = len(queue.left(decided))
    if n < 2:
        return
    with st.popover(f"All {n:,} left", icon=":material/select_all:"):
        st.markdown("One decision about all of them, seen or not. Undo takes it back as one.")
        with st.container(horizontal=True):
            for action, words in ((Action.DROP_TRAIN, "Drop"), (Action.KEEP, "Keep")):
                st.button(
                    f"{words} all {n:,}", key=f"label-all-{action}", on_click=_decide_about_all, args=(queue, action)
                )


def _decide_about_all(queue: Queue, action: Action) -> None:
    with errors_kept(_REFUSED):
        date, issues = now(), queue.check.issues["issue"]
        left = queue.left(queue.decided)
        made = [queue.picture(at).decision(action, "", f"{queue.reason} all: {issues.iloc[at]}", date) for at in left]
        Pending(queue.dataset.folder).add(made, over=False)  # another visitor may decide meanwhile
        st.session_state[_MADE] = [*st.session_state.get(_MADE, ()), date]
        _forget()


def _question(queue: Queue, at: int) -> None:
    image = queue.check.issues.iloc[at]
    label, suggested = EMOTIONS[int(image["label"])], EMOTIONS[int(image["suggested"])]
    probabilities = {e: float(image[c]) for e, c in zip(EMOTIONS, PROBABILITY_COLUMNS, strict=True)}
    alike = [int(row) for row in image["alike"]]
    face, *others = queue.faces([int(image["row"]), *alike])
    left, right = st.columns([5, 8], gap="medium")
    with left:
        st.image(drawings.face(face, _SIDE), width=_SIDE, alt=f"A train picture labelled {label}")
        st.caption(plain(f"{image['source']} · {image['path']} · rank {image['rank']:,}"))
    with right:
        st.markdown(
            f"Labelled **{label}**, read as **{suggested}** "
            f":gray[{100 * probabilities[suggested]:.1f} % · {image['issue']}]"
        )
        _buttons(queue)  # before the bars: on a phone they are below the face at once
        bars, relatives = st.columns([5, 3], gap="medium")
        bars.image(drawings.seven_bars(probabilities, theme()), width="stretch", alt=drawings.told(probabilities))
        with relatives.container(gap="xsmall"):
            _alike(queue, alike, others, label)


def _alike(queue: Queue, rows: list[int], faces: list[NDArray[np.uint8]], label: str) -> None:
    """The faces that look most alike, each with its label."""
    st.caption("Most alike")
    labels = caching.table(queue.dataset, "train")["label"].iloc[rows]
    for face, index in zip(faces, labels, strict=True):
        other = EMOTIONS[int(index)]
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.image(drawings.face(face, _SMALL), width=_SMALL, alt=f"One that looks alike, labelled {other}")
            st.caption(other if other == label else f":orange[{other}]")


def _buttons(queue: Queue) -> None:
    with st.grid(4, min_column_width=80, gap="xsmall"):
        for key in _ANSWERS:
            _button(queue, key)
        _listen(queue)


def _listen(queue: Queue) -> None:
    view = f"{st.session_state.get(_KIND)}, {st.session_state.get(_CLASS)}"
    listen(_ANSWERS, view, lambda key: _act(queue, key))


def _button(queue: Queue, key: str, width: Literal["stretch", "content"] = "stretch") -> None:
    words, told = _ANSWERS[key]
    st.button(
        f"{words} :gray[{key.upper()}]", help=told, width=width, key=f"label-{key}", on_click=_act, args=(queue, key),
        disabled=key == _UNDO and not queue.undoable,
    )  # fmt: skip


def _act(queue: Queue, key: str) -> None:
    """Does what a key says with the image that is in question now.

    Which one that is, is looked up here: keys can be faster than the page, which then still holds the one before.
    """
    with errors_kept(_REFUSED):
        if key == _UNDO:
            _undo(queue)
        elif (at := queue.asked()) is not None:
            _decide(queue, at, key)
            _forget()


def _decide(queue: Queue, at: int, key: str) -> None:
    picture, image = queue.picture(at), queue.check.issues.iloc[at]
    if key == _SKIP:
        st.session_state[_SKIPPED] = [*st.session_state.get(_SKIPPED, ()), (now(), picture.pixel_sha)]
        return
    label = EMOTIONS[int(key) - 1] if key.isdecimal() else ""
    action = Action.DROP_TRAIN if key == _DROP else Action.RELABEL if label else Action.KEEP
    if label and INDEX[label] == image["label"]:
        action, label = Action.KEEP, ""
    decision = picture.decision(action, label, f"{queue.reason} {image['issue']}")
    Pending(queue.dataset.folder).add([decision])
    st.session_state[_MADE] = [*st.session_state.get(_MADE, ()), decision.date]


def _undo(queue: Queue) -> None:
    """Takes back what was done last, a decision or a skip, and shows that image again."""
    st.session_state.pop(_ASKED, None)
    skipped, last = st.session_state.get(_SKIPPED, []), queue.last()
    if skipped and (last is None or skipped[-1][0] > last.date):
        st.session_state[_SKIPPED] = skipped[:-1]
        st.session_state[_AGAIN] = skipped[-1][1]
    elif last is not None:
        undone = Pending(queue.dataset.folder).undo(last.date)
        st.session_state[_AGAIN] = undone[0].pixel_sha if undone else None  # another visitor was faster


def _show_skipped() -> None:
    st.session_state.pop(_SKIPPED, None)


def _nothing_left(queue: Queue, decided: Mapping[str, str]) -> None:
    """What is next where no image is in question."""
    issues = queue.check.issues
    skipped = {sha for _, sha in st.session_state.get(_SKIPPED, ())} - decided.keys()
    here = int(issues.loc[queue.chosen, "pixel_sha"].isin(skipped).sum())
    left = issues.loc[~issues["pixel_sha"].isin(decided.keys()), "issue"].value_counts()
    if here:
        st.markdown(f"**Only {here:,} skipped image{'s are' if here > 1 else ' is'} left here.**")
        st.button("Show skipped again", icon=":material/replay:", key="label-replay", on_click=_show_skipped)
    elif len(left):
        told = ", ".join(f"{n:,} {issue}" for issue, n in left.items())
        st.markdown(f"**Nothing is left to decide here.** Still open: {told}. Choose another issue or class above.")
    elif len(issues):
        next_ = " Create a dataset with the decisions, then train on it." if caching.pending(queue.dataset) else ""
        st.markdown(f"**Every doubtful label is decided.**{next_}")
    with st.container(horizontal=True):
        _button(queue, _UNDO, "content")
        _listen(queue)


def _last_decisions(queue: Queue) -> None:
    """The last decisions as small pictures, newest first."""
    places = dict(zip(queue.check.issues["pixel_sha"], queue.check.issues["row"], strict=True))
    made = [one for one in reversed(pending_of(queue.dataset)) if one.pixel_sha in places][:_LAST]
    if not made:
        return
    faces = queue.faces([int(places[decision.pixel_sha]) for decision in made])
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Decided last", width="content")
        for decision, face in zip(made, faces, strict=True):
            st.image(drawings.face(face, 48), width=48, alt=f"Decided: {in_words(decision)}")
            st.caption(in_words(decision), width="content")


def _decided_elsewhere(queue: Queue) -> None:
    """Says of the decisions that go into the next dataset how many were not made about this check."""
    held = {decision.pixel_sha: decision for decision in pending_of(queue.dataset)}
    elsewhere = sum(not decision.reason.startswith(queue.reason) for decision in held.values())
    if elsewhere:
        st.caption(
            f"{elsewhere:,} of {len(held):,} decided elsewhere: on Data, by command or about another label check."
        )
