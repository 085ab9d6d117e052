"""A choice the pipeline made, the options it did not take, and what weighed on it."""

from __future__ import annotations

from typing import Any

import msgspec

from whence.record.base import Record


class Option(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One thing that could have been chosen."""

    name: str
    """What the option is."""
    probability: float | None = None
    """How likely it was held to be, 0 to 1."""
    score: float | None = None
    """What it scored, on the decision's own scale."""
    reason_rejected: str | None = None
    """Why it was not taken; null for the chosen one or when nobody said."""
    chosen: bool = False
    """Whether this is the option that was taken."""
    attributes: dict[str, Any] | None = None
    """Other keys that the user gave the option."""
    extra: dict[str, Any] | None = msgspec.field(default=None, name="$extra")
    """Keys that a newer or foreign writer put on it."""


class Decision(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="decision"):
    """A choice: what was taken, why, how surely, and instead of what."""

    name: str
    """The question that was decided: `source_selection`."""
    what: Any = None
    """What was chosen."""
    why: str = ""
    """The reason, in markdown."""
    confidence: float | None = None
    """How sure the maker was, 0 to 1; null when not stated."""
    options: list[Option] | None = None
    """What could have been chosen."""
    factors: list[dict[str, Any]] | None = None
    """What weighed on it: items with the fields of a `factor` record."""
    inputs: dict[str, Any] | None = None
    """What the maker saw."""
    made_by: str | None = None
    """Who or what decided: a rule, a model, a person."""
    decision_point: str | None = None
    """Where in the code or workflow the choice sits."""


class Factor(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="factor"):
    """One weighted consideration behind an outcome.

    Source: requirement document 1 (contribution = normalized value x weight).
    """

    name: str
    """What was weighed."""
    raw_value: Any = None
    """The value as measured."""
    normalized_value: float | None = None
    """The value brought to 0..1."""
    weight: float | None = None
    """How much it counts, usually 0..1."""
    contribution: float | None = None
    """What it added to the outcome: normalized value x weight unless given."""
    reasoning: str = ""
    """Why it has this value or weight."""
    decision: str | None = None
    """Id of the decision it weighed on; null when it weighs on the span or run."""
