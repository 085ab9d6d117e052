"""An RO-Crate becomes a run: its actions are spans, its files outputs and sources.

Comes in: `ro-crate-metadata.json`, of a run crate (Process, Workflow, Provenance) or of any other.
Goes out: actions as spans, nested as the engine that organized them had them; what actions made,
and the crate's other data, as outputs; what actions used as sources; people and software as sources
of type `agent`; and an event for everything that is only described, such as a licence. The run's
attribute `ro_crate` counts the crate's entities, by type too.

Only the metadata file is read. What it names is never opened, wherever it is. A crate has no id of
its own, so that its run's follows from its content; ids that are no addresses hold within it alone.

Source: RO-Crate 1.1 and 1.2; Workflow Run RO-Crate profiles, version 0.5.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from whence.errors import IngestError
from whence.ingest import graph_calls, json_files, json_strict, keys, loose
from whence.ingest.base import Skipped
from whence.ingest.graph import STAGE, Graph
from whence.ingest.graph_order import ACTIVITY, AGENT, ENTITY, NOTE, Thing, Tie, thing_id
from whence.ingest.prov_names import is_public, local

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Known, Source
    from whence.ingest.loose import Fields
    from whence.record.base import Record

_FORMAT = "ro-crate"
_FILE_NAME = "ro-crate-metadata.json"
_SIGN = b"w3id.org/ro/crate"
_ACTION = "Action"
_ORGANIZING = frozenset({"OrganizeAction", "ControlAction"})
_SPAN_KINDS = {
    "OrganizeAction": "step",
    "ControlAction": "step",
    "ChooseAction": graph_calls.DECISION,
    "AssessAction": "evaluation",
}
"""Type of an action to the kind of its span; a stage for all others."""
_AGENTS = frozenset({"Person", "Organization", "SoftwareApplication"})
_DATA = frozenset({"File", "MediaObject", "Dataset", "Collection", "RepositoryCollection"})
_HOLDING = _DATA - {"File", "MediaObject"}
"""Types of what consists of others."""
_EARLIER = {
    "object": "used",
    "actionOption": "used",
    "instrument": "instrument",
    "agent": "agent",
    "participant": "participant",
    "environment": "environment",
    "containerImage": "containerImage",
}
"""Property of an action that names something earlier to the kind of the link."""
_LATER = {"result": "generated", "resourceUsage": "resourceUsage"}
"""Property of an action that names something later to the kind of the link."""
_BETWEEN = {"isBasedOn": "derived_from", "wasDerivedFrom": "derived_from"}
"""Property of anything else that names something earlier to the kind of the link."""
_HELD = {**_BETWEEN, "hasPart": "hasPart"}
_STATUS = {
    "CompletedActionStatus": "ok",
    "FailedActionStatus": "error",
    "PotentialActionStatus": "potential",
}
_ACTIVE = "ActiveActionStatus"
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def detect(source: Source) -> bool:
    """Return whether a file is called, or begins, as the metadata of a crate does."""
    found = json_files.peek(source)
    if found.is_list or not found.keys & {"@graph", "@context"}:
        return False
    return _FILE_NAME in source.path.name.lower() or (
        "@graph" in found.keys and _SIGN in source.head
    )


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:  # noqa: ARG001 - every format has this form
    """Yield the records of a crate, and what was left out.

    Raises:
        IngestError: It is no JSON in UTF-8, or has no list of entities.
        OSError: It cannot be read.
    """
    document, skipped = json_strict.document(source)
    listed = loose.mapping(document).get("@graph")
    if not isinstance(listed, list):
        raise IngestError(f"{source.name} is no RO-Crate: it has no list of entities, `@graph`")
    yield from skipped
    crate = _Crate(keys.run_id(_FORMAT, json_files.fingerprint(document)))
    for number, entity in enumerate(loose.sequence(listed), start=1):
        if isinstance(entity, dict):
            crate.add(loose.mapping(entity))
        else:
            yield Skipped(f"{source.name}, entity {number}", "not an object")
    yield from crate.records()


class _Crate:
    """The entities of a crate.

    Args:
        run: Id of its run.
    """

    def __init__(self, run: str) -> None:
        self._graph = Graph(run)
        self._entities: dict[str, Fields] = {}
        self._counts: Counter[str] = Counter()

    def add(self, entity: Fields) -> None:
        """Take an entity; the first of an id is the one that others mean."""
        stated = loose.text(entity.get("@id"))
        key = stated or f"_:{len(self._entities) + 1}"
        while key in self._entities:
            key = f"{key} ({len(self._entities) + 1})"
        self._entities[key] = entity
        self._counts.update(_types(entity))

    def records(self) -> Iterator[Record]:
        """Yield the records of the crate's run."""
        descriptor = next((key for key in self._entities if _is_descriptor(key)), "")
        about = _references(self._entities.get(descriptor, {}), "about")
        root = next((key for key in [*about, "./"] if key in self._entities), "")
        inside = {k: one for k, one in self._entities.items() if k not in {descriptor, root}}
        edges = [edge for key, entity in inside.items() for edge in _edges(key, entity)]
        tied = {key for edge in edges for key in (edge.subject, edge.other)}
        for key, entity in inside.items():
            made = _action(key, entity) if _is_action(entity) else _thing(key, entity, tied)
            self._graph.add(made)
        self._nest([edge for edge in edges if self._organizes(edge)])
        self._graph.ties += [self._tie(edge) for edge in edges if not self._organizes(edge)]
        yield from self._graph.records(self._started(descriptor, root))

    def _organizes(self, edge: _Edge) -> bool:
        """Return whether an edge says which action organized which."""
        if edge.property not in {"object", "result"} or not _is_action(self._of(edge.other)):
            return False
        return not _ORGANIZING.isdisjoint(_types(self._of(edge.subject)))

    def _of(self, key: str) -> Fields:
        return self._entities.get(key, {})

    def _nest(self, edges: list[_Edge]) -> None:
        """Put actions into those that organized them, and steps into the workflow they were of."""
        results: dict[str, str] = {}
        for edge in edges:
            if edge.property == "result":
                results.setdefault(edge.subject, edge.other)
        for edge in edges:
            around = edge.subject
            if edge.property == "object":
                around = results.get(around, around)
            inner = self._graph.things.get(thing_id(ACTIVITY, edge.other))
            if inner is not None and inner.parent is None:
                inner.parent = thing_id(ACTIVITY, around)

    def _tie(self, edge: _Edge) -> Tie:
        subject = self._graph.named(ENTITY, edge.subject, _public(edge.subject))
        other = self._graph.named(ENTITY, edge.other, _public(edge.other))
        source, target = (subject, other) if edge.is_later else (other, subject)
        return Tie(
            (edge.subject, edge.property, edge.other),
            edge.kind,
            source,
            target,
            role="considered" if edge.property == "actionOption" else None,
            attributes={"property": edge.property},
        )

    def _started(self, descriptor: str, root: str) -> Fields:
        """Return the fields of the run's start."""
        about, crate = self._entities.get(descriptor, {}), self._entities.get(root, {})
        main = next(iter(_references(crate, "mainEntity")), None)
        counts: Fields = {
            "entities": len(self._entities),
            "types": dict(self._counts),
            "conforms_to": _stated(crate, "conformsTo"),
            "specification": _stated(about, "conformsTo"),
        }
        return {
            "name": loose.name(_stated(crate, "name")) or "crate",
            "run_kind": _FORMAT,
            "external_id": root if is_public(root) else None,
            "workflow": None if main is None else _name(main, self._entities.get(main, {})),
            "attributes": {"ro_crate": counts, "root": crate, "descriptor": about},
        }


