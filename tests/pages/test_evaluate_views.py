"""The views of Evaluate beside the matrix: what being sure costs, and slices."""

import numpy as np
import pytest

from dashboard.evaluation_charts import precision_recall, slice_dots
from fer_core.evaluation.calibration import apply_temperature
from fer_core.evaluation.confidence import answered_at, reliability_bins
from fer_core.evaluation.curves import class_curves
from fer_core.evaluation.predictions import Origin, predictions_file, probabilities_of, write_predictions
from fer_core.evaluation.slices import Dimension, score
from tests.pages.opened import open_page, text_of
from tests.pages.test_evaluate import predict
from tests.unit.runs import write_run


@pytest.fixture
def run(workspace, dataset):
    return write_run(workspace, "bright", dataset)


def test_a_threshold_shows_its_price_at_once_and_is_carried_to_predict(run, dataset):
    table = predict(run, dataset)
    probabilities, labels = probabilities_of(table), table["label"].to_numpy()
    app = open_page("evaluate", view="Confidence", uncertain_below="0.7")
    assert app.slider(key="uncertain_below").value == 0.7
    assert answered_at(probabilities, labels, 0.7).said in text_of(app)
    app.slider(key="uncertain_below").set_value(0.85).run()
    assert not app.exception
    assert app.code[0].value.endswith("--split validation --uncertain-below 0.85")
    assert answered_at(probabilities, labels, 0.85).said in text_of(app)
    assert "no temperature is known of this model" in text_of(app)
    assert any("threshold=0.85" in link.proto.query_string for link in app.get("page_link"))
    assert open_page("predict", threshold="0.85").slider(key="threshold").value == 0.85


def test_reliability_is_told_with_and_without_the_temperature_and_whether_these_images_fitted_it(run, dataset):
    table = predict(run, dataset)
    probabilities, labels = probabilities_of(table), table["label"].to_numpy()
    write_predictions(
        predictions_file(run, "validation"),
        paths=table["path"].tolist(),
        labels=labels,
        probabilities=probabilities,
        origin=Origin(model="bright", dataset=dataset.name, temperature=1.8),
    )
    before = reliability_bins(apply_temperature(probabilities, 1 / 1.8), labels).ece
    text = text_of(open_page("evaluate", view="Confidence"))
    assert f"without the temperature, {100 * before:.1f}." in text
    assert "at a temperature of 1.800; dashed: before · fitted on these very images" in text


def test_slices_show_the_wrong_images_of_the_chosen_one(run, dataset):
    table = predict(run, dataset)
    app = open_page("evaluate", view="Slices", slice_by="blur")
    slices = app.selectbox(key="slice")
    assert [name.partition(" (")[0] for name in sorted(slices.options)] == ["blurriest", "blurry", "sharp", "sharpest"]
    total = 0
    for name in slices.options:
        app.selectbox(key="slice").set_value(name).run()
        assert not app.exception
        line = next(part.value for part in app.markdown if "read wrongly" in part.value)
        total += int(line.removeprefix("**").split()[0].replace(",", ""))
    assert total == (table["label"] != table["predicted"]).sum()
    assert app.code[0].value.endswith(" --slice-by blur")


def test_a_link_to_a_column_that_is_not_there_shows_what_is(run, dataset):
    predict(run, dataset)
    app = open_page("evaluate", view="Slices", slice_by="age", slice="3 to 22")
    assert app.segmented_control(key="slice_by").value == "brightness"


def test_columns_of_an_uploaded_csv_are_dimensions_and_a_bad_one_is_told(run, dataset):
    table = predict(run, dataset)
    csv = "file,camera\n" + "\n".join(f"{path},cam{at % 2}" for at, path in enumerate(table["path"]))
    app = open_page("evaluate", view="Slices")
    app.file_uploader(key="slice_file").set_value(("mine.csv", csv.encode(), "text/csv")).run()
    assert not app.exception
    assert f"mine.csv: {len(table):,} of {len(table):,} images." in text_of(app)
    app.segmented_control(key="slice_by").set_value("camera").run()
    assert sorted(app.selectbox(key="slice").options) == ["cam0", "cam1"]
    assert app.code[0].value.endswith(" --slice-by mine.csv")
    app.file_uploader(key="slice_file").set_value(("bad.csv", b"file,age\nno.png,1", "text/csv")).run()
    assert "bad.csv: none of its 1 files can be matched" in text_of(app)
    assert app.segmented_control(key="slice_by").value == "brightness"


def test_curves_of_thousands_of_images_are_drawn_with_few_points_up_to_the_whole_class():
    random = np.random.default_rng(2)
    curves = class_curves(random.dirichlet(np.ones(7), 7178), np.append(random.integers(1, 7, 7177), 0))
    assert curves["angry"].support == 1
    for curve, line in zip(curves.values(), precision_recall(curves, "light").data, strict=True):
        assert 2 <= len(line.x) <= 300
        assert (line.x[0], line.x[-1]) == (0, 100)
        assert line.y[-1] == 100 * curve.precision[curve.recall == 1].max()


@pytest.mark.parametrize(
    ("slices", "beside"),
    [
        (["dark (1 to 9)", "bright (9 to 20)"], ["dark", "bright"]),
        (["USB (front)", "USB (back)"], ["USB (front)", "USB (back)"]),
    ],
)
def test_names_beside_the_chart_are_told_apart(slices, beside):
    masks = {name: np.arange(8) % 2 == at for at, name in enumerate(slices)}
    found = sorted(score(Dimension("x", masks), np.zeros(8, int), np.zeros(8, int)), key=lambda one: one.name)
    names = slice_dots(found, 1.0, slices[0], "light").layout.yaxis.ticktext
    assert [name.partition("<br>")[0] for name in names] == sorted(beside)
