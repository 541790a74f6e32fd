"""Evaluate, as a command: what prints the scores, and what of them the page shows."""

from __future__ import annotations

import streamlit as st

from dashboard.components import job_command
from dashboard.evaluation import View
from fer_core.evaluation.predictions import origin_of
from fer_core.evaluation.slices import IMAGE_DIMENSIONS


@st.fragment
def copy_as_command(view: View) -> None:
    """The command that prints what is shown; opening it is a run of its own, for views change without the page."""
    with st.popover("Copy as command", icon=":material/terminal:", key="command", on_change="rerun"):
        st.code(job_command([*_command_of(view), *_shown()]), language="bash", wrap_lines=True)


def _shown() -> list[str]:
    """What the chosen view adds to the command of its scores."""
    state = st.session_state
    match state["view"]:
        case "Confidence":
            return ["--uncertain-below", f"{state['uncertain_below']:g}"]
        case "Slices" if "slice_by" in state:
            by = state["slice_by"]
            return ["--slice-by", by if by in IMAGE_DIMENSIONS else state["slice_file"].name]
        case "Matrix" if state["cells"] == "Difference" and "against" in state:
            return ["--against", state["against"]]
    return []


def _command_of(view: View) -> list[str]:
    """The command line that scores the same again."""
    origin = origin_of(view.table)
    command = ["evaluate", origin.file or view.model.name, view.dataset.name, "--split", view.split]
    command += ["--labels", origin.labels] if origin.labels else []
    command += ["--tta", origin.tta] if origin.tta else []
    return [*command, *(["--trained-on", origin.trained_on] if origin.trained_on else [])]
