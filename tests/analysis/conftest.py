"""Calls and edges that a test makes up, and a home that it records into."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import whence
from whence.analysis.facts import Call, Edge
from whence.analysis.memoryfacts import MemoryFacts
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


@pytest.fixture
def facts():
    """Return a function that makes facts of calls and edges, in their order of time."""

    def make(calls=(), edges=()) -> MemoryFacts:
        made = [
            Call(**{"id": f"rec_{n}", "run": f"run_{n}", "request": f"r{n}", "ts_ns": n, **fields})
            for n, fields in enumerate(calls)
        ]
        links = [
            Edge(source, target, kind, f"link_{n}", n)
            for n, (source, target, kind) in enumerate(edges)
        ]
        return MemoryFacts(made, links)

    return make
