"""Two that make a dataset of one name at once: one wins, whole, and the other is told."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from fer_core.data.dataset import Dataset, partial_folder
from fer_core.errors import DatasetError

from ...conftest import ROOT

SIDE_BY_SIDE = """
import sys, time
from pathlib import Path
from fer_core.data.config import PrepareConfig
from fer_core.data.prepare import prepare
from fer_core.errors import DatasetError

out, here, there, seed, *sources = sys.argv[1:]

def wait(phase, done, total):
    if phase == "Drawing figures":  # the last of all
        Path(here).touch()
        while not Path(there).exists():
            time.sleep(0.001)

try:
    prepare(sources, Path(out), PrepareConfig(seed=int(seed)), wait)
except DatasetError as error:
    sys.exit(str(error))
"""


def test_two_that_finish_at_once_do_not_mix(demo, place, tmp_path):
    out, ready = place / "mine", [tmp_path / "first", tmp_path / "second"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SIDE_BY_SIDE, str(out), str(here), str(there), str(seed), *demo],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed, (here, there) in enumerate((ready, reversed(ready)))
    ]
    told = [process.communicate()[1] for process in processes]
    codes = [process.returncode for process in processes]
    assert sorted(codes) == [0, 1], told
    assert told[codes.index(1)] == f"{out} exists already. Choose another name, or remove it first.\n"
    made = Dataset.open(out)
    made.check()
    assert made.info.config["seed"] == codes.index(0)
    assert [folder.name for folder in place.iterdir()] == ["mine"]


@pytest.mark.parametrize("empty_before", [False, True])
def test_of_many_folders_that_become_one_exactly_one_does(place, empty_before):
    out = place / "mine"
    if empty_before:
        out.mkdir()
    ready, won, told = threading.Barrier(8), [], []

    def make(number: int) -> None:
        try:
            with partial_folder(out) as folder:
                (folder / str(number)).touch()
                ready.wait(60)
            won.append(number)
        except DatasetError as error:
            told.append(str(error))

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert told == [f"{out} exists already. Choose another name, or remove it first."] * 7
    assert [file.name for file in out.iterdir()] == [str(won[0])]
    assert list(place.iterdir()) == [out]
