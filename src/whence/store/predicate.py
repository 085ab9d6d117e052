"""A filter after parsing: a tree of frozen nodes that every store understands.

The query layer builds it from text and has checked every name and type; a store only evaluates or
compiles it. The rules that make all stores give the same rows:

- Logic has two values. A comparison with a null is false, so `not (x < 3)` holds where x is null.
- Text compares by code point. `contains` ignores the case of A-Z only and no other letters.
- A JSON value compares with a literal of its own type only: a number never equals a text. JSON
  booleans are not numbers.
- `tags` compare by membership: `=` and `contains` ask whether any tag equals or contains; `!=` is
  the negation of `=`.
- `Related` asks about rows of another table in the same run as the row at hand.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "contains"]
Literal_: TypeAlias = str | int | float | bool | None


class FieldRef(msgspec.Struct, frozen=True, tag=True):
    """A field of the row at hand, or of its run; `path` reaches into a JSON field by keys."""

    name: str
    """Field name as in the row struct."""
    path: tuple[str, ...] = ()
    """Keys into a JSON field, outermost first; empty for the field itself."""
    of_run: bool = False
    """Whether the field is the run's and the row at hand is of another table."""


class Compare(msgspec.Struct, frozen=True, tag=True):
    """`field operator value`; `!=` holds where the field is null, since it negates `=`."""

    field: FieldRef
    operator: Operator
    value: Literal_


class IsNull(msgspec.Struct, frozen=True, tag=True):
    """Whether a field has no value (or the JSON key is absent or null)."""

    field: FieldRef


class In(msgspec.Struct, frozen=True, tag=True):
    """Whether the field equals one of the values."""

    field: FieldRef
    values: tuple[Literal_, ...]


class And(msgspec.Struct, frozen=True, tag=True):
    """All of the terms hold; true without terms."""

    terms: tuple[Predicate, ...]


class Or(msgspec.Struct, frozen=True, tag=True):
    """One of the terms holds; false without terms."""

    terms: tuple[Predicate, ...]


class Not(msgspec.Struct, frozen=True, tag=True):
    """The term does not hold."""

    term: Predicate


class Related(msgspec.Struct, frozen=True, tag=True):
    """How many rows of `table` in the same run satisfy `where`, compared with `count`.

    `any(t, p)` is `> 0`; `all(t, p)` is `Related(t, not p) = 0`.
    """

    table: str
    where: Predicate
    operator: Operator = ">"
    count: int = 0


Predicate: TypeAlias = "Compare | IsNull | In | And | Or | Not | Related"

ALWAYS = And(())
"""The predicate that every row satisfies."""
