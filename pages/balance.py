"""Balance: how many of each class the model will see, and which are copies."""

from collections.abc import Mapping

import streamlit as st

from dashboard import charts
from dashboard.balance_form import balance_settings, create_button, warn_of_many_children
from dashboard.class_weights import show_class_weights
from dashboard.components import (
    adopt_prepared,
    dataset_job_cards,
    dataset_picker,
    errors_shown,
    finding,
    leak_badge,
    page_link,
    plain,
    theme,
    without_train,
)
from dashboard.distributions import distributions
from dashboard.families import show_children, show_preview
from dashboard.sentences import balance_finding
from fer_core.data.balance import ClassPlan, plan, plan_of
from fer_core.data.dataset import SPLITS, Dataset
from fer_core.data.info import Counts
from fer_core.workspace import Workspace


def hero(counts: Counts, plans: Mapping[str, ClassPlan], sentence: str) -> None:
    """Before and after per class, of one split at a time; only train is ever touched."""
    split = st.segmented_control(
        "Split", SPLITS, default="train", format_func=str.capitalize, required=True, key="split", bind="query-params",
        label_visibility="collapsed",
    )  # fmt: skip
    touched = split == "train"
    if not touched:
        st.caption("Not touched: only train is augmented or sampled.")
    else:
        st.caption("Outline before · solid: originals after · hatched: augmented children")
    shown = plans if touched else {emotion: ClassPlan(n, n, 0, 0) for emotion, n in counts[split].items()}
    figure = charts.balance_bars(shown, theme(), touched=touched)
    alt = sentence if touched else f"{split}: not touched"
    st.plotly_chart(figure, config=charts.CONFIG, key=f"balance-{split}", alt=alt)


def show_form(dataset: Dataset) -> None:
    config = balance_settings(dataset)
    if config is None:
        show_class_weights(dataset)
        return
    counts = dataset.counts()
    plans = plan(counts["train"], config)
    sentence = balance_finding(plans, done=False)
    finding(sentence)
    warn_of_many_children(plans)
    hero(counts, plans, sentence)
    button = st.container()
    distributions(dataset, plans)
    config = show_preview(dataset, plans, config)
    with button:  # above the faces, but after them: they tell how long it will take
        create_button(dataset, config, plans)


def show_balanced(dataset: Dataset, before: Counts, plans: Mapping[str, ClassPlan]) -> None:
    sentence = balance_finding(plans, done=True)
    finding(sentence)
    hero(before, plans, sentence)
    distributions(dataset, plans)
    show_children(dataset, plans)
    parent = dataset.info.parent
    if parent and (Workspace.default().datasets / parent / "dataset.json").is_file():
        st.markdown(f"{plain(dataset.name)} is balanced already. To balance in another way, start from its parent.")
        page_link("balance", f"Balance {plain(parent)}", dataset=parent)
    elif parent:
        st.markdown(f"It is balanced already, made from {plain(parent)}, which is no longer here.")
    else:
        st.markdown("It was balanced while it was prepared. To balance in another way, prepare it without balancing.")
        page_link("data", "Go to Data")


adopt_prepared()
dataset_job_cards("balance")
with st.container(horizontal=True, vertical_alignment="bottom"):
    dataset = dataset_picker()
    if dataset is not None:
        leak_badge(dataset)
        done = plan_of(dataset.info)
        if done:
            page_link("train", "Train on this dataset", dataset=dataset.name)
if dataset is None:
    st.info("Prepare a dataset first.", icon=":material/database:")
    page_link("data", "Go to Data")
elif not without_train(dataset):
    with errors_shown():
        before = dataset.info.before_balancing()
        if before and done:
            show_balanced(dataset, before, done)
        else:
            show_form(dataset)
