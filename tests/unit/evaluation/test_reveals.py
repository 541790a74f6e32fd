"""Looks at a test set are counted per set of pictures."""

from concurrent.futures import ThreadPoolExecutor

from fer_core.evaluation.reveals import record_reveal, reveals


def test_counts_each_test_set_by_its_pictures(workspace):
    assert reveals(workspace, ["a", "b"]) == 0
    assert record_reveal(workspace, ["a", "b"], "run", "data") == 1
    assert record_reveal(workspace, ["b", "a"], "other run", "same pictures, another name") == 2
    assert record_reveal(workspace, ["c"], "run", "other data") == 1
    assert reveals(workspace, ["a", "b"]) == 2


def test_none_is_lost_when_many_look_at_once(workspace):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: record_reveal(workspace, ["a"], f"run-{n}", "data"), range(40)))
    assert reveals(workspace, ["a"]) == 40
