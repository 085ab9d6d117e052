"""One execution of a user's pipeline.

How it began, how it ended, and what was learned about it on the way.

A run that started and never ended is one whose writer died: readers mark it `incomplete`, nobody
rewrites it.
"""

from __future__ import annotations

from typing import Any

from whence.record.base import Record


class RunStarted(
    Record, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="run_started"
):
    """A run began.

    It has an `id` only where an import concluded it from what was inside the run; one without
    counts before it.
    """

    name: str
    """What the pipeline is called."""
    run_kind: str | None = None
    """What sort of run it is, in the user's words: `research`, `agent`, `batch`."""
    project: str | None = None
    """The project it belongs to; switches and filters work by it."""
    external_id: str | None = None
    """An id the user's own system gave it. Every look-up accepts it."""
    parent_run: str | None = None
    """Id of the run that started this one."""
    workflow: str | None = None
    """A workflow that several runs share."""
    session: str | None = None
    """A user session that several runs share."""
    conversation: str | None = None
    """A conversation of which this run is a turn."""
    user: str | None = None
    """Who it was run for."""
    tags: list[str] | None = None
    """Labels for filtering."""
    attributes: dict[str, Any] | None = None
    """Whatever else the user said about it."""
    environment: dict[str, Any] | None = None
    """Where it ran: versions, git commit, host, process id."""


class RunEnded(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="run_ended"):
    """A run ended, in order or not; `id` as in `RunStarted`."""

    status: str
    """`complete`, `failed`, `incomplete` or `cancelled`."""
    duration_ns: int | None = None
    """Length of the run by a clock that does not jump, in nanoseconds."""
    error: dict[str, Any] | None = None
    """The exception that ended it: `type`, `message`, `stack`."""
    overhead_ns: int | None = None
    """Time spent recording in this run, estimated from the count of records, in nanoseconds."""
    records: int | None = None
    """How many records the run wrote in this process, this one included."""


class Update(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="update"):
    """Something more became known about an open run (`span` null) or span.

    Written when it is said, not at the end.
    """

    attributes: dict[str, Any] | None = None
    """Attributes to add; a later value replaces an earlier one of the same key."""
    tags: list[str] | None = None
    """Tags to add."""
    status: str | None = None
    """A status the user gives, replacing the one that the exit would give."""
    input: Any = None
    """What went into the span."""
    output: Any = None
    """What came out of the span or run."""
    input_count: int | None = None
    """How many items went in."""
    output_count: int | None = None
    """How many items came out."""
    algorithm: str | None = None
    """The method used."""
    fields: dict[str, Any] | None = None
    """Fields of the start record that became known later.

    `external_id`, `user`, `session` and the like.
    """
