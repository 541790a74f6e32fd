"""Doubtful labels from written probabilities, and the files of a label check."""

import json

import numpy as np
import pandas as pd
import pytest

from fer_core.errors import FerError
from fer_core.evaluation import neighbours
from fer_core.evaluation.label_check import (
    INFO_FILE,
    ISSUES_FILE,
    Issue,
    LabelCheckInfo,
    list_label_checks,
    read_label_check,
    write_label_check,
)
from fer_core.evaluation.label_issues import find_issues
from fer_core.evaluation.neighbours import nearest
from fer_core.evaluation.predictions import predictions_table
from fer_core.jobs.store import Job, JobStatus

from ..label_checks import write_finished_check
from ..training.conftest import make_dataset


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_planted_labels_are_ranked_first_and_each_image_stands_once():
    rng = np.random.default_rng(0)
    truth = np.arange(350) % 7
    answers = rng.uniform(0.01, 0.05, (350, 7))
    answers[np.arange(350), truth] = 0.8
    labels, wrong = truth.copy(), [3, 50, 111, 200, 333]
    labels[wrong] = (truth[wrong] + 2) % 7
    answers[wrong, truth[wrong]] = 2  # the networks are surer of them than usual
    answers[[10, 20]] = 0.04  # two classes close, one of which is the label
    answers[[10, 10, 20, 20], [truth[10], 0, truth[20], 0]] = 0.4, 0.38, 0.4, 0.38
    answers[30] = 1 / 7  # everything is likely
    embeddings = unit(np.eye(7)[truth] @ np.eye(7, 16) + rng.choice([-0.03, 0.03], (350, 16)))
    embeddings[77] = unit(rng.normal(0, 1, (1, 16)) - embeddings.sum(axis=0))[0]
    flags = np.full(350, "", object)
    flags[wrong[0]] = "blurry flat"
    rows = np.arange(350) + 5  # originals need not begin the split
    train = pd.DataFrame({"path": [f"{n}.png" for n in range(355)], "source": "drawn", "flags": ""})
    train["pixel_sha"] = train["photo_id"] = train["path"]
    train.loc[5:, "flags"] = flags
    train.loc[6, "photo_id"] = train.loc[13, "photo_id"]  # rows 6 and 13 are of one class, and one photograph
    answers /= answers.sum(axis=1, keepdims=True)
    table = predictions_table(paths=train["path"].iloc[rows].tolist(), labels=labels, probabilities=answers, rows=rows)

    found = find_issues(table, train, embeddings)
    queue = found.issues
    assert queue["rank"].tolist() == list(range(1, len(queue) + 1))
    assert queue["row"].is_unique
    of = {issue: {int(row) - 5 for row in queue["row"][queue["issue"] == issue]} for issue in Issue}
    assert of == {Issue.LIKELY_WRONG: {*wrong[1:]}, Issue.NO_FACE: {wrong[0], 77}, Issue.AMBIGUOUS: {10, 20, 30}}
    assert found.counts == {issue: len(rows) for issue, rows in of.items()}
    assert queue["issue"].tolist() == [*["likely wrong"] * 4, *["not a face"] * 2, *["ambiguous"] * 3]
    first = queue.iloc[:4]
    assert first["quality"].is_monotonic_increasing
    assert first["suggested"].tolist() == [truth[row - 5] for row in first["row"]]
    assert first["path"].tolist() == [f"{row}.png" for row in first["row"]]
    for row, alike in zip(first["row"], first["alike"], strict=True):
        assert len(alike) == 3
        assert {truth[other - 5] for other in alike} == {truth[row - 5]}
    assert 0 < max(found.noise.values()) < 0.1


def test_neighbours_are_of_other_photographs_and_do_not_depend_on_the_blocks(monkeypatch):
    rng = np.random.default_rng(1)
    vectors, photographs = unit(rng.normal(size=(40, 8))), rng.integers(0, 25, 40)
    rows, cosines = nearest(vectors, photographs, 5)
    alike = vectors @ vectors.T
    for row in range(40):
        others = [other for other in np.argsort(-alike[row]) if photographs[other] != photographs[row]][:5]
        assert rows[row].tolist() == others
        np.testing.assert_allclose(cosines[row], alike[row, others], atol=1e-6)
    monkeypatch.setattr(neighbours, "_BLOCK_VALUES", 100)
    told = []
    assert (nearest(vectors, photographs, 5, lambda *step: told.append(step[1:]))[0] == rows).all()
    assert told == [(done, 40) for done in range(0, 40, 2)]  # so that it stops soon
    few, none = nearest(vectors[:3], np.array([0, 0, 1]), 5)
    assert few.tolist() == [[2, -1, -1, -1, -1], [2, -1, -1, -1, -1], [few[2][0], few[2][1], -1, -1, -1]]
    assert np.isnan(none[0, 1:]).all()


def test_checks_of_a_dataset_are_listed_newest_first_and_read_back(workspace):
    dataset = make_dataset(workspace.datasets / "tiny", {"train": 14, "validation": 7, "test": 7})
    other = make_dataset(workspace.datasets / "other", {"train": 21, "validation": 7, "test": 7}, seed=1)
    old, new, damaged = (write_finished_check(workspace, dataset, name) for name in ("old", "new", "damaged"))
    write_finished_check(workspace, other, "other")
    again = read_label_check(new)
    write_label_check(new, again.info.model_copy(update={"created": 2.0}), again.issues, again.out_of_fold)
    Job(write_finished_check(workspace, dataset, "going")).write_status(JobStatus(state="stopped"))
    (damaged / INFO_FILE).write_text("{")
    assert [check.name for check in list_label_checks(workspace, dataset)] == ["new", "old"]
    queue = read_label_check(old).issues
    assert queue["issue"].tolist() == ["likely wrong", "likely wrong", "not a face", "ambiguous"]
    assert queue["alike"].tolist() == [[11, 12, 13]] * 4
    assert read_label_check(old).out_of_fold["fold"].tolist() == [0, 1] * 7


def test_what_is_damaged_is_named(workspace, tmp_path):
    dataset = make_dataset(workspace.datasets / "tiny", {"train": 14, "validation": 7, "test": 7})
    folder = write_finished_check(workspace, dataset)
    (folder / ISSUES_FILE).write_bytes(b"PAR1")
    with pytest.raises(FerError, match=r"label-issues.parquet: this file of the label check is missing or damaged"):
        _ = read_label_check(folder).issues
    newer = json.loads((folder / INFO_FILE).read_text()) | {"schema_version": 9}
    (folder / INFO_FILE).write_text(LabelCheckInfo.model_validate(newer).model_dump_json())
    with pytest.raises(FerError, match="schema version 9, this program reads 1"):
        read_label_check(folder)
    with pytest.raises(FerError, match="no finished label check here"):
        read_label_check(tmp_path)
