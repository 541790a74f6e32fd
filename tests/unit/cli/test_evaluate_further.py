"""``evaluate --uncertain-below`` and ``--slice-by`` as a user at a terminal sees them, on drawn faces."""

import json

import pytest

from fer_core.data.demo import draw_demo
from fer_core.data.prepare import PrepareConfig, prepare
from tests.unit.cli.test_evaluate_results import write_results
from tests.unit.command_line import call
from tests.unit.runs import write_run


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    archives = draw_demo(tmp_path_factory.mktemp("demo"))
    return prepare([str(path) for path in archives], tmp_path_factory.mktemp("prepared") / "faces", PrepareConfig())


@pytest.fixture
def csv(prepared, tmp_path):
    """Which half of validation a picture is in."""
    file, paths = tmp_path / "half.csv", prepared.table("validation")["path"].tolist()
    lines = [f"{path},{'first' if at < len(paths) // 2 else 'second'}" for at, path in enumerate(paths)]
    file.write_text("\n".join(["file,half", *lines, "strange.png,first"]))
    return file


def test_a_model_is_asked_for_slices_and_the_price_of_a_threshold(capfd, workspace, prepared, csv):
    write_run(workspace, "bright", prepared)
    asked = ["evaluate", "bright", prepared.folder, "--slice-by", "all", "--slice-by", csv, "--uncertain-below", "0.6"]
    code, out, err = call(capfd, *asked, "--json")
    assert code == 0, err
    document = json.loads(out)
    assert list(document["slices"]) == ["brightness", "contrast", "blur", "source", "flags", "half"]
    for found in document["slices"].values():
        assert found["finding"]
        right = sum(each["n"] * each["accuracy"] for each in found["slices"])
        assert sum(each["n"] for each in found["slices"]) >= document["n"]
        assert right >= document["n"] * document["accuracy"] - 1e-9
    answered = document["confidence"]["answered"]
    assert answered["coverage"] == answered["n"] / document["n"]
    assert document["confidence"]["ece"] == document["ece"]
    assert "strange.png" in err
    assert document["confidence"]["ece_uncalibrated"] == pytest.approx(document["ece"])  # its temperature is 1
    averaged = json.loads(call(capfd, *asked[:3], "--uncertain-below", "0.6", "--tta", "flip", "--json")[1])
    assert averaged["confidence"]["ece_uncalibrated"] is None
    code, out, _ = call(capfd, *asked)
    assert code == 0
    assert f"Called uncertain below 0.6: {100 * answered['accuracy']:.1f} % ±" in out
    assert "By half, " in out


def test_results_made_elsewhere_have_slices_of_the_images_they_tell_of(capfd, workspace, prepared, csv, tmp_path):
    half = len(prepared.table("validation")) // 2
    file = write_results(
        tmp_path / "theirs.csv", prepared, split="validation", wrong=range(2, half), left_out=[0, half + 1]
    )
    code, out, err = call(capfd, "evaluate", file, prepared.folder, "--slice-by", csv, "--json")
    assert code == 0, err
    first, second = json.loads(out)["slices"]["half"]["slices"]
    assert (first["name"], first["n"], first["accuracy"]) == ("first", half - 1, pytest.approx(1 / (half - 1)))
    assert (second["name"], second["accuracy"], second["within_noise"]) == ("second", 1, False)


def test_one_column_does_not_hide_another_of_the_same_name(capfd, workspace, csv, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(csv.read_text())
    code, _, err = call(capfd, "evaluate", "fer2013-wide", "nothing", "--slice-by", csv, "--slice-by", other)
    assert (code, err) == (2, "Several files have a column 'half': give each a title of its own.\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--slice-by", "age"], "Cannot slice by 'age': give brightness, contrast"),
        (["--slice-by", "no.csv"], "no such file"),
        (["--slice-by", "blur", "--detach"], "leave --detach out"),
        (["--uncertain-below", "2"], "should be less than or equal to 1"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_evaluated(capfd, workspace, options, message):
    code, out, err = call(capfd, "evaluate", "fer2013-wide", "nothing", *options)
    assert (code, out) == (2, "")
    assert message in err
    assert "nothing" not in err