class _Edge(msgspec.Struct, frozen=True):
    """What one entity says of another."""

    subject: str
    """Key of the entity that says it."""
    property: str
    """The property in which it does."""
    other: str
    """Key of the other, as it is written."""
    kind: str
    """Kind of the link."""
    is_later: bool = False
    """Whether the other one is the later."""


def _edges(key: str, entity: Fields) -> Iterator[_Edge]:
    """Yield what an entity says of others that makes one of them come from the other."""
    if _is_action(entity):
        earlier, later = _EARLIER, _LATER
    else:
        earlier, later = _BETWEEN, {}
        if _HOLDING & set(_types(entity)):
            earlier = _HELD
    for names, is_later in ((earlier, False), (later, True)):
        for name, kind in names.items():
            for other in _references(entity, name):
                if other != key:
                    yield _Edge(key, name, other, kind, is_later)


def _action(key: str, entity: Fields) -> Thing:
    """Return an action as a thing."""
    types = _types(entity)
    word = local(
        next(iter(_references(entity, "actionStatus")), "") or _said(entity, "actionStatus")
    )
    status = _STATUS.get(word, "ok")
    error = None
    if status == "error":
        error = {"type": word, "message": _said(entity, "error")}
    return Thing(
        key=key,
        role=ACTIVITY,
        name=_name(key, entity),
        kind=next((_SPAN_KINDS[one] for one in types if one in _SPAN_KINDS), STAGE),
        public=_public(key),
        attributes=entity,
        begun_ns=loose.time_ns(_stated(entity, "startTime")),
        ended_ns=loose.time_ns(_stated(entity, "endTime")),
        is_open=word == _ACTIVE,
        status=status,
        error=error,
        said=_said(entity, "description"),
    )


