"""How far a model's own probabilities can be relied on, and what it costs to hear only the sure ones."""

from __future__ import annotations

import numpy as np
import streamlit as st

from dashboard import charts, evaluation_charts
from dashboard.components import page_link, theme
from dashboard.evaluation import View
from fer_core.evaluation.calibration import apply_temperature
from fer_core.evaluation.confidence import answered_at, coverage_curve, reliability_bins
from fer_core.evaluation.metrics import Floats, Ints
from fer_core.evaluation.predictions import origin_of, probabilities_of
from fer_core.inference.images import UNCERTAIN_BELOW


def confidence(view: View) -> None:
    """The price of a threshold, with the coverage curve; stated probability against accuracy."""
    probabilities, labels = probabilities_of(view.table), view.table["label"].to_numpy(np.int64)
    left, right = st.columns(2, gap="medium")
    with left:
        _threshold(view, probabilities, labels)
    with right:
        _reliability(view, probabilities, labels)


@st.fragment  # moving the threshold runs this alone, not the page
def _threshold(view: View, probabilities: Floats, labels: Ints) -> None:
    threshold = st.slider(
        "Call it uncertain below",
        0.0,
        1.0,
        UNCERTAIN_BELOW,
        0.05,
        help="A picture whose highest probability is lower gets no answer.",
        key="uncertain_below",
        bind="query-params",
    )
    answered = answered_at(probabilities, labels, threshold)
    st.markdown(f"**{answered.said}**")
    figure = evaluation_charts.coverage(coverage_curve(probabilities, labels), answered, theme())
    st.plotly_chart(figure, config=charts.CONFIG, key="coverage", alt=answered.said)
    st.caption(f"{view.where} · n {len(labels):,} · {answered.n:,} answered · the surest at the left")
    if view.model_file is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        page_link("predict", f"Predict with {threshold:.2f}", model=view.model.name, threshold=f"{threshold:g}")
        st.caption(f"or `predict PATH --threshold {threshold:g}`")


def _reliability(view: View, probabilities: Floats, labels: Ints) -> None:
    temperature = origin_of(view.table).temperature
    after = reliability_bins(probabilities, labels)
    before = None
    if temperature != 1 and view.report.tta is None:  # of a mean it cannot be taken back
        before = reliability_bins(apply_temperature(probabilities, 1 / temperature), labels)
    words = f"Stated probabilities are {100 * after.ece:.1f} points off (ECE)"
    if before is not None:
        words += f"; without the temperature, {100 * before.ece:.1f}"
    st.markdown(f"**{words}.**")
    figure = evaluation_charts.reliability(after, before, theme())
    st.plotly_chart(figure, config=charts.CONFIG, key="reliability", alt=f"{words}.")
    st.caption(f"{view.where} · n {len(labels):,} · {_about_temperature(view, temperature)}")


def _about_temperature(view: View, temperature: float) -> str:
    """Where the temperature comes from, and whether these images are a fair test of it."""
    card = view.model.card
    if temperature == 1:
        return "no temperature is known of this model"
    if view.report.tta:
        return f"as served, at a temperature of {temperature:.3f}, which was not fitted to means over views"
    told = f"solid: as served, at a temperature of {temperature:.3f}; dashed: before"
    if card is None or not card.dataset.known:
        return told
    if view.model.chosen_on(view.dataset.info.fingerprint, view.split):
        return f"{told} · fitted on these very images, so a little too good here"
    return f"{told} · fitted on the {card.selection_set} images of {card.dataset.name}, not on these"
