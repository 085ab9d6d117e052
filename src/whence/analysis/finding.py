"""What an analyzer found: a claim, what it rests on, and what acting on it would bring."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Severity = Literal["critical", "high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = ("critical", "high", "medium", "low")
"""The worst first."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One claim about the records, with its evidence."""

    kind: str
    """What sort of finding: `duplicate_requests`, `retry_storm`."""
    severity: Severity
    """How bad it is."""
    summary: str
    """The claim in one sentence."""
    advice: str = ""
    """What to do about it, in one sentence."""
    subjects: list[str]
    """Ids of the requests it is about, as their program calls them; the first ones if there are
    more than the analyzer was to name."""
    evidence: list[str]
    """Ids of the records it rests on; the first ones, as `subjects`."""
    figures: dict[str, Any] = {}
    """The numbers behind the claim, units in their names."""
    recoverable_usd: float | None = None
    """US dollars that would not have been spent; None if that cannot be said."""
    recoverable_s: float | None = None
    """Seconds that would not have been spent; None if that cannot be said."""
    query: str = ""
    """SQL that shows the evidence again, for `whence sql`."""

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON-ready data."""
        return msgspec.to_builtins(self)
