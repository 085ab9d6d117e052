"""Carries a run into another process.

A W3C `traceparent` goes out, records come in under the same run and span. Where no span is open it
names the span that stands for the run in a trace, so that spans which other programs put below it
join the run that is exported.

Source: W3C Trace Context, section 3.2 (version 00).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from msgspec import Raw

from whence import _ids
from whence.capture import emit
from whence.capture.context import current_scope
from whence.capture.noop import NOOP, NoOp
from whence.capture.scopes import Run
from whence.capture.state import current as state
from whence.errors import ConfigError

if TYPE_CHECKING:
    from types import TracebackType

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


def traceparent() -> str | None:
    """Return the current run and span as a W3C traceparent; None where nothing is recorded."""
    scope = current_scope.get()
    if scope is None or isinstance(scope, NoOp):
        return None
    return f"00-{scope.run_id}-{scope.span_id or _ids.root_id(scope.run_id)}-01"


def resume(parent: str | None) -> RemoteRun | NoOp:
    """Return a context manager in which records belong to a run of another process.

    The run is the other process's: nothing is written when the block is entered or left.

    Args:
        parent: What `traceparent` gave there; None records nothing.

    Raises:
        ConfigError: It is not a traceparent.
    """
    if parent is None or not state.enabled:
        return NOOP
    match = _TRACEPARENT.fullmatch(parent)
    if match is None:
        message = (
            f"{parent[:80]!r} is not a traceparent; pass on what whence.traceparent() returned"
        )
        raise ConfigError(message)
    run, span = match.groups()
    return RemoteRun(run, None if span == _ids.root_id(run) else span)


class RemoteRun(Run):
    """A run that another process opened and will end."""

    def __init__(self, run_id: str, span_id: str | None) -> None:
        super().__init__({})
        self.id = self.trace_id = self.run_id = run_id
        self.span_id = span_id
        self.run_part = emit.run_part(run_id)
        if span_id is None:
            self.envelope = Raw(self.run_part)
        else:
            self.envelope = emit.envelope(self.run_part, span_id, b"")

    def __enter__(self) -> Run:
        self._outer = current_scope.get()
        current_scope.set(self)
        return self

    def _end(self, error: BaseException | None) -> None:
        """Write nothing: the run goes on where it began."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> Literal[False]:
        self._leave()
        return False
