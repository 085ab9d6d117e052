"""A process that records into a home of its own, and a view of what it recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import whence
from whence.capture import guard
from whence.capture.context import current_scope
from whence.log import segment
from whence.log.home import Home
from whence.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from whence.store.rows import Row


class Recorded:
    """What stands in a home, read anew at each question."""

    def __init__(self, home: Path) -> None:
        self.home = Home(home)

    def rows(self, table: str) -> list[Row]:
        """Return all rows of a table, after checking that nothing in the log is unreadable."""
        store = MemoryStore(self.home)
        assert store.problems() == []
        return list(store._rows[table])

    def one(self, table: str) -> Row:
        """Return the only row of a table."""
        (row,) = self.rows(table)
        return row

    def bytes_of_log(self) -> bytes:
        """Return the content of all segments."""
        return b"".join(
            name.path_in(self.home).read_bytes() for name in segment.iter_all(self.home)
        )

    def bytes_of_all_files(self) -> bytes:
        """Return the content of every file of the home."""
        return b"\n".join(p.read_bytes() for p in sorted(self.home.root.rglob("*")) if p.is_file())


@pytest.fixture
def recorded(home: Path) -> Iterator[Recorded]:
    """Record into a home of the test's own; nothing is recorded afterwards."""
    whence.configure(home)
    guard._told.clear()
    token = current_scope.set(None)
    yield Recorded(home)
    current_scope.reset(token)
    whence.configure(home, enabled=False)
