"""A server that plays the provider, and a home to record into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import loopback
import pytest

import whence
from whence.capture import guard
from whence.capture.context import current_scope
from whence.integrations import attempts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Recorded:
    """What stands in a home, read anew at each question."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def rows(self, table: str, order: str = "ts_ns") -> list[Any]:
        """Return all rows of a table, the earliest first."""
        if not self.home.exists():
            return []
        with whence.open(self.home) as store:
            assert store.problems() == []
            return store.rows(table, order=order, limit=None).items

    def generations(self) -> list[Any]:
        """Return the model calls."""
        return self.rows("generations")

    def one(self) -> Any:
        """Return the only model call."""
        (row,) = self.generations()
        return row

    def value(self, value: Any) -> Any:
        """Return a recorded value with its blobs put back."""
        with whence.open(self.home) as store:
            return store.value(value)


@pytest.fixture
def place() -> Iterator[loopback.Provider]:
    """A provider on loopback."""
    with loopback.provider() as running:
        yield running


@pytest.fixture
def recorded(home: Path) -> Iterator[Recorded]:
    """Record into a home of the test's own, and see that nothing is lost."""
    whence.configure(home)
    guard._told.clear()
    token = current_scope.set(None)
    attempts._failures.clear()
    yield Recorded(home)
    lost = whence.flush()
    current_scope.reset(token)
    whence.configure(home, enabled=False)
    assert lost.lost == 0, lost.why
