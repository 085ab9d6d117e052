"""What a comparison of two runs is made of: aligned steps, changes, numbers of both.

Frozen records only; `whence.query.compare` makes them. Whatever has two sides has them in the order
a, b, and differences are b - a.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from whence.store import rows as r


class Delta(msgspec.Struct, frozen=True):
    """A number in both runs."""

    a: float | None
    """In the first run."""
    b: float | None
    """In the second run."""
    difference: float | None
    """b - a; null if either is unknown."""


class DecisionChange(msgspec.Struct, frozen=True):
    """A decision that differs, or that only one run took."""

    name: str
    """The question that was decided."""
    path: str
    """Where: the names of the spans around it."""
    changed: list[str]
    """What differs: `what`, `confidence`, `options`; `missing` if only one run took it."""
    a: r.DecisionRow | None
    """In the first run."""
    b: r.DecisionRow | None
    """In the second run."""
    confidence: Delta
    """Its confidence in both."""


class ScoreDelta(msgspec.Struct, frozen=True):
    """A score in both runs, or in one."""

    name: str
    """What was judged."""
    path: str
    """Where: the names of the spans around it."""
    iteration: int | None
    """Which round of a retry loop."""
    value: Delta
    """The values."""
    passed: tuple[bool | None, bool | None]
    """Whether it passed, in the first and in the second run."""


class Pair(msgspec.Struct, frozen=True):
    """One step: a span of each run, or of one; the runs themselves at the outermost level."""

    path: str
    """Names of the spans from the outermost to this one; empty for the runs themselves."""
    name: str
    """Name of the step."""
    kind: str
    """Kind of the span; `run` for the runs themselves."""
    a: r.SpanRow | None
    """The span of the first run."""
    b: r.SpanRow | None
    """The span of the second run."""
    in_a: bool
    """Whether the first run took this step."""
    in_b: bool
    """Whether the second run took it."""
    status: tuple[str | None, str | None]
    """Status in the first and in the second run."""
    duration_ms: Delta
    """Lengths in milliseconds."""
    cost_usd: Delta
    """Costs of the model calls recorded in it, without those of spans inside it."""
    input_tokens: Delta
    """Input tokens, likewise."""
    output_tokens: Delta
    """Output tokens, likewise."""
    decisions: list[DecisionChange]
    """Decisions that differ."""
    scores: list[ScoreDelta]
    """Scores of either run."""
    sources_only_in_a: list[r.SourceRow]
    """Sources kept in the first run only."""
    sources_only_in_b: list[r.SourceRow]
    """Sources kept in the second run only."""

    @property
    def differs(self) -> bool:
        """Whether anything but times, costs and tokens differs."""
        moved = any(score.value.difference != 0 for score in self.scores)
        sources = self.sources_only_in_a or self.sources_only_in_b
        return bool(
            self.in_a != self.in_b
            or self.status[0] != self.status[1]
            or self.decisions
            or moved
            or sources
        )


Aspect = Literal["step", "what", "call", "output", "status"]


class Divergence(msgspec.Struct, frozen=True):
    """The earliest place where the runs decided, called or produced something different."""

    path: str
    """Where: the names of the spans around it; empty for the runs themselves."""
    table: str
    """Table of what differs: `spans`, `decisions`, `generations`, `tool_calls`, `outputs`."""
    name: str
    """Name of what differs."""
    aspect: Aspect
    """How: a `step` that one run did not take, `what` was decided, what was given to a `call`, its
    `output`, a `status`."""
    a: Any
    """In the first run; null if it has no such thing."""
    b: Any
    """In the second run; null if it has no such thing."""
    id_a: str | None
    """Id of the row in the first run."""
    id_b: str | None
    """Id of the row in the second run."""


class Deltas(msgspec.Struct, frozen=True):
    """The runs as a whole."""

    quality: float | None
    """Mean difference of the scores that both runs have, over their names; null without any."""
    scores: dict[str, Delta]
    """Mean value of the scores by name."""
    duration_ms: Delta
    """Lengths in milliseconds."""
    cost_usd: Delta
    """Costs."""
    input_tokens: Delta
    """Input tokens."""
    output_tokens: Delta
    """Output tokens."""


def delta(a: float | None, b: float | None) -> Delta:
    """Return a number of both runs with its difference."""
    return Delta(a, b, None if a is None or b is None else b - a)
