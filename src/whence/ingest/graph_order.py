"""When the things of a provenance graph happened, as far as their order tells it.

Comes in: things, with the times that their source states, and ties from earlier to later. Goes out:
when each thing began and ended, in nanoseconds. A stated time is taken as it is. What has none
follows a microsecond behind the last thing that it came from, so that what led to a thing is always
before it and branches that do not meet run side by side. A ring has no first thing: the one that
the source names first is taken for it.

Nothing gets a length here that nobody stated; these are places in an order.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Fields = dict[str, Any]
STEP_NS = 1_000
LAST_NS = 2**63 - 1
ACTIVITY, ENTITY, AGENT, NOTE, ABSENT = "activity", "entity", "agent", "note", "absent"
ORDERING = frozenset(
    {"used", "generated", "derived_from", "triggered_by", "wasInformedBy", "hadMember"}
)
"""Kinds of ties whose later end cannot have been before the earlier one."""
_INSIDE = ""


class Thing(msgspec.Struct):
    """One thing that a source describes, or names without describing it."""

    key: str
    """What the source calls it; with `role` it tells it from all others of its graph."""
    role: str
    """`ACTIVITY`, `ENTITY` or `AGENT`; `NOTE` for what is only told, `ABSENT` for a mere name."""
    name: str
    """What a person would call it."""
    kind: str
    """Kind of its span, of its output or of its source; the message of a note."""
    public: str | None = None
    """The name by which it is known everywhere; None if the name holds in its source alone."""
    attributes: Fields = {}
    """Everything that the source says of it."""
    begun_ns: int | None = None
    """When it began or came to be, Unix time; None where nobody said."""
    ended_ns: int | None = None
    """When an activity ended, Unix time; None where nobody said."""
    is_open: bool = False
    """Whether the source says that an activity goes on."""
    status: str = "ok"
    """Status of its span."""
    error: Fields | None = None
    """What went wrong in it."""
    parent: str | None = None
    """Id of the activity around it."""
    said: str = ""
    """A sentence about it: why it was decided so, or what it is."""
    value: Any = None
    """The thing itself, where the source has it."""
    path: str | None = None
    """Where it is, as text: nothing is ever opened."""
    digest: str | None = None
    """SHA-256 of its content, hex."""
    confidence: float | None = None
    """How sure it is, 0 to 1."""
    known_as: str | None = None
    """Id of the span that it is elsewhere."""

    @property
    def id(self) -> str:
        """What ties name it by."""
        return thing_id(self.role, self.key)


class Tie(msgspec.Struct, frozen=True):
    """An edge from the earlier thing to the later one."""

    parts: tuple[str, ...]
    """What tells it from the other ties of its graph."""
    kind: str
    """Kind of the link."""
    source: str
    """Id of the earlier thing."""
    target: str
    """Id of the later thing."""
    role: str | None = None
    """The part that the earlier thing had in the later: `considered`, `rejected`, `prompt`."""
    at_ns: int | None = None
    """When it was, Unix time; None where nobody said."""
    attributes: Fields = {}
    """Everything that the source says of it."""


class Span(msgspec.Struct, frozen=True):
    """Where a thing stands in time."""

    begun_ns: int
    ended_ns: int


def thing_id(role: str, key: str) -> str:
    """Return what ties name a thing by."""
    return f"{role} {key}"


def stated_times(things: Iterable[Thing], ties: Iterable[Tie]) -> list[int]:
    """Return all times that are stated anywhere, Unix nanoseconds."""
    stated = [time for thing in things for time in (thing.begun_ns, thing.ended_ns)]
    stated += [tie.at_ns for tie in ties]
    return [time for time in stated if time is not None]


def without_rings(things: Mapping[str, Thing]) -> None:
    """Take the parent from an activity that would be inside itself, or inside what is none."""
    done: set[str] = set()
    for start in things:
        path: dict[str, None] = {}
        at: str | None = start
        while at is not None and at not in done:
            path[at] = None
            parent = things[at].parent
            if parent is not None and (
                parent in path or parent not in things or things[parent].role != ACTIVITY
            ):
                parent = things[at].parent = None
            at = parent
        done.update(path)


def placed(things: Mapping[str, Thing], ties: Iterable[Tie], first_ns: int) -> dict[str, Span]:
    """Return where every activity and entity stands in time, in an order that follows the ties.

    Args:
        things: Things by id, their parents without rings.
        ties: The ties between them.
        first_ns: When the first of those began that have no time and come from nothing.
    """
    nodes = {key: thing for key, thing in things.items() if thing.role in {ACTIVITY, ENTITY}}
    earlier: dict[str, dict[str, str]] = {key: {} for key in nodes}
    hints: dict[str, list[int]] = {}
    for tie in ties:
        if tie.at_ns is not None:
            for end in (tie.source, tie.target):
                hints.setdefault(end, []).append(tie.at_ns)
        if tie.kind in ORDERING and tie.source in nodes and tie.target in nodes:
            earlier[tie.target].setdefault(tie.source, tie.kind)
    for key, thing in nodes.items():
        if thing.parent is not None:
            earlier[key].setdefault(thing.parent, _INSIDE)
    made: dict[str, Span] = {}
    for key in _ordered(earlier):
        # What is in a ring with it may have no place yet.
        floors = [_after(made[o], kind) for o, kind in earlier[key].items() if o in made]
        made[key] = _span(nodes[key], max([first_ns, *floors]), hints.get(key, []))
    _fit(nodes, made)
    return made


def _after(other: Span, kind: str) -> int:
    """Return the earliest time of what is tied to something earlier."""
    if kind == _INSIDE:
        return other.begun_ns
    return other.ended_ns + (0 if kind == "generated" else STEP_NS)


def _span(thing: Thing, floor_ns: int, hints: list[int]) -> Span:
    if thing.role == ENTITY:
        at_ns = floor_ns if thing.begun_ns is None else thing.begun_ns
        return Span(min(at_ns, LAST_NS), min(at_ns, LAST_NS))
    told = hints if thing.ended_ns is None else [*hints, thing.ended_ns]
    begun_ns = min(told, default=floor_ns) if thing.begun_ns is None else thing.begun_ns
    ended_ns = thing.ended_ns
    if ended_ns is None:
        ended_ns = max([begun_ns + STEP_NS, *hints])
    return Span(min(begun_ns, LAST_NS), min(ended_ns, LAST_NS))


def _ordered(earlier: Mapping[str, Mapping[str, str]]) -> Iterable[str]:
    """Yield every node, behind those before it as far as there is no ring."""
    later: dict[str, list[str]] = {}
    waiting: dict[str, int] = {}
    for key, others in earlier.items():
        waiting[key] = sum(other != key for other in others)
        for other in others:
            later.setdefault(other, []).append(key)
    ready = deque(key for key, count in waiting.items() if not count)
    in_rings = iter(list(waiting))
    while waiting:
        key = ready.popleft() if ready else next(in_rings)
        if waiting.pop(key, None) is None:
            continue
        yield key
        for other in later.get(key, ()):
            if other in waiting:
                waiting[other] -= 1
                if not waiting[other]:
                    ready.append(other)


def _fit(nodes: Mapping[str, Thing], made: dict[str, Span]) -> None:
    """Let an activity of which nobody stated when it was last as long as those inside it."""
    begun: dict[str, int] = {}
    ended: dict[str, int] = {}
    for key in reversed(list(made)):  # what is inside an activity comes behind it
        thing, span = nodes[key], made[key]
        if key in begun:
            first_ns = span.begun_ns if thing.begun_ns is not None else begun[key]
            last_ns = span.ended_ns
            if thing.ended_ns is None:
                last_ns = min(max(last_ns, ended[key] + STEP_NS), LAST_NS)
            span = made[key] = Span(first_ns, last_ns)
        parent = thing.parent
        if parent is not None:
            begun[parent] = min(begun.get(parent, span.begun_ns), span.begun_ns)
            ended[parent] = max(ended.get(parent, span.ended_ns), span.ended_ns)
