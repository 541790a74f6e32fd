"""The document of ``evaluate --json`` and the files made from predictions."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    average_precision_score,
    classification_report,
    precision_recall_fscore_support,
    roc_auc_score,
)

from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError, ModelError
from fer_core.evaluation.calibration import apply_temperature
from fer_core.evaluation.metrics import cross_entropy
from fer_core.evaluation.predictions import (
    COLUMNS,
    probabilities_of,
    read_predictions,
    write_predictions,
)
from fer_core.evaluation.report import EvaluationReport, evaluate_predictions, interval_table, report_table


@pytest.fixture(scope="module")
def predictions():
    random = np.random.default_rng(3)
    labels = np.arange(210) % 7
    probabilities = random.dirichlet(np.ones(7), 210) + np.eye(7)[labels] * 0.4
    return (probabilities / probabilities.sum(1, keepdims=True)).astype(np.float32), labels


def test_the_document_has_the_promised_keys_and_is_json(predictions):
    report = evaluate_predictions(*predictions, None, "not known")
    document = json.loads(json.dumps(report.document(), allow_nan=False))
    assert list(document) == [
        "n", "accuracy", "ci95", "macro_f1", "loss", "loss_uncalibrated", "ece", "per_class",
        "confusion_matrix", "labels", "leak_free", "tta", "macro", "weighted", "intervals",
    ]  # fmt: skip
    assert document["labels"] == list(document["per_class"]) == list(EMOTIONS)
    assert document["leak_free"] == {"n": 0, "accuracy": None, "ci95": None, "note": "not known"}
    assert EvaluationReport.model_validate(document) == report


def test_leak_free_accuracy_counts_only_what_was_not_seen(predictions):
    probabilities, labels = predictions
    hit = probabilities.argmax(1) == labels
    seen = hit & (np.arange(210) % 2 == 0)  # half of what it gets right, it had seen
    report = evaluate_predictions(probabilities, labels, seen, "exact")
    assert report.leak_free.n == (~seen).sum()
    assert report.leak_free.accuracy == pytest.approx(hit[~seen].mean())
    assert report.leak_free.accuracy < report.accuracy
    low, high = report.leak_free.ci95
    assert low < report.leak_free.accuracy < high
    assert report.leak_free.note == "exact"


def test_where_everything_was_seen_there_is_no_number_but_a_reason(predictions):
    report = evaluate_predictions(*predictions, np.ones(210, bool), "Exact.")
    assert (report.leak_free.n, report.leak_free.accuracy) == (0, None)
    assert "No image is left" in report.leak_free.note


def test_the_uncalibrated_loss_is_the_one_before_temperature(predictions):
    raw, labels = predictions
    report = evaluate_predictions(apply_temperature(raw, 2.0), labels, None, "", temperature=2.0)
    assert report.loss_uncalibrated == pytest.approx(cross_entropy(raw, labels), abs=1e-4)
    assert report.loss != pytest.approx(report.loss_uncalibrated, abs=1e-3)


def test_refuses_nothing_and_nonsense(predictions):
    probabilities, labels = predictions
    with pytest.raises(FerError, match="no images"):
        evaluate_predictions(probabilities[:0], labels[:0], None, "")
    with pytest.raises(ModelError, match="not numbers"):
        evaluate_predictions(np.full((2, 7), np.nan), labels[:2], None, "")


def test_the_table_agrees_with_scikit_learn(predictions):
    probabilities, labels = predictions
    table = report_table(evaluate_predictions(probabilities, labels, None, "")).set_index("class")
    expected = classification_report(
        labels, probabilities.argmax(1), target_names=EMOTIONS, output_dict=True, zero_division=0
    )
    for name in (*EMOTIONS, "macro avg", "weighted avg"):
        row = expected[name]
        assert table.loc[name, ["precision", "recall", "f1", "support"]].tolist() == pytest.approx(
            [row["precision"], row["recall"], row["f1-score"], row["support"]]
        )
    assert table.loc["accuracy", "f1"] == pytest.approx(expected["accuracy"])


def test_the_table_holds_the_intervals_that_there_are(predictions):
    report = evaluate_predictions(*predictions, None, "")
    table = interval_table(report).set_index("class")
    assert tuple(table.loc["happy", ["recall_low", "recall_high"]]) == report.intervals.recall["happy"]
    assert tuple(table.loc["macro avg", ["recall_low", "recall_high"]]) == report.intervals.macro_recall
    assert tuple(table.loc["macro avg", ["f1_low", "f1_high"]]) == report.intervals.macro_f1
    assert table.loc["weighted avg", ["recall_low", "f1_low"]].isna().all()


@pytest.mark.parametrize("missing", [[], [1], [1, 3, 6]], ids=str)
def test_averages_equal_those_of_scikit_learn_also_where_a_class_is_missing(predictions, missing):
    probabilities, labels = predictions
    rows = ~np.isin(labels, missing)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = evaluate_predictions(probabilities[rows], labels[rows], None, "")
        found = report.document()
    for average in ("macro", "weighted"):
        expected = precision_recall_fscore_support(
            labels[rows], probabilities[rows].argmax(1), labels=range(7), average=average, zero_division=0
        )
        assert list(found[average].values())[:3] == pytest.approx(expected[:3])
    for number in missing:
        assert found["per_class"][EMOTIONS[number]]["recall"] == 0
        assert found["intervals"]["recall"][EMOTIONS[number]] == [0, 1]  # nothing is known of it


@pytest.mark.parametrize("missing", [[], [1], [0, 1, 2, 3, 4, 5]], ids=str)
def test_the_document_has_the_areas_under_the_curves_of_classes_that_have_one(predictions, missing):
    probabilities, labels = predictions
    rows = ~np.isin(labels, missing)
    found = evaluate_predictions(probabilities[rows], labels[rows], None, "").document()
    there = [number for number in range(7) if number not in missing and len(missing) < 6]
    for name, score in (("average_precision", average_precision_score), ("roc_auc", roc_auc_score)):
        expected = {EMOTIONS[at]: score(labels[rows] == at, probabilities[rows, at]) for at in there}
        told = {emotion: scores[name] for emotion, scores in found["per_class"].items()}
        assert {emotion: value for emotion, value in told.items() if value is not None} == pytest.approx(expected)
        for average in ("macro", "weighted"):  # every class that occurs does so equally often
            assert found[average][name] == (pytest.approx(np.mean([*expected.values()])) if expected else None)


def test_a_report_of_an_older_card_has_the_new_figures(predictions):
    report = evaluate_predictions(*predictions, None, "")
    assert EvaluationReport.model_validate_json(report.model_dump_json()).document() == report.document()


@pytest.mark.parametrize("seen", [None, np.array([True, False, False])], ids=["unknown", "known"])
def test_predictions_come_back_as_written(tmp_path, predictions, seen):
    probabilities, labels = predictions[0][:3], predictions[1][:3]
    file = tmp_path / "predictions-test.parquet"
    write_predictions(file, paths=list("abc"), labels=labels, probabilities=probabilities, seen=seen)
    table = read_predictions(file)
    assert set(table.columns) == set(COLUMNS)
    assert table["row"].tolist() == [0, 1, 2]
    assert table["predicted"].tolist() == probabilities.argmax(1).tolist()
    assert table["seen"].isna().all() if seen is None else table["seen"].tolist() == seen.tolist()
    assert np.array_equal(probabilities_of(table), probabilities)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]  # nothing temporary is left


@pytest.mark.parametrize("content", [None, b"", b"PAR1 not really", "other"], ids=str)
def test_a_missing_damaged_or_foreign_file_is_one_clear_sentence(tmp_path, content):
    file = tmp_path / "predictions-test.parquet"
    if content == "other":
        pd.DataFrame({"a": [1]}).to_parquet(file)
    elif content is not None:
        file.write_bytes(content)
    with pytest.raises(FerError, match=r"predictions-test\.parquet: .*(Evaluate again|Make them)"):
        read_predictions(file)
