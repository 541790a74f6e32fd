"""The audit against known answers: small ones by hand, and those of the real archives where these are at hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fer_core.data.audit import audit, audit_dataset, audit_sources
from fer_core.data.copies import PARTNERS
from fer_core.data.findings import find
from fer_core.data.info import CrossSplit, count
from fer_core.data.sources import open_sources
from fer_core.data.split import Policy, assign
from fer_core.data.table import identify, read_material

from .pictures import black, class_folders, face, jpeg, make_zip, png


def test_copies_are_counted_by_hand(tmp_path):
    files = class_folders(train=3, test=2)
    files["test/happy/exact.png"] = files["train/happy/000.png"]  # exact, same label
    files["test/sad/exact.png"] = files["train/fear/000.png"]  # exact, other label
    files["test/happy/near.jpg"] = jpeg(face(1, "happy"))  # the same photograph, re-encoded
    files["train/angry/twice.png"] = files["train/angry/000.png"]
    files["train/angry/black.png"] = black()
    path = make_zip(tmp_path / "a.zip", files)
    audited = audit_sources([str(path)], (48, 48), 1)
    found = audited.audit
    assert sum(audited.counts["read"]["train"].values()) == 23
    assert (found.exact_groups, found.redundant, found.conflicting_groups, found.constant) == (3, 3, 1, 1)
    assert found.cross_split == {"train/test": CrossSplit(exact=2, near=1, mirrored=0, any=3)}
    assert found.reexports == []
    assert audited.left_out == []


def test_a_reexport_is_recognised_through_the_codec(demo):
    found = audit_sources(demo, (48, 48), 1).audit
    assert {(entry.a, entry.b): entry.share for entry in found.reexports} == {
        ("fer2013", "edf"): 1.0,
        ("edf", "fer2013"): 1.0,
    }
    for source in found.sources.values():
        across = source.cross_split["train/test"]
        assert (across.exact, across.near, across.mirrored, across.any) == (11, 7, 3, 21)
        assert (source.exact_groups, source.conflicting_groups, source.constant) == (14, 3, 1)


def test_of_a_film_every_frame_that_train_has_nearly_is_counted():
    random, still = np.random.default_rng(0), face(5).astype(int)
    test = [still + random.integers(-1, 2, still.shape) for _ in range(2 * PARTNERS)]  # most alike among themselves
    train = [still * 0.9 + random.integers(-12, 13, still.shape)]
    view = np.clip([*test, *train], 0, 255).astype(np.uint8)
    table = pd.DataFrame(
        {
            "source": "film",
            "published": ["test"] * len(test) + ["train"] * len(train),
            "label": 3,
            "pixel_sha": list(map(str, range(len(view)))),
            "constant": False,
        }
    )
    material = identify(table, view, [])
    across = audit(material.table, material.pairs).cross_split["train/test"]
    assert (across.near, across.any) == (len(test), len(test))


def test_a_clean_dataset_audits_clean(leak_free):
    found = audit_dataset(leak_free).audit
    for sides in ("train/test", "train/validation", "validation/test"):
        assert found.cross_split[sides].any == 0


def test_new_faces_are_not_taken_for_reexports(tmp_path):
    one = make_zip(tmp_path / "one.zip", class_folders(train=3, test=1))
    two = make_zip(tmp_path / "two.zip", {"happy/a.png": png(12345), "sad/b.png": png(54321, "sad")})
    found = audit_sources([str(one), str(two)], (48, 48), 1).audit
    assert found.reexports == []


@pytest.mark.slow
def test_the_real_archives_give_the_known_answers(real_data):
    paths = {"fer2013": real_data / "fer2013.zip", "edf": real_data / "emotion-detection-fer.zip"}
    opened = open_sources([f"{name}={path}" for name, path in paths.items()])
    material = read_material(opened, (48, 48), 1)
    found = audit(material.table, material.pairs)
    for source in found.sources.values():
        assert (source.exact_groups, source.redundant) == (1273, 1532)
        assert (source.conflicting_groups, source.constant) == (47, 12)
    # One of the two is lossy, so that copies at the edge of the rule differ a little.
    edf, fer = (found.sources[name].cross_split["train/test"] for name in ("edf", "fer2013"))
    assert edf == CrossSplit(exact=280, near=271, mirrored=3, any=488)
    assert fer == CrossSplit(exact=280, near=267, mirrored=3, any=484)
    assert (found.exact_groups, found.redundant, found.constant) == (2545, 3065, 24)
    assert [entry.share for entry in found.reexports] == [1.0, 1.0]
    splits = material.table["published"].to_numpy(object)
    counts = count(splits, material.table["label"].to_numpy())
    findings = find(material.table, material.pairs, splits, "fer2013", found.reexports, counts)
    # Photographs, not images, and such that are linked through a third picture too; each picture once for its looks.
    assert {entry.reason: (entry.findings, entry.images) for entry in findings.counts()} == {
        "re-export": (2, 64596),
        "exact copy across splits": (268, 802),
        "near copy across splits": (185, 504),
        "mirrored copy across splits": (3, 15),
        "conflicting labels": (58, 164),
        "constant": (1, 12),
        "nearly constant": (2, 2),
        "near copies, other labels": (81, 199),
        "exact copies": (928, 2260),
        "near copies": (489, 1043),
        "very dark": (91, 93),
        "very bright": (154, 165),
        "blurry": (36, 36),
        "class imbalance": (1, 57418),
    }

    def sizes(policy: Policy) -> dict[str, dict[str, int]]:
        ledger = assign(material.table, material.pairs, "fer2013", policy, 0.25, 42).ledger
        return {step: {split: sum(n.values()) for split, n in counts.items()} for step, counts in ledger.counts.items()}

    clean, published = sizes(Policy.LEAK_FREE), sizes(Policy.AS_PUBLISHED)
    assert clean["read"] == {"train": 57418, "validation": 0, "test": 7178}
    assert clean["merged"] == {"train": 27473, "validation": 0, "test": 3589}
    assert clean["cleaned"] == {"train": 20054, "validation": 6696, "test": 3589}
    assert published["split"] == {"train": 53829, "validation": 7178, "test": 3589}
