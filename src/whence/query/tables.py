"""One question a table: the fourteen methods of a reader that give pages of rows, written once.

Comes in: a filter, an order, a limit, a cursor. Goes out: a typed `Page`. `TableMethod` is a
descriptor, so that `reader.decisions(...)` is known to type checkers and editors as giving
`Page[DecisionRow]` without fourteen copies of one body. Names and values are checked here; the rows
come from the store.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from whence.errors import ConfigError, CursorError, FilterError, StoreError
from whence.query import filters, restore
from whence.query.names import ALIASES
from whence.query.page import Page
from whence.store.base import Key, Order, Store, decode_cursor, encode_cursor, key_of
from whence.store.fields import Field, fields_of
from whence.store.rows import TABLES, TIME_FIELD, Row

if TYPE_CHECKING:
    from whence.query.reader import Reader
    from whence.store.predicate import Predicate

T = TypeVar("T", bound=Row)
DEFAULT_LIMIT = 50
_MAX_LIMIT = 2**62
"""Beyond any store's number of rows, and with room in 64 bits for one more."""


class Ask(Generic[T]):
    """A question to one table of an open reader: call it."""

    __slots__ = ("_reader", "_table")

    def __init__(self, reader: Reader, table: str) -> None:
        self._reader = reader
        self._table = table

    def __call__(
        self,
        filter: str = "",  # noqa: A002 - the word of the public API
        *,
        order: str = "",
        limit: int | None = DEFAULT_LIMIT,
        after: str | None = None,
    ) -> Page[T]:
        """Return the rows that satisfy `filter`, in order, a page at a time.

        Args:
            filter: An expression of the filter language; all rows if empty.
            order: A field, with `-` in front for the largest first; the latest first if empty. Rows
                without a value come last.
            limit: Most rows of the page; None for all.
            after: The `next` of the page before.

        Raises:
            FilterError: The filter or the order is wrong; `position` says where.
            CursorError: `after` is not a cursor of this filter and order.
            ConfigError: The limit is less than one.
        """
        return cast(
            "Page[T]", self._reader.rows(self._table, filter, order=order, limit=limit, after=after)
        )


class TableMethod(Generic[T]):
    """A method of `Reader` that asks the table it is named after."""

    def __init__(self, row_type: type[T]) -> None:
        self._table = ""
        self.row_type = row_type

    def __set_name__(self, owner: type, name: str) -> None:
        self._table = name
        self.__doc__ = f"Return rows of `{name}`, a page at a time; see `Ask`."

    @overload
    def __get__(self, instance: None, owner: type) -> TableMethod[T]: ...
    @overload
    def __get__(self, instance: Reader, owner: type) -> Ask[T]: ...
    def __get__(self, instance: Reader | None, owner: type) -> TableMethod[T] | Ask[T]:
        """Return the question, bound to its reader."""
        return self if instance is None else Ask(instance, self._table)


def page(
    store: Store,
    get_blob: restore.GetBlob,
    table: str,
    *,
    filter_text: str,
    order_text: str,
    limit: int | None,
    after: str | None,
) -> Page[Any]:
    """Return one page of rows of `table`; see `Ask`.

    Raises:
        StoreError: There is no such table.
        FilterError: The filter or the order is wrong.
        CursorError: `after` is not a cursor of this filter and order.
        ConfigError: The limit is less than one.
    """
    where = predicate(table, filter_text)
    order = parse_order(table, order_text)
    most = check_limit(limit)
    # Not the parsed filter: `now` in it means another time on every page.
    question = f"{table}\n{order.field} {order.descending}\n{filter_text.strip()}"
    place = None if after is None else _place(after, question, fields_of(table)[order.field])
    found = store.select(table, where, order, None if most is None else most + 1, place)
    if most is None or len(found) <= most:
        following = None
    else:
        del found[most:]
        following = encode_cursor(key_of(found[-1], order), question)
    return Page([restore.restored(row, get_blob) for row in found], following, table)


def predicate(table: str, filter_text: str) -> Predicate:
    """Return the parsed filter.

    Raises:
        StoreError: There is no such table.
        FilterError: The filter is wrong.
    """
    check_table(table)
    return filters.parse(filter_text, table)


def check_table(table: str) -> str:
    """Return `table` if there is such a table.

    Raises:
        StoreError: There is none.
    """
    if not isinstance(table, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise StoreError(f"there is no table {table!r}; the tables are {', '.join(TABLES)}")
    if table in TABLES:
        return table
    close = difflib.get_close_matches(table, list(TABLES), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"the tables are {', '.join(TABLES)}"
    raise StoreError(f"there is no table {table!r}; {hint}")


def parse_order(table: str, order_text: str) -> Order:
    """Return the order that `field` or `-field` stands for; the latest first for empty text.

    Raises:
        FilterError: There is no such field, or its values have no order.
    """
    if not isinstance(order_text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise FilterError(f"an order is a text such as '-started', not {order_text!r}")
    stripped = order_text.strip()
    if not stripped:
        return Order(TIME_FIELD[table])
    name = stripped.removeprefix("-").strip()
    field = scalar_field(table, name, order_text, "ordered by")
    return Order(field.name, descending=stripped.startswith("-"))


def scalar_field(table: str, name: str, whole_text: str, purpose: str) -> Field:
    """Return the field that `name` means on `table`, if it holds single values.

    Args:
        table: The table.
        name: The field or an alias of it.
        whole_text: The text it stands in, for the error.
        purpose: What it is to be used for, for the error: `ordered by`.

    Raises:
        FilterError: There is no such field, or it holds lists or JSON.
    """
    fields = fields_of(table)
    # `ended` and `started` mean the time of a row that has no such field of its own.
    alias = ALIASES.get(name, name)
    known = fields.get(alias) or (
        fields.get(TIME_FIELD[table]) if name in {"started", "ts"} else None
    )
    position = max(whole_text.find(name), 0)
    usable = [field.name for field in fields.values() if field.type not in {"json", "tags"}]
    if known is None:
        close = difflib.get_close_matches(name, [*usable, *ALIASES], n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(usable)}."
        raise FilterError(
            f"{table} have no field `{name}`; {hint}", position=position, text=whole_text
        )
    if known.name not in usable:
        kind = "a list" if known.type == "tags" else "JSON"
        message = (
            f"`{known.name}` is {kind} and cannot be {purpose}; take one of {', '.join(usable)}."
        )
        raise FilterError(message, position=position, text=whole_text)
    return known


def check_limit(limit: int | None) -> int | None:
    """Return the limit, None for no limit.

    Raises:
        ConfigError: It is no whole number, or less than one.
    """
    if limit is None:
        return None
    if type(limit) is not int or limit < 1:
        raise ConfigError(f"limit is {limit!r}; give a whole number from 1, or None for all rows")
    return None if limit >= _MAX_LIMIT else limit


def _place(after: Any, question: str, field: Field) -> Key:
    if not isinstance(after, str):
        raise CursorError(f"{after!r} is not a page cursor; use `next` of the page before")
    key = decode_cursor(after, question)
    kinds: dict[str, tuple[type, ...]] = {
        "text": (str,),
        "integer": (int,),
        "number": (int, float),
        "boolean": (bool,),
    }
    if key.value is None or type(key.value) in kinds[field.type]:
        return key
    raise CursorError(f"{after[:40]!r} is not a page cursor; use `next` of the page before")
