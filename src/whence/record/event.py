"""Log lines, and the admission that something is missing."""

from __future__ import annotations

from typing import Any

from whence.record.base import Record


class Event(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="event"):
    """A line of a log, in its place in the run."""

    message: str
    """What happened."""
    level: str = "info"
    """`debug`, `info`, `warning`, `error`, or the user's own word."""
    data: dict[str, Any] | None = None
    """Details."""


class Gap(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="gap"):
    """Records that could not be kept."""

    lost: int
    """How many."""
    reason: str
    """Why, in one sentence."""
    since: str | None = None
    """When the first of them was lost: RFC 3339."""


class Foreign(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="foreign"):
    """A record of a kind this version does not know, kept whole in `extra`."""

    foreign_kind: str = ""
    """The kind as written."""
