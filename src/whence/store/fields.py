"""What each field of each table is, derived once from the row structs.

Its name, its type, and how it may be compared.

Comes in: a table name and perhaps a field name. Goes out: `Field`. The filter language checks names
and operators against it, the SQL stores make columns from it, the documentation lists it.
"""

from __future__ import annotations

import types
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from whence.store.rows import TABLES, Row

FieldType = Literal["text", "integer", "number", "boolean", "tags", "json"]


class Field(msgspec.Struct, frozen=True):
    """One field of a table."""

    name: str
    """Name in Python, in filters and in SQL."""
    type: FieldType
    """`tags` is a list of strings; `json` any JSON value, reached into by key."""
    nullable: bool
    """Whether it may be null."""
    is_time: bool
    """Whether it is Unix nanoseconds, so that dates may be compared with it."""


@cache
def fields_of(table: str) -> dict[str, Field]:
    """Return the fields of `table` by name, in their order.

    Raises:
        KeyError: There is no such table.
    """
    row_type = TABLES[table]
    hints = get_type_hints(row_type)
    return {f.name: _field(f.name, hints[f.name]) for f in msgspec.structs.fields(row_type)}


def _field(name: str, hint: Any) -> Field:
    nullable = False
    if get_origin(hint) in (types.UnionType, Union):
        members = [m for m in get_args(hint) if m is not type(None)]
        nullable = True
        hint = members[0] if len(members) == 1 else Any
    scalar: dict[Any, FieldType] = {str: "text", int: "integer", float: "number", bool: "boolean"}
    kind: FieldType = scalar.get(hint, "json")
    if hint == list[str]:
        kind = "tags"
    return Field(name, kind, nullable or kind == "json", name.endswith("_ns"))


def row_type_of(table: str) -> type[Row]:
    """Return the struct of the rows of `table`.

    Raises:
        KeyError: There is no such table.
    """
    return TABLES[table]
