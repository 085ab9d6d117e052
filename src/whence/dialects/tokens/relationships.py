"""How token requests are related, one edge each, and the graph of them.

Every edge goes from the earlier request, the source, to the later one, the target, also where the
name reads the other way round: `retry_of` points from the original to the retry. The graph refuses
an edge that would close a ring when it is added; one that was imported with rings in it is walked
without harm, and says where they are. Source: document 2 (token provenance).
"""

from __future__ import annotations

import datetime as dt
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from whence.analysis import graph
from whence.analysis.facts import PERSISTED_RELATIONS, RELATIONS
from whence.dialects.tokens import dot, numbers
from whence.errors import LinkError
from whence.query import text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

RELATIONSHIP_TYPES = RELATIONS
PERSISTED_RELATIONSHIP_TYPES = PERSISTED_RELATIONS
_VALID = frozenset({*RELATIONSHIP_TYPES, *PERSISTED_RELATIONSHIP_TYPES})


class ProvenanceRelationship(msgspec.Struct, frozen=True, kw_only=True):
    """One edge from an earlier request to a later one."""

    source_request_id: str
    """The earlier request."""
    target_request_id: str
    """The later request."""
    relationship_type: str = "triggered_by"
    """One of `RELATIONSHIP_TYPES` or `PERSISTED_RELATIONSHIP_TYPES`."""
    metadata: dict[str, Any] | None = None
    """Whatever else is known."""
    id: str = msgspec.field(default_factory=lambda: numbers.new_id("rel"))
    """Its own id, `rel_<n>`."""
    created_at: dt.datetime = msgspec.field(default_factory=numbers.now)
    """When it was made."""

    def __post_init__(self) -> None:
        if self.metadata is None:
            msgspec.structs.force_setattr(self, "metadata", {})

    @classmethod
    def from_persisted(cls, row: Mapping[str, Any]) -> ProvenanceRelationship:
        """Return the edge that a row of the document's database says.

        Args:
            row: `parent_request_id`, the earlier, `child_request_id`, the later,
                `relationship_type` (`derived_from` if missing), `sequence_number` and `metadata`.

        Raises:
            KeyError: One of the requests is missing.
        """
        metadata = dict(row.get("metadata") or {})
        if row.get("sequence_number") is not None:
            metadata["sequence_number"] = row["sequence_number"]
        return cls(
            source_request_id=row["parent_request_id"],
            target_request_id=row["child_request_id"],
            relationship_type=row.get("relationship_type") or "derived_from",
            metadata=metadata,
        )

    def validate(self) -> list[str]:
        """Return what is wrong with it, a sentence each; nothing if it is valid."""
        errors: list[str] = []
        if self.source_request_id == self.target_request_id:
            errors.append("source and target cannot be the same")
        if self.relationship_type not in _VALID:
            errors.append("invalid relationship type")
        return errors

    def to_dict(self) -> dict[str, Any]:
        """Return the edge as JSON-ready data, the time as an RFC 3339 text."""
        made = {name: getattr(self, name) for name in self.__struct_fields__}
        return {**made, "created_at": numbers.as_text(self.created_at)}


