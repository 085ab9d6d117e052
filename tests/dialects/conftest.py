"""A home that the test records into."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import whence
from whence.capture.context import current_scope

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def recording(home: Path) -> Iterator[Path]:
    """Record into a home of the test's own; nothing is recorded afterwards."""
    whence.configure(home)
    token = current_scope.set(None)
    yield home
    current_scope.reset(token)
    whence.configure(home, enabled=False)
