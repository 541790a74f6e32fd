"""Class weights on the Balance page: what each class would count in training, without a copy of any image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import charts
from dashboard.components import finding, job_command, page_link, theme
from dashboard.sentences import weights_finding
from fer_core.data.class_weights import inverse_class_weights
from fer_core.emotions import EMOTIONS
from fer_core.training import runs
from fer_core.training.config import inverse_weight_settings, list_presets, load_preset
from fer_core.workspace import Workspace

if TYPE_CHECKING:
    from fer_core.data.dataset import Dataset


def show_class_weights(dataset: Dataset) -> None:
    """The weights of a dataset's train split, the way to Train, and the command that trains with them."""
    counts = dataset.counts()["train"]
    found = inverse_class_weights([counts[emotion] for emotion in EMOTIONS])
    weights = dict(zip(EMOTIONS, found.tolist(), strict=True))
    sentence = weights_finding(counts, weights)
    finding(sentence)
    st.caption("What an image of each class would count in the loss: the mean image 1, every class the same in sum.")
    st.plotly_chart(charts.weight_bars(counts, weights, theme()), config=charts.CONFIG, key="weights", alt=sentence)
    st.caption("No dataset is made: the weights are a setting of training, in every phase of the preset.")
    page_link("train", "Train with class weights", dataset=dataset.name, class_weights="inverse")
    with st.expander("The same as a command", icon=":material/terminal:"):
        preset = load_preset(st.selectbox("Preset", list_presets(), key="weights_preset", width=280))
        leaky = dataset.info.contaminated
        name = runs.free_name(Workspace.default(), preset.preset)
        settings = inverse_weight_settings(preset)
        arguments = runs.arguments(str(dataset.folder), preset.preset, settings, name)
        st.code(job_command(arguments), language="bash", wrap_lines=True)
        if leaky:
            st.caption("This dataset is leaky: the command refuses it unless you add `--allow-leaks`.")