class RelationshipGraph:
    """Relationships by request. Its methods take and return request ids; any thread may use it.

    Args:
        relationships: What it holds from the beginning, taken as it is: imported relationships may
            form rings.
        max_edges: Forget the oldest relationships beyond so many; None keeps all.
        on_add: Called with each relationship that `add` accepts, before it is kept; what it raises
            passes, and then the relationship is not kept.
    """

    def __init__(
        self,
        relationships: Iterable[ProvenanceRelationship] = (),
        *,
        max_edges: int | None = None,
        on_add: Callable[[ProvenanceRelationship], object] | None = None,
    ) -> None:
        self._by_id: dict[str, ProvenanceRelationship] = {}
        self._later: dict[str, dict[str, int]] = {}
        self._earlier: dict[str, dict[str, int]] = {}
        self._max_edges = max_edges
        self._on_add = on_add
        self._lock = threading.RLock()
        for relationship in relationships:
            self._keep(relationship)

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[ProvenanceRelationship]:
        """Yield the relationships in the order in which they came."""
        with self._lock:
            return iter(list(self._by_id.values()))

    def add(
        self,
        relationship: ProvenanceRelationship | str,
        target: str | None = None,
        relationship_type: str = "triggered_by",
        metadata: dict[str, Any] | None = None,
    ) -> ProvenanceRelationship:
        """Keep a relationship.

        Args:
            relationship: The relationship, or its source.
            target: The later request, if a source was given.
            relationship_type: Its type, if a source was given.
            metadata: Its metadata, if a source was given.

        Returns:
            The relationship.

        Raises:
            LinkError: It points from a request to itself, would close a ring, or is of a type that
                does not exist; then it is not kept.
        """
        if isinstance(relationship, str):
            relationship = ProvenanceRelationship(
                source_request_id=relationship,
                target_request_id=target or "",
                relationship_type=relationship_type,
                metadata=metadata,
            )
        with self._lock:
            self._check(relationship)
            if self._on_add is not None:
                self._on_add(relationship)
            self._keep(relationship)
        return relationship

    def admit(self, relationship: ProvenanceRelationship) -> None:
        """Keep a relationship without calling `on_add`.

        Raises:
            LinkError: It may not be added; see `add`.
        """
        with self._lock:
            self._check(relationship)
            self._keep(relationship)

    def forget(self, relationship: ProvenanceRelationship) -> None:
        """Drop a relationship, if it is there."""
        with self._lock:
            self._forget(relationship.id)

    def _check(self, relationship: ProvenanceRelationship) -> None:
        source, target = relationship.source_request_id, relationship.target_request_id
        if not source or not target:
            raise LinkError("a relationship needs the ids of both requests; one of them is empty")
        if errors := relationship.validate():
            raise LinkError(
                f"{text.printable(relationship.relationship_type, 60)} from "
                f"{text.printable(source, 60)!r} to {text.printable(target, 60)!r}: "
                f"{'; '.join(errors)}. The types are {', '.join(sorted(_VALID))}"
            )
        if self.would_cycle(source, target):
            raise LinkError(
                f"{relationship.relationship_type} from {text.printable(source, 60)!r} to "
                f"{text.printable(target, 60)!r} would close a ring: the first already comes after "
                "the second; a relationship goes from the earlier request to the later one, for "
                "every type"
            )

    def _keep(self, relationship: ProvenanceRelationship) -> None:
        with self._lock:
            self._forget(relationship.id)
            self._by_id[relationship.id] = relationship
            source, target = relationship.source_request_id, relationship.target_request_id
            for steps, one, other in (
                (self._later, source, target),
                (self._earlier, target, source),
            ):
                neighbours = steps.setdefault(one, {})
                neighbours[other] = neighbours.get(other, 0) + 1
            if self._max_edges is not None:
                while len(self._by_id) > self._max_edges:
                    self._forget(next(iter(self._by_id)))

    def _forget(self, relationship_id: str) -> None:
        known = self._by_id.pop(relationship_id, None)
        if known is None:
            return
        source, target = known.source_request_id, known.target_request_id
        for steps, one, other in ((self._later, source, target), (self._earlier, target, source)):
            steps[one][other] -= 1
            if not steps[one][other]:
                del steps[one][other]
            if not steps[one]:
                del steps[one]

    def would_cycle(self, source: str, target: str) -> bool:
        """Whether an edge from `source` to `target` would close a ring."""
        with self._lock:
            return graph.leads_to(self._later, target, source)

    def ancestors(self, request_id: str, max_depth: int | None = None) -> list[str]:
        """Return what led to a request, the nearest first, at most `max_depth` edges off."""
        with self._lock:
            return list(graph.reachable(self._earlier, request_id, max_depth))

    def descendants(self, request_id: str, max_depth: int | None = None) -> list[str]:
        """Return what came of a request, the nearest first, at most `max_depth` edges off."""
        with self._lock:
            return list(graph.reachable(self._later, request_id, max_depth))

    def roots(self, request_id: str) -> list[str]:
        """Return the ancestors that have none themselves; the request itself if there is none."""
        with self._lock:
            return graph.roots(self._earlier, request_id)

    def depth(self, request_id: str) -> int:
        """Return the number of edges on the longest way to a request; 0 for a root."""
        with self._lock:
            above = graph.closure(self._earlier, [request_id])
            edges = [(one, node) for node in above for one in self._earlier.get(node, ())]
        later, _ = graph.adjacency(edges)
        return graph.ways(later).get(request_id, (0, ""))[0]

    def cycles(self) -> list[list[str]]:
        """Return one ring for each group of requests that lead to each other."""
        with self._lock:
            return graph.rings(self._later)

    def relationships_of(self, request_id: str) -> list[ProvenanceRelationship]:
        """Return the relationships that start or end at a request, in the order they came in."""
        return [one for one in self if request_id in {one.source_request_id, one.target_request_id}]

    def to_dot(self) -> str:
        """Return the graph in Graphviz's language, see `whence.dialects.tokens.dot`."""
        return dot.render(
            (one.source_request_id, one.target_request_id, one.relationship_type) for one in self
        )
