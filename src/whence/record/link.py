"""Typed edges between things, always from the earlier to the later one.

A `retry_of` edge points from the original to the retry, although the name reads the other way
round: one direction for every kind makes lineage a single walk. Source: requirement document 2 and
DESIGN 3.
"""

from __future__ import annotations

from typing import Any

from whence.record.base import Record

LINK_KINDS = (
    "triggered_by",
    "part_of",
    "derived_from",
    "retry_of",
    "fallback_for",
    "enhancement_of",
    "validation_of",
    "continuation_of",
    "used",
    "generated",
    "supports",
    "contradicts",
    "supersedes",
    "entity",
)
"""The kinds readers know. Another kind is kept as it is."""


class Link(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="link"):
    """An edge from `source`, the earlier thing, to `target`, the later one."""

    link_kind: str
    """One of `LINK_KINDS`, or the user's own word."""
    source: str
    """Id of the earlier thing."""
    target: str
    """Id of the later thing."""
    confidence: float | None = None
    """How sure the edge is, 0 to 1."""
    inferred: bool = False
    """Whether a program concluded it, rather than the user declaring it."""
    attributes: dict[str, Any] | None = None
    """Whatever else the user said about it."""
