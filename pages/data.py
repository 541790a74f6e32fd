"""Data: what is in your archives, and what is in them twice."""

import pandas as pd
import streamlit as st

from dashboard import charts, drawings
from dashboard.components import (
    adopt_prepared,
    dataset_picker,
    finding,
    job_card,
    leak_badge,
    newest_job,
    page_link,
    show_error,
    theme,
)
from dashboard.prepare_form import prepare_form
from dashboard.sentences import data_finding
from fer_core.data.dataset import SPLITS, Dataset
from fer_core.errors import FerError
from fer_core.jobs.state import JobState
from fer_core.preprocessing import decode

PAIRS = 6


def scores(dataset: Dataset) -> None:
    info = dataset.info
    steps = list(info.counts)
    read, final = (sum(sum(c.values()) for c in info.counts[s].values()) for s in (steps[0], steps[-1]))
    test = sum(dataset.counts()["test"].values())
    primary = info.audit.sources[info.config["primary"]].cross_split["train/test"].any
    with st.grid(4, min_column_width=150):
        st.metric("Images read", f"{read:,}", border=True, height="stretch")
        st.metric("In this dataset", f"{final:,}", border=True, height="stretch")
        st.metric(
            "Test seen in train",
            f"{primary:,} → {info.leaked['test']:,}",
            border=True,
            height="stretch",
            help=f"Test images with a copy in train: in {info.config['primary']} as published, and in this dataset; "
            f"n {test:,} test images.",
        )
        st.metric("Conflicting labels", f"{info.audit.conflicting_groups:,} groups", border=True, height="stretch")


@st.fragment
def pairs(dataset: Dataset) -> None:
    """Six pairs at a time, worst first: an evaluation image beside its copy on the train side."""
    try:
        copies = dataset.copies()
    except FerError as error:
        show_error(str(error))
        return
    if copies.empty:
        st.caption("No evaluation image has a copy in train.")
        return
    last = (len(copies) - 1) // PAIRS + 1
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**Evaluation image | its copy in train** :gray[{len(copies):,} pairs, worst first]")
        number = st.pagination(last, key="pairs_page") if last > 1 else 1
    with st.grid(PAIRS, min_column_width=130):
        for row in copies.iloc[(number - 1) * PAIRS : number * PAIRS].to_dict("records"):
            with st.container(gap="xsmall"):
                left, right = (decode(row[side], gray=True) for side in ("eval_image", "train_image"))
                alike = row["kind"] if row["kind"] == "exact" else f"{row['kind']} {row['similarity']:.2f}"
                labels = f"{row['eval_label']} | {row['train_label']}"
                st.image(drawings.side_by_side(left, right), width="stretch", alt=f"{alike}: {labels}")
                mark = ":orange[labels differ] · " if row["eval_label"] != row["train_label"] else ""
                st.caption(f"{labels}  \n{mark}{alike} · {row['eval_split']}")


def ledger(dataset: Dataset) -> pd.DataFrame:
    """What was read, every change with its reason, and what is left: each column adds up."""
    info = dataset.info
    steps = list(info.counts)

    def totals(step: str) -> dict[str, int]:
        return {split: sum(info.counts[step][split].values()) for split in SPLITS}

    rows = [{"step": steps[0], "why": "images in the sources", **totals(steps[0])}]
    rows += [{"step": change.step, "why": change.why, change.split: -change.n} for change in info.removed]
    rows.append({"step": "= dataset", "why": "what it holds", **totals(steps[-1])})
    return pd.DataFrame(rows).astype(dict.fromkeys(SPLITS, "Int64"))


def show(dataset: Dataset) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        leak_badge(dataset)
        st.caption(f"{dataset.info.config.get('policy', '')} · {dataset.info.height} x {dataset.info.width} px")
        st.space("stretch")
        if dataset.info.trainable:
            page_link("train", "Train on this dataset", dataset=dataset.name)
        else:
            page_link("evaluate", "Score a model on it", dataset=dataset.name, split="test")
    sentence = data_finding(dataset.info)
    finding(sentence)
    scores(dataset)
    pairs(dataset)
    st.markdown("**Ledger**")
    figures = {split: st.column_config.NumberColumn(format="localized") for split in SPLITS}
    st.dataframe(
        ledger(dataset),
        column_order=["step", *SPLITS, "why"],
        hide_index=True,
        height="content",
        column_config=figures,
        placeholder="",
    )
    st.markdown("**Images per class** :gray[train, validation, test: solid to pale]")
    figure = charts.class_distribution(dataset.counts(), theme())
    st.plotly_chart(figure, config=charts.CONFIG, alt=f"Images per class and split of {dataset.name}")
    if dataset.info.quarantined:
        with st.expander(f"{len(dataset.info.quarantined):,} files were left out"):
            rows = [{"file": entry.path, "why": entry.reason} for entry in dataset.info.quarantined]
            st.dataframe(rows, hide_index=True, width="stretch")


adopt_prepared()
for kind in ("fetch", "prepare"):
    job = newest_job(kind)
    if job and job.state() is not JobState.DONE:
        job_card(job)
dataset = dataset_picker()
if dataset is None:
    prepare_form()
else:
    show(dataset)
    with st.expander("Prepare another dataset", icon=":material/add:"):
        prepare_form(base=dataset)
