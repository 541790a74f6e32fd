"""Whatever is looked at in the browser, the server that shows it never loads a training framework."""

import pytest

from benchmarks.measure import ROOT
from benchmarks.watched import WatchedServer, open_every_page
from fer_core.data.demo import draw_demo
from fer_core.data.prepare import PrepareConfig, prepare
from tests.unit.runs import write_run


@pytest.mark.timeout(600)
def test_every_page_was_opened_and_no_training_framework_is_loaded(page, workspace):
    archives = [str(path) for path in draw_demo(workspace.sources)]
    write_run(workspace, "drawn-1", prepare(archives, workspace.datasets / "drawn", PrepareConfig()))
    with WatchedServer(ROOT / "dashboard" / "app.py", workspace.root.parent) as server:
        server.wait()
        opened = open_every_page(page, server)
        assert {"Overview", "Data", "Train", "Predict"} <= set(opened)
        assert "onnxruntime" in server.modules(), "no page has read a face"
        assert server.frameworks() == []
        log = server.log.read_text()
    assert "Traceback" not in log, log
