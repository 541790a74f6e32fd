"""What a model said of a split, as the Evaluate page shows it: scores, classes, downloads."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import streamlit as st

from dashboard import caching, charts, evaluation_charts
from dashboard.components import by_name, theme
from fer_core.data.dataset import Dataset
from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError
from fer_core.evaluation.curves import ClassCurve, class_curves
from fer_core.evaluation.metrics import Interval, share_words
from fer_core.evaluation.predictions import predictions_file, probabilities_of, seen_of
from fer_core.evaluation.report import EvaluationReport, interval_table
from fer_core.inference.kept_results import KeptResults, list_results
from fer_core.inference.served import ServedModel, list_models
from fer_core.inference.tta import Tta
from fer_core.spreadsheet import guarded
from fer_core.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd


_TTA: Final = "tta"
_PLAIN: Final = "plain"


@dataclass(frozen=True)
class View:
    """A model's predictions on a split of a dataset, and their scores.

    ``file`` is where the predictions are kept.
    """

    model: ServedModel
    dataset: Dataset
    split: str
    file: Path
    table: pd.DataFrame
    report: EvaluationReport

    @property
    def link(self) -> dict[str, str]:
        """Query of a link to this view."""
        query = {"model": self.model.name, "dataset": self.dataset.name, "split": self.split}
        return query | ({_TTA: self.report.tta} if self.report.tta else {})

    @property
    def where(self) -> str:
        """What its figures are of: the split, and the test-time augmentation if there is any."""
        return " · ".join(filter(None, (self.split, self.report.tta)))

    @property
    def name(self) -> str:
        """The model beside another one, likewise."""
        return " · ".join(filter(None, (self.model.name, self.report.tta)))

    @property
    def model_file(self) -> Path | None:
        """The model, where we have it and not its answers alone."""
        return None if isinstance(self.model, KeptResults) else self.model.path


def read_view(model: ServedModel, dataset: Dataset, split: str, file: Path) -> View:
    """The view of stored predictions.

    Raises:
        FerError: They are damaged, or not of the images that the split holds.
    """
    table, report = caching.predictions(file)
    images = caching.table(dataset, split)
    rows = table["row"].to_numpy()
    if not np.isin(rows, np.arange(len(images))).all() or not np.array_equal(
        images[["path", "label"]].to_numpy()[rows], table[["path", "label"]].to_numpy()
    ):
        raise FerError(f"{file}: the predictions are not of the {split} images of {dataset.name}. Evaluate again.")
    return View(model, dataset, split, file, table, report)


def choose_tta(folder: Path, split: str) -> str | None:
    """Which test-time augmentation to look at; it is asked for where predictions with one are kept in the folder."""
    options = [_PLAIN, *(tta for tta in Tta if predictions_file(folder, split, tta).is_file())]
    if len(options) == 1:
        return None
    if st.session_state.get(_TTA, _PLAIN) not in options:  # of another model
        st.session_state[_TTA] = _PLAIN
    chosen = st.segmented_control(
        "Test-time augmentation",
        options,
        default=_PLAIN,
        required=True,
        key=_TTA,
        bind="query-params",
        help="Answers averaged over views of a picture: it and its mirror image, or ten crops. That is another number "
        "than the model's own, and takes as many times its time.",
    )
    return None if chosen == _PLAIN else chosen


def kept(dataset: Dataset, split: str) -> dict[str, Path]:
    """What can be chosen on the page and has predictions of a split: by name in the picker's order, and their files."""
    space = Workspace.default()
    files = {
        name: predictions_file(model.results(space.evaluations, dataset.info.fingerprint), split)
        for name, model in by_name([*list_models(space), *list_results(space)]).items()
    }
    return {name: file for name, file in files.items() if file.is_file()}


def leak_text(table: pd.DataFrame, report: EvaluationReport) -> str:
    """Whether a model knows the photographs it is scored on."""
    seen = seen_of(table)
    if seen is None:
        return "Leaks not known"
    if not seen.any():
        return "Clean"
    about = "about " if report.leak_free.note.startswith("Approximate") else ""
    return f"Leaky · {about}{seen.sum():,} of {len(seen):,}"


