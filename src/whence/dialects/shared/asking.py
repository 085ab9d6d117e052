"""Rows of an open reader by a predicate rather than by text: for questions a program makes up.

Comes in: a reader and a tree of `whence.store.predicate`, whose values need no quoting and have no
longest length. Goes out: rows as they were meant, all of them, some, or one after the other in
pages, so that a table of any size costs the memory of one page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence.query import restore
from whence.store.base import Order, key_of
from whence.store.predicate import ALWAYS, And, Compare, FieldRef, In, Predicate
from whence.store.rows import TIME_FIELD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from whence.query.reader import Reader
    from whence.store.base import Key

PAGE_ROWS = 1_000
_IDS_AT_ONCE = 500


def equals(field: str, value: str | float | bool) -> Predicate:  # noqa: FBT001 - the value is any scalar
    """Return `field = value`; a dot leads to a key of a JSON field, as in `attributes.model`."""
    name, *path = field.split(".")
    return Compare(FieldRef(name, tuple(path)), "=", value)


def rows(
    reader: Reader, table: str, where: Predicate = ALWAYS, *, limit: int | None = None
) -> list[Any]:
    """Return rows of `table` that satisfy `where`, the latest first, at most `limit`."""
    found = reader.store.select(table, where, Order(TIME_FIELD[table]), limit)
    return [restore.restored(row, reader.blob) for row in found]


def iter_rows(
    reader: Reader, table: str, where: Predicate = ALWAYS, *, oldest_first: bool = False
) -> Iterator[Any]:
    """Yield rows of `table` that satisfy `where`, page by page, the latest first unless asked."""
    order = Order(TIME_FIELD[table], descending=not oldest_first)
    after: Key | None = None
    while True:
        found = reader.store.select(table, where, order, PAGE_ROWS, after)
        for row in found:
            yield restore.restored(row, reader.blob)
        if len(found) < PAGE_ROWS:
            return
        after = key_of(found[-1], order)


def rows_with(
    reader: Reader, table: str, field: str, values: Iterable[str], where: Predicate = ALWAYS
) -> list[Any]:
    """Return rows of `table` whose `field` is one of `values`, which may be many.

    Ids are in the order of time, like the parts of a store: beginning and end of each stretch are
    named as well, so that only the parts between them are looked at.
    """
    wanted = sorted(set(values))
    found: list[Any] = []
    for start in range(0, len(wanted), _IDS_AT_ONCE):
        chosen = wanted[start : start + _IDS_AT_ONCE]
        ref = FieldRef(field)
        between = Compare(ref, ">=", chosen[0]), Compare(ref, "<=", chosen[-1])
        found += rows(reader, table, And((*between, In(ref, tuple(chosen)), where)))
    return found
