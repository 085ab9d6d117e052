"""What the token manager is asked: four questions, each answered by a JSON-ready dict.

A `Source` says where the answer comes from: the home, which has everything that any process
recorded, or the buffer, where nothing is recorded. Sums leave out what is unknown; a sum of nothing
known is None. Source: document 2 (token provenance).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from whence.analysis.asking import open_facts
from whence.analysis.facts import Call, Edge
from whence.analysis.memoryfacts import MemoryFacts
from whence.dialects.tokens import lineage, numbers, rows
from whence.query import text

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from whence.analysis.facts import Facts, Group
    from whence.dialects.tokens.buffer import Buffer, Entry
    from whence.dialects.tokens.relationships import RelationshipGraph
    from whence.query.reader import Reader

MOST_REQUESTS = 1_000
"""How many requests a lineage follows to either side unless asked for more."""
MOST_IDS = 10_000
"""How many ids a list of requests holds at most; counts and sums are of all."""


class Source(Protocol):
    """Where answers come from."""

    def find(self, request_id: str) -> tuple[dict[str, Any], dict[str, Any] | None, str] | None:
        """Return provenance, usage and run id of a request; None if nobody tracked it."""
        ...

    def lineage(self, request_id: str, max_depth: int | None, most: int) -> lineage.Lineage:
        """Return the relationships around a request."""
        ...

    def provenances(self, found: lineage.Lineage) -> dict[str, dict[str, Any]]:
        """Return the provenance of each request of a lineage that was tracked."""
        ...

    def facts(
        self,
        only: Mapping[str, str] | None = None,
        extra: str | None = None,
        *,
        hashes: bool = False,
    ) -> AbstractContextManager[Facts]:
        """Return the facts of the calls that have these values. See `open_facts`."""
        ...


class HomeSource:
    """Answers from an open reader."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def find(self, request_id: str) -> tuple[dict[str, Any], dict[str, Any] | None, str] | None:
        """Return provenance, usage and run id. See `Source.find`."""
        found = rows.find_request(self._reader, request_id)
        return None if found is None else (found.provenance(), found.usage(), found.run.id)

    def lineage(self, request_id: str, max_depth: int | None, most: int) -> lineage.Lineage:
        """Return the relationships around a request. See `Source.lineage`."""
        return lineage.from_store(self._reader, request_id, max_depth, most)

    def provenances(self, found: lineage.Lineage) -> dict[str, dict[str, Any]]:
        """Return provenances by request. See `Source.provenances`."""
        return {name: request.provenance() for name, request in found.known.items()}

    def facts(
        self,
        only: Mapping[str, str] | None = None,
        extra: str | None = None,
        *,
        hashes: bool = False,
    ) -> AbstractContextManager[Facts]:
        """Return facts. See `Source.facts`."""
        return open_facts(self._reader, only=only, extra=extra, hashes=hashes)


class BufferSource:
    """Answers from what is in memory."""

    def __init__(self, buffer: Buffer, relationships: RelationshipGraph) -> None:
        self._buffer = buffer
        self._graph = relationships

    def find(self, request_id: str) -> tuple[dict[str, Any], dict[str, Any] | None, str] | None:
        """Return provenance, usage and run id. See `Source.find`."""
        entry = self._buffer.find(request_id)
        return (
            None
            if entry is None
            else (entry.provenance.to_dict(), entry.usage.to_dict(), entry.run_id)
        )

    def lineage(self, request_id: str, max_depth: int | None, most: int) -> lineage.Lineage:
        """Return the relationships around a request. See `Source.lineage`."""
        del most  # the buffer is small
        return lineage.from_graph(self._graph, request_id, max_depth)

    def provenances(self, found: lineage.Lineage) -> dict[str, dict[str, Any]]:
        """Return provenances by request. See `Source.provenances`."""
        ids = {found.request_id}
        for one in found.relationships:
            ids |= {one["source_request_id"], one["target_request_id"]}
        entries = [self._buffer.find(one) for one in sorted(ids)]
        return {one.usage.request_id: one.provenance.to_dict() for one in entries if one}

    @contextmanager
    def facts(
        self,
        only: Mapping[str, str] | None = None,
        extra: str | None = None,
        *,
        hashes: bool = False,
    ) -> Generator[Facts]:
        """Yield facts. See `Source.facts`."""
        del hashes  # messages are not kept here
        calls = [_call(entry, extra) for entry in self._buffer.entries()]
        yield MemoryFacts(
            [
                call
                for call in calls
                if all(getattr(call, field) == value for field, value in (only or {}).items())
            ],
            [
                Edge(
                    one.source_request_id,
                    one.target_request_id,
                    one.relationship_type,
                    one.id,
                    numbers.unix_ns(one.created_at),
                )
                for one in self._graph
            ],
        )


