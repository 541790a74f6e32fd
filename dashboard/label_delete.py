"""Deleting a finished label check: what goes with it, what stays."""

from __future__ import annotations

from typing import Final

import streamlit as st

from dashboard.components import errors_kept, let_go, plain, show_kept_error
from dashboard.label_gain import job_measuring
from fer_core.evaluation.label_check import LabelCheck, delete_label_check
from fer_core.training.run_folder import disk_use
from fer_core.workspace import Workspace

_REFUSED: Final = "label_delete_refused"


def delete_check(check: LabelCheck) -> None:
    """The button, which asks first."""
    show_kept_error(_REFUSED)
    measuring = job_measuring(check)
    busy = bool(measuring and measuring.state().alive)
    with st.popover(
        "Delete this check", icon=":material/delete:", disabled=busy, help="It is being measured." if busy else None
    ):
        st.markdown(
            f"**{plain(check.name)}** goes with its queue, trained folds and what was measured, "
            f"{disk_use(check.folder).total / 2**20:,.1f} MB. Decisions, datasets and runs stay. It cannot be undone."
        )
        st.button("Delete it", icon=":material/delete:", key="label_delete", on_click=_delete, args=(check,))


def _delete(check: LabelCheck) -> None:
    with errors_kept(_REFUSED):
        delete_label_check(Workspace.default(), check.name)
        let_go("check")
