"""The records of a PROV document or bundle as a graph: what each type of record means.

Comes in: records by type and id, each with its statements. Goes out: a `Graph` of things and ties.
Every tie goes from what influenced to what was influenced, which for PROV is from the earlier to
the later. Relations that whence has a kind of link for get that one, the others keep PROV's word.

Source: PROV-DM (W3C recommendation of 2013-04-30), sections 5.1 to 5.6; PROV-LINKS.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from whence.ingest import graph_calls, loose, prov_names, stated
from whence.ingest.graph import STAGE, Graph
from whence.ingest.graph_order import ABSENT, ACTIVITY, AGENT, ENTITY, NOTE, Thing, Tie, thing_id
from whence.ingest.loose import Fields
from whence.ingest.prov_names import Name, Prefixes
from whence.record.link import LINK_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

THINGS = {"entity": ENTITY, "activity": ACTIVITY, "agent": AGENT}
"""Type of a record to the role of what it describes."""
_ROLES = {
    **dict.fromkeys(("agent", "delegate", "responsible"), AGENT),
    **dict.fromkeys(("activity", "informed", "informant", "starter", "ender"), ACTIVITY),
}
"""Name of an end of a relation to what stands there; an entity in all others."""


class Relation(msgspec.Struct, frozen=True):
    """What one type of relation ties."""

    later: str
    """The end that was influenced, without `prov:`."""
    earlier: dict[str, str]
    """Each end that influenced it, to the kind of the link from there."""


def _same(later: str, earlier: str, kind: str) -> Relation:
    return Relation(later, {earlier: kind})


_DERIVATION = _same("generatedEntity", "usedEntity", "derived_from")
RELATIONS = {
    "used": _same("activity", "entity", "used"),
    "wasGeneratedBy": _same("entity", "activity", "generated"),
    "wasInformedBy": _same("informed", "informant", "wasInformedBy"),
    "wasStartedBy": Relation("activity", dict.fromkeys(("trigger", "starter"), "triggered_by")),
    "wasEndedBy": Relation("activity", dict.fromkeys(("trigger", "ender"), "wasEndedBy")),
    "wasInvalidatedBy": _same("entity", "activity", "wasInvalidatedBy"),
    "wasDerivedFrom": _DERIVATION,
    "wasRevisionOf": _DERIVATION,
    "wasQuotedFrom": _DERIVATION,
    "hadPrimarySource": _DERIVATION,
    "wasAttributedTo": _same("entity", "agent", "wasAttributedTo"),
    "wasAssociatedWith": Relation("activity", {"agent": "wasAssociatedWith", "plan": "hadPlan"}),
    "actedOnBehalfOf": _same("delegate", "responsible", "actedOnBehalfOf"),
    "wasInfluencedBy": _same("influencee", "influencer", "wasInfluencedBy"),
    "specializationOf": _same("specificEntity", "generalEntity", "specializationOf"),
    "alternateOf": _same("alternate1", "alternate2", "alternateOf"),
    "hadMember": _same("collection", "entity", "hadMember"),
    "mentionOf": _same("specificEntity", "generalEntity", "mentionOf"),
}
"""Type of a record to what it ties."""
_SPAN_KINDS = {
    "AIModelInvocation": graph_calls.GENERATION,
    "LLMGeneration": graph_calls.GENERATION,
    "Generation": graph_calls.GENERATION,
    "AgentTool": graph_calls.TOOL,
    "ToolCall": graph_calls.TOOL,
    "Decision": graph_calls.DECISION,
    "QualityGate": "evaluation",
    "Retrieval": "retrieval",
    "Step": "step",
    "Transformation": "transformation",
}
"""Last part of an activity's `prov:type` to the kind of its span; a stage for all others."""
_SUPPLEMENTED = frozenset({"wasInformedBy", "wasInfluencedBy", "derived_from"})
"""Kinds of links that `prov:type` may name more exactly."""
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_TIMED = {"wasStartedBy": "begun_ns", "wasEndedBy": "ended_ns", "wasGeneratedBy": "begun_ns"}
"""Type of a relation to what its time says of the later end."""


class Section(msgspec.Struct):
    """A document, or a bundle in it."""

    run: str
    """Id of its run."""
    prefixes: Prefixes
    """Its namespaces."""
    syntax: str
    """`json` or `xml`."""
    written: str | None = None
    """The name of a bundle as it is written; None for the document."""
    name: Name | None = None
    """The full name of a bundle."""
    records: dict[str, dict[str, list[Fields]]] = {}
    """Type to id to statements."""
    others: Fields = {}
    """What is said beside the records."""


def graph_of(section: Section) -> Graph:
    """Return the records of a section as a graph."""
    graph = Graph(section.run)
    for kind, role in THINGS.items():
        _describe(graph, section, kind, role)
    for kind, key, number, statement in _iter_relations(section):
        parts = (kind, key, number)
        relation = RELATIONS.get(kind)
        ties = [] if relation is None else list(_ties(graph, section, relation, parts, statement))
        graph.ties += ties
        if not ties:
            graph.add(_told(relation, parts, statement))
        if relation is not None and kind in _TIMED:
            _date(graph, section, relation, kind, statement)
    for thing in list(graph.things.values()):
        inside = _local_first(thing.attributes, "partOf")
        if thing.role == ACTIVITY and inside is not None:
            name = section.prefixes.name(inside)
            thing.parent = thing_id(ACTIVITY, name.key)
    return graph


