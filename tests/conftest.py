"""Hypothesis profiles, and a home of its own for each test that asks for one."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from pathlib import Path

# Both are modest: the whole suite is run before every commit. A law that needs more says so.
settings.register_profile(
    "dev", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "ci", settings.get_profile("dev"), derandomize=True, database=None, print_blob=True
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a shell, which every process below would inherit: none could be
    # interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder that does not exist yet, for a log and an archive of the test's own."""
    return tmp_path / "home"
