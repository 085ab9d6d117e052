"""Model calls that an application's own OpenTelemetry states and capture recorded as well.

Comes in: what capture wrote in this process, and spans as they end. Goes out: for a span that
states a call which capture has, the id of the span that has it. They are told by the answer's id,
or by the span that was current when the request was sent, which capture notes; a span around such a
call, with nothing between them that makes calls of its own, states it again. The rules are those of
docs/explanation/usage.md.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from whence import _clock
from whence.ingest import reading, semconv
from whence.ingest.shape import PASSABLE
from whence.log.follow import Follower
from whence.log.reader import Problem
from whence.record.generation import Generation

if TYPE_CHECKING:
    from whence.ingest.otel import SpanIn
    from whence.log.writer import Writer

MAX_CALLS = 50_000
"""How many calls, and how many spans around them, are remembered."""
_IS_CALL = b'"generation"'


class _Call(tuple[str, str, int, int]):
    """Run and span of a recorded call, when it began and when it ended."""

    __slots__ = ()


class Doubles:
    """What capture recorded of model calls in this process."""

    def __init__(self) -> None:
        self._writer: Writer | None = None
        self._follower: Follower | None = None
        self._by_answer: OrderedDict[str, _Call] = OrderedDict()
        self._inside: OrderedDict[tuple[str, str], _Call] = OrderedDict()

    def catch_up(self, writer: Writer | None) -> None:
        """Take in what capture wrote since.

        Args:
            writer: The writer of this process; None if it recorded nothing yet.

        Raises:
            OSError: Its log cannot be read.
        """
        if writer is None:
            return
        if writer is not self._writer or self._follower is None:
            self._writer = writer
            self._follower = Follower(writer.home, writer.name, containing=_IS_CALL)
        for found in self._follower.iter_records():
            if not isinstance(found, Problem) and isinstance(found[2], Generation):
                self._note(found[2])

    def _note(self, record: Generation) -> None:
        ended_ns = _clock.parse_ns(record.ts)
        begun_ns = ended_ns - (record.duration_ns or 0)
        call = _Call((record.run, record.span or record.id, begun_ns, ended_ns))
        if record.response_id:
            _remember(self._by_answer, record.response_id, call)
        about = record.attributes or {}
        trace, span = about.get("otel_trace_id"), about.get("otel_span_id")
        if isinstance(trace, str) and isinstance(span, str):
            _remember(self._inside, (trace, span), call)

    def find(self, span: SpanIn) -> tuple[str, str] | None:
        """Return run and span of the recorded call that a span states again; None if it does not.

        Spans are to be asked for from the inside out.
        """
        what = semconv.what_it_is(span.attributes)
        inside = self._inside.get((span.trace, span.span))
        if what in semconv.CALLS:
            call = inside or self._with_answer(span)
            if call is not None:
                self._pass_up(span, call)
            return None if call is None else (call[0], call[1])
        kind = "custom" if what is None else semconv.SPAN_KIND[what]
        if inside is not None and kind in PASSABLE:
            self._pass_up(span, inside)
        return None

    def _with_answer(self, span: SpanIn) -> _Call | None:
        """Return the recorded call with the same answer, if both happened at one time."""
        answer: Any = reading.read(span.attributes).fields.get("response_id")
        call = self._by_answer.get(answer) if isinstance(answer, str) else None
        if call is None or not (span.begun_ns <= call[3] and call[2] <= span.ended_ns):
            return None
        return call

    def _pass_up(self, span: SpanIn, call: _Call) -> None:
        if span.parent:
            _remember(self._inside, (span.trace, span.parent), call)


def _remember(known: OrderedDict[Any, _Call], key: Any, call: _Call) -> None:
    known[key] = call
    if len(known) > MAX_CALLS:
        known.popitem(last=False)
