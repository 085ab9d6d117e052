"""One timed step inside a run: its place in the tree, what went in and what came out.

A span of kind `tool` or `generation` ends with the record of its call; a `span_ended` follows only
where there is more to say: an exception, or a status set after the call.
"""

from __future__ import annotations

from typing import Any

from whence.record.base import Record

SPAN_KINDS = (
    "stage",
    "step",
    "agent",
    "generation",
    "tool",
    "retrieval",
    "transformation",
    "evaluation",
    "guardrail",
    "custom",
)
"""The kinds readers know. Another kind is kept as it is."""


class SpanStarted(
    Record, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="span_started"
):
    """A span began. Its own id is `span`."""

    name: str
    """What the step is called."""
    span_kind: str = "custom"
    """One of `SPAN_KINDS`, or the user's own word."""
    parent: str | None = None
    """Id of the span around it; null directly under the run."""
    agent: str | None = None
    """The agent that acts in it."""
    input: Any = None
    """What went in."""
    input_count: int | None = None
    """How many items went in."""
    algorithm: str | None = None
    """The method used."""
    attributes: dict[str, Any] | None = None
    """Whatever else the user said about it."""


class SpanEnded(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="span_ended"):
    """A span ended, in order or not."""

    status: str = "ok"
    """`ok`, `error` or `cancelled`; or the status the user set."""
    duration_ns: int | None = None
    """Length of the span by a clock that does not jump, in nanoseconds."""
    output: Any = None
    """What came out."""
    error: dict[str, Any] | None = None
    """The exception that ended it: `type`, `message`, `stack`."""
