"""The parts of the About page: a model's card, what it may be used for, and this machine."""

from __future__ import annotations

import os
import platform
from typing import Final

import pandas as pd
import streamlit as st

import fer_core
from dashboard import caching
from dashboard.components import accuracy, finding, page_link, plain
from fer_core.doctor import Status, installed
from fer_core.evaluation.report import EvaluationReport, report_table
from fer_core.inference.card_text import facts, leak_words, markdown
from fer_core.inference.served import INTENDED_USE, LIMITS, ModelCard, ServedModel
from fer_core.training.facts import Score

MUST_NOT: Final = (
    "**At work and in education.** The European Union's AI Act bans systems that infer emotions of people at the "
    "workplace and in education, except for medical or safety reasons (Article 5(1)(f), applied since 2 February "
    "2025). Such use may be unlawful elsewhere, too: ask before you use it on other people.",
    "**For decisions about a person**: hiring, grading, policing, insurance, credit, health, lie detection.",
    "**On people who do not know of it.** A face is personal data; tell people, and ask them.",
    "**To know what someone feels.** A face shows an expression, and people smile for many reasons "
    "(Barrett et al. 2019, Psychological Science in the Public Interest 20).",
)

SOURCES: Final = (
    "**This program**: MIT licence, see the file LICENSE.",
    "**Sample photograph**: Eileen Collins by NASA, public domain; read from the installed scikit-image.",
    "**Face detectors**: `haar` is OpenCV's frontal-face cascade by Rainer Lienhart, under Intel's open-source "
    "licence; part of the OpenCV package. `yunet` is the network of Wu, Peng and Yu (2023), MIT licence; it is not "
    "included and downloaded only when asked for.",
    "**Drawn faces and icons**: our own.",
    "**Bundled models**: our own weights. Their training photographs are not included, only 256-bit fingerprints "
    "that tell copies.",
)

_VERSIONS: Final = ("streamlit", "onnxruntime", "opencv-python-headless", "keras", "tensorflow")
_STATUS: Final = {Status.OK: "✓ ok", Status.WARNING: "⚠ look", Status.MISSING: "✗ missing"}


def show_card(model: ServedModel | None) -> None:
    """A model's card: scores first, then what it is, by class, and its notes."""
    if model is None:
        finding("There is no model: none is bundled, trained or imported.")
        page_link("train", "Train one")
        return
    card = model.card
    if card is None:
        finding(f"{model.name}: there is no readable card beside this model, so nothing is known of it.")
        return
    if not card.metrics:
        finding(f"{card.name}: no scores are on its card.")
        page_link("evaluate", "Evaluate it", model=model.name)
    for number, (split, report) in enumerate(card.metrics.items()):
        words = accuracy(report, split, leak_words(card, split))
        finding(f"{card.name}: {words}") if number == 0 else st.markdown(words)
        st.caption(plain(_details(report, split)))
    left, right = st.columns(2, gap="medium")
    with left:
        _table(facts(card))
    with right:
        _classes(card)
        for note in card.notes:
            st.markdown(f"- {plain(note)}")
    with st.container(horizontal=True):
        for label, data, name, kind in (
            ("Download card", markdown(card), f"{card.name}.md", "primary"),
            ("As JSON", card.model_dump_json(indent=2), f"{card.name}.json", "secondary"),
        ):
            st.download_button(
                label,
                data,
                file_name=name,
                type=kind,  # type: ignore[arg-type]
                icon=":material/download:",
                on_click="ignore",
            )


def _details(report: EvaluationReport, split: str) -> str:
    free = report.leak_free
    if free.accuracy is not None and free.ci95 is not None:
        unseen = f"Never seen in train: {accuracy(Score(free.accuracy, free.ci95, free.n), split, 'Clean')}."
    else:
        unseen = "Never seen in train: not known."
    scores = f"Macro-F1 {report.macro_f1:.3f} · loss {report.loss:.3f} · calibration error {100 * report.ece:.1f} %"
    return f"{unseen} {free.note} {scores}"