def _call(entry: Entry, extra: str | None) -> Call:
    usage, provenance = entry.usage, entry.provenance
    value = None
    if extra is not None:
        value = getattr(provenance, extra, None) or getattr(usage, extra, None)
        value = provenance.metadata.get(extra) if value is None else value
    return Call(
        id=usage.id,
        run=entry.run_id,
        request=usage.request_id,
        ts_ns=numbers.unix_ns(provenance.timestamp),
        provider=usage.provider,
        model=usage.model,
        tokens=usage.total_tokens,
        cost_usd=usage.cost_usd,
        duration_ms=entry.duration_ms,
        failed=entry.failed,
        input_hash=provenance.input_hash,
        prompt=provenance.prompt_template_id,
        prompt_version=provenance.prompt_version,
        workflow=provenance.workflow_id,
        session=provenance.session_id,
        conversation=provenance.conversation_id,
        user=usage.user_id,
        project=usage.project_id,
        agent_type=provenance.agent_type,
        agent_id=provenance.agent_id,
        signal_type=provenance.signal_type,
        task_type=provenance.task_type,
        intent=provenance.intent,
        environment=provenance.environment,
        team_id=usage.team_id,
        feature=usage.feature,
        depth=provenance.depth,
        root=provenance.root_request_id,
        extra=None if value is None else str(value),
    )


def provenance(source: Source, request_id: str) -> dict[str, Any] | None:
    """Return who made a request and what it led to; None if nobody tracked it."""
    found = source.find(request_id)
    if found is None:
        return None
    fields, usage, run_id = found
    around = source.lineage(request_id, 1, MOST_REQUESTS)
    return {
        "request_id": fields["request_id"],
        "provenance": fields,
        "usage": usage,
        "relationships": around.relationships,
        "lineage_depth": fields["depth"],
        "is_root": fields["parent_request_id"] is None,
        "run_id": run_id or None,
    }


def lineage_of(
    source: Source, request_id: str, max_depth: int | None, most: int
) -> dict[str, Any] | None:
    """Return the lineage of a request; None if neither a request nor a link has that id."""
    found = source.lineage(request_id, max_depth, most)
    provenances = source.provenances(found)
    if not found.relationships and found.request_id not in provenances:
        return None
    return {**found.to_dict(), "provenances": provenances}


def workflow_usage(source: Source, workflow_id: str) -> dict[str, Any]:
    """Return what a workflow used, by task and by agent."""
    with source.facts({"workflow": workflow_id}) as facts:
        total = next(iter(facts.groups(())), None)
        calls = facts.members("workflow", [workflow_id], MOST_IDS)[workflow_id]
        return {
            "workflow_id": workflow_id,
            **_totals(total),
            "duration_s": (total.last_ns - total.first_ns) / 1e9 if total else None,
            "min_depth": total.min_depth if total else None,
            "max_depth": total.max_depth if total else None,
            "by_task_type": _by(facts, "task_type"),
            "by_agent_type": _by(facts, "agent_type"),
            "by_model": _by(facts, "model"),
            "request_ids": [call.request for call in calls],
        }


def task_costs(source: Source, task_type: str) -> dict[str, Any]:
    """Return what a type of task costs, by model and by intent, and which inputs were repeated."""
    with source.facts({"task_type": task_type}) as facts:
        total = next(iter(facts.groups(())), None)
        repeated = [
            group
            for group in facts.groups(("input_hash",), min_calls=2)
            if group.key[0] is not None
        ][:MOST_REQUESTS]
        calls = facts.members("input_hash", [group.key[0] for group in repeated], MOST_REQUESTS)
        return {
            "task_type": task_type,
            **_totals(total),
            "avg_tokens_per_request": total.mean_tokens if total else None,
            "avg_cost_per_request": total.mean_cost_usd if total else None,
            "by_model": _by(facts, "model"),
            "by_intent": _by(facts, "intent"),
            "duplicate_patterns": [_repeated(group, calls[group.key[0]]) for group in repeated],
        }


def _totals(total: Group | None) -> dict[str, Any]:
    return {
        "total_requests": total.calls if total else 0,
        "total_tokens": total.tokens if total else None,
        "total_cost": total.cost_usd if total else None,
    }


def _by(facts: Facts, field: str) -> dict[Any, dict[str, Any]]:
    return {
        group.key[0]: {
            "count": group.calls,
            "tokens": group.tokens,
            "cost": group.cost_usd,
            "avg_tokens": group.mean_tokens,
            "avg_cost": group.mean_cost_usd,
        }
        for group in facts.groups((field,))
    }


def _repeated(group: Group, calls: Sequence[Call]) -> dict[str, Any]:
    return {
        "input_hash": group.key[0],
        "duplicate_count": group.calls,
        "request_ids": [call.request for call in calls],
        "agents": list(dict.fromkeys(call.agent_type for call in calls if call.agent_type)),
        "first_seen": numbers.as_text(numbers.moment_of(group.first_ns)),
        "last_seen": numbers.as_text(numbers.moment_of(group.last_ns)),
    }


def shown(request_id: str) -> str:
    """Return a request id as an error message quotes it."""
    return repr(text.printable(request_id, 80))
