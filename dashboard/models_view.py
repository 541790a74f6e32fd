"""Evaluate, models: every model that was evaluated on these images, and what the published recipes state."""

from __future__ import annotations

import streamlit as st

from dashboard import caching
from dashboard.components import errors_shown, plain, settle
from dashboard.evaluation import View, kept
from fer_core.evaluation.metrics import share_words
from fer_core.training.config import list_presets, load_preset


def models(view: View) -> None:
    """The models as a table, the most accurate first; a click on a row chooses its model."""
    scored = []
    for name, file in kept(view.dataset, view.split).items():
        with errors_shown():
            scored.append((name, *caching.scores(file)))
    scored.sort(key=lambda row: -row[1].accuracy)
    names = [name for name, *_ in scored]
    rows = [
        {
            "Model": name,
            "Accuracy": share_words(report.accuracy, report.ci95),
            "n": report.n,
            "Never seen": share_words(report.leak_free.accuracy, report.leak_free.ci95)
            if report.leak_free.accuracy is not None and report.leak_free.ci95 is not None
            else "—",
            "Macro-F1": report.macro_f1,
            "Calibration error": 100 * report.ece,
            "What is known": leaks,
        }
        for name, report, leaks in scored
    ]
    presets = (load_preset(name) for name in list_presets())
    rows += [{"Model": preset.title, "What is known": preset.published} for preset in presets if preset.published]
    key = f"models-{view.model.name}"
    st.dataframe(
        rows,
        hide_index=True,
        height="content",
        width="stretch",
        placeholder="—",
        key=key,
        on_select=lambda: _choose(key, names),
        selection_mode="single-row",
        column_config={
            "Model": st.column_config.TextColumn(pinned=True),
            "n": st.column_config.NumberColumn(format="localized"),
            "Never seen": st.column_config.TextColumn(help="Accuracy on images without a copy in its training data."),
            "Macro-F1": st.column_config.NumberColumn(format="%.3f"),
            "Calibration error": st.column_config.NumberColumn(format="%.1f %%"),
        },
    )
    st.caption(
        f"Scores on the {view.split} images of {plain(view.dataset.name)}. A row without scores is a published recipe: "
        "what its source states was not measured here, nor on these images. Choose a row to look at its model."
        + (" All are plain, without test-time augmentation." if view.report.tta else "")
    )


def _choose(key: str, names: list[str]) -> None:
    if key not in st.session_state:  # the page was left meanwhile
        return
    for row in st.session_state[key].selection.rows:
        if row < len(names):  # the others are recipes
            settle("model", names[row])
