"""The ids and times of one run whose source tells its steps in order.

Comes in: what the source calls its things, and their times where it states any. Goes out: the
fields `ts`, `run` and `id` of records, and the records of spans. Ids follow from the run and the
parts they are asked for with, so that a second import finds them again.

Records of a run are read in order of time, and many sources tell only an order, or seconds in which
much happens. So a time that is not later than the one before it is moved a microsecond behind it,
and a run without any times begins with 1970 and takes a microsecond a step. Nothing gets a length
that nobody stated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence import _clock
from whence.ingest import keys, loose
from whence.record.decision import Decision
from whence.record.generation import ToolCall
from whence.record.span import SpanEnded, SpanStarted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.loose import Fields
    from whence.record.base import Record

_STEP_NS = 1_000
NO_ANSWER = "unanswered"
"""Status of a tool call whose answer the source does not have."""
NEXT = "what to do next"
"""Name of the decision that an agent makes when it gives a reason for the tool that it calls."""
_TELLING = ("command", "code", "file_path", "path", "url", "query", "pattern", "content")
"""Arguments that tell what a call does, the best first."""


class Timeline:
    """The order of one run, while it is read.

    Args:
        run: Id of the run.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self.now_ns = 0
        self._stated_ns = 0

    def at(self, stated_ns: int | None = None) -> str:
        """Return the time of what comes next.

        Args:
            stated_ns: When it was, Unix time; None if nobody said. A time before that of the last
                thing that had one is taken as it is.
        """
        if stated_ns is not None and stated_ns < self._stated_ns:
            return _clock.format_ns(stated_ns)
        if stated_ns is not None:
            self._stated_ns = stated_ns
        self.now_ns = max(self.now_ns + _STEP_NS, stated_ns or 0)
        return _clock.format_ns(self.now_ns)

    def id(self, *parts: object) -> str:
        """Return the id of what the source knows by `parts` within the run."""
        return keys.record_id(self.run, *map(str, parts))

    def point(
        self,
        *parts: object,
        span: str | None = None,
        stage: str | None = None,
        at_ns: int | None = None,
    ) -> Fields:
        """Return the fields that every record has, for the one known by `parts`."""
        made: Fields = {"ts": self.at(at_ns), "run": self.run, "id": self.id(*parts)}
        if span is not None:
            made["span"] = span
        if stage is not None:
            made["stage"] = stage
        return made

    def opened(
        self, span: str, name: str, kind: str, *, at_ns: int | None = None, **fields: Any
    ) -> SpanStarted:
        """Return the start of a span."""
        ts = self.at(at_ns)
        return SpanStarted(ts=ts, run=self.run, span=span, name=name, span_kind=kind, **fields)

    def closed(self, span: str, *, at_ns: int | None = None, **fields: Any) -> SpanEnded:
        """Return the end of a span."""
        return SpanEnded(ts=self.at(at_ns), run=self.run, span=span, **fields)

    def decided(
        self, *parts: object, why: str, tool: str, given: object = None, **fields: Any
    ) -> Decision:
        """Return the decision to call a tool, for the reason that the agent gave.

        Args:
            parts: What the source knows it by.
            why: The reason.
            tool: Which tool.
            given: What it is called with.
            fields: Other fields of the decision; `span` and `at_ns` of its point.
        """
        point = {name: fields.pop(name) for name in ("span", "stage", "at_ns") if name in fields}
        what = told(tool, given)
        return Decision(**self.point(*parts, **point), name=NEXT, what=what, why=why, **fields)

    def tool(
        self,
        *parts: object,
        name: str,
        parent: str | None,
        at_ns: int | None = None,
        ended_ns: int | None = None,
        stage: str | None = None,
        error: Fields | None = None,
        **fields: Any,
    ) -> Iterator[Record]:
        """Yield a tool call in a span of its own, which it ends.

        Args:
            parts: What the source knows it by.
            name: Which tool.
            parent: Id of the span around it.
            at_ns: When it began, Unix time.
            ended_ns: When it ended, Unix time.
            stage: The nearest stage around it.
            error: What went wrong, if something did.
            fields: Other fields of the call.
        """
        span = self.id(*parts)
        yield self.opened(span, name, "tool", at_ns=at_ns, parent=parent)
        if error is not None:
            fields |= {"status": "error", "error": error}
        point = self.point(*parts, "call", span=span, stage=stage, at_ns=ended_ns)
        yield ToolCall(**point, tool_name=name, **fields)


def told(tool: str, given: object) -> str:
    """Return a tool with the argument that tells what it does: `Bash: ls -l`."""
    if isinstance(given, str) and given:
        return f"{tool}: {given}"
    fields = loose.mapping(given)
    said = next((text for name in _TELLING if (text := loose.text(fields.get(name)))), None)
    return tool if said is None else f"{tool}: {said}"
