"""Spans and log records of OpenTelemetry become the records of runs: a trace is a run.

Comes in: spans, in any order, a trace spread over many requests, spans sent twice, parents that
come late or never. Goes out: records. A run begins and ends with its root span; a trace whose root
did not come by the end of the import, or for a while, begins and ends with what is topmost in it,
until its root comes all the same. Spans of whence's own export become what they were (`own_spans`).

A model call counts once: `same_call` tells a span that states a call again from one of its own, and
`captured` one that states a call which capture recorded.
"""

from __future__ import annotations

import contextlib
import functools
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock, _ids
from whence.ingest import keys, own, own_runs, own_spans, reading, same_call, semconv, spans
from whence.ingest.evidence import text_of
from whence.ingest.own_spans import OwnSpan
from whence.record.generation import Generation
from whence.record.run import RunEnded, RunStarted, Update
from whence.record.span import SpanEnded, SpanStarted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from whence.ingest.base import Known
    from whence.ingest.otel import SpanIn
    from whence.ingest.reading import Reading
    from whence.ingest.shape import Shape
    from whence.record.base import Record

WINDOW_SPANS = 10_000
"""How many spans are put in order at once."""
MAX_ROOTLESS = 100_000
"""How many spans of traces without a root are remembered, at about 400 bytes each."""
_NEVER_NS = 2**64
_DAY_NS = 86_400_000_000_000
_FIELDS_BY_NAME = {
    name: (field, rank)
    for field, names in semconv.RUN_FIELDS.items()
    for rank, name in enumerate(names)
}


_Top = tuple[int, int, str, str, str | None, str | None, dict[str, Any]]
"""A span that is topmost as long as its parent does not come.

When it began and ended, its parent, its name, what it is, what its error says (None if it has
none), and its resource. A tuple, since one is made for every span.
"""


class _Rootless(msgspec.Struct, gc=False):
    """A trace whose root has not come."""

    tops: dict[str, _Top] = {}
    touched_ns: int = 0
    is_own: bool = False
    """Whether whence exports it: then the root comes last, however long that takes."""


_STATES = (RunStarted, RunEnded, SpanStarted, SpanEnded, Update)
_SAID = frozenset({*_FIELDS_BY_NAME, own.RECORD, own.SPAN_KIND})
"""Attributes that say something of the run as a whole, or that a span is of whence's own export."""
_root_id = functools.lru_cache(maxsize=1_000)(_ids.root_id)


