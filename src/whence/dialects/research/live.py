"""Which traces are open in this process, and which one is current in this context.

A context is a task and the tasks it starts. Nothing here records or writes.
"""

from __future__ import annotations

import os
from contextvars import ContextVar
from typing import TYPE_CHECKING

from whence.capture.context import current_scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.dialects.research.trace import Trace

_current: ContextVar[Trace | None] = ContextVar("whence_research_trace", default=None)
_open: dict[str, tuple[int, Trace]] = {}
"""Run id to process and trace, for all that have begun and not ended."""


def add(run_id: str, trace: Trace) -> None:
    """Take a trace for open."""
    _open[run_id] = (os.getpid(), trace)


def remove(run_id: str) -> None:
    """Take a trace for ended."""
    _open.pop(run_id, None)


def iter_open() -> Iterator[Trace]:
    """Yield the traces that this process, and not its parent, has begun and not ended."""
    own = os.getpid()
    yield from [trace for pid, trace in list(_open.values()) if pid == own]


def find_open(trace_id: str) -> Trace | None:
    """Return the open trace with that id; None if there is none in this process."""
    return next((trace for trace in iter_open() if trace.trace_id == trace_id), None)


def current() -> Trace | None:
    """Return the trace of this context, or of the run that is current; None if there is none."""
    trace = _innermost(_current.get())
    if trace is not None:
        return trace
    scope = current_scope.get()
    known = None if scope is None else _open.get(scope.run_id)
    return None if known is None else known[1]


def enter(trace: Trace) -> None:
    """Make a trace the current one."""
    trace.outer = _current.get()
    _current.set(trace)


def leave(trace: Trace) -> None:
    """Make current what was so before, if this trace is current."""
    if _current.get() is trace:
        _current.set(_innermost(trace.outer))


def _innermost(trace: Trace | None) -> Trace | None:
    """Return the trace, or the first around it that has not ended: it may have ended elsewhere."""
    while trace is not None and trace.result is not None:
        trace = trace.outer
    return trace
