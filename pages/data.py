"""Data: what is in your archives, and what is in them twice."""

import streamlit as st

from dashboard.components import (
    adopt_prepared,
    choose_view,
    dataset_job_cards,
    dataset_picker,
    errors_shown,
    finding,
    leak_badge,
    page_link,
)
from dashboard.data_summary import pairs, scores, summary
from dashboard.dataset_comparison import comparison
from dashboard.dataset_footer import footer
from dashboard.decisions import pending_panel
from dashboard.findings_view import findings_view
from dashboard.gallery import gallery
from dashboard.prepare_form import prepare_form
from dashboard.sentences import data_finding, decisions_finding
from fer_core.data.dataset import Dataset

VIEWS = ("Summary", "Findings", "Images", "Compare")


def show(dataset: Dataset) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        leak_badge(dataset)
        st.caption(f"{dataset.info.config.get('policy', '')} · {dataset.info.height} x {dataset.info.width} px")
        st.space("stretch")
        if dataset.info.trainable:
            page_link("train", "Train on this dataset", dataset=dataset.name)
        else:
            page_link("evaluate", "Score a model on it", dataset=dataset.name, split="test")
    finding(data_finding(dataset.info))
    if made_with := decisions_finding(dataset.info):
        st.caption(made_with)
    scores(dataset)
    pairs(dataset)
    view = choose_view(VIEWS)
    if view == "Findings":
        findings_view(dataset)
    elif view == "Images":
        gallery(dataset)
    elif view == "Compare":
        comparison(dataset)
    else:
        summary(dataset)
        pending_panel(dataset)
    with errors_shown():
        footer(dataset)


adopt_prepared()
dataset_job_cards("fetch", "prepare")
dataset = dataset_picker()
if dataset is None:
    prepare_form()
else:
    show(dataset)
    with st.expander("Prepare another dataset", icon=":material/add:"):
        prepare_form(base=dataset)
