"""A graph of provenance becomes the records of a run, whatever the format it was written in.

Comes in: things (activities, entities, agents) and ties from earlier to later, from a reader of
one format. Goes out: a span for each activity; an output for each entity that something led to, a
source for one that others came from, and for each agent; a link for each tie; an event for what is
only told. Each has everything that was said of it in its attributes. What is linked is named by its
public name where it has one, so that runs of several documents meet in it, else by its record.

An activity that calls a model or a tool, or decides, becomes that too: see `graph_calls`.

Nothing here reads a file, so paths and addresses in a graph are never followed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence import _clock
from whence.ingest import graph_calls, graph_order, keys, spans
from whence.ingest.graph_order import (
    ABSENT,
    ACTIVITY,
    AGENT,
    ENTITY,
    NOTE,
    Fields,
    Span,
    Thing,
    Tie,
    thing_id,
)
from whence.record.event import Event
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Output
from whence.record.source import Source
from whence.record.span import SpanEnded, SpanStarted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.record.base import Record

STAGE = "stage"
_TICKS = 1_000
_MADE = frozenset({"generated", "derived_from"})
_FROM_WITHIN = frozenset({"generated", "resourceUsage"})
"""Kinds of ties from an activity to what came out of it."""
_AGENTS = frozenset({"wasAssociatedWith", "agent"})
"""Kinds of ties from an agent to what it did."""
_DESCRIBED_ELSEWHERE = "undescribed"
_MOST_STAGES = 50
"""How far up the stage around an activity is looked for."""


class Graph:
    """The things and ties of one run, while they are read.

    Args:
        run: Id of the run.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self.things: dict[str, Thing] = {}
        self.ties: list[Tie] = []
        self._made: dict[str, Span] = {}
        self._agents: dict[str, str] = {}
        self._homes: dict[str, str] = {}
        self._begun_ns = 0
        self._ended_ns = 0
        self._ticks = 0

    def add(self, thing: Thing) -> None:
        """Take a thing; the first of a role and key counts."""
        self.things.setdefault(thing.id, thing)

    def named(self, role: str, key: str, public: str | None) -> str:
        """Return the id of a thing that is referred to, described or not.

        Args:
            role: What it has to be where it stands; another is taken if there is none.
            key: What the source calls it.
            public: The name by which it is known everywhere.
        """
        for found in (thing_id(one, key) for one in (role, ENTITY, ACTIVITY, AGENT, NOTE)):
            if found in self.things:
                return found
        absent = Thing(key=key, role=ABSENT, name=key, kind=_DESCRIBED_ELSEWHERE, public=public)
        self.add(absent)
        return absent.id

    def span(self, thing: Thing) -> str:
        """Return the id of the span that an activity is."""
        return keys.record_id(self.run, ACTIVITY, thing.key)

    def used_by(self, activity: Thing) -> list[tuple[Tie, Thing]]:
        """Return what an activity used."""
        return self._used.get(activity.id, [])

    def made_by(self, activity: Thing) -> list[Thing]:
        """Return what an activity generated."""
        return self._generated.get(activity.id, [])

    @property
    def stated_ns(self) -> list[int]:
        """All times that are stated in it, Unix nanoseconds."""
        return graph_order.stated_times(self.things.values(), self.ties)

    def records(self, started: Fields, undated_ns: int = 0) -> Iterator[Record]:
        """Yield the records of the run.

        Args:
            started: Fields of its start, but for its id and time.
            undated_ns: When it begins if it states no time at all, Unix time.
        """
        graph_order.without_rings(self.things)
        stated = self.stated_ns
        self._begun_ns = min(stated, default=undated_ns)
        self._made = graph_order.placed(self.things, self.ties, self._begun_ns)
        self._ended_ns = max((one.ended_ns for one in self._made.values()), default=self._begun_ns)
        self._look_around()
        self._find_homes()
        attributes = {**started.pop("attributes"), **({} if stated else {"undated": True})}
        began = _clock.format_ns(self._begun_ns)
        yield RunStarted(ts=began, run=self.run, attributes=attributes, **started)
        for key in self._made:
            thing = self.things[key]
            yield from self._activity(thing) if thing.role == ACTIVITY else self._entity(thing)
        for thing in self.things.values():
            if thing.role == NOTE:
                yield self._note(thing)
            elif thing.role == AGENT or (thing.role == ABSENT and not self._has_name(thing)):
                yield self._source(thing)
        for tie in self.ties:
            yield self._link(tie)
        yield from self._end(max(stated, default=self._begun_ns) - self._begun_ns)

    def _look_around(self) -> None:
        """Find what activities used, made and were done by, and where things belong."""
        self._used: dict[str, list[tuple[Tie, Thing]]] = {}
        self._generated: dict[str, list[Thing]] = {}
        self._is_made: set[str] = set()
        self._leads_on: set[str] = set()
        for tie in self.ties:
            source, target = self.things[tie.source], self.things[tie.target]
            self._leads_on.add(tie.source)
            if tie.kind in _MADE:
                self._is_made.add(tie.target)
            if tie.kind == "generated":
                self._generated.setdefault(tie.source, []).append(target)
            if tie.kind == "used":
                self._used.setdefault(tie.target, []).append((tie, source))
            if tie.kind in _AGENTS:
                self._agents.setdefault(tie.target, source.name)

    def _find_homes(self) -> None:
        """Find where things belong: to the innermost maker of each, else to its outermost user."""
        depths: dict[str, int] = {}
        for key in self._made:  # what is around an activity comes before it
            depths[key] = depths.get(self.things[key].parent or "", 0) + 1
        for tie in sorted(self.ties, key=lambda tie: -depths.get(tie.source, 0)):
            if tie.kind in _FROM_WITHIN and self.things[tie.source].role == ACTIVITY:
                self._homes.setdefault(tie.target, tie.source)
        for tie in sorted(self.ties, key=lambda tie: depths.get(tie.target, 0)):
            if self.things[tie.target].role == ACTIVITY:
                self._homes.setdefault(tie.source, tie.target)

    def _at(self, unix_ns: int, home: Thing | None, *parts: str) -> Fields:
        """Return the fields that every record has; those of one time stay in order."""
        self._ticks += 1
        at_ns = min(unix_ns + self._ticks % _TICKS, graph_order.LAST_NS)
        made: Fields = {
            "ts": _clock.format_ns(at_ns),
            "run": self.run,
            "id": keys.record_id(self.run, *parts),
        }
        return made if home is None else made | self._place(home)

    def _place(self, activity: Thing) -> Fields:
        """Return the span of an activity, and the nearest stage around it."""
        made: Fields = {"span": self.span(activity)}
        at: Thing | None = activity
        for _ in range(_MOST_STAGES):
            if at is None or at.kind == STAGE:
                break
            at = self.things[at.parent] if at.parent else None
        if at is not None and at.kind == STAGE:
            made["stage"] = at.name
        return made

    def _home(self, thing: Thing) -> Thing | None:
        """Return the activity in which a thing is recorded: what made it, else what used it."""
        home = self._homes.get(thing.id)
        return None if home is None else self.things[home]

    def _activity(self, thing: Thing) -> Iterator[Record]:
        span = self._made[thing.id]
        at: Fields = {"ts": _clock.format_ns(span.begun_ns), "run": self.run, **self._place(thing)}
        parent = self.things[thing.parent] if thing.parent else None
        yield SpanStarted(
            **at,
            name=thing.name,
            span_kind="step" if thing.kind == graph_calls.DECISION else thing.kind,
            parent=None if parent is None else self.span(parent),
            agent=self._agents.get(thing.id),
            attributes=thing.attributes,
        )
        if thing.is_open:
            return
        duration_ns = None
        if thing.begun_ns is not None and thing.ended_ns is not None:
            duration_ns = spans.duration_of(span.begun_ns, span.ended_ns)
        ended = _clock.format_ns(span.ended_ns)
        ends: Fields = {"status": thing.status, "error": thing.error, "duration_ns": duration_ns}
        point = self._at(span.ended_ns, thing, "did", thing.key) | {"ts": ended}
        call = graph_calls.call_of(thing, self.used_by(thing), self.made_by(thing), point | ends)
        if call is not None:
            yield call
            return
        decision = graph_calls.decision_of(thing, self.used_by(thing), self.made_by(thing), point)
        if decision is not None:
            yield decision
        yield SpanEnded(**at | {"ts": ended}, **ends)

    def _entity(self, thing: Thing) -> Iterator[Record]:
        if thing.id in self._leads_on and thing.id not in self._is_made:
            yield self._source(thing)
            return
        home = self._home(thing)
        yield Output(
            **self._at(self._made[thing.id].begun_ns, home, thing.role, thing.key),
            output_id=self._named_by(thing),
            output_kind=thing.kind,
            summary=thing.said or (thing.name if thing.name != thing.key else ""),
            value=thing.value,
            path=thing.path,
            digest=thing.digest,
            confidence=thing.confidence,
            attributes=thing.attributes,
        )

    def _source(self, thing: Thing) -> Source:
        home = self._home(thing)
        at_ns = self._begun_ns if home is None else self._made[home.id].begun_ns
        if home is None and thing.id in self._made:
            at_ns = self._made[thing.id].begun_ns
        return Source(
            **self._at(at_ns, home, thing.role, thing.key),
            source_type=thing.kind,
            source_key=self._named_by(thing),
            title=thing.name,
            digest=thing.digest,
            locator=thing.path,
            attributes=thing.attributes,
        )

    def _named_by(self, thing: Thing) -> str:
        return thing.public or thing.key

    def _note(self, thing: Thing) -> Event:
        return Event(
            **self._at(self._begun_ns, self._home(thing), thing.role, thing.key),
            message=thing.kind,
            level="debug",
            data=thing.attributes,
        )

    def _has_name(self, thing: Thing) -> bool:
        return (thing.known_as or thing.public) is not None

    def _end_of(self, thing: Thing) -> str:
        """Return the id that a link has for a thing."""
        if thing.role == ACTIVITY:
            return self.span(thing)
        return thing.known_as or thing.public or keys.record_id(self.run, thing.role, thing.key)

    def _link(self, tie: Tie) -> Link:
        source, target = self.things[tie.source], self.things[tie.target]
        home = next((one for one in (target, source) if one.role == ACTIVITY), None)
        later, earlier = self._made.get(tie.target), self._made.get(tie.source)
        at_ns = tie.at_ns
        if at_ns is None:
            at_ns = later.begun_ns if later else earlier.ended_ns if earlier else self._begun_ns
        return Link(
            **self._at(at_ns, home, "link", *tie.parts),
            link_kind=tie.kind,
            source=self._end_of(source),
            target=self._end_of(target),
            attributes=tie.attributes or None,
        )

    def _end(self, length_ns: int) -> Iterator[RunEnded]:
        activities = [one for one in self.things.values() if one.role == ACTIVITY]
        if any(one.is_open for one in activities):
            return
        tops = [one for one in activities if one.parent is None]
        failed = next((one for one in tops if one.status == "error"), None)
        yield RunEnded(
            ts=_clock.format_ns(self._ended_ns),
            run=self.run,
            status="complete" if failed is None else "failed",
            duration_ns=length_ns or None,  # one time alone is no length
            error=None if failed is None else failed.error,
        )
