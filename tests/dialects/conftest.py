"""A home that the test records into."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import whence
from whence.capture.context import current_scope

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True, scope="module")
def _elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run in a folder that is nobody's: the dialects' own folders are below the working one."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("work"))
    yield
    os.chdir(before)


@pytest.fixture
def recording(home: Path) -> Iterator[Path]:
    """Record into a home of the test's own; nothing is recorded afterwards."""
    whence.configure(home)
    token = current_scope.set(None)
    yield home
    current_scope.reset(token)
    whence.configure(home, enabled=False)