def _table(rows: dict[str, str]) -> None:
    # st.table reads Markdown, and wraps long words, which a data frame does not.
    table = pd.DataFrame({"": [plain(value) for value in rows.values()]}, index=[plain(name) for name in rows])
    st.table(table, border="horizontal", hide_header=True)


def _classes(card: ModelCard) -> None:
    """Precision, recall and F1 by class, for one split at a time."""
    splits = list(card.metrics)
    if not splits:
        return
    split = splits[0]
    if len(splits) > 1:
        split = st.segmented_control("Scores by class on", splits, default=split, required=True, key="about_split")
    report = card.metrics[split]
    st.dataframe(
        report_table(report)[["class", "precision", "recall", "f1", "support"]].iloc[: len(report.per_class)],
        hide_index=True,
        height="content",
        column_config={
            "class": st.column_config.TextColumn("Class"),
            "precision": st.column_config.NumberColumn("Precision", format="%.3f"),
            "recall": st.column_config.NumberColumn("Recall", format="%.3f"),
            "f1": st.column_config.NumberColumn("F1", format="%.3f"),
            "support": st.column_config.NumberColumn("Images", format="localized"),
        },
    )
    st.caption(f"{split} · n {report.n:,}")


def show_use(card: ModelCard | None) -> None:
    """What it is for, its limits, where it must not be used, privacy, sources."""
    finding("It names the apparent expression of a face in a picture, for research and teaching.")
    left, right = st.columns(2, gap="medium")
    with left:
        _section("What it is for", [plain(card.intended_use if card else INTENDED_USE)])
        _section("Limits", [plain(limit) for limit in (card.limits if card else LIMITS) or LIMITS])
        _section("Where it must not be used", MUST_NOT)
    with right:
        _section("Privacy", _privacy())
        _section("Licence and sources", SOURCES)


def _section(title: str, lines: list[str] | tuple[str, ...]) -> None:
    st.markdown(f"**{title}**\n\n" + "\n".join(f"- {line}" for line in lines))


def _privacy() -> list[str]:
    """What leaves this machine, from the settings in force."""
    address = st.get_option("server.address")
    local = address in ("localhost", "127.0.0.1", "::1")
    statistics = st.get_option("browser.gatherUsageStats")
    asks = os.environ.get("NO_ALBUMENTATIONS_UPDATE") not in ("1", "true", "True")
    return [
        "Pictures, video and camera frames stay on this machine: nothing is uploaded elsewhere, no account is needed.",
        "Pictures and camera frames are read in memory. An uploaded video lies on this machine's disk until it is "
        "read; what was found, with a small picture of each face, until you delete it.",
        "Only this machine can open this page."
        if local
        else f"This page answers at {plain(address or 'every address of this machine')}: pictures that others open "
        "in it are sent to this machine.",
        "No telemetry: Streamlit's usage statistics are off."
        if not statistics
        else "Streamlit's usage statistics are **on**: start it from the project's folder, or set "
        "`browser.gatherUsageStats = false`.",
        "albumentations does not ask for updates."
        if not asks
        else "albumentations asks for updates when it is loaded: set `NO_ALBUMENTATIONS_UPDATE=1`.",
        "Uploaded archives, datasets, runs, models and results of folders lie in the workspace until you delete them.",
    ]


def show_machine() -> None:
    """What ``doctor`` says, what needs a look first, and the versions."""
    report = caching.examination()
    finding(report.finding)
    rows = sorted(report.checks, key=lambda check: check.status is Status.OK)
    st.dataframe(
        pd.DataFrame(
            {
                "Check": [check.check for check in rows],
                "Status": [_STATUS[check.status] for check in rows],
                "Found": [check.found for check in rows],
                "What to do": [check.todo for check in rows],
            }
        ),
        hide_index=True,
        height=420,
    )
    for check in rows:
        if check.status is not Status.OK and check.todo:
            st.markdown(f"- {plain(check.check)}: {plain(check.todo)}")
    st.button("Check again", type="primary", icon=":material/refresh:", on_click=caching.examine_again)
    versions = [f"{name} {found}" for name in _VERSIONS if (found := installed(name))]
    st.caption(" · ".join([f"fer_core {fer_core.__version__}", f"Python {platform.python_version()}", *versions]))
