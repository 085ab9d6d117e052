"""A home that the test records into, and readers of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from madeup import Rows, run_row

import whence
from whence.capture.context import current_scope
from whence.log.home import Home
from whence.query.reader import Reader, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def recording(home: Path) -> Iterator[Path]:
    """Record into a home of the test's own; nothing is recorded afterwards."""
    whence.configure(home)
    token = current_scope.set(None)
    yield home
    current_scope.reset(token)
    whence.configure(home, enabled=False)


@pytest.fixture(params=["memory", "duckdb"])
def store(recording: Path, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """Open the home that the test records into, once with each store."""
    recording.mkdir(exist_ok=True)
    with open_store(recording, memory=request.param == "memory") as reader:
        yield reader


@pytest.fixture
def reader(recording: Path) -> Iterator[Reader]:
    """Open the home that the test records into with the reference store."""
    recording.mkdir(exist_ok=True)
    with open_store(recording, memory=True) as opened:
        yield opened


@pytest.fixture
def made():
    """Return a function that opens a reader of rows by table."""

    def open_rows(**tables) -> Reader:
        tables.setdefault("runs", [run_row()])
        return Reader(Rows(**tables), Home(Path("/nowhere")))

    return open_rows
