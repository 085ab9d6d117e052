"""What a store is, and how to add one.

A store answers questions about rows; it never makes any up. To add one: a module with a class that
has the methods of `Store`, a line in `OPENERS` of `whence.query.reader`, a profile in
`tests/contract/conftest.py`, and a page under `docs/howto`. The contract suite then holds it to
giving the rows that `memory` gives for any filter; what it cannot do it says in its `Abilities`,
and the suite asks there, never by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from whence.errors import CursorError
from whence.store.predicate import Predicate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from whence.log.reader import Problem
    from whence.store.rows import Row

Value = str | int | float | bool | None


class Abilities(msgspec.Struct, frozen=True):
    """What a store can do beyond the questions every store answers."""

    sql: bool = False
    """Whether it takes SQL from people."""
    annotate: bool = False
    """Whether remarks can be added through it."""
    blobs: bool = False
    """Whether it has the bytes of large values."""


class Order(msgspec.Struct, frozen=True):
    """How rows are ordered: by one field, nulls last, then by run and id in the same direction."""

    field: str
    """A text, number or boolean field of the table."""
    descending: bool = True
    """Largest first."""


class Key(msgspec.Struct, frozen=True, array_like=True):
    """The place of a row in an order: what a page cursor holds."""

    value: Value
    """Value of the order's field."""
    run: str
    """Run of the row."""
    id: str
    """Id of the row."""


class Measure(msgspec.Struct, frozen=True):
    """One figure of an aggregation."""

    name: str
    """Name of the resulting column."""
    function: str
    """`count`, `sum`, `avg`, `min`, `max`, `p50`, `p95`, `p99`, or `share` of the rows."""
    field: str | None = None
    """The number field it is taken of; None for `count`."""
    where: Predicate | None = None
    """For `share` and `count`: which rows count."""


class Store(Protocol):
    """Questions every store answers.

    Rows come unresolved: marker values stand as they were written.
    """

    abilities: Abilities

    def refresh(self) -> None:
        """Take in what was written since the last call."""
        ...

    def select(
        self,
        table: str,
        where: Predicate,
        order: Order,
        limit: int | None = None,
        after: Key | None = None,
    ) -> list[Row]:
        """Return rows that satisfy `where`, in order, behind `after`, at most `limit`."""
        ...

    def count(self, table: str, where: Predicate) -> int:
        """Return how many rows of `table` satisfy `where`."""
        ...

    def aggregate(
        self, table: str, where: Predicate, by: Sequence[str], measures: Sequence[Measure]
    ) -> list[dict[str, Any]]:
        """Return one mapping for each combination of the fields in `by`, with the measures.

        In no particular order.
        """
        ...

    def find_run(self, any_id: str) -> str | None:
        """Return the id of the run that `any_id` names.

        A run, external, output, span or record id; the latest if several.
        """
        ...

    def run_rows(self, run_id: str) -> Mapping[str, Sequence[Row]]:
        """Return all rows of one run by table, each table in order of time."""
        ...

    def edges(self, ids: Sequence[str], *, forward: bool) -> list[Row]:
        """Return the links that start (`forward`) or end at any of `ids`."""
        ...

    def problems(self) -> list[Problem]:
        """Return what in the log could not be read."""
        ...

    def close(self) -> None:
        """Give up files and connections. The store cannot be used afterwards."""
        ...


def key_of(row: Row, order: Order) -> Key:
    """Return the place of a row in an order."""
    return Key(getattr(row, order.field), row.run, row.id)


def encode_cursor(key: Key, question: str) -> str:
    """Return a cursor that continues behind `key`, good for the same question only."""
    import base64  # noqa: PLC0415 - keeps the module's imports to what every store needs

    return (
        base64.urlsafe_b64encode(msgspec.json.encode([_fingerprint(question), key]))
        .decode()
        .rstrip("=")
    )


def decode_cursor(cursor: str, question: str) -> Key:
    """Return the place a cursor continues behind.

    Raises:
        CursorError: It is no cursor, or it was made for another filter or order.
    """
    import base64  # noqa: PLC0415

    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        fingerprint, key = msgspec.json.decode(text, type=tuple[str, Key])
    except (ValueError, msgspec.DecodeError):
        message = f"{cursor[:40]!r} is not a page cursor; use `next` of the page before"
        raise CursorError(message) from None
    if fingerprint != _fingerprint(question):
        message = "the page cursor belongs to another filter or order; start again without it"
        raise CursorError(message)
    return key


def _fingerprint(question: str) -> str:
    import hashlib  # noqa: PLC0415

    return hashlib.sha256(question.encode()).hexdigest()[:12]
