"""Limits are set from the environment, and all of them are named where a user looks."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fer_core import limits

SETTINGS = re.findall(r'_whole\("(FER_MAX_\w+)"', Path(limits.__file__).read_text())


@pytest.mark.parametrize("name", SETTINGS)
def test_every_limit_is_in_the_readme(name):
    assert f"`{name}`" in (Path(limits.__file__).parents[1] / "README.md").read_text()


def ask(expression, **environment):
    return subprocess.run(
        [sys.executable, "-c", f"from fer_core.inference import adopt, frames, live; print({expression})"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "value", "expression", "told"),
    [
        ("FER_MAX_VIDEO_HOURS", "2", "frames.VideoLimits().told()", "up to 2 hours"),
        ("FER_MAX_VIDEO_FRAMES", "9000", "frames.VideoLimits().told()", "9,000 frames"),
        ("FER_MAX_MODEL_MB", "3", "adopt.MAX_BYTES", str(3 * 2**20)),
    ],
)
def test_a_limit_comes_from_the_environment(name, value, expression, told):
    assert told in ask(expression, **{name: value}).stdout
    wrong = ask(expression, **{name: "-1"})
    assert wrong.stderr.strip() == f"{name} is '-1'; it must be a whole number of 1 or more. Correct or unset it."
