"""Facts inside DuckDB: one narrow table of calls, made once, and questions to it in SQL.

A million calls are joined with their runs and reduced to short columns in a second or two; after
that a question takes milliseconds, and only answers come out. Column names and pointers are our
own; every value and key of a user is a parameter. The tables are temporary and go with the block.
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.analysis.facts import (
    ATTRIBUTES,
    HOUR_NS,
    REQUEST_LINKS,
    Asked,
    Call,
    Edge,
    Group,
    check_fields,
)
from whence.analysis.memoryfacts import WHOLE, group_order, tidy
from whence.query import tables
from whence.store import sql
from whence.store.duckdb import DuckDBStore

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Sequence

    from whence.store.base import Store

_FIELDS = tuple(field.name for field in msgspec.structs.fields(Call))
_PEELINGS = 12
"""How often both ends of all chains are taken off before what is left is looked at in Python."""
_serial = itertools.count()


def can_answer(store: Store) -> bool:
    """Whether this module can answer for a store."""
    return isinstance(store, DuckDBStore)


@contextmanager
def opened(store: Store, asked: Asked) -> Generator[SqlFacts]:
    """Yield the facts of a DuckDB store and remove their tables afterwards.

    Raises:
        FilterError: The filter is wrong.
        StoreError: The store cannot be read.
    """
    facts = SqlFacts(cast("DuckDBStore", store), asked)
    try:
        yield facts
    finally:
        facts.drop()


class SqlFacts:
    """Facts from temporary tables. See `whence.analysis.facts.Facts`."""

    def __init__(self, store: DuckDBStore, asked: Asked) -> None:
        self._ask = store.ask
        self._asked = asked
        number = next(_serial)
        self._calls, self._edges = f"facts_calls_{number}", f"facts_edges_{number}"
        self._has_edges = False
        select, parameters = _calls_sql(asked)
        self._ask(f"CREATE OR REPLACE TEMP TABLE {self._calls} AS {select}", parameters)

    def drop(self) -> None:
        """Remove the tables."""
        for name in (self._calls, self._edges):
            self._ask(f"DROP TABLE IF EXISTS {name}", ())

    def groups(
        self, by: Sequence[str], *, min_calls: int = 1, deeper_than: int | None = None
    ) -> list[Group]:
        """Return figures by group. See `Facts.groups`."""
        keys = [_column(name) for name in by]
        grouping = f"GROUP BY {', '.join(keys)} " if keys else ""
        found = self._ask(
            f"SELECT {', '.join([*keys, *_FIGURES])} FROM {self._calls} "
            f"WHERE ($1 IS NULL OR depth > $1) {grouping}HAVING count(*) >= $2",
            (deeper_than, max(1, min_calls)),
        )
        size = len(keys)
        groups = [
            tidy(Group(key=row[:size], **dict(zip(_FIGURE_NAMES, row[size:], strict=True))))
            for row in found
        ]
        return sorted(groups, key=group_order)

    def members(
        self, by: str, keys: Collection[Any], limit: int, *, deeper_than: int | None = None
    ) -> dict[Any, list[Call]]:
        """Return the first calls of each value. See `Facts.members`."""
        found: dict[Any, list[Call]] = {key: [] for key in keys}
        column = _column(by)
        calls = self._select(
            f"({column} IN (SELECT unnest($1)) OR ($2 AND {column} IS NULL)) "
            "AND ($3 IS NULL OR depth > $3) QUALIFY row_number() OVER "
            f"(PARTITION BY {column} ORDER BY ts_ns, id) <= $4 ORDER BY ts_ns, id",
            ([key for key in found if key is not None], None in found, deeper_than, limit),
        )
        for call in calls:
            found[getattr(call, by)].append(call)
        return found

    def costliest(self, limit: int) -> list[Call]:
        """Return the calls with the highest cost. See `Facts.costliest`."""
        return self._select(
            "cost_usd IS NOT NULL ORDER BY cost_usd DESC, ts_ns, id LIMIT $1", (limit,)
        )

    def named(self, requests: Collection[str]) -> dict[str, Call]:
        """Return the latest call of each request. See `Facts.named`."""
        if not requests:
            return {}
        calls = self._select(
            "request IN (SELECT unnest($1)) QUALIFY row_number() OVER "
            "(PARTITION BY request ORDER BY ts_ns DESC, id DESC) = 1",
            (list(requests),),
        )
        return {call.request: call for call in calls}

    def _select(self, rest: str, parameters: Sequence[Any]) -> list[Call]:
        columns = ", ".join(f'"{name}"' for name in _FIELDS)
        found = self._ask(f"SELECT {columns} FROM {self._calls} WHERE {rest}", parameters)
        return [Call(**dict(zip(_FIELDS, row, strict=True))) for row in found]

    def edges(self, kinds: Collection[str]) -> list[Edge]:
        """Return the edges of these kinds. See `Facts.edges`."""
        return self._read("WHERE kind IN (SELECT unnest($1))", list(kinds))

    def _read(self, rest: str, *parameters: Any, table: str | None = None) -> list[Edge]:
        found = self._ask(
            f"SELECT source, target, kind, id, ts_ns FROM {table or self._linked()} {rest} "
            "ORDER BY ts_ns, id",
            parameters,
        )
        return [Edge(*row) for row in found]

    def fan_out(self, kinds: Collection[str], more_than: int) -> dict[str, int]:
        """Return the sources of many edges. See `Facts.fan_out`."""
        found = self._ask(
            f"SELECT source, count(*) FROM {self._linked()} "
            "WHERE kind IN (SELECT unnest($1)) GROUP BY source HAVING count(*) > $2",
            (list(kinds), more_than),
        )
        return dict(cast("list[tuple[str, int]]", found))

    def knots(self) -> list[Edge]:
        """Return the edges that may be part of a ring. See `Facts.knots`.

        What nothing leads to, and what leads nowhere, is taken off again and again.
        """
        now, after = f"{self._edges}_now", f"{self._edges}_after"
        self._ask(f"CREATE OR REPLACE TEMP TABLE {now} AS FROM {self._linked()}", ())
        try:
            left = self._count(now)
            for _ in range(_PEELINGS):
                self._ask(
                    f"CREATE OR REPLACE TEMP TABLE {after} AS FROM {now} "
                    f"WHERE source IN (SELECT target FROM {now}) "
                    f"AND target IN (SELECT source FROM {now})",
                    (),
                )
                now, after, before, left = after, now, left, self._count(after)
                if left in {0, before}:
                    break
            return self._read("", table=now) if left else []
        finally:
            for name in (now, after):
                self._ask(f"DROP TABLE IF EXISTS {name}", ())

    def _count(self, table: str) -> int:
        return self._ask(f"SELECT count(*) FROM {table}", ())[0][0]

    def chains(self, longer_than: int) -> list[Edge]:
        """Return the edges of long chains. See `Facts.chains`."""
        edges = f"(SELECT * FROM {self._linked()} WHERE kind IN (SELECT unnest($1)))"
        kinds = list(REQUEST_LINKS)
        steps = "".join(
            f", s{n + 1} AS (SELECT DISTINCT target FROM e WHERE source IN (FROM s{n}))"
            for n in range(longer_than)
        )
        ends = (
            f"WITH RECURSIVE e AS MATERIALIZED {edges}, s0 AS (SELECT DISTINCT target FROM e)"
            f"{steps}, ends AS (SELECT target AS node FROM s{longer_than} "
            f"WHERE target IN (SELECT request FROM {self._calls} WHERE depth IS NULL))"
        )
        if not self._ask(f"{ends} SELECT 1 FROM ends LIMIT 1", (kinds,)):
            return []
        found = self._ask(
            f"{ends}, up AS (SELECT node FROM ends UNION "
            "SELECT e.source FROM e JOIN up ON e.target = up.node) "
            "SELECT source, target, kind, id, ts_ns FROM e WHERE target IN (FROM up) "
            "ORDER BY ts_ns, id",
            (kinds,),
        )
        return [Edge(*row) for row in found]

    def _linked(self) -> str:
        """Return the table of edges, made when it is first asked for."""
        if not self._has_edges:
            self._ask(
                f"CREATE OR REPLACE TEMP TABLE {self._edges} AS "
                + _EDGES.format(
                    calls=self._calls,
                    where=""
                    if self._asked.is_all
                    else f"WHERE target IN (SELECT request FROM {self._calls})",
                ),
                (),
            )
            self._has_edges = True
        return self._edges


_FIGURE_NAMES = (
    "calls",
    "failed",
    "counted",
    "tokens",
    "priced",
    "cost_usd",
    "timed",
    "duration_ms",
    "first_ns",
    "last_ns",
    "min_depth",
    "max_depth",
)
_FIGURES = (
    "count(*)",
    "count(*) FILTER (WHERE failed)",
    "count(tokens)",
    "CAST(sum(tokens) AS BIGINT)",
    "count(cost_usd)",
    "fsum(cost_usd)",
    "count(duration_ms)",
    "fsum(duration_ms)",
    "min(ts_ns)",
    "max(ts_ns)",
    "min(depth)",
    "max(depth)",
)
_EDGES = """
    WITH ends AS (SELECT source AS name FROM links UNION SELECT target FROM links),
    known AS (
        SELECT name, arg_min(request, (rank, id)) AS request FROM (
            SELECT id AS name, external_id AS request, 0 AS rank, id FROM runs
                WHERE external_id <> ''
            UNION ALL SELECT id, request, 1, id FROM {calls}
            UNION ALL SELECT span, request, 1, id FROM {calls} WHERE span IS NOT NULL
        ) WHERE name IN (FROM ends) GROUP BY name
    ),
    named AS (
        SELECT coalesce(s.request, l.source) AS source, coalesce(t.request, l.target) AS target,
            l.kind, l.id, l.ts_ns
        FROM links l LEFT JOIN known s ON s.name = l.source LEFT JOIN known t ON t.name = l.target
    )
    FROM named {where}"""
"""The links, each end under the name that its call has: a run's external id, a call's own."""


def _column(name: str) -> str:
    if name == "hour":
        return f"(ts_ns // {HOUR_NS})"
    check_fields([name])
    return f'"{name}"'


def _calls_sql(asked: Asked) -> tuple[str, list[Any]]:
    """Return the SELECT of all columns of a call, and its parameters."""
    parameters: list[Any] = []
    where = sql.compile_predicate(tables.predicate("generations", asked.filter), "generations")
    pointers = ", ".join(f"'/{name}'" for name in ATTRIBUTES)
    place = {name: index for index, name in enumerate(ATTRIBUTES, 1)}

    def said(name: str) -> str:
        return f"coalesce(g.own[{place[name]}], r.own[{place[name]}])"

    def whole(name: str) -> str:
        text = said(name)
        return (
            f"CASE WHEN regexp_full_match({text}, '{WHOLE.pattern}') "
            f"THEN TRY_CAST({text} AS BIGINT) END"
        )

    hashed = "substr(sha256(CAST(g.messages AS VARCHAR)), 1, 16)"
    hashed = f"CASE WHEN json_array_length(g.messages) > 0 THEN {hashed} END"
    extra = "CAST(NULL AS VARCHAR)"
    if asked.extra is not None:
        key = "/" + asked.extra.replace("~", "~0").replace("/", "~1")
        parameters += [key, key, f"/metadata{key}"]
        extra = (
            "coalesce(json_extract_string(g.attributes, ?), "
            "json_extract_string(r.attributes, ?), json_extract_string(r.attributes, ?))"
        )
    columns = {
        "id": "g.id",
        "run": "g.run",
        "span": "g.span",
        "request": "CASE WHEN r.generations = 1 "
        "THEN coalesce(nullif(r.external_id, ''), r.id) ELSE g.id END",
        "ts_ns": f"coalesce({whole('made_ns')}, g.ts_ns)",
        "tokens": "CASE WHEN g.input_tokens IS NULL AND g.output_tokens IS NULL THEN NULL "
        "ELSE coalesce(g.input_tokens, 0) + coalesce(g.output_tokens, 0) END",
        "failed": "(g.status = 'error')",
        "input_hash": f"coalesce({said('input_hash')}, {hashed if asked.hashes else 'NULL'})",
        "prompt": "g.prompt_name",
        "agent_type": f"coalesce(g.own[{place['agent_type']}], s.agent, p.agent, "
        f"r.own[{place['agent_type']}])",
        "task_type": f"coalesce({said('task_type')}, g.name)",
        "depth": whole("depth"),
        "root": said("root_request_id"),
        "extra": extra,
    }
    for name in ("provider", "model", "cost_usd", "duration_ms", "error_type", "prompt_version"):
        columns[name] = f"g.{name}"
    for name in ("workflow", "session", "conversation", "user", "project"):
        columns[name] = f'r."{name}"'
    for name in ("agent_id", "signal_type", "intent", "environment", "team_id", "feature"):
        columns[name] = said(name)
    listed = ", ".join(f'{columns[name]} AS "{name}"' for name in ("span", *_FIELDS))
    wanted = [f"{_column(field)} = ?" for field in asked.only]
    inner = (
        f"SELECT {listed} FROM "
        f"(SELECT *, json_extract_string(attributes, [{pointers}]) AS own "
        f"FROM generations t WHERE {where.sql}) g "
        f"LEFT JOIN (SELECT *, json_extract_string(attributes, [{pointers}]) AS own FROM runs) r "
        "ON r.id = g.run LEFT JOIN spans s ON s.run = g.run AND s.id = g.span "
        "LEFT JOIN spans p ON p.run = s.run AND p.id = s.parent"
    )
    parameters += [*where.parameters, *asked.only.values()]
    return f"SELECT * FROM ({inner}) WHERE {' AND '.join(wanted) or 'true'}", parameters
