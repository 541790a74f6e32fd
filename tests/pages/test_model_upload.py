"""Adding a model of one's own on a page: the popover, on a page that is nothing else."""

import pytest
from streamlit.testing.v1 import AppTest

from fer_core.inference.served import default_model, find_model
from tests.pages.opened import text_of
from tests.unit.foreign_models import Foreign
from tests.unit.served_models import write_brightness_model


def page():
    import streamlit as st

    from dashboard.components import model_picker
    from dashboard.model_upload import add_model, choose_added

    choose_added()
    model = model_picker()
    add_model()
    st.write(f"chosen: {model.name}")


@pytest.fixture
def app():
    opened = AppTest.from_function(page, default_timeout=60).run()
    assert not opened.exception
    return opened


def add(app, file=None, card=None, name="", labels=None, scale=None):
    for key, value in (("new_model_file", file), ("new_model_card", card)):
        if value:
            app.file_uploader(key=key).upload(*value)
    app.text_input(key="new_model_name").set_value(name)
    order = app.selectbox(key="new_model_labels")
    order.options.extend({labels} - {None, *order.options})  # AppTest types no new ones
    order.set_value(labels)
    app.selectbox(key="new_model_scale").set_value(scale)
    app.button[0].click()
    app.run()
    assert not app.exception
    return app


def test_a_model_is_added_with_its_card_and_chosen(app, workspace):
    bundled = default_model(workspace)
    card = bundled.path.with_name("model_card.json").read_bytes()
    model = bundled.path.read_bytes()
    add(app, ("a (1).onnx", model, "application/octet-stream"), ("card.json", card, "application/json"))
    assert "chosen: a-1" in text_of(app)
    assert find_model("a-1", workspace).card.metrics == bundled.card.metrics


def test_another_visitor_is_offered_it_and_keeps_the_own_choice(app, workspace, tmp_path):
    content = write_brightness_model(tmp_path / "b.onnx").read_bytes()
    other = AppTest.from_function(page, default_timeout=60).run()
    add(app, ("b.onnx", content, "application/octet-stream"), name="mine")
    assert "chosen: mine" in text_of(app)
    assert "chosen: mine" not in text_of(other.run())
    assert "mine" in other.selectbox[0].options


def test_a_model_made_elsewhere_is_added_with_its_order(app, workspace, tmp_path):
    content = Foreign(16).write(tmp_path / "theirs.onnx").read_bytes()
    file = ("theirs.onnx", content, "application/octet-stream")
    assert "models import FILE --labels ORDER" in text_of(add(app, file))
    assert "Choose the order of its outputs, too" in text_of(add(app, file, scale="0-255"))
    assert "found out by the command alone" in text_of(add(app, file, labels="detect"))
    order = "surprise,fear,disgust,happiness,sadness,anger,neutral"  # RAF-DB's
    add(app, file, labels=order, scale="-1-1")
    assert "chosen: theirs" in text_of(app)
    notes = find_model("theirs", workspace).card.notes
    assert "Labels as stated: surprise, fear, disgust, happy, sad, angry, neutral." in notes
    assert "Pixel values as stated: -1-1." in notes


@pytest.mark.parametrize(
    ("file", "name", "told"),
    [
        (None, "", "Choose an ONNX file first"),
        (("m.onnx", b"\x80\x04.", "x/y"), "", "m.onnx: a pickle, which is code and is never loaded"),
        (("![](http://x/y.png).onnx", b"random", "x/y"), "", "no ONNX model"),
        (("m.onnx", b"random", "x/y"), "../up", "cannot be the name of a model"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_kept(app, workspace, file, name, told):
    add(app, file, name=name)
    assert told in text_of(app)
    assert not list(workspace.models.glob("*"))
