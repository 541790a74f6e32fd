import json
import subprocess
import sys

import pytest

from benchmarks import table
from benchmarks.measure import ROOT, Figure, Summary, interleave, ratios, report, run_child

SCRIPTS = (
    *("prepare", "audit_growth", "copies", "arrays", "balance"),
    *("server", "training", "evaluate_page", "inference", "against_fer"),
)
HEAVY = ("numpy", "pandas", "cv2", "streamlit", "keras", "tensorflow", "playwright")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([3.0], Summary(3.0, 3.0, 3.0, 1), id="one"),
        pytest.param([5.0, 1.0, 2.0], Summary(2.0, 1.0, 5.0, 3), id="odd"),
        pytest.param([4.0, 1.0, 2.0, 9.0], Summary(3.0, 1.0, 9.0, 4), id="even: between the middle two"),
    ],
)
def test_repeats_are_summed_up_by_their_median_and_range(values, expected):
    assert Summary.of(values) == expected


def test_a_ratio_is_taken_within_a_repeat():
    # The machine was slow in the second repeat. The ratio of the medians would be 3.
    assert Summary.of(ratios([2.0, 20.0, 6.0], [1.0, 10.0, 2.0])) == Summary(2.0, 2.0, 3.0, 3)


def test_sides_take_turns_and_swap_who_goes_first():
    order = []
    found = interleave({name: lambda name=name: order.append(name) or len(order) for name in "ab"}, 3)
    assert "".join(order) == "abbaab"
    assert found == {"a": [1, 4, 5], "b": [2, 3, 6]}


@pytest.mark.parametrize(
    ("value", "asked", "verdict"),
    [
        (2.0, {"at_most": 2}, "reached"),
        (2.1, {"at_most": 2}, "not reached"),
        (0.9, {"at_least": 0.9}, "reached"),
        (0.8, {"at_least": 0.9}, "not reached"),
        (5.0, {}, ""),
    ],
)
def test_the_median_decides_whether_a_figure_is_reached(value, asked, verdict):
    assert Figure("seconds", "s", Summary.of([value]), **asked).verdict == verdict


def test_a_child_process_is_measured_to_its_end():
    hold = "held = bytearray(80_000_000); held[::4096] = b'x' * len(held[::4096])"
    found = run_child([sys.executable, "-c", f"{hold}; print('done')"])
    assert found.output == "done\n"
    assert found.peak_mb > 80


def test_a_child_process_that_fails_ends_the_benchmark():
    with pytest.raises(SystemExit, match="out of luck"):
        run_child([sys.executable, "-c", "raise SystemExit('out of luck')"])


def test_kept_results_become_a_table(tmp_path, monkeypatch, capsys):
    for module in ("measure", "table"):
        monkeypatch.setattr(f"benchmarks.{module}.RESULTS", tmp_path)
    figures = [Figure("seconds", "s", Summary.of([1.0, 3.0]), "a title", at_most=2)]
    report("server", "7 pages", "2 cores", figures, as_json=True)
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "server.json").read_text())
    assert "| server: seconds / a title | 2 s | 1–3, 2 | at most 2 s | reached |" in table.table()


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_loads_nothing_heavy(script):
    ask = f"""
import sys
from benchmarks import {script}

sys.argv = ["x", "--help"]
try:
    {script}.main()
except SystemExit:
    print(sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--data DIR" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
