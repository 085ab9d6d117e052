"""What of a generation decides its cost, read narrow: a few columns, a batch at a time.

In DuckDB a temporary table of those columns is made once and read in stretches, so that a million
calls need neither their messages nor a million objects at once. Other stores give whole rows.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.analysis import sqlfacts
from whence.errors import StoreError
from whence.prices.pricing import Cost
from whence.query import treetext
from whence.record import usage as usage_of
from whence.record.generation import Usage
from whence.store import sql
from whence.store.base import Order
from whence.store.predicate import And, Compare, FieldRef

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from whence.query.reader import Reader
    from whence.store import rows as r
    from whence.store.base import Store
    from whence.store.duckdb import DuckDBStore
    from whence.store.predicate import Predicate

BY = treetext.COSTS
"""Who stored costs are by, as remarks name it."""
FINISHED = "response finished in the background"
"""The event that tells the usage of a call whose answer came later."""
_STRETCH = 50_000
_serial = itertools.count()
_decode_usage = msgspec.json.Decoder(Usage).decode
_decode = msgspec.json.Decoder().decode


class CostRow(msgspec.Struct, frozen=True):
    """What of a generation decides its cost."""

    id: str
    run: str
    ts_ns: int
    provider: str | None
    model: str | None
    response_model: str | None
    operation: str | None
    status: str
    cost_usd: float | None
    cost_source: str | None
    price: dict[str, Any] | None
    usage: Usage | None
    tier: str | None
    speed: str | None
    batch_id: str | None
    custom_id: str | None
    said: Any
    """What was stored about its cost."""
    key: tuple[Any, ...]
    """Values of the fields that are grouped by."""

    @property
    def fast(self) -> bool:
        """Whether the provider's fast mode was asked for."""
        return self.speed == "fast"


def stored_cost(row: CostRow) -> Cost | None:
    """Return the cost that was stored for a call; None if none was, or if it is not a cost."""
    said: object = row.said
    if not isinstance(said, dict):
        return None
    try:
        return msgspec.convert(cast("dict[str, Any]", said).get("cost"), Cost)
    except msgspec.ValidationError:  # a remark of somebody else under our name
        return None


def iter_rows(reader: Reader, where: Predicate, by: Sequence[str]) -> Iterator[CostRow]:
    """Return the generations that satisfy a filter, the earliest first.

    Args:
        reader: An open reader.
        where: Which generations.
        by: Fields of generations, and of runs with `run.` before them, for `key`.

    Raises:
        StoreError: The store cannot be read.
    """
    store = reader.store
    if sqlfacts.can_answer(store):
        return _in_sql(cast("DuckDBStore", store), where, by)
    return _in_memory(store, where, by)


def _in_sql(store: DuckDBStore, where: Predicate, by: Sequence[str]) -> Iterator[CostRow]:
    condition = sql.compile_predicate(where, "generations")
    columns = [f'g."{name}"' for name in _PLAIN]
    columns += [
        "CAST(g.price AS VARCHAR)",
        "CAST(g.usage AS VARCHAR)",
        _TIER,
        "json_extract_string(g.parameters, '$.speed')",
        "json_extract_string(g.attributes, '$.batch_id')",
        "json_extract_string(g.attributes, '$.custom_id')",
        "s.said",
        "e.usage",
        *(f'r."{n.removeprefix("run.")}"' if n.startswith("run.") else f'g."{n}"' for n in by),
    ]
    named = ", ".join(f"{column} AS c{place}" for place, column in enumerate(columns))
    table = f"cost_rows_{next(_serial)}"
    store.ask(
        f"CREATE OR REPLACE TEMP TABLE {table} AS "
        f"SELECT row_number() OVER (ORDER BY g.ts_ns, g.id) AS n, {named} FROM "
        f"(SELECT * FROM generations t WHERE {condition.sql}) g "
        "LEFT JOIN runs r ON r.id = g.run "
        "LEFT JOIN (SELECT run, target, arg_max(CAST(attributes AS VARCHAR), (ts_ns, id)) AS said "
        'FROM annotations WHERE "by" = ? GROUP BY run, target) s '
        "ON s.run = g.run AND s.target = g.id "
        "LEFT JOIN (SELECT run, span, arg_max(CAST(json_extract(data, '$.usage') AS VARCHAR), "
        "(ts_ns, id)) AS usage FROM events WHERE message = ? GROUP BY run, span) e "
        "ON e.run = g.run AND e.span = g.span AND g.usage IS NULL",
        [*condition.parameters, BY, FINISHED],
    )
    try:
        for begin in itertools.count(1, _STRETCH):
            found = store.ask(
                f"SELECT * EXCLUDE (n) FROM {table} WHERE n >= ? AND n < ? ORDER BY n",
                (begin, begin + _STRETCH),
            )
            yield from map(_row, found)
            if len(found) < _STRETCH:
                return
    finally:
        store.ask(f"DROP TABLE IF EXISTS {table}", ())


