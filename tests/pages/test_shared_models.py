"""One session per model for all visitors, and no more of them in memory than the bound allows."""

import gc
import weakref

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import caching
from tests.unit.served_models import write_brightness_model


@pytest.fixture(autouse=True)
def nothing_cached():
    caching._predictor.clear()


def visit(path):
    """A visitor opens a page that uses a model; returns the predictor that the page got."""

    def page(path):
        import streamlit as st

        from dashboard import caching

        st.session_state["got"] = caching.predictor(path)

    app = AppTest.from_function(page, default_timeout=60, args=(path,)).run()
    assert not app.exception
    return app.session_state["got"]


def test_two_visitors_share_a_model(tmp_path):
    file = write_brightness_model(tmp_path / "model.onnx")
    assert visit(file) is visit(file)


def test_a_model_that_was_written_anew_is_opened_anew(tmp_path):
    file = write_brightness_model(tmp_path / "model.onnx", shape=(16, 16, 1))
    assert visit(file).input_shape == (16, 16, 1)
    write_brightness_model(file, shape=(24, 24, 1)).touch()
    assert visit(file).input_shape == (24, 24, 1)


@pytest.mark.slow
def test_who_tries_many_models_keeps_few_in_memory(tmp_path):
    opened = [weakref.ref(visit(write_brightness_model(tmp_path / f"{n}.onnx"))) for n in range(5)]
    gc.collect()
    assert [predictor() is not None for predictor in opened] == [False, False, True, True, True]
