"""Stores what calls cost by the prices at hand: one remark a call, and nothing is edited.

A remark says the cost, the price it was computed with, whose price it is and from which day it
holds. The latest one of a call counts, so that history can be costed again when a price was wrong;
what comes out the same as before is not written again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock, _ids
from whence.analysis import costing, costrows
from whence.errors import StoreError
from whence.log.writer import Writer
from whence.query import text
from whence.record import codec
from whence.record.score import Annotation

if TYPE_CHECKING:
    from collections.abc import Callable

    from whence.analysis.costing import CallCost
    from whence.prices.pricing import Cost, Prices
    from whence.query.reader import Reader


class Repriced(msgspec.Struct, frozen=True):
    """What costing again came to."""

    calls: int
    """How many calls were looked at."""
    written: int
    """How many costs were new or other than before, and were stored."""


def reprice(
    reader: Reader,
    prices: Prices,
    *,
    window: str | None = None,
    filter: str = "",  # noqa: A002 - the word of the public API
    progress: Callable[[int], None] | None = None,
) -> Repriced:
    """Store what calls cost by the prices at hand, where that is not stored already.

    Args:
        reader: An open reader of a home.
        prices: The prices.
        window: How far to look back, as in `24h`; None for all time.
        filter: Which generations.
        progress: Told how many calls were looked at so far.

    Returns:
        How many calls were looked at, and how many costs were stored.

    Raises:
        FilterError: The filter or the window is wrong.
        StoreError: The store is not a home, or a cost could not be written.
    """
    home = costrows.check_home(reader)
    calls = written = 0
    writer: Writer | None = None
    try:
        for call in costing.iter_fresh(reader, prices, window=window, filter=filter):
            calls += 1
            if progress is not None:
                progress(calls)
            if not _is_new(call):
                continue
            writer = writer or Writer(home, durability="group")
            _write(writer, call)
            written += 1
    finally:
        if writer is not None:
            writer.close()
    return Repriced(calls, written)


def _is_new(call: CallCost) -> bool:
    """Whether a cost says what is not stored; that there is none is not stored to begin with."""
    if call.stored is None:
        return call.computed.cost_usd is not None
    return call.computed != call.stored


def _write(writer: Writer, call: CallCost) -> None:
    now_ns = _clock.wall_ns()
    record = Annotation(
        ts=_clock.format_ns(now_ns),
        run=call.run,
        id=_ids.new_id(),
        target=call.id,
        note=_sentence(call.computed),
        by=costrows.BY,
        attributes={"cost": msgspec.to_builtins(call.computed)},
    )
    if writer.append(codec.encode_json(record), now_ns, call.run) < 0:
        why = writer.last_reason or "the log took no record"
        raise StoreError(f"the cost of {call.id} was not written: {why}")


def _sentence(cost: Cost) -> str:
    price: dict[str, Any] = cost.price or {}
    if cost.cost_usd is None:
        return f"no cost: {cost.note}"
    since = price.get("effective_from")
    named = f"{price.get('table')}{f', in effect from {since}' if since else ''}"
    beside = f"; {cost.note}" if cost.note else ""
    return f"costs {text.money(cost.cost_usd)} by {named}{beside}"
