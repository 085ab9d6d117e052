"""Traces of platforms: spans as OpenTelemetry has them, and what is said of the trace beside them.

Comes in: spans, and what a platform tells of a trace as a whole, in any order. Goes out: records. A
run begins and ends with its spans as everywhere, but under the name, project and labels that the
platform gave its trace; one of which no span is at hand begins and ends as the platform says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock
from whence.ingest import keys
from whence.ingest.loose import Fields
from whence.ingest.traces import WINDOW_SPANS, Traces
from whence.record.run import RunEnded, RunStarted, Update

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Known
    from whence.ingest.otel import SpanIn
    from whence.record.base import Record

MAX_TOLD = 200_000
"""How many traces are remembered for the spans that may follow, at about 500 bytes each."""


class Told(msgspec.Struct, kw_only=True):
    """What a platform tells of one trace."""

    known_as: str
    """The platform's id of it."""
    name: str | None = None
    """What it is called."""
    project: str | None = None
    """What it belongs to."""
    session: str | None = None
    """A session that several traces share."""
    user: str | None = None
    """For whom."""
    tags: list[str] = []
    """Labels."""
    environment: Fields = {}
    """Where it ran."""
    seen_ns: int | None = None
    """A time of it, for what is not dated otherwise."""
    begun_ns: int | None = None
    """When it began, Unix time."""
    ended_ns: int | None = None
    """When it ended, Unix time."""
    status: str | None = None
    """`complete` or `failed`, where the platform has a word of its own for it."""
    attributes: Fields = {}
    """What else is said."""
    output: Any = None
    """What came out."""


class Runs:
    """The traces of one import.

    Args:
        known: What the home holds already.
    """

    def __init__(self, known: Known) -> None:
        self._traces = Traces(known)
        self._told: dict[str, Told] = {}
        self._begun: set[str] = set()
        self._window: list[SpanIn] = []

    def tell(self, run: str, told: Told) -> Iterator[Record]:
        """Remember what is said of a run, and yield it; a later word adds to an earlier one."""
        before = self._told.pop(run, None)
        self._told[run] = told if before is None else _joined(before, told)
        known_as = None if told.known_as == run else told.known_as
        fields = {"external_id": known_as, "session": told.session, "user": told.user}
        said = {name: value for name, value in fields.items() if value is not None}
        more = (told.tags, told.attributes, told.output)
        if said or any(value not in (None, [], {}) for value in more):
            yield Update(
                ts=_clock.format_ns(told.ended_ns or told.begun_ns or told.seen_ns or 0),
                run=run,
                id=keys.record_id(run, "told", repr((said, *more))),
                attributes=told.attributes or None,
                tags=told.tags or None,
                output=told.output,
                fields=said or None,
            )
        if len(self._told) > MAX_TOLD:
            oldest = next(iter(self._told))
            yield from self._alone(oldest, self._told.pop(oldest))

    def add(self, span: SpanIn) -> Iterator[Record]:
        """Take a span, and yield records when many have come together."""
        self._window.append(span)
        if len(self._window) >= WINDOW_SPANS:
            yield from self.flush()

    def flush(self) -> Iterator[Record]:
        """Yield the records of the spans that were taken."""
        window, self._window = self._window, []
        for record in self._traces.records_of(window):
            yield self._completed(record)

    def settle(self) -> Iterator[Record]:
        """Yield the rest: spans that were taken, runs without a root, runs without spans."""
        yield from self.flush()
        for record in self._traces.settle():
            yield self._completed(record)
        for run, told in self._told.items():
            yield from self._alone(run, told)

    def _completed(self, record: Record) -> Record:
        """Return a record as the platform has it."""
        told = self._told.get(record.run)
        if isinstance(record, RunStarted) and told is not None:
            self._begun.add(record.run)
            return _started(record, told)
        if isinstance(record, RunEnded) and told is not None and told.status is not None:
            return msgspec.structs.replace(record, status=told.status)
        return record

    def _alone(self, run: str, told: Told) -> Iterator[Record]:
        """Yield start and end of a run of which no span came."""
        if run in self._begun:
            self._begun.remove(run)
            return
        begun_ns = told.begun_ns or told.seen_ns or 0
        began = RunStarted(ts=_clock.format_ns(begun_ns), run=run, name="trace")
        yield _started(began, told)
        if told.ended_ns is not None:
            length_ns = None if told.begun_ns is None else told.ended_ns - told.begun_ns
            yield RunEnded(
                ts=_clock.format_ns(told.ended_ns),
                run=run,
                status=told.status or "complete",
                duration_ns=length_ns if length_ns is not None and length_ns >= 0 else None,
            )


def _joined(before: Told, told: Told) -> Told:
    """Return what two statements say together; the later one where both say something."""
    changes = {
        name: value
        for name in told.__struct_fields__
        if (value := getattr(told, name)) or value == 0
    }
    return msgspec.structs.replace(before, **changes)


def _started(record: RunStarted, told: Told) -> RunStarted:
    begun = None if told.begun_ns is None else _clock.format_ns(told.begun_ns)
    return msgspec.structs.replace(
        record,
        ts=begun or record.ts,
        name=told.name or record.name,
        project=told.project or record.project,
        external_id=None if told.known_as == record.run else told.known_as,
        session=told.session or record.session,
        user=told.user or record.user,
        tags=told.tags or record.tags,
        environment=told.environment or record.environment,
    )
