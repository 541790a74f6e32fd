"""Evaluate, difference: two models on the same images, in a sentence, a matrix, and the faces on which they differ."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from dashboard import caching, charts
from dashboard.cells import ONE_CELL, clickable, pick_cell
from dashboard.components import accuracy, choose, errors_shown, plain, theme
from dashboard.drawer import contact_sheet, open_if_asked
from dashboard.evaluation import View, kept, leak_words
from dashboard.run_table import NOISE, points
from fer_core.emotions import EMOTIONS
from fer_core.evaluation.compare import PairedAnswers, p_words, pair, shared_rows
from fer_core.evaluation.metrics import confusion_matrix
from fer_core.evaluation.predictions import probabilities_of

if TYPE_CHECKING:
    import pandas as pd
    from streamlit.delta_generator import DeltaGenerator

    from fer_core.evaluation.compare import PairedDifference

_LONGEST: Final = 23  # characters of a name on a button


@dataclass(frozen=True)
class Compared:
    """Two models on the ``N`` images that both were asked about; A is the other one, B the one at hand.

    Attributes:
        answers: What they say.
        rows: Where the images stand in the split, int64 ``[N]``.
        sure: Probability that A and B give to what they say, float32 ``[2, N]``.
    """

    answers: PairedAnswers
    rows: NDArray[np.int64]
    sure: NDArray[np.float32]

    @property
    def matrices(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The confusion matrices of A and B on these images."""
        said = self.answers
        return confusion_matrix(said.labels, said.a), confusion_matrix(said.labels, said.b)

    def alone(self, cell: tuple[int, int] | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The images that only A and those that only B reads right, or that are in a cell of its matrix alone.

        What B has more of than A in a cell is the number of the latter minus that of the former.

        Returns:
            Positions, those of which the model is most certain first.
        """
        said = self.answers
        true, read = (said.labels, said.labels) if cell is None else cell
        a, b = ((said.labels == true) & (answer == read) for answer in (said.a, said.b))
        only = (np.flatnonzero(a & ~b), np.flatnonzero(b & ~a))
        only_a, only_b = (at[np.argsort(-sure[at], kind="stable")] for at, sure in zip(only, self.sure, strict=True))
        return only_a, only_b


def compare(other: pd.DataFrame, this: pd.DataFrame) -> Compared | None:
    """Compares two tables of predictions; None where they share no image."""
    answers = pair(other, this)
    if answers is None:
        return None
    places = shared_rows(other, this)
    sure = [probabilities_of(table).max(axis=1)[at] for table, at in zip((other, this), places, strict=True)]
    return Compared(answers, this["row"].to_numpy(np.int64)[places[1]], np.stack(sure))


def difference_sentence(name: str, other: str, difference: PairedDifference, split: str) -> str:
    """How a model differs from another one, in points of accuracy, and whether that may be chance."""
    noise = f", {NOISE}," if difference.within_noise else ""
    return (
        f"{name} against {other}: {points(difference)} points{noise} on {difference.n:,} {split} images; "
        f"exact McNemar test {p_words(difference.p_value)}."
    )


def compared_with_another(view: View, default: tuple[int, int], left: DeltaGenerator, right: DeltaGenerator) -> None:
    """The difference to another model whose predictions are kept: matrix on the left, faces on the right.

    Args:
        view: The model at hand.
        default: Cell to begin with.
        left: Where the matrix goes.
        right: Where the rest goes.
    """
    others = {name: file for name, file in kept(view.dataset, view.split).items() if file != view.file}
    with right:
        if not others:
            st.info(
                f"No other model has been evaluated on these {view.split} images yet: choose one above, evaluate it, "
                "and come back.",
                icon=":material/compare_arrows:",
            )
            return
        name = choose("Other model", list(others), key="against")
        with errors_shown():
            table, report = caching.predictions(others[name])
            compared = caching.compared(others[name], view.file)
            if compared is None:
                st.info(f"{plain(name)} was asked about other images.")
                return
            said = difference_sentence(view.name, name, compared.answers.difference, view.split)
            st.markdown(f"**{plain(said)}**")
            st.caption(f"{plain(name)}: {accuracy(report, view.split, leak_words(table, report))}")
            with st.container(horizontal=True, vertical_alignment="bottom"):
                pickers = st.container(horizontal=True, width="content")
                one = st.toggle("Only this cell", key=ONE_CELL, bind="query-params")
            with pickers:
                picked = pick_cell(default, disabled=not one)
            cell = picked if one else None
            with left:
                _matrix(view, name, compared, cell, said)
            _faces(view, name, compared, cell)


def _matrix(view: View, name: str, compared: Compared, cell: tuple[int, int] | None, alt: str) -> None:
    other, this = compared.matrices
    names = view.name, name
    clickable(charts.difference_matrix(this, other, theme(), names=names, selected=cell), alt)
    st.caption(
        f"Images in a cell by {plain(view.name)} minus those by {plain(name)}. "
        "Teal is better: more right or fewer wrong; orange is worse."
    )


def _faces(view: View, name: str, compared: Compared, cell: tuple[int, int] | None) -> None:
    """The faces that one model alone reads right, or alone reads as the chosen cell says."""
    only = dict(zip(("other", "this"), compared.alone(cell), strict=True))
    names = {"other": name, "this": view.name}
    does = "right"
    if cell:
        does = f"{EMOTIONS[cell[0]]} " + ("rightly" if cell[0] == cell[1] else f"as {EMOTIONS[cell[1]]}")
    linked = st.query_params.pop("alone", st.session_state.get("alone", ""))
    st.session_state["alone"] = linked if linked in names else "this"
    who = st.segmented_control(
        f"Only one reads {does}",
        ["this", "other"],
        format_func=lambda who: f"{plain(_short(names[who]))} · {len(only[who]):,}",
        required=True,
        key="alone",
    )
    assert who
    chosen = only[who]
    if not len(chosen):
        st.caption(f"There is no picture that only {plain(names[who])} reads {does}.")
        return
    said, (sure_a, sure_b) = compared.answers, compared.sure

    def told(at: int) -> str:
        image = chosen[at]
        answers = ((view.name, said.b, sure_b), (name, said.a, sure_a))
        words = [
            f"{html.escape(model)}: {EMOTIONS[read[image]]}, {100 * sure[image]:.0f} %" for model, read, sure in answers
        ]
        return "<br>".join([f"labelled {EMOTIONS[said.labels[image]]}", *words])

    places = [(view.split, row) for row in compared.rows[chosen].tolist()]
    contact_sheet(view.dataset, places, told, key=f"alone-{view.split}-{name}-{who}-{cell}")
    link = {**view.link, "cells": "Difference", "against": name, "alone": who}
    if cell:
        link |= {ONE_CELL: "true", "true": EMOTIONS[cell[0]], "read": EMOTIONS[cell[1]]}
    open_if_asked(view.dataset, places, view.table, ("evaluate", link), model=view.model_file)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
