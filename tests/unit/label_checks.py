"""A finished label check, written without training."""

import numpy as np
import pandas as pd

from fer_core.evaluation.label_check import KIND, Issue, LabelCheckInfo, write_label_check
from fer_core.evaluation.metrics import wilson_interval
from fer_core.evaluation.predictions import PROBABILITY_COLUMNS, predictions_table
from fer_core.jobs.store import Job, JobStatus

ISSUES = (Issue.LIKELY_WRONG, Issue.LIKELY_WRONG, Issue.NO_FACE, Issue.AMBIGUOUS)
"""Of the images in the queue, from the first on."""


def write_finished_check(space, dataset, name="labels-1", *, issues=ISSUES):
    """Makes a finished label check of a dataset, the first images of whose train are in the queue; returns its folder.

    Every image of the queue is read as the class after its label, with probability 0.7.
    """
    job = Job.create(space.jobs, KIND, name, ["labels", "check", dataset.name, "--name", name])
    table = dataset.table("train")
    rows = np.flatnonzero(table["parent_id"].isna())
    originals = table.iloc[rows].reset_index(drop=True)
    labels, queue = originals["label"].to_numpy(np.int64), len(issues)
    said = labels.copy()
    said[:queue] = (said[:queue] + 1) % 7
    answers = np.full((len(labels), 7), 0.02, np.float32)
    answers[np.arange(len(labels)), labels] = 0.2
    answers[np.arange(len(labels)), said] = 0.7
    answers /= answers.sum(axis=1, keepdims=True)
    paths = originals["path"].tolist()
    out_of_fold = predictions_table(paths=paths, labels=labels, probabilities=answers, rows=rows)
    out_of_fold["fold"] = np.arange(len(labels)) % 2
    doubtful = originals.loc[: queue - 1, ["path", "source", "pixel_sha", "label"]].assign(
        rank=np.arange(queue) + 1,
        row=rows[:queue],
        suggested=said[:queue],
        quality=answers[np.arange(queue), labels[:queue]],
        issue=[str(issue) for issue in issues],
        alike=[[int(row) for row in rows[-3:]] for _ in range(queue)],
        **dict(zip(PROBABILITY_COLUMNS, answers[:queue].T, strict=True)),
    )
    info = LabelCheckInfo(
        created=1.0,
        dataset=dataset.name,
        fingerprint=dataset.info.fingerprint,
        preset="compact",
        folds=2,
        seed=42,
        n=len(labels),
        accuracy=float((said == labels).mean()),
        ci95=wilson_interval(int((said == labels).sum()), len(labels)),
        issues={issue: list(issues).count(issue) for issue in Issue},
        noise={"happy": 0.05},
        cleanlab="2.9.0",
    )
    write_label_check(job.folder, info, pd.DataFrame(doubtful), out_of_fold)
    job.write_status(JobStatus(state="done"))
    return job.folder
