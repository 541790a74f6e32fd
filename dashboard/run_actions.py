"""What can be done with a run: make it the baseline, go to it, repeat, rename, note, export, delete; with all: free
disk; and import one."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

import streamlit as st

from dashboard.components import errors_shown, page_link, plain
from dashboard.run_table import RunRow
from fer_core.jobs.store import Job
from fer_core.training import run_archive, run_folder
from fer_core.training.run_folder import Notes
from fer_core.training.runs import Run
from fer_core.workspace import Workspace

RENAMED = "runs_renamed"
"""Old and new name of a run that was renamed just now, or no name and that of one that was imported: pickers follow
it on the next run of the script."""

_IMPORTED = "runs_imported"  # how many this visitor has imported
_ASKED = "runs_delete"  # the run whose deletion is being asked about


def actions(row: RunRow) -> None:
    """Buttons and links for one run."""
    space, run = Workspace.default(), row.run
    dataset = _dataset_in(space, row)
    with st.container(horizontal=True, vertical_alignment="center"):
        chosen = st.button(
            "Set as baseline",
            type="primary",
            icon=":material/flag:",
            disabled=row.baseline or not row.facts.comparable,
            help=_why_no_baseline(row),
        )
        if row.facts.config:
            page_link("train", "Open in Train", run=run.name)
            page_link("train", "Repeat with changes", repeat=run.name, **dataset)
        if run.model:
            page_link("evaluate", "Evaluate", model=run.name, **dataset)
        st.space("stretch")
        _rename(space, run)
        _note(run)
        st.button(
            "Delete",
            icon=":material/delete:",
            disabled=run.state.alive,
            help="It is at work: stop it first." if run.state.alive else None,
            on_click=_ask,
            args=(run.name,),
        )
    if chosen:
        with errors_shown():
            run_folder.set_baseline(space, run.name)
            st.rerun()
    if st.session_state.pop(_ASKED, "") == run.name:  # opens once: leaving the page is an answer, too
        _delete_dialog(row)


def _why_no_baseline(row: RunRow) -> str | None:
    if row.baseline:
        return "The others are compared with it already."
    return None if row.facts.comparable else "Runs are compared by their answers on validation; this one has none yet."


def _dataset_in(space: Workspace, row: RunRow) -> dict[str, str]:
    """The run's dataset as a link hands it on, if it is one of the workspace."""
    reference = row.facts.config.dataset if row.facts.config else None
    known = reference is not None and Path(reference.path) in space.list_datasets()
    return {"dataset": Path(reference.path).name} if reference and known else {}


def _rename(space: Workspace, run: Run) -> None:
    with st.popover("Rename", icon=":material/edit:", disabled=run.state.alive, key=f"rename-of-{run.name}"):
        new = st.text_input("New name", value=run.name, max_chars=64, key=f"rename-{run.name}").strip()
        if st.button("Rename it", disabled=new == run.name):
            with errors_shown():
                run_folder.rename(space, run.name, new)
                st.session_state[RENAMED] = (run.name, new)
                st.rerun()


def _note(run: Run) -> None:
    notes = run_folder.read_notes(run.folder)
    with st.popover("Note", icon=":material/sticky_note_2:"):
        tags = st.multiselect(
            "Tags",
            notes.tags,
            default=notes.tags,
            accept_new_options=True,
            placeholder="Type a word",
            key=f"tags-{run.name}",
        )
        note = st.text_area("Note", value=notes.note, max_chars=2000, key=f"note-{run.name}")
        written = Notes(tags=tags, note=note.strip())
        if st.button("Save", disabled=written == notes):
            with errors_shown():
                run_folder.write_notes(run.folder, written)
                st.toast("Noted.")
                st.rerun()


def export_run(row: RunRow) -> None:
    """The run as a zip file, which is made when it is asked for: it can be hundreds of megabytes."""
    with st.popover(f"Export {row.name}", icon=":material/archive:", key=f"export-of-{row.name}"):
        disk = row.summary.disk
        checkpoints = st.checkbox(
            f"With checkpoints, {disk.checkpoints / 2**20:,.0f} MB",
            disabled=not disk.checkpoints,
            help="What an unfinished run goes on from.",
            key=f"export-checkpoints-{row.name}",
        )
        st.download_button(
            "Download zip",
            partial(_zipped, row.run.job, checkpoints=checkpoints),
            file_name=f"{row.name}.zip",
            mime="application/zip",
            icon=":material/download:",
            on_click="ignore",
        )
        st.caption("Settings, curves, log, notes, model, predictions and scores. It holds paths of this machine.")


def _zipped(job: Job, *, checkpoints: bool) -> bytes:
    target = io.BytesIO()
    run_archive.export_run(job, target, checkpoints=checkpoints)
    return target.getvalue()


def import_run() -> None:
    """Takes in a run that was exported, here or elsewhere."""
    with st.popover("Import a run", icon=":material/unarchive:"):
        number = st.session_state.setdefault(_IMPORTED, 0)  # after an import the fields are new, and so empty
        file = st.file_uploader("Exported run", type="zip", key=f"import-file-{number}")
        name = st.text_input("Name here", max_chars=64, placeholder="The name it had", key=f"import-name-{number}")
        st.caption("Larger files: `python -m fer_core runs import FILE.zip`.")
        if st.button("Import it", icon=":material/unarchive:", disabled=file is None) and file:
            with errors_shown(), st.spinner("Unpacking and checking"):
                found = run_archive.import_run(Workspace.default(), file, name.strip())
                st.toast(f"Imported {found.job.name}.")
                st.session_state[RENAMED] = ("", found.job.name)
                st.session_state[_IMPORTED] += 1
                st.rerun()


def _ask(name: str) -> None:
    st.session_state[_ASKED] = name


def _delete_dialog(row: RunRow) -> None:
    """Asks before a run goes for good, and says what goes with it."""

    @st.dialog(f"Delete {plain(row.name)}?", icon=":material/delete:")
    def ask() -> None:
        run, size = row.run, run_folder.disk_use(row.run.folder).total
        lost = ["its settings, curves and log"]
        lost += ["its model, with which nothing can be predicted any more"] if run.model else []
        lost += ["its predictions and scores"] if row.facts.comparable else []
        lost += ["its checkpoints, so it cannot go on"] if run.state.resumable else []
        lost += ["the choice of baseline: it is the baseline now"] if row.baseline else []
        st.markdown("Lost for good:\n" + "\n".join(f"- {entry}" for entry in lost))
        st.markdown(f"{size / 2**20:,.1f} MB are freed. The dataset stays.")
        with st.container(horizontal=True):
            if st.button("Delete it", type="primary", icon=":material/delete:"):
                with errors_shown():
                    run_folder.delete(Workspace.default(), run.name)
                    st.rerun()
            if st.button("Keep it"):
                st.rerun()

    ask()


def free_disk(rows: list[RunRow]) -> None:
    """Deletes what finished runs do not need any more, once it is confirmed."""
    needless = {row.name: row.summary.freeable for row in rows if row.summary.freeable}
    if not needless:
        return
    runs = f"{len(needless)} finished run" + ("s" if len(needless) > 1 else "")
    label = f"Delete checkpoints of {runs}, {sum(needless.values()) / 2**20:,.0f} MB"
    with st.popover(label, icon=":material/cleaning_services:"):
        st.markdown("Finished runs do not need their checkpoints. Models, curves and scores stay. It cannot be undone.")
        if st.button("Delete them", icon=":material/delete:"):
            with errors_shown():
                for name in needless:
                    run_folder.free_checkpoints(Workspace.default(), name)
                st.rerun()