def connect(graph: Graph, others: Iterable[Graph]) -> None:
    """Let names that a graph does not describe stand for the activities of other graphs."""
    absent = {
        thing.public: thing
        for thing in graph.things.values()
        if thing.role == ABSENT and thing.public is not None
    }
    for other in others if absent else ():
        for thing in other.things.values():
            found = absent.get(thing.public or "")
            if found is not None and thing.role == ACTIVITY and found.known_as is None:
                found.known_as = other.span(thing)


def _iter_relations(section: Section) -> Iterator[tuple[str, str, str, Fields]]:
    for kind, records in section.records.items():
        if kind in THINGS:
            continue
        for key, statements in records.items():
            for number, statement in enumerate(statements):
                yield kind, key, str(number), statement


def _describe(graph: Graph, section: Section, kind: str, role: str) -> None:
    """Add the things of one type; several records of one thing say together what it is."""
    said: dict[str, tuple[str, Name, list[Fields]]] = {}
    for written, statements in section.records.get(kind, {}).items():
        name = section.prefixes.name(written)
        said.setdefault(name.key, (written, name, []))[2].extend(statements)
    for written, name, statements in said.values():
        graph.add(_thing(role, written, name, prov_names.merged(statements)))


def _thing(role: str, written: str, name: Name, fields: Fields) -> Thing:
    types = [prov_names.local(one) for one in prov_names.texts(fields.get("prov:type"))]
    label = prov_names.first(fields, "prov:label")
    thing = Thing(
        key=name.key,
        role=role,
        name=label or prov_names.local(written),
        kind=types[0] if types else role,
        public=name.public,
        attributes={"prov.record": role, "prov.id": written, **fields},
        said=_local_first(fields, "rationale", "description") or "",
        confidence=_confidence(fields),
    )
    if role == AGENT:
        thing.kind = AGENT
    elif role == ACTIVITY:
        thing.kind = next((_SPAN_KINDS[one] for one in types if one in _SPAN_KINDS), STAGE)
        thing.begun_ns = _time_ns(fields, "prov:startTime")
        thing.ended_ns = _time_ns(fields, "prov:endTime")
    else:
        given = prov_names.values(fields.get("prov:value"))
        thing.value = given[0] if len(given) == 1 else given
        thing.path = prov_names.first(fields, "prov:location", "prov:atLocation")
        digest = _local_first(fields, "sha256")
        thing.digest = digest if digest and _SHA256.fullmatch(digest) else None
    return thing


def _ties(
    graph: Graph,
    section: Section,
    relation: Relation,
    parts: tuple[str, str, str],
    statement: Fields,
) -> Iterator[Tie]:
    """Yield the ties of one statement: one from each earlier end to each later one."""
    types = [prov_names.snake(prov_names.local(t)) for t in _texts(statement, "type")]
    roles = [prov_names.local(text) for text in _texts(statement, "role")]
    at_ns = _time_ns(statement, "prov:time")
    attributes = {"prov.record": parts[0], "prov.id": parts[1], **statement}
    for later in _texts(statement, relation.later):
        target = _named(graph, section, relation.later, later)
        for end, link_kind in relation.earlier.items():
            exact = next((one for one in types if one in LINK_KINDS), None)
            kind = exact if exact and link_kind in _SUPPLEMENTED else link_kind
            for earlier in _texts(statement, end):
                source = _named(graph, section, end, earlier)
                yield Tie(
                    (*parts, end, earlier, later),
                    kind,
                    source,
                    target,
                    role=roles[0] if roles else None,
                    at_ns=at_ns,
                    attributes=attributes,
                )


def _named(graph: Graph, section: Section, end: str, written: str) -> str:
    name = section.prefixes.name(written)
    return graph.named(_ROLES.get(end, ENTITY), name.key, name.public)


def _told(relation: Relation | None, parts: tuple[str, str, str], statement: Fields) -> Thing:
    """Return a relation that lacks an end as something that is only told."""
    kind, written, _ = parts
    later = "" if relation is None else next(iter(_texts(statement, relation.later)), "")
    return Thing(
        key=repr(parts),
        role=NOTE,
        name=written,
        kind=f"{later} {kind}".lstrip(),
        attributes={"prov.record": kind, "prov.id": written, **statement},
        begun_ns=_time_ns(statement, "prov:time"),
    )


def _date(graph: Graph, section: Section, relation: Relation, kind: str, statement: Fields) -> None:
    """Let the time of a relation date what it is about, where that has no time of its own."""
    time_ns = _time_ns(statement, "prov:time")
    for later in _texts(statement, relation.later):
        role = _ROLES.get(relation.later, ENTITY)
        thing = graph.things.get(thing_id(role, section.prefixes.name(later).key))
        if thing is not None and getattr(thing, _TIMED[kind]) is None:
            setattr(thing, _TIMED[kind], time_ns)


def _texts(statement: Fields, name: str) -> list[str]:
    return prov_names.texts(statement.get(f"prov:{name}"))


def _time_ns(fields: Fields, name: str) -> int | None:
    return next(
        (at for text in prov_names.texts(fields.get(name)) if (at := loose.time_ns(text))), None
    )


def _local_first(fields: Fields, *names: str) -> str | None:
    """Return the first value of an attribute of that name in whatever namespace."""
    return next(
        (
            text
            for key, value in fields.items()
            if key.rpartition(":")[2] in names
            for text in prov_names.texts(value)
        ),
        None,
    )


def _confidence(fields: Fields) -> float | None:
    found = stated.number(_local_first(fields, "confidence"))
    return found if found is not None and 0 <= found <= 1 else None