_TIER = (
    "coalesce(json_extract_string(g.attributes, '$.service_tier'), "
    "json_extract_string(g.usage, '$.stated.service_tier'), "
    "json_extract_string(g.parameters, '$.service_tier'))"
)
_PLAIN = (
    "id",
    "run",
    "ts_ns",
    "provider",
    "model",
    "response_model",
    "operation",
    "status",
    "cost_usd",
    "cost_source",
)


def _row(cells: tuple[Any, ...]) -> CostRow:
    plain = len(_PLAIN)
    price, stated, tier, speed, batch_id, custom_id, said, later = cells[plain : plain + 8]
    usage = _decode_usage(stated) if stated else None
    if usage is None and later:
        usage = usage_of.from_stated(_decode(later), cells[3])
    return CostRow(
        **dict(zip(_PLAIN, cells, strict=False)),
        price=_decode(price) if price else None,
        usage=usage,
        tier=tier,
        speed=speed,
        batch_id=batch_id,
        custom_id=custom_id,
        said=_decode(said) if said else None,
        key=cells[plain + 8 :],
    )


def _in_memory(store: Store, where: Predicate, by: Sequence[str]) -> Iterator[CostRow]:
    order = Order("ts_ns", descending=False)
    everything = And(())
    by_us = Compare(FieldRef("by"), "=", BY)
    said = {
        (row.run, row.target): row.attributes
        for row in cast("list[r.AnnotationRow]", store.select("annotations", by_us, order))
    }
    message = Compare(FieldRef("message"), "=", FINISHED)
    later = {
        (row.run, row.span): row.data.get("usage")
        for row in cast("list[r.EventRow]", store.select("events", message, order))
    }
    runs: dict[str, Any] = {}
    if any(name.startswith("run.") for name in by):
        runs = {row.id: row for row in store.select("runs", everything, Order("started_ns"))}
    for row in cast("list[r.GenerationRow]", store.select("generations", where, order)):
        usage = row.usage
        if usage is None and (row.run, row.span) in later:
            usage = usage_of.from_stated(later[row.run, row.span], row.provider)
        stated = (row.usage.stated if row.usage else None) or {}
        tiers = (row.attributes, stated, row.parameters)
        yield CostRow(
            **{name: getattr(row, name) for name in _PLAIN},
            price=row.price,
            usage=usage,
            tier=next((t for one in tiers if (t := _text(one.get("service_tier")))), None),
            speed=_text(row.parameters.get("speed")),
            batch_id=_text(row.attributes.get("batch_id")),
            custom_id=_text(row.attributes.get("custom_id")),
            said=said.get((row.run, row.id)),
            key=tuple(_field(row, runs.get(row.run), name) for name in by),
        )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _field(row: r.GenerationRow, run: Any, name: str) -> Any:
    of_run = name.removeprefix("run.")
    return getattr(run if of_run != name else row, of_run, None)


def check_home(reader: Reader) -> Any:
    """Return the home of a reader, to which costs can be written.

    Raises:
        StoreError: The store is not a home.
    """
    if reader.home is None:
        raise StoreError("this store takes no costs; reprice where the log is")
    return reader.home