class Traces:
    """What one import has seen of its traces.

    Args:
        known: What the home holds already.
    """

    def __init__(self, known: Known) -> None:
        self._known = known
        self._calls = known.calls
        self._looked: set[tuple[int, int]] = set()
        self._rootless: dict[str, _Rootless] = {}
        self._rooted: dict[str, None] = {}
        self._remembered = 0

    def records_of(self, given: Iterable[SpanIn]) -> Iterator[Record]:
        """Yield the records of spans.

        They are taken from the inside out as far as they lie together, since the innermost of
        several spans that state one call knows most about it.
        """
        rest = iter(given)
        while window := list(islice(rest, WINDOW_SPANS)):
            self._looked.clear()
            if len(window) > 1:
                window.sort(key=_innermost_first)
            for span in window:
                yield from self._of_span(span)

    def _of_span(self, span: SpanIn) -> list[Record]:
        told: dict[str, str] = {}
        if not _SAID.isdisjoint(span.attributes):  # asked once: most spans say none of it
            exported = self._of_export(span)
            if exported is not None:
                self._catch_up(span)
                self._note_recorded(span.trace, exported)
                return exported
            told = _told(span)
        shape = self._known.run(span.trace)
        read = reading.read(span.attributes)
        made: list[Record] = []
        if not span.parent:
            self._note_root(span.trace)
            made += self._of_root(span, read, told)
        else:
            self._note_top(span, read)
            if told:
                made += _updates(span, told)
            if span.parent == _root_id(span.trace):
                span.parent = ""  # the run itself, of which no span is made
        is_call = read.what in semconv.CALLS
        stated_in = None
        if is_call or self._calls.is_any:
            stated_in = self._stated_in(span, read, shape, is_call=is_call)
        made += spans.records_of(span, read, stated_in)
        if span.ended_ns and span.span in shape.spans and spans.running_id(span) in shape.keys:
            made.append(
                Update(
                    ts=_clock.format_ns(span.ended_ns),
                    run=span.trace,
                    span=span.span,
                    id=keys.record_id(span.trace, span.span, "completed"),
                    attributes=span.attributes or None,
                )
            )
        return made

    def _stated_in(self, span: SpanIn, read: Reading, shape: Shape, *, is_call: bool) -> str | None:
        """Return the span of the call that this one states again; None if it states none again."""
        captured = None
        if span.span not in shape.spans:
            captured = self._captured(span, is_call=is_call)
        if captured is None:
            return same_call.find(span, read, shape) if is_call else None
        if captured[0] != span.trace:
            span.attributes = {**span.attributes, "same_call_run": captured[0]}
        return captured[1]

    def _captured(self, span: SpanIn, *, is_call: bool) -> tuple[str, str] | None:
        """Return run and span of the call of capture's that a span states again; None if of none.

        What of capture's log cannot be read is as if it were not there.
        """
        if is_call:
            self._catch_up(span)
        return self._calls.find(span)

    def _note_recorded(self, run: str, exported: list[Record]) -> None:
        """Note which records of an export are there, since they were recorded in this home.

        What an export says of a run or span is made of several records, with ids of their own where
        those that were recorded had none: it is there if the start of that run or span is.
        """
        recorded: frozenset[str] = frozenset()
        with contextlib.suppress(OSError):
            recorded = self._calls.keys_of(run)
        if not recorded:
            return
        there = self._known.run(run).keys
        for record in exported:
            key = keys.key_of(record)
            of_state = key
            if isinstance(record, _STATES):
                of_state = keys.SPAN_STARTED + record.span if record.span else keys.RUN_STARTED
            if of_state in recorded:
                there.add(key)

    def _catch_up(self, span: SpanIn) -> None:
        """Read what capture recorded around a span."""
        begun_ns, ended_ns = span.begun_ns, span.ended_ns or span.begun_ns
        days = (begun_ns // _DAY_NS, ended_ns // _DAY_NS)
        if days not in self._looked:  # once for what lies together
            self._looked.add(days)
            with contextlib.suppress(OSError):
                self._calls.catch_up(begun_ns, ended_ns)

    def _of_export(self, span: SpanIn) -> list[Record] | None:
        """Return the records of a span of whence's own export; None if it is none."""
        given = span.attributes
        if own.RECORD not in given and not isinstance(given.get(own.SPAN_KIND), str):
            return None
        it = OwnSpan(span)
        if not span.parent:
            merged = not own_runs.is_root(span)
            if merged and not own_runs.is_merged(span):
                return None
            self._note_root(span.trace)
            made = own_runs.records_of(it, merged=merged)
            if merged:
                return [*made, *own_spans.records_of(it, "")]
            return [*made, *own_spans.points_of(it, None)]
        if it.kind is None:
            return None
        self._note_top(span, it.read, is_own=True)
        parent = "" if span.parent == _root_id(span.trace) else span.parent
        made = own_spans.records_of(it, parent)
        for record in made:
            if isinstance(record, Generation):
                self._calls.note(record, by_answer=False)
        return made

    def _note_root(self, trace: str) -> None:
        waiting = self._rootless.pop(trace, None)
        if waiting is not None:
            self._remembered -= len(waiting.tops)
        self._rooted[trace] = None
        if len(self._rooted) > MAX_ROOTLESS:
            del self._rooted[next(iter(self._rooted))]

    def _of_root(self, span: SpanIn, read: Reading, told: dict[str, str]) -> Iterator[Record]:
        tags = next((t for name in semconv.TAGS if (t := span.attributes.get(name))), None)
        yield RunStarted(
            ts=_clock.format_ns(span.begun_ns),
            run=span.trace,
            name=span.name,
            run_kind=semconv.SPAN_KIND.get(read.what or ""),
            project=own_runs.project_of(span.origin.resource),
            tags=[str(tag) for tag in tags] if isinstance(tags, list) and tags else None,  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            environment=span.origin.resource or None,
            session=told.get("session"),
            conversation=told.get("conversation"),
            user=told.get("user"),
            workflow=told.get("workflow"),
        )
        if told:  # once more with the last word, for a span below it may have said otherwise
            yield Update(
                ts=_clock.format_ns(span.ended_ns or span.begun_ns),
                run=span.trace,
                id=keys.record_id(span.trace, "fields of the root"),
                fields=dict(told),
            )
        if span.ended_ns:
            error = spans.error_of(span, read.fields) if spans.failed(span) else None
            yield _ended(span.trace, span.begun_ns, span.ended_ns, error)

    def _note_top(self, span: SpanIn, read: Reading, *, is_own: bool = False) -> None:
        """Remember a span that may turn out to be topmost."""
        trace = span.trace
        if trace in self._rooted:
            return
        waiting = self._rootless.get(trace)
        if waiting is None:
            waiting = self._rootless[trace] = _Rootless()
        waiting.touched_ns = _clock.mono_ns()
        waiting.is_own = waiting.is_own or is_own
        waiting.tops[span.span] = (
            span.begun_ns,
            span.ended_ns,
            span.parent,
            span.name,
            read.what,
            span.message if spans.failed(span) else None,
            span.origin.resource,
        )
        self._remembered += 1
        if self._remembered > MAX_ROOTLESS:
            oldest = self._rootless.pop(next(iter(self._rootless)))
            self._remembered -= len(oldest.tops)

    def settle(self, idle_ns: int = 0) -> Iterator[Record]:
        """Yield start and end of the runs whose root did not come.

        Args:
            idle_ns: Only of those that gained nothing for so long; the root of a run that whence
                exports is waited for if it is not 0.
        """
        now_ns = _clock.mono_ns()
        for run, waiting in list(self._rootless.items()):
            if now_ns - waiting.touched_ns < idle_ns or (waiting.is_own and idle_ns):
                continue
            del self._rootless[run]
            self._remembered -= len(waiting.tops)
            yield from self._settled(run, waiting)

    def _settled(self, run: str, waiting: _Rootless) -> Iterator[Record]:
        shape, noted = self._known.run(run), waiting.tops
        is_started = keys.RUN_STARTED in shape.keys
        if is_started if waiting.is_own else shape.has_root:  # it came with an earlier import
            return
        tops = [top for top in noted.values() if top[2] not in shape.spans]
        if not tops:  # parents in a ring
            tops = list(noted.values())
        begun_ns, _, parent, name, what, _, resource = min(tops, key=lambda top: top[:4])
        ended_ns = max(top[1] for top in noted.values())
        if not is_started:
            yield RunStarted(
                ts=_clock.format_ns(begun_ns),
                run=run,
                id=_concluded_id(run),
                name=name,
                run_kind=semconv.SPAN_KIND.get(what or ""),
                project=own_runs.project_of(resource),
                attributes={"otel.missing_parent": parent},
                environment=own_runs.environment_of(resource),
            )
        ended = _clock.format_ns(ended_ns)
        known = keys.RUN_ENDED + ended + _concluded_id(run)
        if ended_ns and (ended > shape.ended or known in shape.keys):
            message = next((top[5] for top in tops if top[5] is not None), None)
            error = None if message is None else {"type": "error", "message": message}
            made = _ended(run, begun_ns, ended_ns, error)
            yield msgspec.structs.replace(made, id=_concluded_id(run))


def _concluded_id(run: str) -> str:
    """Return the id of start and end of a run of which nothing but its inside came."""
    return keys.record_id(run, "concluded")


def _innermost_first(span: SpanIn) -> tuple[int, int]:
    return (span.ended_ns or _NEVER_NS, -span.begun_ns)


def _ended(run: str, begun_ns: int, ended_ns: int, error: dict[str, Any] | None) -> RunEnded:
    return RunEnded(
        ts=_clock.format_ns(ended_ns),
        run=run,
        status="failed" if error else "complete",
        duration_ns=spans.duration_of(begun_ns, ended_ns),
        error=error,
    )


def _told(span: SpanIn) -> dict[str, str]:
    """Return what a span says about its run as a whole."""
    found: dict[str, tuple[int, str]] = {}
    for name in _FIELDS_BY_NAME.keys() & span.attributes.keys():
        field, rank = _FIELDS_BY_NAME[name]
        text = text_of(span.attributes[name])
        if text is not None and (field not in found or rank < found[field][0]):
            found[field] = (rank, text)
    return {field: text for field, (_, text) in found.items()}


def _updates(span: SpanIn, told: dict[str, str]) -> Iterator[Update]:
    """Yield what a span below the root says about the run; of several the first counts."""
    for field, text in told.items():
        yield Update(
            ts=_clock.format_ns(span.begun_ns),
            run=span.trace,
            id=keys.record_id(span.trace, "field", field),
            fields={field: text},
        )
