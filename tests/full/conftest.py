"""Fixtures of the unit tests that the slow ones use, too."""

from tests.unit.training.conftest import tiny
from tests.unit.training.test_tracking import server

__all__ = ["server", "tiny"]
