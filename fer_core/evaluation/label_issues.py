"""Which labels are doubtful, from what networks say of images that they have not learnt from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from fer_core.emotions import EMOTIONS
from fer_core.evaluation.label_check import ALIKE, ISSUE_COLUMNS, Issue
from fer_core.evaluation.neighbours import nearest
from fer_core.evaluation.predictions import PROBABILITY_COLUMNS, probabilities_of
from fer_core.jobs.progress import Progress, silent

if TYPE_CHECKING:
    import pandas as pd

CLOSE: Final = 0.1
"""A label is ambiguous where it is one of the two likeliest classes and these differ by less than this."""

UNDECIDED: Final = 0.9
"""It is also ambiguous where the entropy of the probabilities is above this share of the highest one, ln 7."""

NEIGHBOURS: Final = 10
"""Images are compared with so many of the most alike ones: cleanlab's own number for outliers."""

FENCE: Final = 1.5
"""Interquartile ranges above the third quartile, beyond which a value is an outlier (the inner fence of Tukey 1977,
Exploratory Data Analysis). Of 25,398 training images of FER2013, by the features of a compact network, 113 are, about
one in five of them a placeholder or a drawing; beyond the outer fence, at twice as many, was one image."""

NO_FACE_FLAGS: Final = ("constant", "flat")
"""Flags of a dataset for pictures of one colour, or nearly so."""


@dataclass(frozen=True)
class Found:
    """What a label check finds.

    Attributes:
        issues: The queue, as ``LabelCheck.issues``.
        noise: For each emotion the estimated share of its labels that are wrong, 0 to 1.
        cleanlab: The version of the library.
    """

    issues: pd.DataFrame
    noise: dict[str, float]
    cleanlab: str

    @property
    def counts(self) -> dict[Issue, int]:
        """How many images have each issue."""
        return {issue: int((self.issues["issue"] == issue).sum()) for issue in Issue}


def find_issues(
    out_of_fold: pd.DataFrame,
    train: pd.DataFrame,
    embeddings: NDArray[np.float32],
    progress: Progress = silent,
) -> Found:
    """Ranks the doubtful labels.

    * likely wrong: by confident learning (Northcutt, Jiang and Chuang 2021, Journal of Artificial Intelligence
      Research 70, 1373-1411), as cleanlab's ``find_label_issues`` does it with its usual settings.
    * not a face: the picture is flagged as of one colour, or nearly so; or it is like none of the others: the mean
      distance (1 - cosine) to the ``NEIGHBOURS`` most alike images of other photographs is beyond the ``FENCE``. That
      is a reason to look, and many are faces all the same.
    * ambiguous: none of these, but the network hesitates, by ``CLOSE`` and ``UNDECIDED``.

    An image stands once, as not a face before likely wrong, and that before ambiguous. Those that are likely wrong
    come first, then what is no face, then what is ambiguous; within each the label with the lowest probability comes
    first, but of what is no face the picture that is least like the others.

    Args:
        out_of_fold: Predictions of ``N`` images, ``row`` being that of ``train``.
        train: The table of the split that they are of, with its ``label``.
        embeddings: float32 ``[N, F]``: what one network sees in each image, of length 1.
        progress: Told of the search for images that are alike, and asked whether to stop.
    """
    import cleanlab
    import pandas as pd
    from cleanlab.count import compute_confident_joint
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    rows = out_of_fold["row"].to_numpy(np.int64)
    labels = out_of_fold["label"].to_numpy(np.int64)
    # Sums of float32 are 1 to seven digits only, and cleanlab asks for more.
    probabilities = probabilities_of(out_of_fold).astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    originals = train.iloc[rows].reset_index(drop=True)
    photographs = pd.factorize(originals["photo_id"])[0].astype(np.int64)
    alike, cosines = nearest(embeddings, photographs, NEIGHBOURS, progress)

    progress("Ranking labels", 0, 0)
    joint = compute_confident_joint(labels, probabilities)
    # One process: a fork of one that holds a training framework may hang.
    wrong = find_label_issues(labels, probabilities, confident_joint=joint, n_jobs=1)
    distance = np.where(_blank(originals["flags"]), np.inf, _distance(cosines))
    no_face = distance > _fence(distance[np.isfinite(distance)])
    ambiguous = _ambiguous(labels, probabilities)
    issue = np.select([no_face, wrong, ambiguous], [Issue.NO_FACE, Issue.LIKELY_WRONG, Issue.AMBIGUOUS], "")
    quality = get_label_quality_scores(labels, probabilities, method="self_confidence").clip(0, 1)

    place = {Issue.LIKELY_WRONG: 0, Issue.NO_FACE: 1, Issue.AMBIGUOUS: 2}
    there = np.flatnonzero(issue != "")
    suspicion = np.where(no_face, -distance, quality)
    places = np.array([place[Issue(name)] for name in issue[there]], np.int64)
    there = there[np.lexsort((suspicion[there], places))]
    queue = originals.iloc[there][["path", "source", "pixel_sha"]].reset_index(drop=True)
    queue["rank"] = np.arange(len(there)) + 1
    queue["row"], queue["label"] = rows[there], labels[there]
    queue["suggested"] = probabilities[there].argmax(axis=1)
    for index, column in enumerate(PROBABILITY_COLUMNS):
        queue[column] = probabilities[there, index].astype(np.float32)
    queue["quality"], queue["issue"] = quality[there], issue[there].astype(str)
    queue["alike"] = pd.Series([rows[some[some >= 0]][:ALIKE].tolist() for some in alike[there]], dtype=object)
    shares = 1 - np.diag(joint) / joint.sum(axis=1)
    noise = {emotion: float(share) for emotion, share in zip(EMOTIONS, shares, strict=True)}
    return Found(queue[list(ISSUE_COLUMNS)], noise, cleanlab.__version__)


def _blank(flags: pd.Series[str]) -> NDArray[np.bool_]:
    return np.array([bool({*NO_FACE_FLAGS} & {*words.split()}) for words in flags], bool)


def _distance(cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean distance of each image to the most alike ones; 0 where there are none."""
    there = ~np.isnan(cosines)
    return np.where(there, 1 - cosines, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)


def _fence(values: NDArray[np.float32]) -> float:
    if not len(values):
        return 0.0
    first, third = np.quantile(values, (0.25, 0.75))
    return float(third + FENCE * (third - first))


def _ambiguous(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
    order = np.argsort(-probabilities, axis=1)
    first, second = (np.take_along_axis(probabilities, order[:, [place]], axis=1)[:, 0] for place in (0, 1))
    plausible = (order[:, :2] == labels[:, None]).any(axis=1)
    entropy = -(probabilities * np.log(probabilities.clip(1e-12))).sum(axis=1) / np.log(probabilities.shape[1])
    return (plausible & (first - second < CLOSE)) | (entropy > UNDECIDED)
