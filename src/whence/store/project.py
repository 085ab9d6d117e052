"""Records become rows: one place gathers them, whoever stores the rows.

Comes in: records with their place in the log. Goes out: rows of point records, and states of runs
and spans. Every store uses it, so that replaying a log anywhere gives the same rows. A point record
becomes one row (`whence.store.pointrows`); a run or span is gathered in a state
(`whence.store.states`) that can be merged with another one and becomes a row
(`whence.store.staterows`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from whence.log.segment import writer_of
from whence.record.event import Foreign
from whence.record.generation import Generation, ToolCall
from whence.record.run import RunEnded, RunStarted, Update
from whence.record.span import SpanEnded, SpanStarted
from whence.store.pointrows import MAKERS, POINT_TABLES
from whence.store.states import (
    CallEnd,
    RunState,
    SpanState,
    count,
    later,
    latest_calls,
    stands_for,
    timestamp_ns,
)

if TYPE_CHECKING:
    from whence.record.codec import AnyRecord
    from whence.store import rows as r

FindStart = Callable[[str, str, str], SpanStarted | None]
"""Gets run, span and the segment that asks.

Returns the span's start from an earlier segment of the same writer.
"""


class Projection:
    """Rows gathered from records.

    Feed it in the order of the log; a later call adds to what is there.

    Args:
        find_start: Finds a span's start in segments before the one given, for the few that began
            before a rotation.
    """

    def __init__(self, find_start: FindStart | None = None) -> None:
        self._find_start = find_start
        self._found_starts: dict[tuple[str, str, str], SpanStarted | None] = {}
        self.points: dict[str, list[r.Row]] = {table: [] for table in POINT_TABLES}
        self.runs: dict[str, RunState] = {}
        self.spans: dict[tuple[str, str], SpanState] = {}
        self.touched_runs: set[str] = set()
        self.touched_spans: set[tuple[str, str]] = set()

    def add(self, record: AnyRecord, segment: str, offset: int) -> None:
        """Take one record, its references resolved, from a line of `segment` (`day/writer.n`)."""
        run_id = record.run
        ts_ns = timestamp_ns(record)
        state = self._run_state(run_id, segment, ts_ns)
        place = state.places.get(segment)
        if place is None:
            state.places[segment] = [offset, offset]
        else:
            place[1] = offset
        state.records += 1
        if isinstance(record, (SpanStarted, SpanEnded)) or (
            isinstance(record, Update) and record.span
        ):
            self._add_span(record, state, segment)
        elif isinstance(record, RunStarted):
            if state.start is None or (state.start.id and not record.id):
                state.start = record
                state.writer = writer_of(segment)
        elif isinstance(record, RunEnded):
            state.end = later(state.end, record)
        elif isinstance(record, Update):
            state.updates.append(record)
        elif not isinstance(record, Foreign):
            self._add_point(record, state, segment, offset, ts_ns)

    def _run_state(self, run_id: str, segment: str, ts_ns: int) -> RunState:
        state = self.runs.get(run_id)
        if state is None:
            state = self.runs[run_id] = RunState(run_id, writer_of(segment), ts_ns)
        elif ts_ns < state.first_ns:
            state.first_ns = ts_ns
        self.touched_runs.add(run_id)
        return state

    def _add_span(
        self, record: SpanStarted | SpanEnded | Update, state: RunState, segment: str
    ) -> None:
        key = (record.run, record.span or "")
        span = self.spans.get(key)
        if span is None:
            span = self.spans[key] = SpanState(key[1], key[0], writer_of(segment))
        self.touched_spans.add(key)
        if isinstance(record, SpanStarted):
            if span.start is None:
                span.start = record
                span.writer = writer_of(segment)
                state.spans += 1
        elif isinstance(record, SpanEnded):
            state.failures.add_end(record.status, key[1])
            span.end = later(span.end, record)
        else:
            span.updates.append(record)

    def _add_point(
        self, record: AnyRecord, state: RunState, segment: str, offset: int, ts_ns: int
    ) -> None:
        build = MAKERS.get(type(record))
        if build is None:
            return
        if isinstance(record, (ToolCall, Generation)) and record.span:
            self._add_call(record, record.span, segment)
        if isinstance(record, ToolCall) and record.span and record.input is None:
            record = self._with_input(record, record.span, segment)
        table, make = build
        common = {
            "id": record.id or _place_id(record, segment, offset),
            "run": record.run,
            "span": record.span,
            "stage": record.stage,
            "ts_ns": ts_ns,
            "extra": record.extra,
        }
        self.points[table].append(make(record, common))
        count(state, record)

    def _add_call(self, record: ToolCall | Generation, span_id: str, segment: str) -> None:
        """Keep a call for the span it was recorded in, unless that is known to be no such span."""
        tool_name = record.tool_name if isinstance(record, ToolCall) else None
        key = (record.run, span_id)
        span = self.spans.get(key)
        if span is None:
            span = self.spans[key] = SpanState(span_id, record.run, writer_of(segment))
        elif span.start is not None and not stands_for(span.start, tool_name):
            return
        call = CallEnd(
            record.ts, record.id, tool_name, record.duration_ns, record.status, record.error
        )
        span.calls = latest_calls([*span.calls, call])
        self.touched_spans.add(key)

    def _with_input(self, record: ToolCall, span_id: str, segment: str) -> ToolCall:
        """Return a call with the input that only its span's start has.

        Only what the same writer recorded before is asked: it was read before in any case, so that
        the row does not depend on what else has been read.
        """
        start = self._start_of(record.run, span_id, segment)
        if start is None or not stands_for(start, record.tool_name):
            return record
        return msgspec.structs.replace(record, input=start.input)

    def _start_of(self, run: str, span_id: str, segment: str) -> SpanStarted | None:
        key = (run, span_id)
        known = self.spans.get(key)
        if known is not None and known.start is not None:
            return known.start if known.writer == writer_of(segment) else None
        if self._find_start is None:
            return None
        asking = (run, span_id, writer_of(segment))
        if asking not in self._found_starts:
            self._found_starts[asking] = self._find_start(run, span_id, segment)
        return self._found_starts[asking]


def _place_id(record: AnyRecord, segment: str, offset: int) -> str:
    """Return an id for a record that has none, from its place: by its number, else by its byte.

    Lines of format 0 have no numbers. Every store knows the byte, however little of the segment it
    reads.
    """
    return f"{segment}:{record.seq}" if record.seq else f"{segment}:@{offset}"