def _thing(key: str, entity: Fields, tied: set[str]) -> Thing:
    """Return an entity that is no action as a thing."""
    types = _types(entity)
    is_agent = not _AGENTS.isdisjoint(types)
    digest = _said(entity, "sha256")
    is_data = not _DATA.isdisjoint(types)
    name = _name(key, entity)
    thing = Thing(
        key=key,
        role=AGENT if is_agent else ENTITY if is_data or key in tied else NOTE,
        name=name,
        kind=AGENT if is_agent else next(iter(types), ENTITY),
        public=_public(key),
        attributes=entity,
        said=_said(entity, "description"),
        value=_stated(entity, "value"),
        path=key if is_data else None,
        digest=digest if _SHA256.fullmatch(digest) else None,
    )
    measured = loose.name(thing.value)
    if not thing.said and measured is not None:
        thing.said = f"{name}: {measured}"
    if thing.role == NOTE:
        thing.kind = " ".join([*types, name])
    return thing


def _is_descriptor(key: str) -> bool:
    return key.rpartition("/")[2].endswith(_FILE_NAME) or key.endswith(f"{_FILE_NAME}ld")


def _is_action(entity: Fields) -> bool:
    return any(one.endswith(_ACTION) for one in _types(entity))


def _types(entity: Fields) -> list[str]:
    """Return the types of an entity, as they are written."""
    stated = entity.get("@type")
    listed = loose.sequence(stated) if isinstance(stated, list) else [stated]
    return [one for one in listed if isinstance(one, str) and one]


def _public(key: str) -> str | None:
    return key if is_public(key) else None


def _stated(entity: Fields, name: str) -> Any:
    """Return a property, also one that is written with its vocabulary."""
    found = entity.get(name)
    if found is None:
        return next((value for key, value in entity.items() if local(key) == name), None)
    return found


def _said(entity: Fields, name: str) -> str:
    return loose.text(_stated(entity, name)) or ""


def _name(key: str, entity: Fields) -> str:
    for name in ("name", "alternateName"):
        found = loose.name(_stated(entity, name))
        if found is not None:
            return found
    return key


def _references(entity: Fields, name: str) -> list[str]:
    """Return the ids that a property names; texts count where they are addresses."""
    stated = _stated(entity, name)
    listed = loose.sequence(stated) if isinstance(stated, list) else [stated]
    found: list[str] = []
    for one in listed:
        key = one if isinstance(one, str) and is_public(one) else None
        if isinstance(one, dict):
            key = loose.text(loose.mapping(one).get("@id"))
        if key is not None and key not in found:
            found.append(key)
    return found