def leak_words(table: pd.DataFrame, report: EvaluationReport) -> str:
    """``leak_text`` as the badge of an accuracy, in Markdown."""
    text = leak_text(table, report)
    if text == "Clean":
        return text
    return f":orange-badge[:material/warning: {text}]" if text.startswith("Leaky") else f":gray-badge[{text}]"


def most_confused(matrix: Sequence[Sequence[int]], most: int = 1) -> list[tuple[int, int]]:
    """True and predicted class of the largest numbers of mistakes, the largest first; of none where there is none."""
    counts = np.array(matrix)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    cells = zip(*np.unravel_index(order, counts.shape), strict=True)
    return [(int(true), int(read)) for true, read in cells if counts[true, read]]


def pair_words(matrix: Sequence[Sequence[int]], true: int, read: int) -> str:
    """A cell in words, with its share of the row."""
    n, total = matrix[true][read], sum(matrix[true])
    return f"{EMOTIONS[true]} read as {EMOTIONS[read]} {n:,} of {total:,} ({100 * n / total:.1f} %)"


def confusion_finding(report: EvaluationReport) -> str:
    """The page's finding: what is most often taken for what."""
    pairs = most_confused(report.confusion_matrix)
    if not pairs:
        return "No picture is read wrongly."
    true, predicted = pairs[0]
    n, total = report.confusion_matrix[true][predicted], sum(report.confusion_matrix[true])
    return f"Most often confused: {EMOTIONS[true]} read as {EMOTIONS[predicted]} ({n:,} of {total:,})."


def scores(view: View) -> None:
    """Official and leak-free accuracy with their intervals, macro-F1, calibration error."""
    report, leak_free = view.report, view.report.leak_free
    low, high = report.intervals.macro_f1
    with st.grid(4, min_column_width=150):
        _share(
            f"All images · n {report.n:,}",
            report.accuracy,
            report.ci95,
            f"Accuracy on {view.where} with its 95 % interval.",
        )
        _share(
            f"Never seen · n {leak_free.n:,}",
            leak_free.accuracy,
            leak_free.ci95,
            "Never seen in train: accuracy on images without a copy among the photographs this model was trained on. "
            f"{leak_free.note}",
        )
        st.metric(
            "Macro-F1",
            f"{report.macro_f1:.3f}",
            border=True,
            height="stretch",
            help=f"Mean F1 of the seven classes, rare ones counting as much as frequent ones; {view.where}, "
            f"n {report.n:,}. 95 % interval {low:.3f} to {high:.3f} (bootstrap).",
        )
        st.metric(
            "Calibration error",
            f"{100 * report.ece:.1f} %",
            border=True,
            height="stretch",
            help="How far the stated probability is from the share of hits, on average (15 bins).",
        )


def _share(label: str, share: float | None, interval: Interval | None, about: str) -> None:
    """The card of a share; the ends of an interval that is far from symmetric stand below it, for they are long."""
    known = share is not None and interval is not None
    value, _, ends = (share_words(share, interval) if known else "—").partition(" (")  # type: ignore[arg-type]
    st.metric(
        label,
        value,
        ends.removesuffix(")") or None,
        delta_color="off",
        delta_arrow="off",
        border=True,
        height="stretch",
        help=about,
    )


def classes(view: View) -> None:
    """The classification report as a table, and how precision falls as more of a class is found."""
    found = class_curves(probabilities_of(view.table), view.table["label"].to_numpy(np.int64))
    curves = {emotion: curve for emotion, curve in found.items() if curve}
    left, right = st.columns([5, 4], gap="medium")
    with left:
        _report(view)
    with right:
        _precision_recall(view, curves)


