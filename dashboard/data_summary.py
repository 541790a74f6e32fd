"""A prepared dataset in figures, as the Data page shows it: scores, pairs of copies, sources, ledger."""

from __future__ import annotations

from typing import Final

import pandas as pd
import streamlit as st

from dashboard import charts, drawings
from dashboard.components import show_error, theme
from fer_core.data.dataset import SPLITS, Dataset
from fer_core.data.findings import Reason
from fer_core.errors import FerError
from fer_core.preprocessing import decode

PAIRS: Final = 6


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
        # Datasets of before there were findings know the pictures of each source alone.
        found = {entry.reason: entry.findings for entry in info.findings}
        conflicts = found.get(Reason.CONFLICT, 0) if found else info.audit.conflicting_groups
        st.metric(
            "Conflicting labels",
            f"{conflicts:,} pictures",
            border=True,
            height="stretch",
            help="Each counted once, in however many sources it is.",
        )


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


def summary(dataset: Dataset) -> None:
    """Sources, ledger, classes, and what could not be read."""
    st.markdown("**Sources**")
    st.dataframe(
        sources(dataset), hide_index=True, height="content", width="stretch", placeholder="",
        column_config={name: st.column_config.NumberColumn(name, format="localized") for name in SPLITS},
    )  # fmt: skip
    st.markdown("**Ledger**")
    st.dataframe(
        ledger(dataset),
        column_order=["step", *SPLITS, "why"],
        hide_index=True,
        height="content",
        column_config={split: st.column_config.NumberColumn(format="localized") for split in SPLITS},
        placeholder="",
    )
    st.markdown("**Images per class** :gray[train, validation, test: solid to pale]")
    figure = charts.class_distribution(dataset.counts(), theme())
    st.plotly_chart(figure, config=charts.CONFIG, alt=f"Images per class and split of {dataset.name}")
    if dataset.info.quarantined:
        with st.expander(f"{len(dataset.info.quarantined):,} files were left out"):
            rows = [{"file": entry.path, "why": entry.reason} for entry in dataset.info.quarantined]
            st.dataframe(rows, hide_index=True, width="stretch")


def sources(dataset: Dataset) -> pd.DataFrame:
    """What each source holds, and what is wrong with it."""
    info = dataset.info
    shares: dict[str, list[str]] = {}
    for entry in info.audit.reexports:
        shares.setdefault(entry.a, []).append(f"{entry.share:.0%} of {entry.b}")
    rows = []
    for source in info.config["sources"]:
        name = source["name"]
        found = info.audit.sources[name]
        unread = sum(entry.path.startswith(f"{name}:") for entry in info.quarantined)
        health = [
            (found.redundant, "exact copies too many"),
            (found.conflicting_groups, "pictures of several labels"),
            (found.constant, "constant"),
            (unread, "not read"),
        ]
        rows.append(
            {
                "source": name,
                "layout": source["layout"],
                **{
                    split: found.images.get(split) for split in SPLITS
                },  # unknown where it was made before they were kept
                "health": ", ".join(f"{n:,} {words}" for n, words in health if n) or "nothing found",
                "is also": ", ".join(shares.get(name, [])),
            }
        )
    return pd.DataFrame(rows).astype(dict.fromkeys(SPLITS, "Int64"))
