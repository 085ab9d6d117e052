"""What is known so far of a run or a span, and how two such states become one.

A run or span is several records (started, updates, ended) that may stand in segments of several
processes. Comes in: records, or states of the same run or span. Goes out: a state. What it says
does not depend on the order in which segments were read or states were merged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from whence import _clock
from whence.record import usage as usage_of
from whence.record.decision import Decision
from whence.record.event import Gap
from whence.record.generation import Generation, ToolCall
from whence.record.run import RunEnded, RunStarted, Update
from whence.record.score import Annotation
from whence.record.span import SpanEnded, SpanStarted
from whence.store.failures import Failures

if TYPE_CHECKING:
    from whence.record.base import Record

_End = TypeVar("_End", RunEnded, SpanEnded)


class CallEnd(msgspec.Struct, frozen=True):
    """A call recorded in a span.

    If the span stands for it, it ends the span unless a `span_ended` says more.
    """

    ts: str
    id: str
    tool_name: str | None
    """Which tool; null for a model."""
    duration_ns: int | None
    status: str
    error: dict[str, Any] | None


class SpanState(msgspec.Struct):
    """What is known of a span so far."""

    id: str
    run: str
    writer: str = ""
    start: SpanStarted | None = None
    end: SpanEnded | None = None
    calls: list[CallEnd] = []
    """The latest call of each tool, and of a model, that may turn out to end it."""
    updates: list[Update] = []

    @property
    def call(self) -> CallEnd | None:
        """The call that the span stands for, as far as its start is known."""
        start = self.start
        return next((c for c in self.calls if start and stands_for(start, c.tool_name)), None)

    @property
    def is_whole(self) -> bool:
        """Whether both its start and its end are known."""
        return self.start is not None and (self.end is not None or self.call is not None)

    @property
    def is_row(self) -> bool:
        """Whether more is known of it than that calls name it as theirs."""
        return self.start is not None or self.end is not None or bool(self.updates)


class RunState(msgspec.Struct):
    """What is known of a run so far, with its totals."""

    id: str
    writer: str = ""
    first_ns: int = 0
    start: RunStarted | None = None
    end: RunEnded | None = None
    updates: list[Update] = []
    places: dict[str, list[int]] = {}
    """Segment name to the offset of the run's first line and of its last one."""
    records: int = 0
    spans: int = 0
    decisions: int = 0
    generations: int = 0
    tool_calls: int = 0
    failures: Failures = msgspec.field(default_factory=Failures)
    lost: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    unpriced_calls: int = 0
    flagged: bool = False


def stands_for(start: SpanStarted, tool_name: str | None) -> bool:
    """Whether a call of a tool, or of a model where None, is the one a span stands for."""
    if tool_name is None:
        return start.span_kind == "generation"
    return start.span_kind == "tool" and start.name == tool_name


def latest_calls(calls: list[CallEnd]) -> list[CallEnd]:
    """Return the latest call of each tool and of a model."""
    by_tool: dict[str | None, CallEnd] = {}
    for call in calls:
        known = by_tool.get(call.tool_name)
        if known is None or (call.ts, call.id) > (known.ts, known.id):
            by_tool[call.tool_name] = call
    return list(by_tool.values())


def later(a: _End | None, b: _End | None) -> _End | None:
    """Return the end that was recorded last."""
    if a is None or b is None:
        return a or b
    return b if (not b.id, b.ts, b.seq) > (not a.id, a.ts, a.seq) else a


def count(state: RunState, record: Record) -> None:
    """Add a point record to the totals of its run."""
    if isinstance(record, Decision):
        state.decisions += 1
    elif isinstance(record, Generation):
        state.generations += 1
        state.failures.add_call(record.status, record.span)
        state.input_tokens = add_known(state.input_tokens, usage_of.input_tokens(record.usage))
        state.output_tokens = add_known(state.output_tokens, usage_of.output_tokens(record.usage))
        state.cost_usd = add_known(state.cost_usd, record.cost_usd)
        state.unpriced_calls += record.cost_usd is None
    elif isinstance(record, ToolCall):
        state.tool_calls += 1
        state.failures.add_call(record.status, record.span)
    elif isinstance(record, Gap):
        state.lost += record.lost
    elif isinstance(record, Annotation):
        state.flagged = state.flagged or (record.flag is not None and record.target == record.run)


def add_known(total: Any, value: Any) -> Any:
    """Return the sum of two numbers of which either may be unknown; None if both are."""
    if value is None:
        return total
    return value if total is None else total + value


def merge_runs(a: RunState, b: RunState) -> RunState:
    """Return what both states of one run say together."""
    first, second = (b, a) if _certainty(b.start) > _certainty(a.start) else (a, b)
    places = {name: list(place) for name, place in first.places.items()}
    for name, (begin, end) in second.places.items():
        known = places.get(name)
        places[name] = [begin, end] if known is None else [min(known[0], begin), max(known[1], end)]
    return RunState(
        id=a.id,
        writer=first.writer,
        first_ns=min(a.first_ns, b.first_ns),
        start=first.start,
        end=later(first.end, second.end),
        updates=[*first.updates, *second.updates],
        places=places,
        records=a.records + b.records,
        spans=a.spans + b.spans,
        decisions=a.decisions + b.decisions,
        generations=a.generations + b.generations,
        tool_calls=a.tool_calls + b.tool_calls,
        failures=a.failures | b.failures,
        lost=a.lost + b.lost,
        input_tokens=add_known(a.input_tokens, b.input_tokens),
        output_tokens=add_known(a.output_tokens, b.output_tokens),
        cost_usd=add_known(a.cost_usd, b.cost_usd),
        unpriced_calls=a.unpriced_calls + b.unpriced_calls,
        flagged=a.flagged or b.flagged,
    )


def _certainty(start: RunStarted | None) -> int:
    """Return how much is known of a beginning: one that was only concluded has an id."""
    return 0 if start is None else 1 if start.id else 2


def merge_spans(a: SpanState, b: SpanState) -> SpanState:
    """Return what both states of one span say together."""
    first, second = (a, b) if a.start is not None or b.start is None else (b, a)
    return SpanState(
        id=a.id,
        run=a.run,
        writer=first.writer,
        start=first.start,
        end=later(first.end, second.end),
        calls=latest_calls([*first.calls, *second.calls]),
        updates=[*first.updates, *second.updates],
    )


def timestamp_ns(record: Record) -> int:
    """Return when a record was made, Unix nanoseconds."""
    try:
        return _clock.parse_ns(record.ts)
    except ValueError:  # a foreign writer's line: it is kept, at the beginning of time
        return 0
