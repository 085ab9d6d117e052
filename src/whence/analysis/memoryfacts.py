"""Facts in plain Python: over the rows of any store, or over calls at hand.

It looks at everything, so it says what the right answer is, and serves homes where DuckDB is not
installed. `sqlfacts` is tested against it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.analysis import graph
from whence.analysis.facts import (
    ATTRIBUTES,
    REQUEST_LINKS,
    Asked,
    Call,
    Edge,
    Group,
    check_fields,
)
from whence.query import tables
from whence.record import codec
from whence.record.values import INT_MAX, INT_MIN
from whence.store.base import Order
from whence.store.predicate import ALWAYS
from whence.store.rows import TIME_FIELD

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from whence.query.reader import Reader
    from whence.store import rows as r
    from whence.store.base import Store

_HASH_DIGITS = 16
_PLACES = 12
WHOLE = re.compile(r"-?[0-9]{1,19}")
"""The attributes that count as whole numbers."""


def read(reader: Reader, asked: Asked) -> MemoryFacts:
    """Return the facts of all rows of a store.

    Raises:
        FilterError: The filter is wrong.
    """
    store = reader.store
    runs = {row.id: cast("r.RunRow", row) for row in _all(store, "runs")}
    spans = {(row.run, row.id): cast("r.SpanRow", row) for row in _all(store, "spans")}
    where = tables.predicate("generations", asked.filter)
    order = Order(TIME_FIELD["generations"], descending=False)
    found = cast("list[r.GenerationRow]", store.select("generations", where, order))
    calls: list[tuple[r.GenerationRow, Call]] = []
    for row in found:
        call = call_of(row, runs.get(row.run), spans, asked)
        if all(getattr(call, field) == value for field, value in asked.only.items()):
            calls.append((row, call))
    names = _names(runs.values(), calls)
    edges = [
        Edge(
            names.get(link.source, link.source),
            names.get(link.target, link.target),
            link.kind,
            link.id,
            link.ts_ns,
        )
        for link in cast("list[r.LinkRow]", _all(store, "links"))
    ]
    if not asked.is_all:
        counted = {call.request for _, call in calls}
        edges = [edge for edge in edges if edge.target in counted]
    return MemoryFacts([call for _, call in calls], edges)


def _names(
    runs: Iterable[r.RunRow], calls: Iterable[tuple[r.GenerationRow, Call]]
) -> dict[str, str]:
    """Return the request that each id of a run, a call or its span stands for."""
    names = {run.id: run.external_id for run in runs if run.external_id}
    for row, call in sorted(calls, key=lambda pair: pair[0].id):
        names.setdefault(row.id, call.request)
        if row.span is not None:
            names.setdefault(row.span, call.request)
    return names


def _all(store: Store, table: str) -> list[r.Row]:
    return store.select(table, ALWAYS, Order(TIME_FIELD[table], descending=False))


def call_of(
    row: r.GenerationRow,
    run: r.RunRow | None,
    spans: Mapping[tuple[str, str], r.SpanRow],
    asked: Asked,
) -> Call:
    """Return a generation with what its span and run say about it."""
    of_run = run.attributes if run else {}
    said = {name: _text(_first(row.attributes, of_run, name)) for name in ATTRIBUTES}
    span = spans.get((row.run, row.span or ""))
    around = spans.get((row.run, span.parent or "")) if span else None
    agent = _or(span.agent if span else None, around.agent if around else None)
    alone = run is not None and run.generations == 1
    tokens = [n for n in (row.input_tokens, row.output_tokens) if n is not None]
    return Call(
        id=row.id,
        run=row.run,
        request=(run.external_id or run.id) if run is not None and alone else row.id,
        ts_ns=_or(_whole(said["made_ns"]), row.ts_ns),
        provider=row.provider,
        model=row.model,
        tokens=sum(tokens) if tokens else None,
        cost_usd=row.cost_usd,
        duration_ms=row.duration_ms,
        failed=row.status == "error",
        error_type=row.error_type,
        input_hash=_or(said["input_hash"], _hash(row) if asked.hashes else None),
        prompt=row.prompt_name,
        prompt_version=row.prompt_version,
        workflow=run.workflow if run else None,
        session=run.session if run else None,
        conversation=run.conversation if run else None,
        user=run.user if run else None,
        project=run.project if run else None,
        agent_type=_or(_text(row.attributes.get("agent_type")), _or(agent, said["agent_type"])),
        agent_id=said["agent_id"],
        signal_type=said["signal_type"],
        task_type=_or(said["task_type"], row.name),
        intent=said["intent"],
        environment=said["environment"],
        team_id=said["team_id"],
        feature=said["feature"],
        depth=_whole(said["depth"]),
        root=said["root_request_id"],
        extra=None if asked.extra is None else _extra(row.attributes, of_run, asked.extra),
    )


def _first(own: Mapping[str, Any], of_run: Mapping[str, Any], name: str) -> Any:
    value = own.get(name)
    return of_run.get(name) if value is None else value


def _extra(own: Mapping[str, Any], of_run: Mapping[str, Any], name: str) -> str | None:
    value = _first(own, of_run, name)
    if value is None:
        metadata = of_run.get("metadata")
        if isinstance(metadata, dict):
            value = cast("dict[str, Any]", metadata).get(name)
    return _text(value)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return codec.encode_json(value).decode()


def _whole(text: str | None) -> int | None:
    if text is None or not WHOLE.fullmatch(text):
        return None
    number = int(text)
    return number if INT_MIN <= number <= INT_MAX else None


def _or(value: Any, other: Any) -> Any:
    return other if value is None else value


def _hash(row: r.GenerationRow) -> str | None:
    if not row.messages:
        return None
    return hashlib.sha256(codec.encode_json(row.messages)).hexdigest()[:_HASH_DIGITS]


class MemoryFacts:
    """Facts over calls and edges at hand. See `whence.analysis.facts.Facts`."""

    def __init__(self, calls: Iterable[Call], edges: Iterable[Edge]) -> None:
        self._calls = sorted(calls, key=lambda call: (call.ts_ns, call.id))
        self._edges = sorted(edges, key=lambda edge: (edge.ts_ns, edge.id))

    def groups(
        self, by: Sequence[str], *, min_calls: int = 1, deeper_than: int | None = None
    ) -> list[Group]:
        """Return figures by group. See `Facts.groups`."""
        check_fields(by)
        found: dict[tuple[Any, ...], list[Call]] = {}
        for call in self._deep(deeper_than):
            found.setdefault(tuple(getattr(call, name) for name in by), []).append(call)
        made = [_group(key, calls) for key, calls in found.items() if len(calls) >= min_calls]
        return sorted(made, key=group_order)

    def members(
        self, by: str, keys: Collection[Any], limit: int, *, deeper_than: int | None = None
    ) -> dict[Any, list[Call]]:
        """Return the first calls of each value. See `Facts.members`."""
        check_fields([by])
        found: dict[Any, list[Call]] = {key: [] for key in keys}
        for call in self._deep(deeper_than):
            of_key = found.get(getattr(call, by))
            if of_key is not None and len(of_key) < limit:
                of_key.append(call)
        return found

    def _deep(self, deeper_than: int | None) -> list[Call]:
        if deeper_than is None:
            return self._calls
        return [call for call in self._calls if call.depth is not None and call.depth > deeper_than]

    def costliest(self, limit: int) -> list[Call]:
        """Return the calls with the highest cost. See `Facts.costliest`."""
        priced = [call for call in self._calls if call.cost_usd is not None]
        return sorted(priced, key=lambda call: (-(call.cost_usd or 0.0), call.ts_ns, call.id))[
            :limit
        ]

    def named(self, requests: Collection[str]) -> dict[str, Call]:
        """Return the latest call of each request. See `Facts.named`."""
        wanted = set(requests)
        return {call.request: call for call in self._calls if call.request in wanted}

    def edges(self, kinds: Collection[str]) -> list[Edge]:
        """Return the edges of these kinds. See `Facts.edges`."""
        return [edge for edge in self._edges if edge.kind in kinds]

    def fan_out(self, kinds: Collection[str], more_than: int) -> dict[str, int]:
        """Return the sources of many edges. See `Facts.fan_out`."""
        counts = Counter(edge.source for edge in self._edges if edge.kind in kinds)
        return {source: count for source, count in counts.items() if count > more_than}

    def knots(self) -> list[Edge]:
        """Return the edges that may be part of a ring. See `Facts.knots`."""
        return self._edges

    def chains(self, longer_than: int) -> list[Edge]:
        """Return the edges of long chains. See `Facts.chains`."""
        edges = self.edges(REQUEST_LINKS)
        later, earlier = graph.adjacency((edge.source, edge.target) for edge in edges)
        ways = graph.ways(later)
        ends = [
            call.request
            for call in self._calls
            if call.depth is None and ways.get(call.request, (0, ""))[0] > longer_than
        ]
        kept = graph.closure(earlier, ends)
        return [edge for edge in edges if edge.target in kept]


def group_order(group: Group) -> tuple[Any, ...]:
    """Return what groups are sorted by: the largest first, then by their keys, nulls last."""
    return (
        -group.calls,
        *(
            (key is None, "" if isinstance(key, str) else "number", 0 if key is None else key)
            for key in group.key
        ),
    )


def _group(key: tuple[Any, ...], calls: list[Call]) -> Group:
    tokens = [call.tokens for call in calls if call.tokens is not None]
    costs = [call.cost_usd for call in calls if call.cost_usd is not None]
    durations = [call.duration_ms for call in calls if call.duration_ms is not None]
    depths = [call.depth for call in calls if call.depth is not None]
    group = Group(
        key=key,
        calls=len(calls),
        failed=sum(call.failed for call in calls),
        counted=len(tokens),
        tokens=sum(tokens) if tokens else None,
        priced=len(costs),
        cost_usd=math.fsum(costs) if costs else None,
        timed=len(durations),
        duration_ms=math.fsum(durations) if durations else None,
        first_ns=calls[0].ts_ns,
        last_ns=calls[-1].ts_ns,
        min_depth=min(depths, default=None),
        max_depth=max(depths, default=None),
    )
    return tidy(group)


def tidy(group: Group) -> Group:
    """Return the group with its sums rounded, so that they are the same in whatever order."""
    return msgspec.structs.replace(
        group,
        cost_usd=None if group.cost_usd is None else round(group.cost_usd, _PLACES),
        duration_ms=None if group.duration_ms is None else round(group.duration_ms, _PLACES),
    )
