"""What a trace holds in memory: decisions, and the stages they were made in.

Comes in: what a component says, in whatever shape. Goes out: the parts of a trace under the names
of document 5 (pipeline observability) sections 3 and 5. A part is plain data; nothing is recorded
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from whence import _clock
from whence.exports.research_shape import iso, passes_document, stage_document
from whence.ingest import research_parts as parts

KNOWN_KEYS = frozenset(
    {"what", "why", "confidence", "alternatives_considered", "inputs", "made_by"}
)
"""Keys of a decision's data that a `Decision` has a field for."""


def now() -> str:
    """Return the time as traces have it: RFC 3339, UTC, microseconds."""
    return iso(_clock.wall_ns())


@dataclass
class Decision:
    """A single decision recorded by a component."""

    decision: str
    """What type of decision: `classified_intent`."""
    what: Any
    """What was decided."""
    why: str
    """The reasoning, markdown."""
    confidence: float
    """How sure the component is, 0 to 1; 1 where it does not say."""
    alternatives_considered: list[Any] = field(default_factory=list[Any])
    """What else could have been decided: `exploring (0.10)`."""
    inputs: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the component saw."""
    timestamp: str = field(default_factory=now)
    """When it was recorded."""
    made_by: str | None = None
    """Which component made it, where it says so."""

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as it stands in a document."""
        made = {name: getattr(self, name) for name in self.__dataclass_fields__}
        if self.made_by is None:
            del made["made_by"]
        return made


def decision_of(kind: str, data: Any) -> Decision:
    """Return what a component says of a decision; data that is no mapping is what was decided."""
    given = as_mapping(data, "what")
    confidence, made_by = given.get("confidence"), given.get("made_by")
    if parts.find_number(confidence) is None:
        confidence = 1.0
    return Decision(
        decision=str(kind),
        what=given.get("what"),
        why=str(given.get("why") or ""),
        confidence=cast("float", confidence),
        alternatives_considered=_alternatives(given.get("alternatives_considered")),
        inputs=as_mapping(given.get("inputs"), "value"),
        made_by=None if made_by is None else str(made_by),
    )


def stated_confidence(data: Any) -> float | None:
    """Return the confidence that a component states; None if it states none."""
    return parts.find_number(as_mapping(data, "what").get("confidence"))


def more_of(data: Any) -> dict[str, Any]:
    """Return what a component says of a decision that a `Decision` has no field for."""
    given = as_mapping(data, "what")
    more = {str(key): value for key, value in given.items() if key not in KNOWN_KEYS}
    confidence = given.get("confidence")
    if confidence is not None and parts.find_number(confidence) is None:
        more["confidence"] = confidence
    return more


def _alternatives(given: Any) -> list[Any]:
    if given is None:
        return []
    if isinstance(given, Mapping):
        named = cast("Mapping[Any, Any]", given).items()
        return [parts.alternative_of({"name": str(k), "probability": v}) for k, v in named]
    if isinstance(given, (list, tuple, set, frozenset)):
        return list(cast("list[Any]", given))
    return [given]


def as_mapping(given: Any, key: str) -> dict[str, Any]:
    """Return a copy of a mapping, an empty one for None, and anything else under `key`."""
    if given is None:
        return {}
    return dict(cast("Mapping[str, Any]", given)) if isinstance(given, Mapping) else {key: given}


@dataclass
class StageTrace:
    """Trace data for one pass through a stage of the pipeline."""

    name: str
    """What the stage is called."""
    started_at: str | None = None
    """When it began; None if only records made it."""
    completed_at: str | None = None
    """When it ended."""
    duration_seconds: float | None = None
    """How long it took, by a clock that does not jump."""
    decisions: list[Decision] = field(default_factory=list[Decision])
    """What was decided in it, in order."""
    outputs: dict[str, Any] = field(default_factory=dict[str, Any])
    """What it gave back."""
    evidence: dict[str, Any] = field(default_factory=dict[str, Any])
    """What it collected, kept and dropped."""
    prompts: dict[str, Any] = field(default_factory=dict[str, Any])
    """What a model was asked."""
    error: str | None = None
    """Why it failed."""
    earlier: list[StageTrace] = field(default_factory=list["StageTrace"])
    """The passes before this one, where a retry went through the stage again."""

    def to_dict(self) -> dict[str, Any]:
        """Return the stage as it stands in a document."""
        return passes_document([one.pass_to_dict() for one in (*self.earlier, self)])

    def pass_to_dict(self) -> dict[str, Any]:
        """Return this pass alone as it stands in a document."""
        return stage_document(
            self.name,
            started_at=self.started_at,
            completed_at=self.completed_at,
            duration_seconds=self.duration_seconds,
            decisions=[one.to_dict() for one in self.decisions],
            outputs=self.outputs,
            evidence=self.evidence,
            prompts=self.prompts,
            error=self.error,
        )
