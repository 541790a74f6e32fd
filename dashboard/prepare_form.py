"""Choosing sources and settings for ``data prepare``, as the Data page shows it."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Collection
from pathlib import Path

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from dashboard import caching
from dashboard.components import all_jobs, errors_kept, errors_shown, plain, show_error, show_kept_error
from fer_core.data import fetch
from fer_core.data.config import Policy
from fer_core.data.dataset import Dataset
from fer_core.data.labels import parse_label
from fer_core.data.layouts import Layout
from fer_core.data.sources import look_at
from fer_core.errors import FerError, SourceError
from fer_core.jobs import supervisor
from fer_core.jobs.store import list_jobs
from fer_core.workspace import Workspace, check_name, expand

_REFUSED = "fetch_refused"
_LAYOUTS = {
    Layout.FER2013_FOLDERS: "FER2013",
    Layout.FER2013_CSV: "FER2013 CSV",
    Layout.EDF: "Emotion Detection FER",
    Layout.SPLIT_FOLDERS: "split and class folders",
    Layout.CLASS_FOLDERS: "class folders",
}


def prepare_form(base: Dataset | None = None) -> None:
    """Archives found, added by path or uploaded; one line of settings; the primary button.

    Args:
        base: A dataset whose sources the new one may have, too.
    """
    joined = base is not None and st.checkbox(
        f"Add to the sources of {plain(base.name)}, by its settings; {plain(base.name)} stays as it is",
        key="prepare_join",
    )
    found = st.container()
    _add_path()
    _upload()
    _fetch()
    with found:  # above the two, but after them, so that what was just added is listed
        chosen = _found([source["path"] for source in base.info.config.get("sources", [])] if base and joined else [])
    settings = None
    with errors_shown():
        settings = ["--add-to", str(base.folder)] if base and joined else _settings()
    name = st.text_input("Name of the dataset", value=free_name("faces"), key="prepare_name", max_chars=64)
    start = st.button(
        "Prepare dataset",
        type="primary",
        icon=":material/play_arrow:",
        disabled=not chosen or settings is None,
        help=None if chosen else "Tick or add at least one archive first.",
    )
    if start and settings is not None:
        arguments = ["data", "prepare", *source_arguments(chosen), *settings]
        launch_dataset_job("prepare", name.strip(), arguments, "prepare_name")


def _found(known: Collection[str]) -> list[Path]:
    """The archives that are ticked, of those whose paths are not known."""
    archives = [*caching.archives(caching.archive_folders()), *st.session_state.get("prepare_added", {}).values()]
    for path in st.session_state.get("prepare_added", {}):
        if path in known:
            st.caption(f"{plain(path)} is one of its sources already.")
    archives = [archive for archive in archives if str(archive.path) not in known]
    if not archives:
        other = "other " if known else ""
        st.caption(
            f"No {other}archive found in the inbox, the working folder or Kaggle's cache. Add a path, or upload one."
        )
    chosen = []
    for archive in archives:
        images = "" if archive.images is None else f"{archive.images:,} images · "
        label = (
            f"**{plain(source_name(archive.path))}** · {_LAYOUTS[archive.layout]} · {images}"
            f"{_megabytes(archive.size_bytes)}:small[:gray[{plain(str(archive.path.parent))}]]"
        )
        if st.checkbox(label, value=True, key=f"archive-{archive.path}"):
            chosen.append(archive.path)
    return chosen


def _megabytes(size: int) -> str:
    return f"{max(1, round(size / 2**20)):,} MB " if size else ""


def _add_path() -> None:
    """A path that holds a source joins the archives above; one that does not is told why."""
    st.text_input(
        "Add a path",
        placeholder="/data/fer2013.zip",
        help="A zip, a folder of class folders or a FER2013 CSV on the machine that runs this page.",
        key="prepare_path",
        on_change=_take_path,
    )
    if refused := st.session_state.pop("prepare_refused", None):
        show_error(refused)


def _take_path() -> None:
    text = st.session_state.get("prepare_path", "").strip()
    if not text:
        return
    try:
        path = expand(text).absolute()
        st.session_state.setdefault("prepare_added", {})[str(path)] = look_at(path)
        st.session_state["prepare_path"] = ""
    except FerError as error:
        st.session_state["prepare_refused"] = str(error)


def _upload() -> None:
    """Uploads go to the inbox, where they appear among the archives found."""
    files = st.file_uploader(
        "Upload up to 200 MB (a larger archive: add its path)",
        type=["zip", "csv"],
        accept_multiple_files=True,
        key="prepare_upload",
    )
    handled = st.session_state.setdefault("prepare_uploaded", set())
    new = [file for file in files or [] if file.file_id not in handled]
    for file in new:
        handled.add(file.file_id)
        with errors_shown():
            _store(file)
    if new:
        caching.archives.clear()


def _fetch() -> None:
    """What is downloaded appears among the archives found."""
    with st.popover("Fetch from Kaggle", icon=":material/cloud_download:"):
        busy = any(job.kind == "fetch" and job.state().alive for job in all_jobs())
        for name, handle in fetch.HANDLES.items():
            st.button(
                name,
                icon=":material/download:",
                disabled=busy or not fetch.installed(),
                help=f"kaggle.com/datasets/{handle}",
                key=f"fetch-{name}",
                on_click=_start_fetch,
                args=(name,),
            )
        st.caption(
            "Kaggle's terms and those of the data set hold. It is kept in kagglehub's cache."
            if fetch.installed()
            else f"It needs kagglehub: `{fetch.INSTALL}`, then start the app again."
        )
    show_kept_error(_REFUSED)


def _start_fetch(name: str) -> None:
    space = Workspace.default()
    with errors_kept(_REFUSED):
        supervisor.launch(space.jobs, "fetch", space.new_name(space.jobs, f"fetch-{name}"), ["data", "fetch", name])


def _store(file: UploadedFile) -> None:
    """Copies an upload into the inbox under a free name; nothing that lies there is overwritten."""
    inbox = Workspace.default().sources
    inbox.mkdir(parents=True, exist_ok=True)
    # The browser's file name is a stranger's text: only its last part, and only harmless characters, are used.
    name = Path(_harmless(Path(file.name).name) or "upload.zip")
    target, number = inbox / name, 1
    while target.exists():
        number += 1
        target = inbox / f"{name.stem}-{number}{name.suffix}"
    partial = target.with_name(f".{file.file_id}.{target.name}")
    try:
        with partial.open("wb") as out:
            shutil.copyfileobj(file, out)
        look_at(partial, file.name)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _harmless(name: str) -> str:
    return "".join(c if (c.isascii() and c.isalnum()) or c in "._-" else "_" for c in name).lstrip("._-")[-100:]


def source_name(path: Path) -> str:
    """What to call a source: its file's name; in Kaggle's cache (``<data set>/versions/<n>``) that of the data set."""
    return path.parents[1].name if path.parent.name == "versions" else path.name


def source_stem(path: Path) -> str:
    """The same as the name of a dataset."""
    return _harmless(source_name(path).removesuffix(".zip").removesuffix(".csv"))[:56] or "source"


def source_arguments(paths: list[Path]) -> list[str]:
    """``name=path`` for every source, each name once."""
    names: list[str] = []
    for path in paths:
        stem = source_stem(path)
        names.append(stem if stem not in names else f"{stem}-{len(names) + 1}")
    return [f"{name}={path}" for name, path in zip(names, paths, strict=True)]


def _settings() -> list[str]:
    """The settings as command-line options, told in one line.

    Raises:
        FerError: A line of labels means nothing.
    """
    line = st.container(horizontal=True, vertical_alignment="center")
    with line.popover("Change", icon=":material/tune:"):
        policy = st.selectbox(
            "Policy",
            [policy.value for policy in Policy],
            help="leak-free keeps every photograph in one split only. as-published repeats the published recipe, "
            "whose test photographs are also in train; training on it needs an explicit yes. evaluation-only is for "
            "pictures to score models on: all of them, or those that their source calls so, are test.",
            key="prepare_policy",
            persist_state="session",
        )
        share = st.slider(
            "Validation share of FER2013's train, %",
            5,
            50,
            25,
            5,
            key="prepare_share",
            persist_state="session",
        )
        usage = st.toggle(
            "FER2013's own usage column instead of a draw",
            help="PublicTest is validation, PrivateTest alone is test. Needs a FER2013 with both.",
            key="prepare_usage",
            persist_state="session",
        )
        balance = st.toggle("Balance the training classes", key="prepare_balance", persist_state="session")
        seed = st.number_input("Seed", 0, 2**31 - 1, 42, key="prepare_seed", persist_state="session")
        size = st.number_input("Size of the pictures, pixels", 16, 512, 48, key="prepare_size", persist_state="session")
        color = st.toggle("Keep colour", key="prepare_color", persist_state="session")
        labels = st.text_area(
            "Labels that are none of the seven",
            placeholder="contempt=drop\n1=surprise",
            help="A line for each: the name or number of a class folder, and the expression that it means, or drop.",
            key="prepare_labels",
            persist_state="session",
        )
    said = [policy.capitalize()]
    options = ["--policy", policy, "--size", str(size)]
    if policy == Policy.EVALUATION_ONLY:
        said.append("no image to train on")
    else:
        validation = "PublicTest is validation" if usage else f"{share} % validation"
        said += [validation, "balanced" if balance else "no balancing", f"seed {seed}"]
        options += ["--val-fraction", str(share / 100), "--seed", str(seed)] + ["--balance"] * balance
        options += ["--validation", "usage"] * usage
    if (size, color) != (48, False):
        said.append(f"{size} x {size} px, {'colour' if color else 'gray'}")
        options += ["--color"] * color
    told = [label for text in labels.splitlines() if (label := text.strip())]
    if told:
        said.append(f"{len(told)} {'label' if len(told) == 1 else 'labels'} explained")
    line.markdown(" · ".join(said))
    for label in told:
        parse_label(label)
        options += ["--label", label]
    return options


def free_name(stem: str) -> str:
    """``stem``, or ``stem-2`` and so on: a name that no dataset has, and none that is being made."""
    space = Workspace.default()
    taken = {folder.name for folder in space.list_datasets()} | _in_preparation()
    names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    return next(name for name in names if name not in taken)


def dataset_name(stem: str, key: str) -> str:
    """The name of the new dataset: a free one that we suggest for these settings, until somebody types another."""
    suggested = free_name(stem)
    if st.session_state.get(key) in (None, "", st.session_state.get(f"{key}_suggested")):
        st.session_state[key] = suggested
    st.session_state[f"{key}_suggested"] = suggested
    return st.text_input("Name of the new dataset", key=key, max_chars=64, width=280).strip()


def _in_preparation() -> set[str]:
    made_by = ("prepare", "balance")
    jobs = (job for job in list_jobs(Workspace.default().jobs) if job.kind in made_by and job.state().alive)
    return {Path(argument).name for job in jobs for argument in _after(job.spec().arguments, "--out")}


def _after(arguments: list[str], option: str) -> list[str]:
    return [value for name, value in itertools.pairwise(arguments) if name == option]


def launch_dataset_job(kind: str, name: str, arguments: list[str], name_key: str) -> None:
    """Starts a job that makes a dataset, which ``adopt_prepared`` chooses when it is there, and draws the page anew.

    A name that cannot be that of a new dataset is told, and the form stays as it is.

    Args:
        kind: "prepare" or "balance".
        name: Of the dataset.
        arguments: The command line without ``--out``.
        name_key: Of the widget with the name, which then suggests another one.
    """
    space = Workspace.default()
    with errors_shown():
        target = space.datasets / check_name(name, "dataset")
        if target.exists() or name in _in_preparation():
            raise SourceError(f"There is a dataset named {name!r} already. Choose another name.")
        job_name = space.new_name(space.jobs, f"{kind}-{name}")
        supervisor.launch(space.jobs, kind, job_name, [*arguments, "--out", str(target)])
        st.session_state["prepared"] = name
        del st.session_state[name_key]
        st.rerun()
