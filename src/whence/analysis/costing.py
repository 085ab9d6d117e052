"""What stored model calls cost: declared, computed, and how far the two are apart.

Comes in: the generations of a home and prices. Goes out: sums by group, or one cost a call. A cost
that somebody declared and a cost that was computed are never mixed; calls with neither are counted,
with the reason, and never taken for free. The computed cost of a call is what `reprice` stored for
it last, else what its record says was computed, else what the prices at hand say about its time.
Source: DESIGN 3, "cost with the price used and its effective date".
"""

from __future__ import annotations

import datetime as dt
import functools
from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock
from whence.analysis import costrows
from whence.errors import FilterError
from whence.prices.pricing import Asked, Cost, Prices
from whence.query import filters, restore, stats, tables, text
from whence.store.predicate import And, Compare, FieldRef

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from whence.analysis.costrows import CostRow
    from whence.query.reader import Reader
    from whence.store.predicate import Predicate

DAY = "day"
"""What calls may be grouped by beside their fields: the day in UTC."""
_DAY_NS = 86_400_000_000_000
_SHOWN_ROWS = 50
AGAIN = "the same answer of a batch was recorded before"
_AGAIN = Cost(note=AGAIN)


class CallCost(msgspec.Struct, frozen=True, kw_only=True):
    """What one call costs."""

    id: str
    """Id of the generation."""
    run: str
    """Id of its run."""
    key: tuple[Any, ...]
    """Values of the fields that are grouped by."""
    declared_usd: float | None
    """US dollars, as the caller or provider stated."""
    computed: Cost
    """What prices say."""
    stored: Cost | None
    """What was stored for it by `reprice`."""


