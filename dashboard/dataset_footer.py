"""A dataset to take away: files to download, and lines that use it elsewhere."""

from __future__ import annotations

import streamlit as st

from dashboard import caching
from dashboard.components import job_command
from fer_core.data.dataset import Dataset
from fer_core.data.snippets import commands, snippets


def footer(dataset: Dataset) -> None:
    """Downloads, code, and the command that made the dataset; nothing is made before it is asked for."""
    name = dataset.name
    with st.container(horizontal=True):
        with st.popover("Download", icon=":material/download:"):
            for words, kind, file in (
                ("Manifest, CSV", "manifest", f"{name}-manifest.csv"),
                ("Split files for other trainers, zip", "splits", f"{name}-splits.zip"),
                ("Report, Markdown", "report", f"{name}-report.md"),
                ("Findings, CSV", "findings", f"{name}-findings.csv"),
                ("Decisions, CSV", "decisions", f"{name}-decisions.csv"),
            ):
                st.download_button(
                    words,
                    lambda kind=kind: caching.dataset_file(dataset, kind),  # type: ignore[misc]
                    file_name=file,
                    on_click="ignore",
                    type="tertiary",
                    key=f"download-{kind}",
                )
            st.caption("Pictures in class folders:")
            st.code(job_command(["data", "export", name, "--out", f"{name}-folders"]), language="bash", wrap_lines=True)
        with st.popover("Use this split in PyTorch, Keras, datasets, pandas", icon=":material/code:"):
            code = snippets(dataset)
            chosen = st.segmented_control("For", list(code), default="PyTorch", required=True, key="snippet_for")
            st.code(code[chosen], language="python", wrap_lines=True)
        with st.popover("Copy as command", icon=":material/terminal:"):
            st.code("\n".join(map(job_command, commands(dataset))), language="bash", wrap_lines=True)
            if dataset.info.config.get("decisions"):
                st.caption("The decisions are under Download.")