def _report(view: View) -> None:
    report = view.report
    table = interval_table(report)
    ends = table[["recall_low", "recall_high"]].to_numpy()
    between = ["" if np.isnan(low) else f"{low:.2f} to {high:.2f}" for low, high in ends]
    table.insert(3, "recall_interval", between)
    table = table.drop(columns=["recall_low", "recall_high", "f1_low", "f1_high"])
    ranked = {**report.per_class, "macro avg": report.macro, "weighted avg": report.weighted}
    for column in ("average_precision", "roc_auc"):
        table[column] = table["class"].map({name: getattr(scores, column) for name, scores in ranked.items()})
    st.dataframe(
        table,
        hide_index=True,
        height="content",
        placeholder="",
        column_config={
            "class": st.column_config.TextColumn("Class"),
            "precision": st.column_config.NumberColumn("Precision", format="%.3f"),
            "recall": st.column_config.ProgressColumn("Recall", width=95, format="%.3f", min_value=0, max_value=1),
            "recall_interval": st.column_config.TextColumn("95 %", help="95 % bootstrap interval of the recall."),
            "f1": st.column_config.NumberColumn("F1", format="%.3f"),
            "support": st.column_config.NumberColumn("n", format="localized", help="Images of that class."),
            "average_precision": st.column_config.NumberColumn(
                "AP",
                format="%.3f",
                help="Average precision, the area under the class's curve; without skill it is the share of the class.",
            ),
            "roc_auc": st.column_config.NumberColumn(
                "AUC",
                format="%.3f",
                help="How often an image of the class has a higher probability of it than one of another class (area "
                "under the ROC curve); without skill it is 0.5.",
            ),
        },
    )
    st.caption(f"{view.where} · n {report.n:,} · AP, AUC: by probability, each class against the others")


def _precision_recall(view: View, curves: Mapping[str, ClassCurve]) -> None:
    if curves:
        order = sorted(curves, key=lambda name: -curves[name].average_precision)
        ends = dict.fromkeys((order[0], order[-1]))
        told = [f"{name} {curves[name].average_precision:.2f} (n {curves[name].support:,})" for name in ends]
        said = f"Average precision: {' to '.join(told)}."
        st.markdown(f"**{said}**")
        figure = evaluation_charts.precision_recall(curves, theme())
        st.plotly_chart(figure, config=charts.CONFIG, key="precision_recall", alt=said)
        st.caption(f"{view.where} · n {view.report.n:,} · each class against the others, the surest at the left")
    if without := [emotion for emotion in EMOTIONS if emotion not in curves]:
        st.caption(f"No curve of {', '.join(without)}: none, or every one, of these images is of that class.")


def downloads(view: View) -> None:
    """Scores and predictions as files."""
    stem = "-".join(filter(None, (view.model.name, view.dataset.name, view.split, view.report.tta)))
    named = view.table.assign(
        label=np.array(EMOTIONS)[view.table["label"]], predicted=np.array(EMOTIONS)[view.table["predicted"]]
    )
    report = interval_table(view.report)
    with st.popover("Download", icon=":material/download:"):
        for words, data, name in (
            (
                "Classification report, CSV",
                lambda: report.to_csv(index=False),
                f"{stem}.report.csv",
            ),
            ("Predictions, CSV", lambda: _csv(named), f"{stem}.predictions.csv"),
            ("Predictions, Parquet", view.file.read_bytes, f"{stem}.predictions.parquet"),
            ("All scores, JSON", lambda: json.dumps(document(view), indent=2), f"{stem}.json"),
            ("Confusion matrix, PNG", lambda: _matrix_png(view), f"{stem}.confusion.png"),
        ):
            st.download_button(words, data, file_name=name, on_click="ignore", type="tertiary")


def document(view: View) -> dict[str, Any]:
    """All scores, with what they are of, as ``evaluate --json`` prints them."""
    return {"model": view.model.name, "data": view.dataset.name, "split": view.split, **view.report.document()}


def _csv(table: pd.DataFrame) -> str:
    return table.assign(path=table["path"].map(guarded)).to_csv(index=False)


def _matrix_png(view: View) -> bytes:
    from fer_core.evaluation.figures import write_confusion_matrix

    drawn = io.BytesIO()
    title = f"{view.model.name} · {view.dataset.name} · {view.where} · {leak_text(view.table, view.report)}"
    write_confusion_matrix(view.report, drawn, title=title)
    return drawn.getvalue()
