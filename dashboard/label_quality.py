"""How sure the networks are of every label that they were asked about, and where those stand that are likely wrong."""

from __future__ import annotations

import numpy as np
import streamlit as st

from dashboard import charts, evaluation_charts
from dashboard.components import theme
from fer_core.evaluation.label_check import Issue, LabelCheck


def label_quality(check: LabelCheck) -> None:
    """A small histogram, with its finding in a sentence."""
    issues = check.issues
    rows = issues.loc[issues["issue"] == Issue.LIKELY_WRONG, "row"]
    wrong = check.out_of_fold["row"].isin(rows).to_numpy()
    if not wrong.any():
        return
    quality, medians = check.quality, []
    for words, those in (("the labels that are likely wrong", wrong), ("the others", ~wrong)):
        if those.any():
            medians.append(f"{words} {100 * np.median(quality[those]):.0f} %")
    said = f"At the median, the networks give {' and '.join(medians)}."
    st.markdown("**Label quality**")
    figure = evaluation_charts.label_quality(quality, wrong, theme())
    st.plotly_chart(figure, config=charts.CONFIG, key="label_quality", alt=said)
    st.caption(f"{said} Filled: likely wrong, {wrong.sum():,} · train, out of fold · n {len(wrong):,}")
