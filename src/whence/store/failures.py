"""What of a run counts as an error: the one rule, for the list of runs and for `why`.

A model call or tool call whose status is `error` is an error. So is a span that ended with the
status `error`, unless such a call was recorded in that very span: a tool that fails ends its span
with the same exception, and that is one error. A span around it that failed too is another one. A
span that never ended is none, whatever status was set on it.
"""

from __future__ import annotations

from typing import Self

import msgspec

FAILED = "error"
"""The status of a call or span that failed."""


class Failures(msgspec.Struct):
    """Errors counted so far, in any order; see the module for what one is."""

    calls: int = 0
    """How many calls failed."""
    spans: set[str] = set()
    """Ids of the spans that ended so."""
    held: set[str] = set()
    """Ids of the spans in which a call failed."""

    def add_call(self, status: str, span: str | None) -> None:
        """Take a model call or tool call, and the span it was recorded in."""
        if status == FAILED:
            self.calls += 1
            if span:
                self.held.add(span)

    def add_end(self, status: str, span: str) -> None:
        """Take the end of a span."""
        if status == FAILED:
            self.spans.add(span)

    @property
    def count(self) -> int:
        """How many errors there are."""
        return self.calls + len(self.spans - self.held)

    def __or__(self, other: Self) -> Failures:
        return Failures(self.calls + other.calls, self.spans | other.spans, self.held | other.held)
