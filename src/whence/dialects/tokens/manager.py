"""The token manager: takes signals, records what they track, answers what they ask.

`handle_signal` is the door. `track_usage` demands provenance, checks it, and records it in the log,
where every process finds it; the buffer and the graph of this process are caches of that. Where
recording is off they are all there is, and the manager works on. What it emits goes to one
listener. Any thread may use a manager. Source: document 2 (token provenance).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from whence.capture import guard, state
from whence.capture.context import current_scope
from whence.capture.links import declare
from whence.capture.noop import NoOp
from whence.dialects.shared import home
from whence.dialects.tokens import answers, numbers, recording, rows, signals
from whence.dialects.tokens.buffer import Buffer, Entry
from whence.dialects.tokens.provenance import DEFAULT_ENVIRONMENT, UNKNOWN_VERSION
from whence.dialects.tokens.relationships import ProvenanceRelationship, RelationshipGraph
from whence.dialects.tokens.usage import PRICES, Prices
from whence.errors import LinkError, SignalError, SignalLinkError, WhenceError

if TYPE_CHECKING:
    from collections.abc import Generator

    from whence.dialects.tokens.budget import Budget
    from whence.dialects.tokens.provenance import TokenProvenance
    from whence.dialects.tokens.usage import TokenUsage

OnSignal = Callable[[str, dict[str, Any]], object]
MAX_EDGES = 100_000
"""Relationships that a manager keeps in memory, to refuse rings and for where recording is off."""


class TokenManager:
    """Tracks what model calls used, and why they were made.

    Args:
        buffer_size: How many of the latest requests are kept in memory.
        on_signal: Called with the name and data of each signal that the manager emits:
            `token.usage.tracked` for every request, `token.usage.flush` with the usage of every
            `buffer_size` requests. What it raises is told on standard error and goes no further.
        prices: For costs that a signal does not state.
        budgets: Budgets to which costs are added, see `Budget.applies_to`.
        look_up_parents: Ask the home for the root and depth of a parent that this process does not
            know. That takes milliseconds; a signal that states `root_request_id` and `depth` is not
            looked up.
        system_version: Version of the program, for signals that state none.
        environment: Where it runs, for signals that state none.

    Raises:
        ConfigError: The buffer size is no whole number from 0.
    """

    def __init__(
        self,
        buffer_size: int = 100,
        on_signal: OnSignal | None = None,
        *,
        prices: Prices = PRICES,
        budgets: Iterable[Budget] = (),
        look_up_parents: bool = True,
        system_version: str = UNKNOWN_VERSION,
        environment: str = DEFAULT_ENVIRONMENT,
    ) -> None:
        self.on_signal = on_signal
        self.prices = prices
        self.budgets = list(budgets)
        self.graph = RelationshipGraph(max_edges=MAX_EDGES, on_add=self._record_link)
        self._buffer = Buffer(buffer_size)
        self._look_up_parents = look_up_parents
        self._defaults = {"system_version": system_version, "environment": environment}
        self._unflushed: list[TokenUsage] = []
        self._lock = threading.Lock()
        self._handlers: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            signals.TRACK: self._track_usage,
            "get_provenance": self._get_provenance,
            "get_lineage": self._get_lineage,
            "get_workflow_usage": self._get_workflow_usage,
            "analyze_task_costs": self._analyze_task_costs,
        }

    def handle_signal(self, name: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Do what a signal says.

        Args:
            name: `track_usage`, `get_provenance`, `get_lineage`, `get_workflow_usage` or
                `analyze_task_costs`.
            payload: The signal's data, a mapping.

        Returns:
            The result, JSON-ready.

        Raises:
            SignalError: There is no such signal, its data is wrong, or nobody tracked the request;
                `reason` says which. Nothing was tracked then.
            SignalLinkError: The request names itself or a later one as its parent.
            StoreError: The home cannot be read.
        """
        handler = self._handlers.get(name)
        if handler is None:
            known = ", ".join(self._handlers)
            raise SignalError(f"there is no signal {name!r}; there are {known}", signal=str(name))
        if not isinstance(payload, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - users may pass anything
            raise SignalError(f"{name} was refused: its data must be a mapping", signal=name)
        return handler(payload)

    @property
    def provenance_buffer(self) -> list[TokenProvenance]:
        """The provenance of the latest requests, the newest first."""
        return [entry.provenance for entry in self._buffer.entries()]

    @property
    def usage_buffer(self) -> list[TokenUsage]:
        """The usage of the latest requests, the newest first."""
        return [entry.usage for entry in self._buffer.entries()]

    def relate(self, relationship: ProvenanceRelationship) -> ProvenanceRelationship:
        """Record a relationship between two requests.

        Returns:
            The relationship.

        Raises:
            LinkError: It is not allowed; see `RelationshipGraph.add`.
        """
        return self.graph.add(relationship)

    def flush(self) -> int:
        """Emit `token.usage.flush` with what was tracked since the last one; return how many."""
        with self._lock:
            records, self._unflushed = self._unflushed, []
        self._emit_flush(records)
        return len(records)

    def _track_usage(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        found = signals.tracked(self._with_defaults(payload), self.prices, self._find_lineage)
        usage, provenance = found.usage, found.provenance
        relationship = self._admit(found)
        run_id = recording.record(found)
        if relationship is not None and run_id:
            recording.link(relationship, run_id)
        failed = recording.error_of(found) is not None
        self._buffer.add(Entry(usage, provenance, run_id, failed, found.duration_ms))
        for budget in self.budgets:
            if budget.applies_to(usage):
                budget.add_usage(usage)
        self._emit_tracked(usage, provenance)
        return {
            "tracked": True,
            "usage": usage.to_dict(),
            "provenance": provenance.to_dict(),
            "run_id": run_id or None,
        }

    def _with_defaults(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        given = payload.get("provenance")
        if not isinstance(given, Mapping) or not given:
            return payload
        return {**payload, "provenance": {**self._defaults, **given}}

    def _admit(self, found: signals.Tracked) -> ProvenanceRelationship | None:
        """Return the edge from the parent, kept in the graph; None without a parent.

        Raises:
            SignalLinkError: It would close a ring or is of no known type.
        """
        provenance = found.provenance
        if provenance.parent_request_id is None:
            return None
        relationship = ProvenanceRelationship(
            source_request_id=provenance.parent_request_id,
            target_request_id=provenance.request_id,
            relationship_type=found.relation,
            metadata={"signal_type": provenance.signal_type},
        )
        try:
            self.graph.admit(relationship)
            if _is_recording():
                # What other managers and runs of this process declared counts too.
                declare(
                    relationship.source_request_id,
                    relationship.target_request_id,
                    relationship.relationship_type,
                )
        except LinkError as error:
            self.graph.forget(relationship)
            raise SignalLinkError(
                f"{signals.TRACK} was refused: {error}", signal=signals.TRACK, errors=(str(error),)
            ) from error
        return relationship

    def _find_lineage(self, request_id: str) -> tuple[str, int] | None:
        """Return root and depth of a request, None if nobody is known to have tracked it."""
        known = self._buffer.find_lineage(request_id)
        if known is not None or not (self._look_up_parents and _is_recording()):
            return known
        try:
            with home.reading() as reader:
                request = rows.find_request(reader, request_id)
        except WhenceError as error:
            # Tracking must not fail because the past cannot be read; the parent counts as unknown.
            guard.tell_once(f"parents {error}", f"parents cannot be looked up: {error}")
            return None
        if request is None:
            return None
        root, depth = request.lineage
        self._buffer.remember(request_id, root, depth)
        return root, depth

    def _record_link(self, relationship: ProvenanceRelationship) -> None:
        """Write a relationship that was added to the graph to the log.

        Raises:
            LinkError: The links of this process would form a ring.
        """
        if not _is_recording():
            return
        target = relationship.target_request_id
        entry = self._buffer.find(target)
        run_id = entry.run_id if entry is not None else None
        if run_id is None:
            with home.reading() as reader:
                run_id = reader.store.find_run(target) or ""
        recording.link(relationship, run_id)

    @contextmanager
    def source(self) -> Generator[answers.Source]:
        """Yield where answers come from: the home, or the buffer where nothing is recorded.

        Raises:
            StoreError: The home cannot be read.
        """
        if _is_recording():
            with home.reading() as reader:
                yield answers.HomeSource(reader)
        else:
            yield answers.BufferSource(self._buffer, self.graph)

    def _get_provenance(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        request_id = signals.wanted("get_provenance", payload, "request_id")
        with self.source() as source:
            found = answers.provenance(source, request_id)
        if found is None:
            # Recorded requests may be left out by their project or by sampling.
            found = answers.provenance(answers.BufferSource(self._buffer, self.graph), request_id)
        if found is None:
            raise _not_found("get_provenance", request_id)
        return found

    def _get_lineage(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        request_id = signals.wanted("get_lineage", payload, "request_id")
        max_depth = signals.limit("get_lineage", payload, "max_depth", None)
        most = signals.limit("get_lineage", payload, "limit", answers.MOST_REQUESTS)
        with self.source() as source:
            found = answers.lineage_of(source, request_id, max_depth, most or 0)
        if found is None:
            buffered = answers.BufferSource(self._buffer, self.graph)
            found = answers.lineage_of(buffered, request_id, max_depth, most or 0)
        if found is None:
            raise _not_found("get_lineage", request_id)
        return found

    def _get_workflow_usage(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        workflow_id = signals.wanted("get_workflow_usage", payload, "workflow_id")
        with self.source() as source:
            return answers.workflow_usage(source, workflow_id)

    def _analyze_task_costs(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        task_type = signals.wanted("analyze_task_costs", payload, "task_type")
        with self.source() as source:
            return answers.task_costs(source, task_type)

    def _emit_tracked(self, usage: TokenUsage, provenance: TokenProvenance) -> None:
        if self.on_signal is None:
            return
        self._emit(
            "token.usage.tracked",
            {
                "request_id": usage.request_id,
                "total_tokens": usage.total_tokens,
                "cost": None if usage.cost is None else float(usage.cost),
                "currency": usage.currency,
                "lineage": {
                    "parent": provenance.parent_request_id,
                    "root": provenance.root_request_id,
                    "depth": provenance.depth,
                },
                "timestamp": numbers.as_text(numbers.now()),
            },
        )
        with self._lock:
            self._unflushed.append(usage)
            if len(self._unflushed) < max(1, self._buffer.size):
                return
            records, self._unflushed = self._unflushed, []
        self._emit_flush(records)

    def _emit_flush(self, records: list[TokenUsage]) -> None:
        if records:
            self._emit(
                "token.usage.flush",
                {
                    "usage_records": [usage.to_dict() for usage in records],
                    "count": len(records),
                    "timestamp": numbers.as_text(numbers.now()),
                },
            )

    def _emit(self, name: str, data: dict[str, Any]) -> None:
        if self.on_signal is None:
            return
        try:
            self.on_signal(name, data)
        except Exception as error:  # noqa: BLE001 - a listener is the user's; what was tracked stays
            described = guard.describe(error)
            guard.tell_once(f"listener {described}", f"the listener of {name} failed: {described}")


def _is_recording() -> bool:
    """Whether what is tracked now goes to the log."""
    if state.current.enabled and state.current.settings is None:
        state.current.load()
    return state.current.enabled and not isinstance(current_scope.get(), NoOp)


def _not_found(signal: str, request_id: str) -> SignalError:
    return SignalError(f"nobody tracked the request {answers.shown(request_id)}", signal=signal)