class Share(msgspec.Struct, kw_only=True):
    """What the calls of one group cost."""

    key: tuple[Any, ...] = ()
    """Values of the fields that are grouped by."""
    calls: int = 0
    """How many calls."""
    declared: int = 0
    """How many have a cost that was declared."""
    declared_usd: float | None = None
    """Sum of those, US dollars."""
    computed: int = 0
    """How many have a cost that was computed."""
    computed_usd: float | None = None
    """Sum of those, US dollars."""
    both: int = 0
    """How many have both."""
    difference_usd: float | None = None
    """Computed less declared, summed over the calls that have both, US dollars."""
    unpriced_calls: int = 0
    """How many have neither."""

    def add(self, call: CallCost) -> None:
        """Count a call."""
        declared, computed = call.declared_usd, call.computed.cost_usd
        self.calls += 1
        if declared is not None:
            self.declared += 1
            self.declared_usd = declared + (self.declared_usd or 0.0)
        if computed is not None:
            self.computed += 1
            self.computed_usd = computed + (self.computed_usd or 0.0)
        if declared is not None and computed is not None:
            self.both += 1
            self.difference_usd = computed - declared + (self.difference_usd or 0.0)
        self.unpriced_calls += declared is None and computed is None


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """Costs by group, the dearest first."""

    by: list[str]
    """The fields grouped by."""
    window: str | None
    """How far back it looks; None for all time."""
    shares: list[Share]
    """One a group."""
    total: Share
    """All groups together."""
    notes: dict[str, int]
    """Why calls have no computed cost, or what is not in it, and how many calls."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        rows = [
            {**dict(zip(self.by, restore.to_json(list(one.key)), strict=True)), **_figures(one)}
            for one in self.shares
        ]
        about = {"by": self.by, "window": self.window, "rows": rows}
        return {**about, "total": _figures(self.total), "notes": self.notes}

    def to_text(self) -> str:
        """Return it as a table for a terminal, with the reasons below."""
        head, body = self.shown()
        right = frozenset(range(len(self.by), len(head)))
        return "\n".join([*text.table(head, body, right), *self.remarks()])

    def shown(self) -> tuple[list[str], list[list[str]]]:
        """Return the head and the cells of the table that people see: first what groups go by."""
        head = [*self.by, "calls", "declared", "computed", "difference", "unpriced"]
        body = [_cells(one) for one in self.shares[:_SHOWN_ROWS]]
        if len(self.shares) != 1:
            total = msgspec.structs.replace(self.total, key=("",) * len(self.by))
            body.append(["total", *_cells(total)[1:]] if self.by else _cells(total))
        return head, body

    def remarks(self) -> list[str]:
        """Return what stands below the table: groups that are not in it, and the reasons."""
        left = len(self.shares) - _SHOWN_ROWS
        more = [f"{left:,} more groups: --json has all"] if left > 0 else []
        reasons = [f"{count:,} calls: {text.printable(why)}" for why, count in self.notes.items()]
        return [*more, *reasons]


def _figures(share: Share) -> dict[str, Any]:
    figures = msgspec.structs.asdict(share)
    del figures["key"]
    return figures


def _cells(share: Share) -> list[str]:
    money = (share.declared_usd, share.computed_usd, share.difference_usd)
    declared, computed, difference = (text.money(one) for one in money)
    key = [text.printable("-" if one is None else one, 40) for one in share.key]
    return [*key, f"{share.calls:,}", declared, computed, difference, f"{share.unpriced_calls:,}"]


def costs(
    reader: Reader,
    prices: Prices,
    *,
    by: Sequence[str] = ("model",),
    window: str | None = None,
    filter: str = "",  # noqa: A002 - the word of the public API
) -> Costs:
    """Return what calls cost by group.

    Args:
        reader: An open reader.
        prices: The prices for calls that have no stored cost.
        by: Fields of generations, `run.` and a field of the run, or `day`.
        window: How far to look back, as in `24h`; None for all time.
        filter: Which generations.

    Raises:
        FilterError: The filter, a field or the window is wrong.
        StoreError: The store cannot be read.
    """
    names, calls = _calls(reader, prices, by=by, window=window, filter_text=filter)
    shares: dict[tuple[Any, ...], Share] = {}
    total = Share()
    notes: dict[str, int] = {}
    for call in calls:
        share = shares.get(call.key)
        if share is None:
            share = shares[call.key] = Share(key=call.key)
        share.add(call)
        total.add(call)
        if call.computed.note:
            notes[call.computed.note] = notes.get(call.computed.note, 0) + 1
    ordered = sorted(shares.values(), key=_dearest)
    listed = dict(sorted(notes.items(), key=lambda item: (-item[1], item[0])))
    return Costs(by=names, window=window, shares=ordered, total=total, notes=listed)


def _dearest(share: Share) -> tuple[float, int, str]:
    return (
        -max(share.computed_usd or 0.0, share.declared_usd or 0.0),
        -share.calls,
        str(share.key),
    )


def iter_fresh(
    reader: Reader,
    prices: Prices,
    *,
    window: str | None = None,
    filter: str = "",  # noqa: A002 - the word of the public API
) -> Iterator[CallCost]:
    """Yield every call with its cost by the prices at hand, whatever was stored before.

    Raises:
        FilterError: The filter or the window is wrong.
        StoreError: The store cannot be read.
    """
    _, calls = _calls(reader, prices, by=(), window=window, filter_text=filter, fresh=True)
    yield from calls


def _calls(
    reader: Reader,
    prices: Prices,
    *,
    by: Sequence[str],
    window: str | None,
    filter_text: str,
    fresh: bool = False,
) -> tuple[list[str], Iterator[CallCost]]:
    where: Predicate = filters.parse(filter_text, "generations")
    if window is not None:
        since_ns = _clock.wall_ns() - stats.window_ns(window)
        where = And((where, Compare(FieldRef("ts_ns"), ">=", since_ns)))
    names = [_group_name(name) for name in ([by] if isinstance(by, str) else by)]
    rows = costrows.iter_rows(reader, where, [name for name in names if name != DAY])
    return names, _iter_calls(rows, prices, names, fresh=fresh)


def _iter_calls(
    rows: Iterator[CostRow], prices: Prices, names: list[str], *, fresh: bool
) -> Iterator[CallCost]:
    seen: set[tuple[str, str]] = set()
    for row in rows:
        key = row.key if DAY not in names else _with_day(row, names)
        stored = costrows.stored_cost(row)
        computed = _AGAIN
        declared = row.cost_usd if row.cost_source != "computed" else None
        batch = (row.batch_id, row.custom_id) if row.batch_id and row.custom_id else None
        if batch is None or batch not in seen:
            computed = _computed(row, prices, None if fresh else stored, fresh=fresh)
        else:
            declared = None
        if batch is not None:
            seen.add(batch)
        yield CallCost(
            id=row.id, run=row.run, key=key, declared_usd=declared, computed=computed, stored=stored
        )


def _computed(row: CostRow, prices: Prices, stored: Cost | None, *, fresh: bool) -> Cost:
    if stored is not None:
        return stored
    own = Cost(row.cost_usd, row.price) if row.cost_source == "computed" else None
    if own is not None and own.cost_usd is not None and not fresh:
        return own
    cost = prices.cost(
        Asked(
            usage=row.usage,
            provider=row.provider,
            models=_models(row),
            when_ns=row.ts_ns,
            operation=row.operation,
            tier=row.tier,
            fast=row.fast,
        )
    )
    if cost.cost_usd is None and own is not None:
        return own
    if cost.cost_usd is not None and row.status == "cancelled":
        left = "the stream was left early: these are the tokens that were stated by then"
        return Cost(cost.cost_usd, cost.price, "; ".join(filter(None, (cost.note, left))))
    return cost


def _models(row: CostRow) -> tuple[str, ...]:
    """Return the model that answered, and the model that was asked for if that is another one."""
    answered, asked = row.response_model, row.model
    if not answered or answered == asked:
        return (asked,) if asked else ()
    return (answered, asked) if asked else (answered,)


def _with_day(row: CostRow, names: list[str]) -> tuple[Any, ...]:
    day = _day_text(row.ts_ns // _DAY_NS)
    others = iter(row.key)
    return tuple([day if name == DAY else next(others) for name in names])


@functools.cache
def _day_text(days: int) -> str:
    """Return the day so many days after the first of 1970, as in 2026-01-31."""
    return (dt.date(1970, 1, 1) + dt.timedelta(days=days)).isoformat()


def _group_name(name: str) -> str:
    if name == DAY:
        return name
    of_run = name.removeprefix("run.")
    table = "generations" if of_run == name else "runs"
    try:
        field = tables.scalar_field(table, of_run, name, "grouped by")
    except FilterError as error:
        reason = f"{error.reason} Or take `day`."
        raise FilterError(reason, position=error.position, text=name) from None
    return field.name if of_run == name else f"run.{field.name}"
